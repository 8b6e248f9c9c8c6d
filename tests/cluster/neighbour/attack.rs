//! What the hostile namespace does.

use std::net::TcpListener;

use tokio::net::TcpStream;

use super::failing::Family;
use super::ground::Ground;
use super::{failing, forgery, heavy, slow, sockets, templates};

pub enum Attack {
    /// Templates that make much of little, and what a generator makes from the allowed grammar.
    Templates,
    /// A `client_id` of 1 MB with 1,000 corpIds.
    HugeClientId,
    /// Secrets with all the annotations and records that fit, with our label and without; the
    /// operator is restarted among them.
    HeavySecrets,
    /// Apps with all the text and parts of templates that fit; the operator is restarted among them.
    HeavyApps,
    /// 25 apps with the victims' `client_ids`, a wrong secret and 1,000 corpIds each, which ask for
    /// renewal once a second, and one that knows the secret and asks as often; apps that nobody has
    /// authorised. The site bans addresses that many failures come from.
    BorrowedClientIds,
    /// Bans, 429, HTML answers, server errors and tar pits for its own corps.
    FailingCorps(Family),
    /// Its own target Secrets, forged as if they held the victims' tokens until 2099.
    ForgedToken,
    /// Writes of Secrets that the API server does not answer for ten seconds.
    SlowWrites(Option<TcpListener>),
    /// 5,000 connections to each of the operator's ports that ask nothing.
    IdleSockets(Vec<TcpStream>),
}

impl Attack {
    pub async fn begin(&mut self, ground: &Ground) {
        match self {
            Self::Templates => templates::begin(ground).await,
            Self::HugeClientId => heavy::huge_client_id(ground).await,
            Self::HeavySecrets => heavy::begin(ground, &heavy::SECRETS).await,
            Self::HeavyApps => heavy::begin(ground, &heavy::APPS).await,
            Self::BorrowedClientIds => failing::borrow_client_ids(ground).await,
            Self::FailingCorps(family) => failing::begin(ground, *family).await,
            Self::ForgedToken => forgery::begin(ground).await,
            Self::SlowWrites(webhook) => *webhook = Some(slow::begin(ground).await),
            Self::IdleSockets(held) => sockets::fill(ground, held).await,
        }
    }

    /// What is done once a second from then on.
    pub async fn round(&mut self, ground: &Ground, second: u64) {
        match self {
            Self::Templates => templates::round(ground, second).await,
            Self::BorrowedClientIds => failing::ask_for_renewal(ground, second).await,
            Self::ForgedToken => forgery::round(ground).await,
            Self::IdleSockets(held) => sockets::fill(ground, held).await,
            Self::FailingCorps(family) => failing::round(ground, *family, second).await,
            Self::HugeClientId | Self::HeavySecrets | Self::HeavyApps | Self::SlowWrites(_) => {}
        }
    }

    pub fn includes_restart(&self) -> bool {
        matches!(self, Self::HeavySecrets | Self::HeavyApps)
    }
}

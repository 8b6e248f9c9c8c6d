//! What the hostile namespace does.

use tokio::net::TcpStream;

use super::ground::Ground;
use super::{failing, forgery, secrets, sockets, templates};

pub enum Attack {
    /// Templates that make much of little, and what a generator makes from the allowed grammar.
    Templates,
    /// A `client_id` of 1 MB with 1,000 corpIds.
    HugeClientId,
    /// 600 Secrets with all the annotations that fit, half of them with our label and forged records;
    /// the operator is restarted among them.
    HeavySecrets,
    /// 25 apps with the victims' `client_ids`, a wrong secret and 1,000 corpIds each, which ask for
    /// renewal once a second.
    BorrowedClientIds,
    /// Bans, 429, HTML answers, server errors and tar pits for its own corps.
    FailingCorps,
    /// Its own target Secrets, forged as if they held the victims' tokens until 2099.
    ForgedToken,
    /// 5,000 connections to each of the operator's ports that ask nothing.
    IdleSockets(Vec<TcpStream>),
}

impl Attack {
    pub async fn begin(&mut self, ground: &Ground) {
        match self {
            Self::Templates => templates::begin(ground).await,
            Self::HugeClientId => secrets::huge_client_id(ground).await,
            Self::HeavySecrets => secrets::heavy(ground).await,
            Self::BorrowedClientIds => failing::borrow_client_ids(ground).await,
            Self::FailingCorps => failing::begin(ground).await,
            Self::ForgedToken => forgery::begin(ground).await,
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
            Self::HugeClientId | Self::HeavySecrets | Self::FailingCorps => {}
        }
    }

    pub fn includes_restart(&self) -> bool {
        matches!(self, Self::HeavySecrets)
    }
}

//! The simulated token endpoint.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::fetches::Answered;
use crate::dingtalk::{AccessToken, Failure, TokenResponse, look_up};

/// What a repeated fetch does.
#[derive(Clone, Copy, Debug)]
pub enum Repeat {
    /// Returns the same token with a new lifetime.
    Extended,
    /// Returns the same token until it expires.
    Remaining,
    /// Returns a new token and revokes the old one.
    Revoking,
    /// Returns a new token; the old one stays valid.
    Beside,
}

pub const REPEATS: [Repeat; 4] = [
    Repeat::Extended,
    Repeat::Remaining,
    Repeat::Revoking,
    Repeat::Beside,
];

/// A token for a client's corp.
#[derive(Clone, Debug)]
struct Issued {
    value: String,
    expires_at: Timestamp,
    revoked: bool,
}

pub struct Site {
    pub repeat: Repeat,
    pub life: SignedDuration,
    /// The valid client secret of each client.
    pub clients: BTreeMap<String, String>,
    /// The response to every call, and until when.
    pub answer: Option<((&'static str, u16), Timestamp)>,
    issued: BTreeMap<(String, String), Vec<Issued>>,
    /// Number of calls.
    pub calls: usize,
    /// Number of successful fetches by corpId.
    pub fetched: BTreeMap<String, usize>,
    /// When tokens were fetched, by corpId.
    times: BTreeMap<String, Vec<Timestamp>>,
    /// What the last request is answered, for the judge.
    pub answered: Option<Answered>,
    counter: u64,
}

impl Site {
    pub fn new(repeat: Repeat) -> Self {
        Self {
            repeat,
            life: SignedDuration::from_hours(2),
            clients: BTreeMap::new(),
            answer: None,
            issued: BTreeMap::new(),
            calls: 0,
            fetched: BTreeMap::new(),
            times: BTreeMap::new(),
            answered: None,
            counter: 0,
        }
    }

    pub fn fetch(
        &mut self,
        client_id: &str,
        secret: &str,
        corp_id: &str,
        now: Timestamp,
    ) -> Answered {
        self.calls += 1;
        let failure = |code, status| Failure {
            http_status: Some(status),
            ..Failure::of(look_up(&[code], status).0)
        };
        if let Some(((code, status), until)) = self.answer
            && now < until
        {
            return Err(failure(code, status));
        }
        if self
            .clients
            .get(client_id)
            .is_none_or(|right| right != secret)
        {
            return Err(failure("invalid.client", 400));
        }
        *self.fetched.entry(corp_id.to_owned()).or_default() += 1;
        self.times.entry(corp_id.to_owned()).or_default().push(now);
        let key = (client_id.to_owned(), corp_id.to_owned());
        let all = self.issued.entry(key).or_default();
        let live = all
            .last_mut()
            .filter(|last| last.expires_at > now && !last.revoked);
        match (self.repeat, live) {
            (Repeat::Extended, Some(live)) => live.expires_at = now + self.life,
            (Repeat::Remaining, Some(_)) => {}
            (_, live) => {
                if let (Repeat::Revoking, Some(live)) = (self.repeat, live) {
                    live.revoked = true;
                }
                self.counter += 1;
                all.push(Issued {
                    value: format!("token-{}-{corp_id}", self.counter),
                    expires_at: now + self.life,
                    revoked: false,
                });
            }
        }
        let last = all.last().expect("issued");
        Ok(TokenResponse {
            token: AccessToken::new(last.value.clone()).expect("a token"),
            expires_in: Duration::try_from(last.expires_at.duration_since(now)).unwrap_or_default(),
        })
    }

    /// Returns when tokens of a corp were fetched.
    pub fn times(&self, corp_id: &str) -> &[Timestamp] {
        self.times.get(corp_id).map_or(&[], Vec::as_slice)
    }

    /// Returns each token's value, and whose it is.
    pub fn tokens(&self, now: Timestamp) -> impl Iterator<Item = (&str, String)> {
        self.issued
            .iter()
            .flat_map(move |((client_id, corp_id), all)| {
                all.iter().map(move |issued| {
                    let works = issued.expires_at > now && !issued.revoked;
                    let state = if works { "valid" } else { "invalid" };
                    let value = issued.value.as_str();
                    (value, format!("{state} token of {client_id} for {corp_id}"))
                })
            })
    }

    /// Whether a value is a token that works now.
    pub fn is_valid(&self, corp_id: &str, value: &str, now: Timestamp) -> bool {
        let of = self.issued.iter().filter(|((_, corp), _)| corp == corp_id);
        of.flat_map(|(_, all)| all)
            .any(|issued| issued.value == value && issued.expires_at > now && !issued.revoked)
    }
}

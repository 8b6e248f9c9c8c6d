//! Emulation of DingTalk's sites: their responses, and when tokens are available.

use std::collections::VecDeque;

use dingtalk_token_operator::dingtalk::{Failure, UNREACHABLE, look_up};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::{MINUTE, Millis, SECOND};

/// With `SameThenOverlap`: how long before a token's expiry a fetch returns a new one.
pub const OVERLAP: Millis = 5 * MINUTE;

/// What a fetch returns while an earlier token is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Repeat {
    /// The same token, with a full lifetime again.
    SameExtended,
    /// The same token, with its remaining lifetime.
    SameRemaining,
    /// A new token; the old one remains valid.
    NewOverlap,
    /// A new token; the old one is revoked.
    NewRevoked,
    /// The same token, with its remaining lifetime, until five minutes before its expiry. Then a new token, and the
    /// old one remains valid.
    SameThenOverlap,
}

/// A period in which a site fails.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Start.
    pub from: Millis,
    /// End.
    pub until: Millis,
    /// How the site fails.
    pub kind: FaultKind,
    /// The site.
    pub site: &'static str,
}

/// How a site fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Half of the calls get an error, half get no connection.
    Outage,
    /// One call in ten fails because the site is busy, and one in ten because its app calls too often.
    Throttling,
    /// Every call fails because its address is banned.
    Ban,
}

/// Response to a call.
pub enum Answered {
    /// A token: its value, and its lifetime in milliseconds.
    Token(u64, Millis),
    /// A failure.
    Failure(Box<Failure>),
}

/// The last token of an app.
#[derive(Clone, Copy)]
struct Issued {
    value: u64,
    expires_at: Millis,
}

/// All sites, with the last token of each app.
pub struct Endpoint {
    repeat: Repeat,
    life: Millis,
    faults: Vec<Fault>,
    tokens: Vec<Option<Issued>>,
    next_value: u64,
    recent: VecDeque<Millis>,
    /// Maximum number of calls within a second.
    pub busiest_second: usize,
}

impl Endpoint {
    /// Creates sites that issue tokens with this lifetime.
    pub fn new(repeat: Repeat, life: Millis, faults: Vec<Fault>) -> Self {
        Self {
            repeat,
            life,
            faults,
            tokens: Vec::new(),
            next_value: 1,
            recent: VecDeque::new(),
            busiest_second: 0,
        }
    }

    fn fault(&self, site: &str, now: Millis) -> Option<Fault> {
        let at = |fault: &&Fault| fault.site == site && fault.from <= now && now < fault.until;
        self.faults.iter().find(at).copied()
    }

    /// Returns how long faults made tokens unavailable between two times.
    pub fn down_between(&self, site: &str, from: Millis, until: Millis) -> Millis {
        self.faults
            .iter()
            .filter(|fault| fault.site == site && fault.kind != FaultKind::Throttling)
            .map(|fault| (fault.until.min(until) - fault.from.max(from)).max(0))
            .sum()
    }

    /// Returns the first time, `now` or later, at which tokens are available.
    pub fn up_from(&self, site: &str, now: Millis) -> Millis {
        match self.fault(site, now) {
            Some(fault) if fault.kind != FaultKind::Throttling => fault.until,
            _ => now,
        }
    }

    /// Responds to a call of an app.
    pub fn call(&mut self, site: &str, app: usize, now: Millis, random: &mut SmallRng) -> Answered {
        while self.recent.front().is_some_and(|at| now - at >= SECOND) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.busiest_second = self.busiest_second.max(self.recent.len());
        let failure = |codes: &[&str], status: u16| {
            let (row, _) = look_up(codes, status);
            let failure = Failure {
                http_status: Some(status),
                ..Failure::of(row)
            };
            Answered::Failure(Box::new(failure))
        };
        match self.fault(site, now).map(|fault| fault.kind) {
            Some(FaultKind::Outage) if random.random_bool(0.5) => {
                return Answered::Failure(Box::new(Failure::of(&UNREACHABLE)));
            }
            Some(FaultKind::Outage) => return failure(&["server.error"], 500),
            Some(FaultKind::Ban) => return failure(&["90001"], 200),
            Some(FaultKind::Throttling) => match random.random_range(0..10) {
                0 => return failure(&["systemBusy"], 403),
                1 => {
                    let code = "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi";
                    return failure(&[code], 403);
                }
                _ => {}
            },
            None => {}
        }
        if self.tokens.len() <= app {
            self.tokens.resize(app + 1, None);
        }
        let valid = self.tokens[app].filter(|issued| issued.expires_at > now);
        let issued = match (valid, self.repeat) {
            (Some(issued), Repeat::SameRemaining) => issued,
            (Some(issued), Repeat::SameThenOverlap) if issued.expires_at - now > OVERLAP => issued,
            (Some(issued), Repeat::SameExtended) => Issued {
                expires_at: now + self.life,
                ..issued
            },
            _ => {
                self.next_value += 1;
                Issued {
                    value: self.next_value,
                    expires_at: now + self.life,
                }
            }
        };
        self.tokens[app] = Some(issued);
        // `expires_in` is in whole seconds.
        let left = (issued.expires_at - now) / SECOND * SECOND;
        Answered::Token(issued.value, left.max(SECOND))
    }
}

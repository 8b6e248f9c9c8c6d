//! The endpoint: what it answers, and what it would have answered.

use std::collections::VecDeque;

use dingtalk_token_operator::dingtalk::{Failure, UNREACHABLE, look_up};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::{MINUTE, Millis, SECOND};

/// With `SameThenOverlap`: in how much of the end of a token's life a fetch returns a new one.
pub const OVERLAP: Millis = 5 * MINUTE;

/// What a fetch within the validity of an earlier token does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Repeat {
    /// The same token, with a full life again.
    SameExtended,
    /// The same token; its life goes on counting down.
    SameRemaining,
    /// A new token; the old one lives on.
    NewOverlap,
    /// A new token; the old one is revoked.
    NewRevoked,
    /// The same token, its life counting down, until its last five minutes; then a new token, while
    /// the old one lives on.
    SameThenOverlap,
}

/// A time at which the endpoint does not answer as it should.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// From when on.
    pub from: Millis,
    /// Until when.
    pub until: Millis,
    /// What it does.
    pub kind: FaultKind,
    /// The site that has it.
    pub site: &'static str,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Half of the calls get an error, half get no connection.
    Outage,
    /// One call in ten is told that the site is busy, one in ten that its app calls too often.
    Throttling,
    /// Every call is told that its address is banned.
    Ban,
}

/// What a call gets.
pub enum Answered {
    /// A token: its value, and its life in milliseconds.
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

/// See the module.
pub struct Endpoint {
    repeat: Repeat,
    life: Millis,
    faults: Vec<Fault>,
    tokens: Vec<Option<Issued>>,
    next_value: u64,
    recent: VecDeque<Millis>,
    /// The most calls that came within a second.
    pub busiest_second: usize,
}

impl Endpoint {
    /// Gives tokens of this life.
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

    /// The time of the faults between two times in which no token is to be had.
    pub fn down_between(&self, site: &str, from: Millis, until: Millis) -> Millis {
        self.faults
            .iter()
            .filter(|fault| fault.site == site && fault.kind != FaultKind::Throttling)
            .map(|fault| (fault.until.min(until) - fault.from.max(from)).max(0))
            .sum()
    }

    /// When a token is to be had, at `now` or after.
    pub fn up_from(&self, site: &str, now: Millis) -> Millis {
        match self.fault(site, now) {
            Some(fault) if fault.kind != FaultKind::Throttling => fault.until,
            _ => now,
        }
    }

    /// Answers a call of an app.
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
        // `expires_in` has whole seconds.
        let left = (issued.expires_at - now) / SECOND * SECOND;
        Answered::Token(issued.value, left.max(SECOND))
    }
}

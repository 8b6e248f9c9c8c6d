//! Scheduling for one site: its queue and its limits.

use std::collections::HashMap;
use std::time::Instant;

use super::call::RankKind;
use super::limits::Limits;
use super::lines::Lines;
use super::outcome::{Consequences, Recovery, Started};
use super::rates::Gate;
use super::waiting::{LineKey, Twin};
use super::{Call, Rank, Rates};
use crate::api::Reason;
use crate::dingtalk::Failure;

/// Abandoned requests are removed once this many requests are queued, and again whenever the number of
/// remaining ones has doubled.
const SWEEP_FROM: usize = 1024;

/// Scheduler for one site.
pub(super) struct Site<J> {
    lines: Lines<J>,
    limits: Limits,
    /// The requests in flight, and whether the credentials of each were proven at its start.
    in_flight: HashMap<Twin, bool>,
    first_had_its_turn: bool,
    /// Number of requests that the last sweep has left.
    swept_to: usize,
}

impl<J> Default for Site<J> {
    fn default() -> Self {
        Self {
            lines: Lines::default(),
            limits: Limits::default(),
            in_flight: HashMap::new(),
            first_had_its_turn: false,
            swept_to: 0,
        }
    }
}

impl<J> Site<J> {
    pub(super) fn push(&mut self, call: Call, rank: Rank, job: J) {
        self.lines.push(call, rank, job);
    }

    pub(super) fn waiting(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn is_proven(&self, call: &Call) -> bool {
        self.lines.is_proven(call)
    }

    /// Adds the requests that may start now, and abandoned ones, to `started`.
    pub(super) fn start(
        &mut self,
        rates: &Rates,
        wanted: &impl Fn(&J) -> bool,
        now: Instant,
        started: &mut Started<J>,
    ) {
        self.limits.prune(now);
        if self.lines.len() >= (2 * self.swept_to).max(SWEEP_FROM) {
            started.unwanted.extend(self.lines.sweep(wanted));
            self.swept_to = self.lines.len();
        }
        self.lines.wake(now);
        loop {
            match self.limits.gate(rates, now) {
                Gate::Open => {}
                Gate::Until(at) => {
                    let has_probe = self.limits.may_probe(now) && self.lines.has_held();
                    if self.lines.has_ready() || has_probe {
                        started.look_again(at);
                    }
                    break;
                }
                Gate::Busy | Gate::Held => break,
            }
            let Some((kind, id)) = self.next(rates, now) else {
                break;
            };
            let Some((waiting, is_proven)) = self.lines.take(id) else {
                break;
            };
            if !wanted(&waiting.job) {
                started.unwanted.push(waiting.job);
            } else if self.in_flight.contains_key(&Twin::of(&waiting.call)) {
                self.lines.put_behind(waiting);
            } else if let Some(until) = self.limits.pause_of_corp(&waiting.call, is_proven)
                && until > now
            {
                self.lines.park(waiting, until);
            } else {
                self.limits.begin(&waiting.call, is_proven, rates, now);
                self.in_flight.insert(Twin::of(&waiting.call), is_proven);
                self.lines.served(kind, &waiting.call);
                self.first_had_its_turn = kind == RankKind::First;
                started.starting.push((waiting.call, waiting.job));
            }
        }
        // A probe that is due already waits for room, which the end of a request makes.
        let probe_at = self.limits.probe_at();
        let probe_at = probe_at.filter(|at| *at > now && self.lines.has_held());
        for at in self.lines.next_wake().into_iter().chain(probe_at) {
            started.look_again(at);
        }
    }

    fn next(&mut self, rates: &Rates, now: Instant) -> Option<(RankKind, u64)> {
        // First attempts come first, but use at most every second request, so that a flood of them does
        // not delay the renewal of valid tokens.
        let kinds = match self.first_had_its_turn {
            true => [RankKind::Renewal, RankKind::First, RankKind::Retry],
            false => [RankKind::First, RankKind::Renewal, RankKind::Retry],
        };
        let limits = &self.limits;
        let has_room = |namespace: &str, is_proven| limits.has_room(namespace, is_proven, rates);
        let mut next = |is_probe| {
            let gate = |line: &LineKey, is_proven| {
                limits.gate_of_line(line, is_proven, is_probe, rates, now)
            };
            self.lines.next(is_probe, kinds, has_room, gate)
        };
        let turns = match limits.may_probe(now) {
            // A line is found to be held back in its turn, and may then probe at once.
            true => &[true, false, true][..],
            false => &[false],
        };
        turns.iter().find_map(|is_probe| next(*is_probe))
    }

    /// Ends a request that succeeded. Returns the outages that have thereby ended.
    pub(super) fn succeeded(&mut self, call: &Call, now: Instant) -> Vec<Recovery> {
        self.end(call);
        self.lines.prove(call);
        self.lines.release();
        self.limits.succeeded(call, now)
    }

    /// Ends a request that failed; see [`super::Scheduler::failed`].
    pub(super) fn failed(
        &mut self,
        call: &Call,
        failure: Failure,
        failing_since: Option<Instant>,
        now: Instant,
    ) -> Consequences<J> {
        let is_proven = self.end(call);
        let limits = &mut self.limits;
        let (failure, is_site_down) = limits.failed(call, failure, failing_since, is_proven, now);
        // The site would reject these credentials in every other request, too.
        let is_rejected = !is_proven && failure.reason == Reason::InvalidCredentials;
        let rejected_too = match is_rejected {
            true => self.lines.take_line(call),
            false => Vec::new(),
        };
        Consequences {
            failure,
            rejected_too,
            is_site_down,
        }
    }

    /// Ends a request. Returns whether its credentials were proven at its start.
    fn end(&mut self, call: &Call) -> bool {
        let twin = Twin::of(call);
        let is_proven = self.in_flight.remove(&twin).unwrap_or(true);
        self.limits.end(call, is_proven);
        self.lines.unblock(&call.client_id);
        self.lines.ended(&twin);
        is_proven
    }
}

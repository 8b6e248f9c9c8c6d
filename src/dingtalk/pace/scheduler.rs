//! All sites together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::outcome::{Heard, Recovery, Started};
use super::site::Site;
use super::{Call, Rank, Rates};
use crate::dingtalk::Failure;

/// See the module.
pub struct Scheduler<J> {
    rates: Rates,
    sites: HashMap<Arc<str>, Site<J>>,
}

impl<J> Scheduler<J> {
    /// Nothing called yet.
    pub fn new(rates: Rates) -> Self {
        Self {
            rates,
            sites: HashMap::new(),
        }
    }

    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.sites.values().map(Site::waiting).sum()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a request.
    pub fn push(&mut self, call: Call, rank: Rank, job: J) {
        self.site(&call).push(call, rank, job);
    }

    /// Takes out the requests that may be made now, which count as begun, and those that are not
    /// `wanted` any more, as they come up.
    pub fn start(&mut self, wanted: impl Fn(&J) -> bool, now: Instant) -> Started<J> {
        let mut started = Started {
            starting: Vec::new(),
            unwanted: Vec::new(),
            next: None,
        };
        for site in self.sites.values_mut() {
            site.start(&self.rates, &wanted, now, &mut started);
        }
        started
    }

    /// Whether these credentials have got a token from this site. Until then nothing that their
    /// Secret holds is known to be public.
    pub fn is_proven(&self, call: &Call) -> bool {
        self.sites
            .get(&call.site)
            .is_some_and(|site| site.is_proven(call))
    }

    /// Ends a call that got a token; returns the outages that are over by it.
    pub fn succeeded(&mut self, call: &Call, now: Instant) -> Vec<Recovery> {
        let rates = self.rates;
        self.site(call).succeeded(call, &rates, now)
    }

    /// Ends a call that failed. `failing_since` is when the corp began to fail, if it has before.
    pub fn failed(
        &mut self,
        call: &Call,
        failure: Failure,
        failing_since: Option<Instant>,
        now: Instant,
    ) -> Heard<J> {
        self.site(call).failed(call, failure, failing_since, now)
    }

    fn site(&mut self, call: &Call) -> &mut Site<J> {
        self.sites.entry(Arc::clone(&call.site)).or_default()
    }
}

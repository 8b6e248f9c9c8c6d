//! Scheduler for all sites.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::outcome::{Consequences, Recovery, Started};
use super::site::Site;
use super::{Call, Rank, Rates};
use crate::dingtalk::Failure;

/// Queues token requests and decides when each is sent. `J` is the caller's data for a request.
pub struct Scheduler<J> {
    rates: Rates,
    sites: HashMap<Arc<str>, Site<J>>,
}

impl<J> Scheduler<J> {
    /// Creates an empty scheduler.
    pub fn new(rates: Rates) -> Self {
        Self {
            rates,
            sites: HashMap::new(),
        }
    }

    /// Returns the number of queued requests.
    pub fn len(&self) -> usize {
        self.sites.values().map(Site::waiting).sum()
    }

    /// Whether no requests are queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queues a request.
    pub fn push(&mut self, call: Call, rank: Rank, job: J) {
        self.site(&call).push(call, rank, job);
    }

    /// Removes the requests to send now from the queue, and abandoned ones (those that are not `wanted`)
    /// as it reaches them.
    ///
    /// Each request to send counts as in flight until [`Self::succeeded`] or [`Self::failed`] is called
    /// for it.
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

    /// Whether these credentials have fetched a token from this site. Until then, any value in their
    /// Secret may be confidential.
    pub fn is_proven(&self, call: &Call) -> bool {
        self.sites
            .get(&call.site)
            .is_some_and(|site| site.is_proven(call))
    }

    /// Ends a request that returned a token. Returns the outages that have thereby ended.
    pub fn succeeded(&mut self, call: &Call, now: Instant) -> Vec<Recovery> {
        self.site(call).succeeded(call, now)
    }

    /// Ends a request that failed. `failing_since` is the time of the corp's first failure since its last
    /// success, not counting this one.
    pub fn failed(
        &mut self,
        call: &Call,
        failure: Failure,
        failing_since: Option<Instant>,
        now: Instant,
    ) -> Consequences<J> {
        self.site(call).failed(call, failure, failing_since, now)
    }

    fn site(&mut self, call: &Call) -> &mut Site<J> {
        self.sites.entry(Arc::clone(&call.site)).or_default()
    }
}

//! Pauses due to bans and throttles.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Call, Reach};

/// Time for which the count of throttles is kept after a pause.
const COUNTED: Duration = Duration::from_secs(120);

#[derive(Debug)]
struct Pause {
    until: Instant,
    /// Number of throttles in a row that have led to it.
    throttles: u32,
}

impl Pause {
    fn until(until: Instant) -> Self {
        Self {
            until,
            throttles: 0,
        }
    }

    fn is_needed(&self, now: Instant) -> bool {
        self.until > now || self.throttles > 0 && self.until + COUNTED > now
    }
}

/// All pauses of a site.
///
/// A response to unproven credentials pauses only unproven ones of the same namespace: anybody can use
/// any `client_id`, and after a start no credentials are proven. Neither does it lengthen other pauses.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    for_all: HashMap<Reach, Pause>,
    for_unproven: HashMap<(Arc<str>, Reach), Pause>,
}

impl Pauses {
    /// Pauses the requests in `reach`, following a response to a request of `namespace`.
    pub(super) fn add(
        &mut self,
        reach: Reach,
        namespace: &Arc<str>,
        is_proven: bool,
        until: Instant,
    ) {
        let pause = self.pause(reach, namespace, is_proven, until);
        pause.until = pause.until.max(until);
    }

    /// Counts a throttle of a `client_id`. Returns how many there were in a row.
    pub(super) fn throttled(&mut self, call: &Call, is_proven: bool, now: Instant) -> u32 {
        let (namespace, client_id) = (&call.namespace, &call.client_id);
        let until = self.of_line(namespace, client_id, is_proven);
        let reach = Reach::Client(Arc::clone(client_id));
        let pause = self.pause(reach, namespace, is_proven, now);
        // Responses to requests that were in flight together count once.
        if until.is_none_or(|until| until <= now) {
            pause.throttles = pause.throttles.saturating_add(1);
        }
        pause.throttles
    }

    /// Ends the count of throttles after a success.
    pub(super) fn succeeded(&mut self, call: &Call) {
        let reach = Reach::Client(Arc::clone(&call.client_id));
        let for_all = self.for_all.get_mut(&reach);
        let key = (Arc::clone(&call.namespace), reach);
        let for_unproven = self.for_unproven.get_mut(&key);
        for pause in for_all.into_iter().chain(for_unproven) {
            pause.throttles = 0;
        }
    }

    fn pause(
        &mut self,
        reach: Reach,
        namespace: &Arc<str>,
        is_proven: bool,
        until: Instant,
    ) -> &mut Pause {
        let new = || Pause::until(until);
        match is_proven {
            true => self.for_all.entry(reach).or_insert_with(new),
            false => {
                let key = (Arc::clone(namespace), reach);
                self.for_unproven.entry(key).or_insert_with(new)
            }
        }
    }

    /// Returns the end of the pause for all requests of this namespace with this `client_id`.
    pub(super) fn of_line(
        &self,
        namespace: &Arc<str>,
        client_id: &Arc<str>,
        is_proven: bool,
    ) -> Option<Instant> {
        let reaches = [
            Reach::Site,
            Reach::Namespace(Arc::clone(namespace)),
            Reach::Client(Arc::clone(client_id)),
        ];
        let ends = reaches.map(|reach| self.of(reach, namespace, is_proven));
        ends.into_iter().max().flatten()
    }

    /// Returns the end of the pause for the corp of `call`.
    pub(super) fn of_corp(&self, call: &Call, is_proven: bool) -> Option<Instant> {
        self.of(Reach::of_corp(call), &call.namespace, is_proven)
    }

    fn of(&self, reach: Reach, namespace: &Arc<str>, is_proven: bool) -> Option<Instant> {
        let for_all = self.for_all.get(&reach).map(|pause| pause.until);
        if is_proven {
            return for_all;
        }
        let for_unproven = self.for_unproven.get(&(Arc::clone(namespace), reach));
        for_all.max(for_unproven.map(|pause| pause.until))
    }

    /// Removes pauses that have ended.
    pub(super) fn prune(&mut self, now: Instant) {
        self.for_all.retain(|_, pause| pause.is_needed(now));
        self.for_unproven.retain(|_, pause| pause.is_needed(now));
    }
}

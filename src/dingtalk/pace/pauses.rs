//! Pauses due to bans and throttles.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::{Call, Reach};

/// All pauses of a site.
///
/// A response to unproven credentials pauses only unproven ones of the same namespace: anybody can use
/// any `client_id`, and after a start no credentials are proven.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    for_all: HashMap<Reach, Instant>,
    for_unproven: HashMap<(Arc<str>, Reach), Instant>,
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
        let end = match is_proven {
            true => self.for_all.entry(reach).or_insert(until),
            false => {
                let key = (Arc::clone(namespace), reach);
                self.for_unproven.entry(key).or_insert(until)
            }
        };
        *end = (*end).max(until);
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
        let for_all = self.for_all.get(&reach).copied();
        if is_proven {
            return for_all;
        }
        let for_unproven = self.for_unproven.get(&(Arc::clone(namespace), reach));
        for_all.max(for_unproven.copied())
    }

    /// Removes pauses that have ended.
    pub(super) fn prune(&mut self, now: Instant) {
        self.for_all.retain(|_, until| *until > now);
        self.for_unproven.retain(|_, until| *until > now);
    }
}

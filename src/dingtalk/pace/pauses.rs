//! Pauses due to bans and throttles.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::{Call, Reach};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Site,
    Namespace(Arc<str>),
    Client(Arc<str>),
    Corp(Arc<str>, Arc<str>),
}

impl From<&Reach> for Scope {
    fn from(reach: &Reach) -> Self {
        match reach {
            Reach::Corp { client_id, corp_id } => {
                Self::Corp(Arc::clone(client_id), Arc::clone(corp_id))
            }
            Reach::Client(client_id) => Self::Client(Arc::clone(client_id)),
            Reach::Namespace(namespace) => Self::Namespace(Arc::clone(namespace)),
            Reach::Site => Self::Site,
        }
    }
}

/// All pauses of a site.
///
/// A response to unproven credentials pauses only unproven ones of the same namespace: anybody can use
/// any `client_id`, and after a start no credentials are proven.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    for_all: HashMap<Scope, Instant>,
    for_unproven: HashMap<(Arc<str>, Scope), Instant>,
}

impl Pauses {
    /// Pauses the requests in `reach`, following a response to a request of `namespace`.
    pub(super) fn add(
        &mut self,
        reach: &Reach,
        namespace: &Arc<str>,
        is_proven: bool,
        until: Instant,
    ) {
        let scope = Scope::from(reach);
        let end = match is_proven {
            true => self.for_all.entry(scope).or_insert(until),
            false => {
                let scope = (Arc::clone(namespace), scope);
                self.for_unproven.entry(scope).or_insert(until)
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
        let scopes = [
            Scope::Site,
            Scope::Namespace(Arc::clone(namespace)),
            Scope::Client(Arc::clone(client_id)),
        ];
        let ends = scopes.into_iter();
        let ends = ends.map(|scope| self.of(scope, namespace, is_proven));
        ends.max().flatten()
    }

    /// Returns the end of the pause for the corp of `call`.
    pub(super) fn of_corp(&self, call: &Call, is_proven: bool) -> Option<Instant> {
        let corp = Scope::Corp(Arc::clone(&call.client_id), Arc::clone(&call.corp_id));
        self.of(corp, &call.namespace, is_proven)
    }

    fn of(&self, scope: Scope, namespace: &Arc<str>, is_proven: bool) -> Option<Instant> {
        let for_all = self.for_all.get(&scope).copied();
        if is_proven {
            return for_all;
        }
        let for_unproven = self.for_unproven.get(&(Arc::clone(namespace), scope));
        for_all.max(for_unproven.copied())
    }

    /// Removes pauses that have ended.
    pub(super) fn prune(&mut self, now: Instant) {
        self.for_all.retain(|_, until| *until > now);
        self.for_unproven.retain(|_, until| *until > now);
    }
}

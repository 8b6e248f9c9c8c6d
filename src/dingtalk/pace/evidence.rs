//! Collects failures since the last success of a site, to find out whom a problem affects.
//!
//! A site is never judged by the responses to a single corp.

use std::sync::Arc;
use std::time::Instant;

use super::Call;

/// Maximum number of corps that are counted.
const CORPS_MAX: usize = 8;

/// The requests that a problem affects: the smallest set that contains all that failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Requests for one corp with one `client_id`.
    Corp {
        /// The `client_id`.
        client_id: Arc<str>,
        /// The corp.
        corp_id: Arc<str>,
    },
    /// All requests with this `client_id`.
    Client(Arc<str>),
    /// All requests of this namespace.
    Namespace(Arc<str>),
    /// All requests to the site.
    Site,
}

impl Reach {
    /// Returns the reach that is limited to the corp of `call`.
    pub(super) fn of_corp(call: &Call) -> Self {
        Self::Corp {
            client_id: Arc::clone(&call.client_id),
            corp_id: Arc::clone(&call.corp_id),
        }
    }

    /// Whether some requests of this namespace with this `client_id` may be affected.
    pub fn concerns(&self, namespace: &str, client_id: &str) -> bool {
        match self {
            Self::Corp { client_id: of, .. } | Self::Client(of) => **of == *client_id,
            Self::Namespace(of) => **of == *namespace,
            Self::Site => true,
        }
    }
}

/// The requests that failed in the same way.
#[derive(Debug, Default)]
pub(super) struct Evidence(Option<Heard>);

#[derive(Debug)]
struct Heard {
    first: Call,
    since: Instant,
    corps: Vec<(Arc<str>, Arc<str>)>,
    one_client: bool,
    one_namespace: bool,
}

impl Evidence {
    pub(super) fn add(&mut self, call: &Call, now: Instant) {
        let heard = self.0.get_or_insert_with(|| Heard {
            first: call.clone(),
            since: now,
            corps: Vec::new(),
            one_client: true,
            one_namespace: true,
        });
        heard.one_client &= heard.first.client_id == call.client_id;
        heard.one_namespace &= heard.first.namespace == call.namespace;
        let corp = (Arc::clone(&call.client_id), Arc::clone(&call.corp_id));
        if heard.corps.len() < CORPS_MAX && !heard.corps.contains(&corp) {
            heard.corps.push(corp);
        }
    }

    /// Returns the number of different corps whose requests failed, at most [`CORPS_MAX`].
    pub(super) fn corps(&self) -> usize {
        self.0.as_ref().map_or(0, |heard| heard.corps.len())
    }

    pub(super) fn since(&self) -> Option<Instant> {
        Some(self.0.as_ref()?.since)
    }

    /// Returns the smallest reach that contains all failed requests; `None` if there are none.
    pub(super) fn reach(&self) -> Option<Reach> {
        let heard = self.0.as_ref()?;
        let first = &heard.first;
        Some(
            match (heard.corps.len(), heard.one_client, heard.one_namespace) {
                (1, ..) => Reach::of_corp(first),
                (_, true, _) => Reach::Client(Arc::clone(&first.client_id)),
                (_, false, true) => Reach::Namespace(Arc::clone(&first.namespace)),
                (_, false, false) => Reach::Site,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::call;
    use super::*;

    fn reach(calls: &[(&str, &str, &str)]) -> Option<Reach> {
        let mut evidence = Evidence::default();
        for (namespace, client_id, corp_id) in calls {
            evidence.add(&call(namespace, client_id, corp_id), Instant::now());
        }
        evidence.reach()
    }

    #[test]
    fn no_more_corps_are_counted_than_tell_anything() {
        let mut evidence = Evidence::default();
        for number in 1..=20 {
            let call = call("x", "a", &number.to_string());
            evidence.add(&call, Instant::now());
            evidence.add(&call, Instant::now());
            assert_eq!(evidence.corps(), number.min(CORPS_MAX));
        }
    }

    #[test]
    fn it_reaches_as_far_as_those_who_heard_it() {
        assert_eq!(reach(&[]), None);
        let corp = Reach::Corp {
            client_id: "a".into(),
            corp_id: "1".into(),
        };
        assert_eq!(
            reach(&[("x", "a", "1"), ("x", "a", "1")]),
            Some(corp.clone())
        );
        assert_eq!(reach(&[("x", "a", "1"), ("y", "a", "1")]), Some(corp));
        let client = Some(Reach::Client("a".into()));
        assert_eq!(reach(&[("x", "a", "1"), ("x", "a", "2")]), client);
        assert_eq!(
            reach(&[("x", "a", "1"), ("y", "a", "2"), ("x", "a", "3")]),
            client
        );
        let namespace = Some(Reach::Namespace("x".into()));
        assert_eq!(reach(&[("x", "a", "1"), ("x", "b", "1")]), namespace);
        let site = Some(Reach::Site);
        assert_eq!(reach(&[("x", "a", "1"), ("y", "b", "1")]), site);
        assert_eq!(
            reach(&[("x", "a", "1"), ("x", "b", "1"), ("y", "a", "1")]),
            site
        );
        // First two namespaces with one client_id, then another client_id.
        assert_eq!(
            reach(&[("x", "a", "1"), ("y", "a", "2"), ("x", "b", "1")]),
            site
        );
    }
}

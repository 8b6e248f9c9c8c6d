//! Records when each watch was last started. The client restarts a watch after at most five minutes, so an
//! older one is stuck.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::Uri;
use jiff::Timestamp;

use super::lock::lock;

/// Time of the last successful response to a watch request, by path.
#[derive(Clone, Debug, Default)]
pub struct WatchTimes(Arc<Mutex<BTreeMap<String, Timestamp>>>);

impl WatchTimes {
    pub(super) fn answered(&self, path: String, now: Timestamp) {
        lock(&self.0).insert(path, now);
    }

    /// Returns the time of the last response for each resource. If a resource has several watches, this is the
    /// earliest one.
    pub fn last_answers(&self) -> BTreeMap<String, Timestamp> {
        let times = lock(&self.0);
        let mut earliest = BTreeMap::new();
        for (path, at) in &*times {
            let resource = path.rsplit('/').next().unwrap_or_default();
            let earlier = earliest.entry(resource.to_owned()).or_insert(*at);
            *earlier = (*earlier).min(*at);
        }
        earliest
    }
}

/// Returns the path of a watch request; `None` for other requests.
pub(super) fn watched(uri: &Uri) -> Option<String> {
    let mut parameters = uri.query()?.split('&');
    parameters
        .any(|parameter| parameter == "watch=true")
        .then(|| uri.path().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_watches_count_and_the_oldest_of_a_resource_stands_for_all() {
        let path = |uri: &'static str| watched(&Uri::from_static(uri));
        let of = |namespace: &str| format!("/api/v1/namespaces/{namespace}/secrets");
        let watch = "/api/v1/namespaces/hr/secrets?&watch=true&timeoutSeconds=290";
        assert_eq!(path(watch), Some(of("hr")));
        assert_eq!(path("/api/v1/namespaces/hr/secrets?limit=500"), None);
        assert_eq!(path("/api/v1/namespaces/hr/secrets/watch"), None);

        let times = WatchTimes::default();
        let at = |second| Timestamp::from_second(second).expect("a time");
        times.answered(of("hr"), at(0));
        times.answered(of("payroll"), at(100));
        assert_eq!(times.last_answers()["secrets"], at(0));
        times.answered(of("hr"), at(290));
        assert_eq!(times.last_answers()["secrets"], at(100));
    }
}

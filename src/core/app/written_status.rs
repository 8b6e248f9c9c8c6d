//! The status that this process wrote last, until the watch delivers it.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::core::app::refusals::Refusals;

/// The status of an object that this process wrote last, if any.
#[derive(Debug, Default)]
pub(crate) struct WrittenStatus<S> {
    last: Option<Written<S>>,
    differs_since: Option<Timestamp>,
    refusals: Refusals,
}

#[derive(Debug)]
struct Written<S> {
    /// Cleared once the watch delivers it.
    status: Option<Box<S>>,
    at: Timestamp,
    version: Option<String>,
}

/// The status in the cluster, as far as this process knows.
pub(crate) struct Previous<S> {
    /// The status.
    pub status: S,
    /// The object's resourceVersion with this status.
    pub version: Option<String>,
    /// When this process last wrote it, if ever.
    pub written_at: Option<Timestamp>,
}

impl<S: Clone + Default> WrittenStatus<S> {
    /// Returns the status in the cluster. `metadata` and `shown` are those of the object as the
    /// watch delivered it.
    ///
    /// The watch may lag behind this process's own write; a newer version is somebody else's.
    /// `None` if the object is older than that write and the watch has delivered the write since: a
    /// newer state of the object exists, and this one's status is meaningless.
    pub(crate) fn previous(&self, metadata: &ObjectMeta, shown: Option<&S>) -> Option<Previous<S>> {
        let seen = metadata.resource_version.as_ref();
        let shown = |written_at| Previous {
            status: shown.cloned().unwrap_or_default(),
            version: seen.cloned(),
            written_at,
        };
        let Some(written) = &self.last else {
            return Some(shown(None));
        };
        let own = written.status.as_deref().map(|status| Previous {
            status: status.clone(),
            version: written.version.clone(),
            written_at: Some(written.at),
        });
        let shown = || shown(Some(written.at));
        match number(seen).cmp(&number(written.version.as_ref())) {
            Ordering::Less => own,
            Ordering::Equal => Some(own.unwrap_or_else(shown)),
            Ordering::Greater => Some(shown()),
        }
    }

    /// Records that the watch delivered this state of the object, so that older writes can be
    /// forgotten.
    pub(crate) fn arrived(&mut self, metadata: &ObjectMeta) {
        if let Some(written) = &mut self.last
            && number(metadata.resource_version.as_ref()) >= number(written.version.as_ref())
        {
            written.status = None;
        }
    }

    /// Records that a list contained this state of the object. If it is older than what was
    /// written, a backup of etcd was restored, or the write was made during the list. Otherwise the
    /// write is kept, because former states are looked at until the list ends.
    pub(crate) fn listed(&mut self, metadata: &ObjectMeta) {
        let listed = number(metadata.resource_version.as_ref());
        self.last
            .take_if(|written| listed < number(written.version.as_ref()));
    }

    /// Records that the status differs from what was written, and returns since when it does.
    pub(crate) fn differs(&mut self, now: Timestamp) -> Timestamp {
        *self.differs_since.get_or_insert(now)
    }

    /// Records that there is nothing to write.
    pub(crate) fn is_up_to_date(&mut self) {
        self.differs_since = None;
        self.refusals.end();
    }

    /// Records that the API server refused a write, and returns when to retry. `random` is from 0 to
    /// 1, for the jitter.
    pub(crate) fn refused(
        &mut self,
        generation: Option<i64>,
        random: f64,
        now: Timestamp,
    ) -> Timestamp {
        self.refusals.add(generation, random, now)
    }

    /// Returns until when a write must wait because the last one was refused; `None` if it need not,
    /// as after a change of the spec.
    pub(crate) fn waits_until(&self, generation: Option<i64>, now: Timestamp) -> Option<Timestamp> {
        self.refusals.waits_until(generation, now)
    }

    /// Moves the times along with a clock that was set back by this much.
    pub(crate) fn set_back(&mut self, by: SignedDuration) {
        self.refusals.set_back(by);
    }

    /// Records a status that was written.
    pub(crate) fn wrote(&mut self, status: S, version: Option<String>, at: Timestamp) {
        self.is_up_to_date();
        self.last = Some(Written {
            status: Some(Box::new(status)),
            at,
            version,
        });
    }
}

/// Returns a resourceVersion as a number; resourceVersions are comparable.
fn number(version: Option<&String>) -> Option<u128> {
    version?.parse().ok()
}

//! The status that this process wrote last, until the watch tells of it.

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::api::{DingTalkApp, DingTalkAppStatus};

/// The status that this process wrote last, if it did.
#[derive(Debug, Default)]
pub(crate) struct WrittenStatus {
    last: Option<Written>,
    differs_since: Option<Timestamp>,
}

#[derive(Debug)]
struct Written {
    /// Until the watch tells of it.
    status: Option<Box<DingTalkAppStatus>>,
    at: Timestamp,
    version: Option<String>,
}

impl WrittenStatus {
    /// The status as it is in the cluster, and when this process wrote it, if it did.
    ///
    /// The watch may not have told of our own write yet; what is newer than that write is another's.
    /// `None` if `app` is older than that write and the watch has told of it since: there is a newer
    /// state of the app, and this one's status says nothing.
    pub(crate) fn previous(
        &self,
        app: &DingTalkApp,
    ) -> Option<(DingTalkAppStatus, Option<Timestamp>)> {
        let shown = || app.status.clone().unwrap_or_default();
        let Some(written) = &self.last else {
            return Some((shown(), None));
        };
        let seen = number(app.metadata.resource_version.as_ref());
        let status = match seen.cmp(&number(written.version.as_ref())) {
            Ordering::Less => written.status.as_deref().cloned()?,
            Ordering::Equal => written.status.as_deref().cloned().unwrap_or_else(shown),
            Ordering::Greater => shown(),
        };
        Some((status, Some(written.at)))
    }

    /// The watch has told of this state of the app: what we wrote before need not be remembered.
    pub(crate) fn seen(&mut self, app: &DingTalkApp) {
        let seen = number(app.metadata.resource_version.as_ref());
        if let Some(written) = &mut self.last
            && seen >= number(written.version.as_ref())
        {
            written.status = None;
        }
    }

    /// Records that there is something new to write; returns since when.
    pub(crate) fn differs(&mut self, now: Timestamp) -> Timestamp {
        *self.differs_since.get_or_insert(now)
    }

    /// Records that there is nothing to write.
    pub(crate) fn is_up_to_date(&mut self) {
        self.differs_since = None;
    }

    /// Records a status that was written.
    pub(crate) fn wrote(
        &mut self,
        status: DingTalkAppStatus,
        version: Option<String>,
        at: Timestamp,
    ) {
        self.differs_since = None;
        self.last = Some(Written {
            status: Some(Box::new(status)),
            at,
            version,
        });
    }
}

/// A resourceVersion as a number; they are comparable.
fn number(version: Option<&String>) -> Option<u128> {
    version?.parse().ok()
}

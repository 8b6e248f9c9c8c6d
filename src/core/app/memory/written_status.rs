//! The status that this process wrote last, until the watch delivers it.

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::api::{DingTalkApp, DingTalkAppStatus};

/// The status that this process wrote last, if any.
#[derive(Debug, Default)]
pub(crate) struct WrittenStatus {
    last: Option<Written>,
    differs_since: Option<Timestamp>,
}

#[derive(Debug)]
struct Written {
    /// Cleared once the watch delivers it.
    status: Option<Box<DingTalkAppStatus>>,
    at: Timestamp,
    version: Option<String>,
}

impl WrittenStatus {
    /// Returns the status in the cluster, and when this process last wrote it, if ever.
    ///
    /// The watch may lag behind this process's own write; a newer version is somebody else's.
    /// `None` if `app` is older than that write and the watch has delivered the write since: a
    /// newer state of the app exists, and this one's status is meaningless.
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

    /// Records that the watch delivered this state of the app, so that older writes can be
    /// forgotten.
    pub(crate) fn seen(&mut self, app: &DingTalkApp) {
        let seen = number(app.metadata.resource_version.as_ref());
        if let Some(written) = &mut self.last
            && seen >= number(written.version.as_ref())
        {
            written.status = None;
        }
    }

    /// Records that the status differs from what was written, and returns since when it does.
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

/// Returns a resourceVersion as a number; resourceVersions are comparable.
fn number(version: Option<&String>) -> Option<u128> {
    version?.parse().ok()
}

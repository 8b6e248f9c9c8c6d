//! What there is to report of an app.

use jiff::Timestamp;

use super::Core;
use crate::api::{DingTalkApp, DingTalkAppStatus, app_ref};
use crate::core::app::notice::Notice;
use crate::core::app::view::Settled;
use crate::core::copy::granted_namespaces;
use crate::core::report::conditions::{StatusNews, status, write_status_at};
use crate::core::report::events::notices;

/// A status, and what led to it.
pub(crate) struct Report {
    /// The status as it was written last.
    pub previous: DingTalkAppStatus,
    /// The status as it is to be.
    pub current: DingTalkAppStatus,
    /// The events of the change.
    pub notices: Vec<Notice>,
    /// Until when the status waits to be written.
    pub not_before: Option<Timestamp>,
}

impl Core {
    /// What there is to report of an app at rest; `None` if there is a newer state of it.
    pub(crate) fn report(
        &mut self,
        app: &DingTalkApp,
        settled: &Settled,
        now: Timestamp,
    ) -> Option<Report> {
        let key = app_ref(app);
        let asking = self.index.referring_namespaces(&key);
        let uid = app.metadata.uid.as_deref().unwrap_or_default();
        let memory = self.apps.get_mut(&key).filter(|memory| memory.uid == uid)?;
        let (previous, written_at) = memory.written_status.previous(app)?;
        let mut current = status(app, settled, memory, &self.tokens, &previous, now);
        current.granted_namespaces = granted_namespaces(app, &previous.granted_namespaces, &asking);
        let notices = notices(&previous, &current, memory.happened, &memory.trimmed_keys);
        let mut not_before = None;
        if current == previous {
            memory.written_status.is_up_to_date();
        } else {
            let news = StatusNews {
                written_at,
                since: memory.written_status.differs(now),
                is_fetching: settled.is_fetching,
            };
            not_before = write_status_at(&previous, &current, news, now);
        }
        Some(Report {
            previous,
            current,
            notices,
            not_before,
        })
    }
}

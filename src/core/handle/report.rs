//! What to report about an app.

use jiff::Timestamp;

use super::Core;
use crate::api::{DingTalkApp, DingTalkAppStatus, app_ref};
use crate::core::app::notice::Notice;
use crate::core::app::view::Settled;
use crate::core::app::written_status::Previous;
use crate::core::copy::granted_namespaces;
use crate::core::report::at_rest::AtRest;
use crate::core::report::conditions::{StatusNews, write_status_at};
use crate::core::report::events::notices;

/// A status and the events of its change.
pub(crate) struct Report {
    /// The status in the cluster, as far as is known.
    pub previous: DingTalkAppStatus,
    /// The app's resourceVersion with that status.
    pub version: Option<String>,
    /// The status to write.
    pub current: DingTalkAppStatus,
    /// The events of the change.
    pub notices: Vec<Notice>,
    /// Until when the status must wait to be written.
    pub not_before: Option<Timestamp>,
}

impl Core {
    /// Returns what to report about an app at rest; `None` if a newer state of it is known.
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
        let shown = app.status.as_ref();
        let Previous {
            status: previous,
            version,
            written_at,
        } = memory.written_status.previous(&app.metadata, shown)?;
        let at_rest = AtRest {
            app,
            settled,
            memory,
            tokens: &self.tokens,
            previous: &previous,
            now,
        };
        let mut current = at_rest.status();
        current.granted_namespaces = granted_namespaces(app, &previous.granted_namespaces, &asking);
        let notices = notices(&previous, &current, &memory.happened);
        let mut not_before = None;
        if current == previous {
            memory.written_status.is_up_to_date();
        } else {
            let news = StatusNews {
                written_at,
                since: memory.written_status.differs(now),
                is_fetching: settled.is_fetching,
            };
            let refused_until = memory
                .written_status
                .waits_until(app.metadata.generation, now);
            not_before = write_status_at(&previous, &current, news, now).max(refused_until);
        }
        Some(Report {
            previous,
            version,
            current,
            notices,
            not_before,
        })
    }
}

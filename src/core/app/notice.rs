//! Events to publish.

use crate::api::Reason;

/// Longest note that the API server accepts, in bytes.
const NOTE_MAX: usize = 1024;
/// Type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoticeType {
    Normal,
    Warning,
}

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub type_: NoticeType,
    pub reason: Reason,
    /// The action taken, in the sense of `events.k8s.io`.
    pub action: &'static str,
    /// Text of at most 1,024 bytes.
    pub note: String,
    /// The Secret that the event is about, if any.
    pub secret: Option<String>,
}

impl Notice {
    /// Builds an event about something in order.
    pub(crate) fn normal(reason: Reason, action: &'static str, note: &str) -> Self {
        Self::new(NoticeType::Normal, reason, action, note, "")
    }

    /// Builds a warning. Its note ends with a link to the documentation.
    pub(crate) fn warning(reason: Reason, action: &'static str, note: &str) -> Self {
        let page = format!("; see {}", reason.page());
        Self::new(NoticeType::Warning, reason, action, note, &page)
    }

    /// Builds an event with a note cut to the API server's limit.
    fn new(
        type_: NoticeType,
        reason: Reason,
        action: &'static str,
        note: &str,
        page: &str,
    ) -> Self {
        // A condition's message may already link to a section.
        let note = note
            .split_once("; see https://")
            .map_or(note, |(note, _)| note);
        let most = NOTE_MAX - page.len();
        let mut ends = (0..=most.min(note.len())).rev();
        let note = ends.find_map(|end| note.get(..end)).unwrap_or_default();
        Self {
            type_,
            reason,
            action,
            note: format!("{note}{page}"),
            secret: None,
        }
    }

    /// Returns the event with a related Secret.
    #[must_use]
    pub(crate) fn about(self, secret: Option<&str>) -> Self {
        let secret = secret.map(str::to_owned);
        Self { secret, ..self }
    }
}

/// What happened since the last status, for events.
#[derive(Debug, Default)]
pub(crate) struct Happened {
    /// Whether a token with a new value was taken over.
    pub value_changed: bool,
    /// Whether another writer's change was repaired.
    pub repaired: bool,
    /// Keys of the credentials whose values end with white space, which was ignored.
    pub trimmed_keys: Vec<String>,
}

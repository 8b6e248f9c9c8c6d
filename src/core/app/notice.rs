//! Events to publish.

use crate::api::Reason;

/// Longest note that the API server takes, in bytes.
const NOTE_MAX: usize = 1024;
/// Whether all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoticeType {
    /// It is.
    Normal,
    /// It is not.
    Warning,
}

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Its type.
    pub type_: NoticeType,
    /// Its reason.
    pub reason: Reason,
    /// What was done when it happened, as the API wants it told.
    pub action: &'static str,
    /// Its text, at most 1,024 bytes.
    pub note: String,
    /// The Secret that it is about, if there is one.
    pub secret: Option<String>,
}

impl Notice {
    /// The same, about a Secret.
    #[must_use]
    pub(crate) fn about(self, secret: Option<&str>) -> Self {
        let secret = secret.map(str::to_owned);
        Self { secret, ..self }
    }
}

/// What happened since the last status, for events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Happened {
    /// A token of another value was written.
    pub value_changed: bool,
    /// Another writer's change was put right.
    pub repaired: bool,
}

/// An event whose note is cut to what the API server takes; a warning's ends with the section of the
/// documentation.
pub(crate) fn notice(
    type_: NoticeType,
    reason: Reason,
    action: &'static str,
    note: &str,
) -> Notice {
    let page = match type_ {
        NoticeType::Normal => String::new(),
        NoticeType::Warning => format!("; see {}", reason.page()),
    };
    // That of a condition names another one's section, or the same.
    let note = note
        .split_once("; see https://")
        .map_or(note, |(note, _)| note);
    let most = NOTE_MAX - page.len();
    let mut ends = (0..=most.min(note.len())).rev();
    let note = ends.find_map(|end| note.get(..end));
    Notice {
        type_,
        reason,
        action,
        note: format!("{}{page}", note.unwrap_or_default()),
        secret: None,
    }
}

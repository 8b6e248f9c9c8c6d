//! What is worth an event: what a person would want to know.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::TOKEN_EXPIRED;
use super::memory::Happened;
use crate::api::{CONDITION_READY, CONDITION_RENEWED, DingTalkAppStatus};

/// Longest note that the API server takes, in bytes.
const NOTE_MAX: usize = 1024;

/// Whether all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeType {
    /// It is.
    Normal,
    /// It is not.
    Warning,
}

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its type.
    pub type_: NoticeType,
    /// Its reason, CamelCase.
    pub reason: String,
    /// What was done when it happened, as the API wants it told.
    pub action: &'static str,
    /// Its text, at most 1,024 bytes.
    pub note: String,
}

/// The events of the way from one status to the next.
pub fn notices(
    previous: &DingTalkAppStatus,
    current: &DingTalkAppStatus,
    happened: Happened,
    trimmed_keys: &[String],
) -> Vec<Notice> {
    let mut notices = Vec::new();
    if !trimmed_keys.is_empty() {
        let note = format!(
            "white space at the end of {} was cut off: write the credentials without it \
             (printf instead of echo)",
            trimmed_keys.join(" and ")
        );
        notices.push(notice(
            NoticeType::Warning,
            "CredentialsTrimmed",
            "ReadCredentials",
            &note,
        ));
    }
    let was_failing = failing(previous);
    let is_failing = failing(current);
    let had_token = previous.expires_at.is_some();
    let written =
        happened.value_changed && current.expires_at.is_some() && previous.corps != current.corps;
    if written && is_failing.is_none() {
        let (reason, what) = match had_token {
            true => ("TokenRenewed", "a new token was written"),
            false => ("TokenIssued", "the first token was written"),
        };
        let until = current.expires_at.as_deref().unwrap_or_default();
        let secret = current
            .corps
            .first()
            .map_or("", |corp| corp.secret_name.as_str());
        let after = was_failing
            .map(|old| format!(", after {}", old.reason))
            .unwrap_or_default();
        let note = format!("{what} to Secret {secret}, valid until {until}{after}");
        notices.push(notice(NoticeType::Normal, reason, "Renew", &note));
    } else if let (Some(old), None) = (was_failing, is_failing) {
        let note = format!("recovered from {}", old.reason);
        notices.push(notice(NoticeType::Normal, "Recovered", "Renew", &note));
    }
    if let Some(new) =
        is_failing.filter(|new| was_failing.is_none_or(|old| old.reason != new.reason))
    {
        notices.push(notice(
            NoticeType::Warning,
            &new.reason,
            "Renew",
            &new.message,
        ));
    }
    let expired = |status| {
        condition(status, CONDITION_READY).is_some_and(|ready| ready.reason == TOKEN_EXPIRED)
    };
    if expired(current) && !expired(previous) {
        let message = condition(current, CONDITION_READY).map_or("", |ready| &ready.message);
        notices.push(notice(NoticeType::Warning, TOKEN_EXPIRED, "Renew", message));
    }
    if happened.repaired {
        let note = "the Secret had been changed or deleted by another writer and was put right";
        notices.push(notice(NoticeType::Warning, "SecretRestored", "Write", note));
    }
    notices
}

fn condition<'a>(status: &'a DingTalkAppStatus, type_: &str) -> Option<&'a Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
}

fn failing(status: &DingTalkAppStatus) -> Option<&Condition> {
    condition(status, CONDITION_RENEWED).filter(|renewed| renewed.status == "False")
}

fn notice(type_: NoticeType, reason: &str, action: &'static str, note: &str) -> Notice {
    let end = (0..=NOTE_MAX.min(note.len()))
        .rev()
        .find(|&end| note.is_char_boundary(end))
        .unwrap_or(0);
    Notice {
        type_,
        reason: reason.to_owned(),
        action,
        note: note[..end].to_owned(),
    }
}

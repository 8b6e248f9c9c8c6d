//! Status and events of a reference.

use jiff::Timestamp;

use super::told::Told;
use super::view::ReferenceView;
use crate::api::{CONDITION_READY, CONDITION_STALLED, DingTalkTokenReferenceStatus, Reason};
use crate::core::app::notice::Notice;
use crate::core::app::written_status::Previous;
use crate::core::report::conditions::{UNCHANGED_PACE, condition};
use crate::core::report::problem::shown;
use crate::core::secret::marks::fingerprint;

/// Reasons that only a person can resolve.
const NEED_A_PERSON: [Reason; 5] = [
    Reason::AppNotFound,
    Reason::NotGranted,
    Reason::MetadataNotAllowed,
    Reason::SecretConflict,
    Reason::TargetMetadataTooLarge,
];

/// Returns the name of the copies as `kubectl get` shows it.
fn secret_shown(view: &ReferenceView<'_>) -> String {
    let name = view.reference.target_name();
    match view.copies.iter().any(|copy| copy.name != name) {
        true => format!("{name}-*"),
        false => name,
    }
}

/// Returns the status of a reference at rest.
pub(crate) fn reference_status(
    view: &ReferenceView<'_>,
    told: &Told,
    expires_at: Option<Timestamp>,
    previous: &DingTalkTokenReferenceStatus,
    now: Timestamp,
) -> DingTalkTokenReferenceStatus {
    let Told { reason, message } = told;
    let generation = view.reference.metadata.generation;
    let condition = |type_: &str, status: &str| {
        let told = (status, *reason, message.as_str());
        condition(type_, told, generation, &previous.conditions, now)
    };
    let mut conditions = vec![condition(CONDITION_READY, told.status())];
    if NEED_A_PERSON.contains(reason) {
        conditions.push(condition(CONDITION_STALLED, "True"));
    }
    let copies = view.copies.iter();
    DingTalkTokenReferenceStatus {
        observed_generation: generation,
        conditions,
        expiration_time: expires_at.map(shown),
        secret: Some(secret_shown(view)),
        secret_names: copies.map(|copy| copy.name.clone()).collect(),
    }
}

/// Returns the earliest time to write a status over the previous one; `None` if it may be written
/// now. The message of an unchanged failure has the time of its next attempt.
pub(crate) fn write_reference_status_at(
    previous: &Previous<DingTalkTokenReferenceStatus>,
    current: &DingTalkTokenReferenceStatus,
    now: Timestamp,
) -> Option<Timestamp> {
    let without_messages = |status: &DingTalkTokenReferenceStatus| {
        let mut status = status.clone();
        let conditions = status.conditions.iter_mut();
        conditions.for_each(|condition| condition.message.clear());
        status
    };
    // After the clock was set back, a time to come must not put off the status until then.
    let written_at = previous.written_at.filter(|at| *at <= now)?;
    let is_unchanged = without_messages(&previous.status) == without_messages(current);
    Some(written_at + UNCHANGED_PACE).filter(|at| is_unchanged && *at > now)
}

/// Returns a status with a fingerprint of its Secrets' names in their place. That serves for
/// comparisons, and thousands of references with a thousand names each would fill the memory.
pub(crate) fn light_status(
    mut status: DingTalkTokenReferenceStatus,
) -> DingTalkTokenReferenceStatus {
    if status.secret_names.len() > 1 {
        status.secret_names = vec![fingerprint(&status.secret_names).to_string()];
    }
    status
}

/// Returns the event for a change of the condition; `None` if it did not change, or is pending.
pub(crate) fn reference_notice(
    previous: &DingTalkTokenReferenceStatus,
    current: &DingTalkTokenReferenceStatus,
) -> Option<Notice> {
    let old = previous.conditions.first();
    let new = current.conditions.first()?;
    let is_same = old.is_some_and(|old| (&old.status, &old.reason) == (&new.status, &new.reason));
    if is_same || new.reason == Reason::Pending {
        return None;
    }
    Some(match new.status.as_str() {
        "True" => Notice::normal(Reason::TokensCopied, "Copy", &new.message),
        _ => Notice::warning(new.reason.parse().ok()?, "Copy", &new.message),
    })
}

#[cfg(test)]
mod tests;

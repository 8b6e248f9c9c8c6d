//! When a status that has changed is written.

use jiff::{SignedDuration, Timestamp};

use crate::api::{CONDITION_READY, CONDITION_RENEWED, DingTalkAppStatus, Reason};

/// A failure that stays the same moves its next attempt in the status at most this often.
const UNCHANGED_PACE: SignedDuration = SignedDuration::from_secs(60);

/// An app with several organisations tells of their progress this often: a thousand take 100 s.
const PROGRESS_PACE: SignedDuration = SignedDuration::from_secs(10);

/// What is fetched together is reported together, so many seconds after the first news of it at the latest.
const GATHERED_FOR: SignedDuration = SignedDuration::from_secs(3);

/// When a status was written last, and what may change it soon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusNews {
    /// When this process wrote the previous status, if it did.
    pub written_at: Option<Timestamp>,
    /// Since when the status differs from the previous one.
    pub since: Timestamp,
    /// Whether tokens of the app are being fetched.
    pub is_fetching: bool,
}

/// From when on a status may be written over the previous one; `None` if it may be now.
pub(crate) fn write_status_at(
    previous: &DingTalkAppStatus,
    current: &DingTalkAppStatus,
    news: StatusNews,
    now: Timestamp,
) -> Option<Timestamp> {
    let is_gathering = news.is_fetching && current.corps.len() > 1 && news.since <= now;
    let gathered_at = is_gathering.then(|| news.since + GATHERED_FOR);
    let paced_at = news.written_at.map(|at| at + pace(previous, current));
    gathered_at.max(paced_at).filter(|at| *at > now)
}

/// How long after the previous status the current one may be written.
fn pace(previous: &DingTalkAppStatus, current: &DingTalkAppStatus) -> SignedDuration {
    let flips = |type_: &str| {
        let status = |status: &DingTalkAppStatus| {
            let found = status.conditions.iter().find(|at| at.type_ == type_);
            found.map(|condition| condition.status.clone())
        };
        status(previous) != status(current)
    };
    let is_failing = current.corps.iter().any(|corp| corp.error.is_some());
    if is_failing && same_meaning(previous, current) {
        UNCHANGED_PACE
    } else if current.corps.len() < 2
        || previous.observed_generation != current.observed_generation
        || previous.last_handled_renew_request != current.last_handled_renew_request
        || previous.granted_namespaces != current.granted_namespaces
        || flips(CONDITION_READY)
        || flips(CONDITION_RENEWED)
    {
        SignedDuration::ZERO
    } else {
        PROGRESS_PACE
    }
}

/// Whether two statuses differ only in when the next attempt is and how the last one was told.
pub(super) fn same_meaning(one: &DingTalkAppStatus, other: &DingTalkAppStatus) -> bool {
    let bare = |status: &DingTalkAppStatus| {
        let mut status = status.clone();
        status.next_attempt_time = None;
        for condition in &mut status.conditions {
            condition.message.clear();
        }
        for corp in &mut status.corps {
            corp.next_attempt_time = None;
            if let Some(error) = &mut corp.error {
                error.request_id = None;
                // The endpoint's words vary from call to call; our own say something new.
                if error.http_status.is_some()
                    || error.reason == Reason::EndpointUnreachable.as_str()
                {
                    error.message = None;
                }
            }
        }
        status
    };
    one.corps.iter().any(|corp| corp.error.is_some()) && bare(one) == bare(other)
}

//! When to write a changed status.

use jiff::{SignedDuration, Timestamp};

use crate::api::{CONDITION_READY, CONDITION_RENEWED, DingTalkAppStatus, Reason};

/// Minimum interval between updates of the next attempt of an unchanged failure.
pub(crate) const UNCHANGED_PACE: SignedDuration = SignedDuration::from_secs(60);

/// Minimum interval between progress reports of an app with several corps: a thousand take 100 s.
const PROGRESS_PACE: SignedDuration = SignedDuration::from_secs(10);

/// The outcomes of one burst are reported together, at most this long after the first.
const GATHERED_FOR: SignedDuration = SignedDuration::from_secs(3);

/// What the time of a status write depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusNews {
    /// When this process wrote the previous status, if it did.
    pub written_at: Option<Timestamp>,
    /// Since when the status differs from the previous one.
    pub since: Timestamp,
    /// Whether tokens of the app are being fetched.
    pub is_fetching: bool,
}

/// Returns the earliest time to write the status; `None` if it may be written now.
pub(crate) fn write_status_at(
    previous: &DingTalkAppStatus,
    current: &DingTalkAppStatus,
    news: StatusNews,
    now: Timestamp,
) -> Option<Timestamp> {
    let is_gathering = news.is_fetching && current.corps.len() > 1 && news.since <= now;
    let gathered_at = is_gathering.then(|| news.since + GATHERED_FOR);
    // After the clock was set back, a time to come must not put off the status until then.
    let written_at = news.written_at.filter(|at| *at <= now);
    let paced_at = written_at.map(|at| at + pace(previous, current));
    gathered_at.max(paced_at).filter(|at| *at > now)
}

/// Returns the minimum interval between the previous status and the current one.
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

/// Whether two statuses of a failing app differ only in the next attempt and the messages of the
/// last one.
fn same_meaning(one: &DingTalkAppStatus, other: &DingTalkAppStatus) -> bool {
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
                // DingTalk's messages vary from call to call; the operator's own are news.
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

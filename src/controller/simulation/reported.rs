//! What the statuses of apps tell a new process about the fetches of a former one.

use jiff::{SignedDuration, Timestamp};

use super::wishes::{Variant, Wish};
use crate::api::DingTalkApp;
use crate::dingtalk::Failure;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Whether an app's status says that a former process has handled a request for a corp, and has not
/// failed to write its token.
pub fn is_reported(app: &DingTalkApp, request: &str, corp_id: &str) -> bool {
    let Some(status) = &app.status else {
        return false;
    };
    let mut corps = status.corps.iter();
    let error = corps.find(|corp| corp.corp_id == corp_id);
    let error = error.and_then(|corp| corp.error.as_ref());
    let is_lost = error.is_some_and(|error| Failure::recorded(error).is_none());
    status.last_handled_renew_request.as_deref() == Some(request) && !is_lost
}

/// Returns when a failed attempt is repeated, according to an app's status.
pub fn planned(app: &DingTalkApp, corp_id: &str) -> Option<Timestamp> {
    let mut corps = app.status.iter().flat_map(|status| &status.corps);
    let corp = corps.find(|corp| corp.corp_id == corp_id)?;
    corp.error.as_ref()?;
    corp.next_attempt_time.as_ref()?.parse().ok()
}

/// Whether the statuses of all these apps show that DingTalk makes them wait.
pub fn is_limited(wishers: &[&Wish], variant: &Variant, now: Timestamp) -> bool {
    wishers.iter().all(|wish| {
        let corps = wish.app.status.iter().flat_map(|status| &status.corps);
        let mut of_corp = corps.filter(|corp| corp.corp_id == variant.corp_id);
        of_corp.any(|corp| {
            let reason = corp.error.as_ref().map(|error| error.reason.as_str());
            // A later time is that of the next renewal: the limit has ended.
            let longest = match reason {
                Some("Throttled") => SignedDuration::from_secs(70),
                Some("Banned") => SignedDuration::from_secs(330),
                // A request ends this wait.
                Some("QuotaExceeded") if wish.asked.is_none() => SignedDuration::from_hours(1),
                _ => return false,
            };
            let next = corp.next_attempt_time.as_ref();
            let next = next.and_then(|at| at.parse::<Timestamp>().ok());
            next.is_some_and(|next| now < next - SECOND && next <= now + longest)
        })
    })
}

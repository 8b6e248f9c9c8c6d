//! What a new process learns from an app's status.

use jiff::{SignedDuration, Timestamp};

use super::{Memory, renew_request};
use crate::api::{CorpError, CorpStatus, DingTalkApp, Reason};
use crate::core::app::corp::{Corp, Resumed};
use crate::core::token::renewals::Renewals;
use crate::core::token::schedule::Lifetime;
use crate::core::token::tokens::Attempts;
use crate::dingtalk::Failure;

impl Memory {
    /// Returns the memory of an app that is seen for the first time, restored from its status.
    ///
    /// Limits outlive a restart: what was throttled or banned stays so until the time in the
    /// status.
    pub(crate) fn new(app: &DingTalkApp, now: Timestamp) -> Self {
        let request = renew_request(app);
        let mut memory = Self {
            uid: app.metadata.uid.clone().unwrap_or_default(),
            ..Self::default()
        };
        let Some(status) = &app.status else {
            return memory;
        };
        let mut errors = status.corps.iter().filter_map(|corp| corp.error.as_ref());
        // Other errors than DingTalk's may have kept it from the Secrets.
        let is_in_place = errors.all(|error| Failure::recorded(error).is_some());
        memory.reported_generation = status.observed_generation.filter(|_| is_in_place);
        memory.restarts.restarted_for = time(status.rollout_restarted_for_time.as_ref());
        let mut conditions = status.conditions.iter();
        let unextended = conditions.any(|it| it.reason == Reason::RenewalNotExtended);
        let is_handled = request == status.last_handled_renew_request.as_deref();
        // The spec may have changed only the keys of the reference, which the Secret's version does
        // not reveal.
        memory.identify = is_respecified(app);
        for seen in &status.corps {
            let corp = memory.corp_mut(&seen.corp_id);
            // A token that the former process could not write is lost, unless its Secret has it.
            let is_lost = seen.error.as_ref().is_some_and(is_of_write);
            if is_handled && !is_lost {
                corp.request_done = request.map(str::to_owned);
            }
            resume(corp, app, seen, unextended, now);
        }
        memory
    }
}

/// Restores from a corp's status what outlives a restart.
fn resume(corp: &mut Corp, app: &DingTalkApp, seen: &CorpStatus, unextended: bool, now: Timestamp) {
    corp.had_token = seen.last_renewal_time.is_some();
    let mut attempts = Attempts::default();
    let error = seen.error.as_ref();
    let failure = error.and_then(Failure::recorded);
    let failed = failure.is_some();
    // Other failures without a token are retried at once: the cause may have been fixed meanwhile.
    let class = failure.as_ref().map(|failure| failure.class);
    let paced = class.is_some_and(|class| class.traits().outlives_restart);
    let since = time(error.map(|error| &error.since_time));
    if let Some((failure, since)) = failure.zip(since) {
        attempts.resume_failure(&failure, since);
    }
    let renewed_at = time(seen.last_renewal_time.as_ref());
    let times = renewed_at.zip(time(seen.expiration_time.as_ref()));
    let lifetime = times.map(|(requested_at, expires_at)| Lifetime {
        requested_at,
        expires_at,
    });
    // A clock that was ahead may have planned for years from now.
    let lifetime = lifetime.filter(|lifetime| unextended && lifetime.is_plausible(now));
    let keeps_time = paced || lifetime.is_some() || (failed && seen.expiration_time.is_some());
    let next = time(seen.next_attempt_time.as_ref());
    let next = match class {
        Some(class) if class.traits().is_retried_on_change && is_respecified(app) => Some(now),
        _ => next,
    };
    // A retry that is due may have been made by the former process, but its token not written.
    if let Some(next) = next.filter(|next| keeps_time && (failed || *next > now)) {
        // Whoever may write the status must not stop a token that others share.
        let (latest, renewals) = match lifetime.filter(|_| !failed) {
            Some(lifetime) => (
                lifetime.expires_at + SignedDuration::from_secs(1),
                Renewals::resumed(lifetime, app.spec.renew_before(), next),
            ),
            None => (now + SignedDuration::from_hours(1), Renewals::Usual),
        };
        attempts.resume(next.min(latest), renewals, now);
    }
    corp.resumed = Some(Box::new(Resumed {
        attempts,
        renewed_at,
        failing_since: since,
    }));
}

/// Whether the spec has changed since the status was written.
fn is_respecified(app: &DingTalkApp) -> bool {
    let status = app.status.as_ref();
    status.is_some_and(|status| status.observed_generation != app.metadata.generation)
}

/// Whether an error may keep a fetched token from being written.
fn is_of_write(error: &CorpError) -> bool {
    Failure::recorded(error).is_none()
}

fn time(text: Option<&String>) -> Option<Timestamp> {
    text?.parse().ok()
}

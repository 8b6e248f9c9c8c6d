//! Retries of failures that no condition reports.

use jiff::{SignedDuration, Timestamp};
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use tracing::{debug, warn};

use super::cluster::ClusterError;

/// Retry interval after a failed call to the API server.
pub(super) const RETRY: SignedDuration = SignedDuration::from_secs(5);
/// Retry interval after a refused call about which nothing is remembered.
pub(super) const REFUSED_RETRY: SignedDuration = SignedDuration::from_secs(60);
/// Time for the watch to deliver what somebody else has written.
pub(super) const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// Logs a failure that concerns the object `key` and returns when to retry.
pub(super) fn retry_later<K: Resource<DynamicType = ()>>(
    key: &ObjectRef<K>,
    what: &str,
    error: &ClusterError,
    now: Timestamp,
) -> Timestamp {
    retry_after(RETRY, key, what, error, now)
}

fn retry_after<K: Resource<DynamicType = ()>>(
    wait: SignedDuration,
    key: &ObjectRef<K>,
    what: &str,
    error: &ClusterError,
    now: Timestamp,
) -> Timestamp {
    warn!(kind = &*K::kind(&()), namespace = key.namespace, name = key.name, retry_seconds = wait.as_secs(), %error, "{what} failed; will retry");
    now + wait
}

/// Logs that a read failed and returns when to retry. A read that was refused is retried at
/// `refused_until`.
pub(super) fn retry_read<K: Resource<DynamicType = ()>>(
    key: &ObjectRef<K>,
    what: &str,
    error: &ClusterError,
    refused_until: Option<Timestamp>,
    now: Timestamp,
) -> Timestamp {
    let wait = refused_until.map_or(RETRY, |until| until.duration_since(now));
    retry_after(wait, key, what, error, now)
}

/// Logs a failure and returns when to look again. If the object is gone, only `due` is kept,
/// because the object may have been created again since.
pub(super) fn retry_unless_gone<K: Resource<DynamicType = ()>>(
    key: &ObjectRef<K>,
    what: &str,
    error: &ClusterError,
    due: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    if error.is_not_found() {
        return due;
    }
    let retry = retry_later(key, what, error, now);
    Some(due.map_or(retry, |at| at.min(retry)))
}

/// Logs that a status could not be written and returns when to look again. A write that was refused
/// is retried at `refused_until`. A conflict is no failure: something else has changed the object,
/// which the watch delivers soon, but a changed status wakes nobody.
pub(super) fn retry_status<K: Resource<DynamicType = ()>>(
    key: &ObjectRef<K>,
    error: &ClusterError,
    refused_until: Option<Timestamp>,
    due: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    if let Some(until) = refused_until {
        let wait = until.duration_since(now);
        let retry = retry_after(wait, key, "status write", error, now);
        return Some(due.map_or(retry, |at| at.min(retry)));
    }
    if !error.is_conflict() {
        return retry_unless_gone(key, "status write", error, due, now);
    }
    debug!(kind = &*K::kind(&()), namespace = key.namespace, name = key.name, %error, "status changed meanwhile; will look again");
    let again = now + LOOK_AGAIN;
    Some(due.map_or(again, |at| at.min(again)))
}

/// Logs that the object `key` took too many steps in a row and returns when to retry.
pub(super) fn too_many_steps<K: Resource<DynamicType = ()>>(
    key: &ObjectRef<K>,
    now: Timestamp,
) -> Timestamp {
    warn!(
        kind = &*K::kind(&()),
        namespace = key.namespace,
        name = key.name,
        retry_seconds = RETRY.as_secs(),
        "too many steps in a row; will retry"
    );
    now + RETRY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::AppRef;

    #[test]
    fn what_fails_cancels_no_renewal() {
        let refused = |code, reason| ClusterError::Call {
            operation: "write the status",
            source: kube::Error::Api(Box::new(
                kube::core::Status::failure("no", reason).with_code(code),
            )),
        };
        let app = AppRef::new("payroll").within("hr");
        let now = Timestamp::UNIX_EPOCH;
        let (soon, retry) = (now + SignedDuration::from_secs(1), now + RETRY);
        let late = Some(retry + RETRY);
        for (error, due, at) in [
            (refused(409, "Conflict"), Some(soon), Some(soon)),
            (refused(409, "Conflict"), late, Some(retry)),
            (refused(500, "InternalError"), None, Some(retry)),
            (refused(404, "NotFound"), late, late),
            (refused(404, "NotFound"), None, None),
        ] {
            let found = retry_unless_gone(&app, "reconcile", &error, due, now);
            assert_eq!(found, at, "{error} {due:?}");
            let found = retry_status(&app, &error, None, due, now);
            let is_sooner = error.is_conflict() && due != Some(soon);
            assert_eq!(found, if is_sooner { Some(soon) } else { at }, "{error}");
        }
        let (error, until) = (refused(403, "Forbidden"), now + REFUSED_RETRY);
        let retry = |due| retry_status(&app, &error, Some(until), due, now);
        assert_eq!(retry(None), Some(until));
        assert_eq!(retry(Some(soon)), Some(soon));
    }
}

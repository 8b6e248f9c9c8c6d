//! What failed in a way that no condition tells of, and is tried again.

use jiff::{SignedDuration, Timestamp};
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use tracing::warn;

use super::cluster::ClusterError;

/// After a call to the API server that failed.
pub(super) const RETRY: SignedDuration = SignedDuration::from_secs(5);

/// Logs what failed of the object `key`; returns the time to try again.
pub(super) fn retry_later<K: Resource<DynamicType = ()>>(
    key: &ObjectRef<K>,
    what: &str,
    error: &ClusterError,
    now: Timestamp,
) -> Timestamp {
    warn!(kind = &*K::kind(&()), namespace = key.namespace, name = key.name, retry_seconds = RETRY.as_secs(), %error, "{what} failed; will retry");
    now + RETRY
}

/// The same, unless the object is gone; returns the time to look again. What was `due` stays so: an object
/// that is gone may have been created anew since.
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

/// Logs that the object `key` took more steps than any way through its plan has; returns the time to
/// try again.
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
            let found = retry_unless_gone(&app, "status write", &error, due, now);
            assert_eq!(found, at, "{error} {due:?}");
        }
    }
}

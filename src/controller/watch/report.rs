//! Reports failing watches.

use kube::core::Status;
use kube::runtime::watcher;
use tracing::{info, warn};

use crate::controller::context::Context;
use crate::controller::scopes::Scope;
use crate::operator::said;

const GONE: u16 = 410;
const TOO_MANY_REQUESTS: u16 = 429;

/// Logs a watch's failure, with advice if there is any. The watch is retried.
pub(crate) fn report(context: &Context, what: &str, scope: &Scope, error: &watcher::Error) {
    let said = said(error);
    if let Some(harmless) = harmless(error) {
        info!(what, namespace = scope.as_deref(), error = %said, "{harmless}");
        return;
    }
    let status = answer(error);
    if status.is_some_and(Status::is_forbidden) {
        context.scopes.refused(scope);
    }
    let advice = match status {
        Some(status) if status.is_not_found() => "install the CRDs: kubectl apply -k crds/",
        Some(status) if status.is_forbidden() => {
            "grant the operator its role: see deploy/rbac/role.yaml"
        }
        _ => "the watch is started again",
    };
    warn!(what, namespace = scope.as_deref(), error = %said, advice, "watch failed");
}

/// Returns the API server's answer, if there was one.
fn answer(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

/// Returns what happens, if nothing is wrong with the watch.
fn harmless(error: &watcher::Error) -> Option<&'static str> {
    match answer(error)?.code {
        GONE => Some("watch expired; listing again"),
        TOO_MANY_REQUESTS => Some("API server busy; starting the watch again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: a watch that had expired, as each does at some time, was logged as a failure.
    #[test]
    fn a_watch_that_expires_or_waits_for_a_busy_api_server_has_not_failed() {
        let status = |code| {
            Status::failure("too old", "Expired")
                .with_code(code)
                .boxed()
        };
        let failed = |code| kube::Error::Api(status(code));
        let is_harmless = |error| harmless(&error).is_some();
        for code in [GONE, TOO_MANY_REQUESTS] {
            assert!(is_harmless(watcher::Error::WatchError(status(code))));
            assert!(is_harmless(watcher::Error::WatchStartFailed(failed(code))));
            assert!(is_harmless(watcher::Error::InitialListFailed(failed(code))));
        }
        assert!(!is_harmless(watcher::Error::WatchStartFailed(failed(403))));
        assert!(!is_harmless(watcher::Error::NoResourceVersion));
    }
}

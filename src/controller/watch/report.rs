//! Reports failing watches.

use kube::runtime::watcher;
use tracing::{info, warn};

use crate::controller::context::Context;
use crate::controller::scopes::Scope;
use crate::operator::said;

const TOO_MANY_REQUESTS: u16 = 429;

/// Logs a watch's failure, with advice if there is any. The watch is retried.
pub(crate) fn report(context: &Context, what: &str, scope: &Scope, error: &watcher::Error) {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status),
        _ => None,
    };
    let said = said(error);
    // A busy or starting API server says when to retry: nothing is wrong with the watch.
    if status.is_some_and(|status| status.code == TOO_MANY_REQUESTS) {
        info!(
            what,
            namespace = scope.as_deref(),
            error = said,
            "API server busy; starting the watch again"
        );
        return;
    }
    if status.is_some_and(|status| status.is_forbidden()) {
        context.scopes.refused(scope);
    }
    let advice = match status {
        Some(status) if status.is_not_found() => "install the CRDs: kubectl apply -k crds/",
        Some(status) if status.is_forbidden() => {
            "grant the operator its role: see deploy/rbac/role.yaml"
        }
        _ => "the watch is started again",
    };
    warn!(
        what,
        namespace = scope.as_deref(),
        error = said,
        advice,
        "watch failed"
    );
}

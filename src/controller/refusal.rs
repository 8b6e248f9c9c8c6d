//! Apps that are not served, since their namespace is past one of its bounds; and those that are again.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::Context;
use super::cluster::ClusterError;
use super::index::{AppRef, app_ref, named};
use super::watch::lighten;
use crate::api::DingTalkApp;
use crate::plan::{Refusal, refused_previous, refused_status, wanted};

/// After a call to the API server that failed.
const RETRY: SignedDuration = SignedDuration::from_secs(5);

/// (client) Says in the status of an app why it is not served; gives the time to try again.
pub async fn refuse(
    context: &Arc<Context>,
    app: &DingTalkApp,
    refusal: Refusal,
) -> Option<Timestamp> {
    let key = app_ref(app);
    // What is queued for it is not fetched, and what it took in memory is given back.
    context.forget(&key);
    if !context.leads() || app.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let now = Timestamp::now();
    let status = refused_status(app, refusal, now)?;
    info!(app = %named(&key), ?refusal, "not served: the namespace is past a bound");
    let cluster = &context.cluster;
    match cluster
        .write_status(app, &refused_previous(), &status)
        .await
    {
        Err(error) if !error.is_not_found() && !error.is_conflict() => {
            warn!(app = %named(&key), %error, "status write failed; will retry");
            Some(now + RETRY)
        }
        _ => None,
    }
}

/// (client) Reads an app that is served again, and what it needs; gives the time to try again.
pub async fn restore(context: &Arc<Context>, stub: &DingTalkApp) -> Option<Timestamp> {
    let key = app_ref(stub);
    match read(context, &key).await {
        Ok(None) => None,
        Ok(Some(app)) => {
            let sender = context.restored.get(&key.namespace);
            if let Some(sender) = sender.or_else(|| context.restored.get(&None)) {
                // The controller is gone only when the process ends.
                let _ = sender.unbounded_send(app);
            }
            None
        }
        Err(error) => {
            warn!(app = %named(&key), %error, "reading an app that is served again failed; will retry");
            Some(Timestamp::now() + RETRY)
        }
    }
}

/// An app, with its Secrets seen: they were not followed while it was not served, and what is not
/// known to be there would be fetched anew.
async fn read(context: &Arc<Context>, key: &AppRef) -> Result<Option<DingTalkApp>, ClusterError> {
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let Some(mut app) = context.cluster.read_app(namespace, &key.name).await? else {
        return Ok(None);
    };
    lighten(&mut app);
    // From here on, the index keeps what is seen of its Secrets.
    let others = context.index().app_applied(&app);
    context.wake_all(others);
    let credentials = app.spec.credentials_secret_ref.name.clone();
    let targets = wanted(&app).into_iter().map(|target| target.name);
    for name in std::iter::once(credentials).chain(targets) {
        let users = match context.cluster.read_secret_metadata(namespace, &name).await {
            Ok(metadata) => context.secret_seen(metadata),
            Err(error) if error.is_not_found() => context.secret_gone(namespace, &name),
            Err(error) => return Err(error),
        };
        context.wake_all(users.into_iter().filter(|user| user != key));
    }
    Ok(Some(app))
}

//! Objects that are not served, and objects that are served again.

use std::fmt::Debug;
use std::sync::Arc;

use jiff::Timestamp;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use serde::Serialize;
use tracing::info;

use super::cluster::ClusterError;
use super::context::Context;
use super::kept::{lighten, lighten_reference};
use super::retry::{retry_later, retry_status};
use super::secrets::{Owner, Secrets};
use super::triggers::{Senders, send};
use crate::api::{
    AppRef, DingTalkApp, DingTalkTokenReference, DingTalkTokenReferenceStatus, ReferenceRef,
    app_ref, reference_ref,
};
use crate::core::{
    Refusal, forget_forbidden, refused_previous, refused_reference_status, refused_status, wanted,
};

/// (client) Reports in an app's status why it is not served, and returns when to retry.
pub(super) async fn refuse(
    context: &Arc<Context>,
    app: &DingTalkApp,
    refusal: &Refusal,
) -> Option<Timestamp> {
    let key = app_ref(app);
    // Drops its queued fetches and frees its memory.
    context.forget(&mut context.core(), &key);
    let status = refused_status(app, refusal, context.wall());
    if matches!(refusal, Refusal::UnsupportedSpec(_))
        && let Some(shown) = status.as_ref().or(app.status.as_ref())
    {
        context.measure_app(&key, |metrics, namespace, name| {
            metrics.apps.set(namespace, name, &shown.conditions);
        });
    }
    let status = status?;
    say(
        context,
        app,
        &key,
        refusal,
        (&refused_previous(refusal), &status),
    )
    .await
}

/// (client) Reports in a reference's status why it is not served, and returns when to retry.
pub(super) async fn refuse_reference(
    context: &Arc<Context>,
    reference: &DingTalkTokenReference,
    refusal: &Refusal,
) -> Option<Timestamp> {
    let key = reference_ref(reference);
    context.forget_reference(&mut context.core(), &key);
    let status = refused_reference_status(reference, refusal, context.wall());
    if matches!(refusal, Refusal::UnsupportedSpec(_))
        && let Some(shown) = status.as_ref().or(reference.status.as_ref())
    {
        context.measure_reference(&key, |metrics, namespace, name| {
            metrics.references.set(namespace, name, &shown.conditions);
        });
    }
    let status = status?;
    let previous = DingTalkTokenReferenceStatus::default();
    say(context, reference, &key, refusal, (&previous, &status)).await
}

/// Writes `status` over `previous` and returns when to retry.
async fn say<K, S>(
    context: &Arc<Context>,
    object: &K,
    key: &ObjectRef<K>,
    refusal: &Refusal,
    (previous, status): (&S, &S),
) -> Option<Timestamp>
where
    K: Resource<DynamicType = ()> + Debug,
    S: Serialize,
{
    if !context.leads() || object.meta().deletion_timestamp.is_some() {
        return None;
    }
    info!(kind = %K::kind(&()), namespace = key.namespace, name = key.name, ?refusal, see = refusal.reason().page(), "not served");
    let written = context
        .cluster
        .write_status(object, (previous, None), status);
    let error = written.await.err()?;
    retry_status(key, &error, None, context.wall())
}

/// (client) Reads an app that is served again, and its Secrets. Returns when to retry.
pub(super) async fn restore(context: &Arc<Context>, stub: &DingTalkApp) -> Option<Timestamp> {
    let key = app_ref(stub);
    let read = read(context, &key).await;
    hand_over(
        &context.restored,
        &key,
        "reading an app",
        read,
        context.wall(),
    )
}

/// (client) Reads a reference that is served again, and its copies. Returns when to retry.
pub(super) async fn restore_reference(
    context: &Arc<Context>,
    stub: &DingTalkTokenReference,
) -> Option<Timestamp> {
    let key = reference_ref(stub);
    let read = read_reference(context, &key).await;
    let restored = &context.restored_references;
    hand_over(restored, &key, "reading a reference", read, context.wall())
}

/// Passes an object that was read, if it still exists, to its controller. Returns when to retry.
fn hand_over<K: Resource<DynamicType = ()>>(
    restored: &Senders<K>,
    key: &ObjectRef<K>,
    what: &str,
    read: Result<Option<K>, ClusterError>,
    now: Timestamp,
) -> Option<Timestamp> {
    match read {
        Ok(object) => {
            let object = object?;
            send(restored, &key.namespace, object);
            None
        }
        Err(error) => {
            let what = format!("{what} that is served again");
            Some(retry_later(key, &what, &error, now))
        }
    }
}

/// Reads an app and its Secrets. They were not followed while it was not served, and tokens in
/// unknown Secrets would be fetched again.
async fn read(context: &Arc<Context>, key: &AppRef) -> Result<Option<DingTalkApp>, ClusterError> {
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let read = context.cluster.read_app(namespace, &key.name);
    let read = read.await?;
    let Some(mut app) = read else {
        return Ok(None);
    };
    lighten(&mut app);
    let target = &mut app.spec.target;
    forget_forbidden(
        &mut target.labels,
        &mut target.annotations,
        &context.metadata_prefixes,
    );
    // From here on, the index keeps its Secrets.
    let others = context.core().index.app_read(&app);
    context.wake_all(others);
    let credentials = app.spec.credentials_secret_ref.name.clone();
    let targets = wanted(&app).into_iter().map(|target| target.name);
    let secrets = Secrets {
        context,
        owner: Owner::App(key),
    };
    for name in std::iter::once(credentials).chain(targets) {
        secrets.look(&name).await?;
    }
    Ok(Some(app))
}

/// Reads a reference and its copies, which were not followed while it was not served.
async fn read_reference(
    context: &Arc<Context>,
    key: &ReferenceRef,
) -> Result<Option<DingTalkTokenReference>, ClusterError> {
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let read = context.cluster.read_reference(namespace, &key.name);
    let read = read.await?;
    let Some(mut reference) = read else {
        return Ok(None);
    };
    lighten_reference(&mut reference);
    let target = &mut reference.spec.target;
    forget_forbidden(
        &mut target.labels,
        &mut target.annotations,
        &context.metadata_prefixes,
    );
    let names = {
        let mut core = context.core();
        let others = core.index.reference_read(&reference);
        let names = core.index.copies_of(&reference);
        drop(core);
        context.wake_references(others);
        names
    };
    let secrets = Secrets {
        context,
        owner: Owner::Reference(key),
    };
    for name in names {
        secrets.look(&name).await?;
    }
    Ok(Some(reference))
}

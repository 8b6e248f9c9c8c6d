//! Objects that are not served, and objects that are served again.

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use serde::Serialize;
use tracing::info;

use super::cluster::Result;
use super::context::Context;
use super::kind::Kind;
use super::retry::{REFUSED_RETRY, RETRY, retry_read, retry_status};
use super::secrets::Secrets;
use crate::api::{
    AppRef, DingTalkApp, DingTalkTokenReference, DingTalkTokenReferenceStatus, ReferenceRef,
};
use crate::core::{Refusal, refused_previous, refused_reference_status, refused_status, wanted};

/// (client) Reports in an app's status why it is not served, and returns when to retry.
pub(super) async fn refuse(
    context: &Context,
    (app, key): (&DingTalkApp, &AppRef),
    refusal: &Refusal,
) -> Option<Timestamp> {
    // Drops its queued fetches and frees its memory.
    context.forget(&mut context.core(), key);
    let status = refused_status(app, refusal, context.wall());
    if matches!(refusal, Refusal::UnsupportedSpec(_))
        && let Some(shown) = status.as_ref().or(app.status.as_ref())
    {
        context.measure(key, |metrics, namespace, name| {
            metrics.apps.set(namespace, name, &shown.conditions);
        });
    }
    let over = (&refused_previous(refusal), &status?);
    say(context, (app, key), refusal, over).await
}

/// (client) Reports in a reference's status why it is not served, and returns when to retry.
pub(super) async fn refuse_reference(
    context: &Context,
    (reference, key): (&DingTalkTokenReference, &ReferenceRef),
    refusal: &Refusal,
) -> Option<Timestamp> {
    context.forget_reference(&mut context.core(), key);
    let status = refused_reference_status(reference, refusal, context.wall());
    if matches!(refusal, Refusal::UnsupportedSpec(_))
        && let Some(shown) = status.as_ref().or(reference.status.as_ref())
    {
        context.measure(key, |metrics, namespace, name| {
            metrics.references.set(namespace, name, &shown.conditions);
        });
    }
    let over = (&DingTalkTokenReferenceStatus::default(), &status?);
    say(context, (reference, key), refusal, over).await
}

/// Writes `status` over `previous` and returns when to retry.
async fn say<K, S>(
    context: &Context,
    (object, key): (&K, &ObjectRef<K>),
    refusal: &Refusal,
    (previous, status): (&S, &S),
) -> Option<Timestamp>
where
    K: Kind,
    S: Serialize,
{
    if !context.leads() || object.meta().deletion_timestamp.is_some() {
        return None;
    }
    info!(
        kind = %K::NAME,
        namespace = key.namespace,
        name = key.name,
        ?refusal,
        see = refusal.reason().page(),
        "not served"
    );
    let written = context
        .cluster
        .write_status(object, (previous, None), status);
    let error = written.await.err()?;
    let now = context.wall();
    let refused_until = error.is_refused().then(|| now + REFUSED_RETRY);
    retry_status(key, &error, refused_until, None, now)
}

/// (client) Reads an app that is served again, and its Secrets. Returns when to retry.
pub(super) async fn restore(context: &Context, key: &AppRef) -> Option<Timestamp> {
    let read = read(context, key).await;
    hand_over(context, key, "reading an app that is served again", read)
}

/// (client) Reads a reference that is served again, and its copies. Returns when to retry.
pub(super) async fn restore_reference(context: &Context, key: &ReferenceRef) -> Option<Timestamp> {
    let read = read_reference(context, key).await;
    let what = "reading a reference that is served again";
    hand_over(context, key, what, read)
}

/// Passes an object that was read, if it still exists, to its controller. Returns when to retry, which
/// is needed if the controller finds the read stale; otherwise the object is looked at before.
fn hand_over<K: Kind>(
    context: &Context,
    key: &ObjectRef<K>,
    what: &str,
    read: Result<Option<K>>,
) -> Option<Timestamp> {
    match read {
        Ok(object) => {
            K::queue(&context.queues).restore(object?);
            Some(context.wall() + RETRY)
        }
        Err(error) => {
            let now = context.wall();
            let until = error.is_forbidden().then(|| now + REFUSED_RETRY);
            Some(retry_read(key, what, &error, until, now))
        }
    }
}

/// Reads an app and its Secrets. They were not followed while it was not served, and tokens in
/// unknown Secrets would be fetched again.
async fn read(context: &Context, key: &AppRef) -> Result<Option<DingTalkApp>> {
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let Some(mut app) = context.cluster.read_app(namespace, &key.name).await? else {
        return Ok(None);
    };
    app.lighten(&context.metadata_prefixes);
    // From here on, the index keeps its Secrets.
    let others = context.core().index.app_read(&app);
    context.wake_all(others);
    let mut names = vec![app.spec.credentials_secret_ref.name.clone()];
    names.extend(wanted(&app).into_iter().map(|target| target.name));
    look(context, key, names).await?;
    Ok(Some(app))
}

/// Reads a reference and its copies, which were not followed while it was not served.
async fn read_reference(
    context: &Context,
    key: &ReferenceRef,
) -> Result<Option<DingTalkTokenReference>> {
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let read = context.cluster.read_reference(namespace, &key.name);
    let Some(mut reference) = read.await? else {
        return Ok(None);
    };
    reference.lighten(&context.metadata_prefixes);
    let (others, names) = {
        let index = &mut context.core().index;
        let others = index.reference_read(&reference);
        (others, index.copies_of(&reference))
    };
    context.wake_all(others);
    look(context, key, names).await?;
    Ok(Some(reference))
}

/// Reads the metadata of an object's Secrets.
async fn look<K: Kind>(context: &Context, owner: &ObjectRef<K>, names: Vec<String>) -> Result<()> {
    let secrets = Secrets { context, owner };
    for name in names {
        secrets.look(&name).await?;
    }
    Ok(())
}

//! Records what arrives through the watches of apps and references, and makes it lighter.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;

use crate::api::{
    AppRef, DingTalkApp, DingTalkTokenReference, ReferenceRef, app_ref, reference_ref,
};
use crate::controller::context::Context;
use crate::controller::decoded::{Decoded, map_object};
use crate::core::{Concerned, Core, Stub};

/// Converts an event's objects for the controller: an object becomes a stub if it cannot be
/// decoded, or if it has just become decodable and must be read together with its Secrets.
fn supported<K>(
    event: Event<Decoded<K>>,
    decoded: impl FnOnce(&ObjectMeta, Option<&str>) -> bool,
) -> Event<K>
where
    K: Resource + Stub,
{
    map_object(event, |object| match object {
        Decoded::Object(mut object) => {
            if decoded(object.meta(), None) {
                object.strip();
            }
            object
        }
        Decoded::Unsupported(unsupported) => {
            decoded(&unsupported.metadata, Some(&unsupported.error));
            K::of_unsupported(unsupported.metadata, unsupported.conditions)
        }
    })
}

/// Records an event and returns it, without what is heavy if its app is not served, followed by
/// events with the stubs of apps that are no longer served because of it.
pub(crate) fn admit(
    context: &Context,
    scope: Option<&str>,
    event: Event<Decoded<DingTalkApp>>,
) -> Vec<Event<DingTalkApp>> {
    let mut event = supported(event, |metadata, error| {
        let index = &mut context.core().index;
        index.app_decoded(&key_of(metadata), error)
    });
    app_event(context, scope, &event);
    let mut core = context.core();
    let refused = core.index.newly_refused();
    let mut own = None;
    if let Event::Apply(app) | Event::InitApply(app) = &mut event {
        let key = app_ref(app);
        if core.index.refusal(&key).is_some() {
            app.strip();
        }
        own = Some(key);
    }
    drop(core);
    let others = refused.into_iter();
    with_others(
        event,
        others.filter(|app| own.as_ref() != Some(&app_ref(app))),
    )
}

/// Records an event of a reference, like `admit`. `listed` are the references of the list in
/// progress.
pub(crate) fn admit_references(
    context: &Context,
    scope: Option<&str>,
    listed: &mut HashSet<ReferenceRef>,
    event: Event<Decoded<DingTalkTokenReference>>,
) -> Vec<Event<DingTalkTokenReference>> {
    let mut core = context.core();
    if let Event::Apply(decoded) | Event::InitApply(decoded) = &event {
        let metadata = decoded.meta();
        let uid = metadata.uid.as_deref().unwrap_or_default();
        if let Some(memory) = core.reference_of(&key_of(metadata), uid) {
            match event {
                Event::InitApply(_) => memory.written_status.listed(metadata),
                _ => memory.written_status.arrived(metadata),
            }
        }
    }
    let index = &mut core.index;
    let mut event = supported(event, |metadata, error| {
        index.reference_decoded(&key_of(metadata), error)
    });
    if let Event::InitApply(reference) = &event {
        listed.insert(reference_ref(reference));
    }
    let mut gone = Vec::new();
    let mut others = Vec::new();
    match &mut event {
        Event::Apply(reference) | Event::InitApply(reference) => {
            others = index.reference_applied(reference);
            if index.reference_refusal(&reference_ref(reference)).is_some() {
                reference.strip();
            }
        }
        Event::Delete(reference) => gone.push(reference_ref(reference)),
        Event::Init => listed.clear(),
        Event::InitDone => gone = index.references_gone(scope, &std::mem::take(listed)),
    }
    others.extend(gone.iter().flat_map(|key| index.reference_deleted(key)));
    let refused = index.newly_refused_references();
    for key in &gone {
        context.forget_reference(&mut core, key);
    }
    drop(core);
    context.wake_all(others);
    with_others(event, refused.into_iter())
}

/// Returns an event, followed by the same event for other objects.
fn with_others<K>(event: Event<K>, others: impl Iterator<Item = K>) -> Vec<Event<K>> {
    let is_init = matches!(event, Event::InitApply(_));
    let others = others.map(|object| match is_init {
        true => Event::InitApply(object),
        false => Event::Apply(object),
    });
    std::iter::once(event).chain(others).collect()
}

fn key_of<K: Resource<DynamicType = ()>>(metadata: &ObjectMeta) -> ObjectRef<K> {
    ObjectRef::new(metadata.name.as_deref().unwrap_or_default())
        .within(metadata.namespace.as_deref().unwrap_or_default())
}

/// Records an event of an app and wakes the objects that it concerns.
pub(crate) fn app_event(context: &Context, scope: Option<&str>, event: &Event<DingTalkApp>) {
    let mut core = context.core();
    let concerned = match event {
        Event::Apply(app) | Event::InitApply(app) => {
            let key = app_ref(app);
            if let Some(memory) = core.app(&key) {
                match event {
                    Event::InitApply(_) => memory.written_status.listed(&app.metadata),
                    _ => memory.written_status.arrived(&app.metadata),
                }
            }
            let apps = core.index.app_applied(app);
            context.measure_refused(&core, key.namespace.as_deref());
            Concerned {
                apps,
                references: core.index.referrers(&key),
            }
        }
        Event::Delete(app) => apps_gone(context, &mut core, &[app_ref(app)]),
        Event::Init => {
            core.index.apps_listing(scope);
            Concerned::default()
        }
        Event::InitDone => {
            context.scopes.apps_listed(&scope.map(str::to_owned));
            let gone = core.index.apps_listed(scope);
            apps_gone(context, &mut core, &gone)
        }
    };
    drop(core);
    context.look_at(concerned);
}

/// Forgets apps that are gone and returns the objects that this concerns.
fn apps_gone(context: &Context, core: &mut Core, gone: &[AppRef]) -> Concerned {
    let mut concerned = Concerned::default();
    for app in gone {
        context.forget(core, app);
        concerned.apps.extend(core.index.app_deleted(app));
        concerned.references.extend(core.index.referrers(app));
    }
    for app in gone {
        context.measure_refused(core, app.namespace.as_deref());
    }
    concerned
}

#[cfg(test)]
mod tests;

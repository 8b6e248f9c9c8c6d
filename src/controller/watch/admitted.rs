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
/// events with the stubs of apps that are no longer served because of it. `listed` are the apps of
/// the list in progress.
pub(crate) fn admit(
    context: &Context,
    scope: Option<&str>,
    listed: &mut HashSet<AppRef>,
    event: Event<Decoded<DingTalkApp>>,
) -> Vec<Event<DingTalkApp>> {
    let mut event = supported(event, |metadata, error| {
        let index = &mut context.core().index;
        index.admission.decoded(&key_of(metadata), error)
    });
    app_event(context, scope, listed, &event);
    let index = &mut context.core().index;
    if let Event::Apply(app) | Event::InitApply(app) = &mut event
        && index.admission.refusal(&app_ref(app)).is_some()
    {
        app.strip();
    }
    with_others(event, index.newly_refused(scope), listed)
}

/// Records an event of a reference, like `admit`.
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
        index.reference_admission.decoded(&key_of(metadata), error)
    });
    if let Event::InitApply(reference) = &event {
        listed.insert(reference_ref(reference));
    }
    let mut gone = Vec::new();
    let mut others = Vec::new();
    match &mut event {
        Event::Apply(reference) | Event::InitApply(reference) => {
            others = index.reference_applied(reference);
            let key = reference_ref(reference);
            if index.reference_admission.refusal(&key).is_some() {
                reference.strip();
            }
        }
        Event::Delete(reference) => gone.push(reference_ref(reference)),
        Event::Init => listed.clear(),
        Event::InitDone => {
            gone = index
                .reference_admission
                .gone(scope, &std::mem::take(listed));
        }
    }
    others.extend(gone.iter().flat_map(|key| index.reference_deleted(key)));
    let refused = index.newly_refused_references(scope);
    for key in &gone {
        context.forget_reference(&mut core, key);
    }
    drop(core);
    context.wake_all(others);
    with_others(event, refused, listed)
}

/// Returns an event, followed by the same event for the stubs of other objects.
fn with_others<K: Resource<DynamicType = ()>>(
    event: Event<K>,
    stubs: Vec<K>,
    listed: &HashSet<ObjectRef<K>>,
) -> Vec<Event<K>> {
    let own = match &event {
        Event::Apply(object) | Event::InitApply(object) => Some(ObjectRef::from_obj(object)),
        Event::Delete(_) | Event::Init | Event::InitDone => None,
    };
    let is_init = matches!(event, Event::InitApply(_));
    let stubs = stubs.into_iter().filter(|stub| {
        let key = ObjectRef::from_obj(stub);
        // The list may lack what it has not contained yet; otherwise that comes as a stub itself.
        own.as_ref() != Some(&key) && (!is_init || listed.contains(&key))
    });
    let stubs = stubs.map(|stub| match is_init {
        true => Event::InitApply(stub),
        false => Event::Apply(stub),
    });
    std::iter::once(event).chain(stubs).collect()
}

fn key_of<K: Resource<DynamicType = ()>>(metadata: &ObjectMeta) -> ObjectRef<K> {
    ObjectRef::new(metadata.name.as_deref().unwrap_or_default())
        .within(metadata.namespace.as_deref().unwrap_or_default())
}

/// Records an event of an app and wakes the objects that it concerns.
pub(crate) fn app_event(
    context: &Context,
    scope: Option<&str>,
    listed: &mut HashSet<AppRef>,
    event: &Event<DingTalkApp>,
) {
    let mut core = context.core();
    if let Event::InitApply(app) = event {
        listed.insert(app_ref(app));
    }
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
            listed.clear();
            Concerned::default()
        }
        Event::InitDone => {
            context.scopes.apps_listed(&scope.map(str::to_owned));
            let gone = core.index.admission.gone(scope, &std::mem::take(listed));
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

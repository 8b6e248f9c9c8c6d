//! References to apps and `DingTalkTokenReferences`.

use kube::runtime::reflector::ObjectRef;

use super::{DingTalkApp, DingTalkTokenReference};

/// Namespace and name of an app.
pub type AppRef = ObjectRef<DingTalkApp>;
/// Namespace and name of a `DingTalkTokenReference`.
pub type ReferenceRef = ObjectRef<DingTalkTokenReference>;

/// Returns the namespace and name of an app, without UID and resourceVersion to save memory.
pub fn app_ref(app: &DingTalkApp) -> AppRef {
    AppRef::new(app.metadata.name.as_deref().unwrap_or_default())
        .within(app.metadata.namespace.as_deref().unwrap_or_default())
}

/// Returns the namespace and name of an app as one text.
pub fn full_name(app: &AppRef) -> Box<str> {
    let namespace = app.namespace.as_deref().unwrap_or_default();
    format!("{namespace}/{}", app.name).into()
}

/// Returns the namespace and name of a `DingTalkTokenReference`.
pub fn reference_ref(reference: &DingTalkTokenReference) -> ReferenceRef {
    ReferenceRef::new(reference.metadata.name.as_deref().unwrap_or_default())
        .within(reference.metadata.namespace.as_deref().unwrap_or_default())
}

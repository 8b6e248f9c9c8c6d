//! What our objects are named by.

use kube::runtime::reflector::ObjectRef;

use super::{DingTalkApp, DingTalkTokenReference};

/// An app, by namespace and name.
pub type AppRef = ObjectRef<DingTalkApp>;
/// A `DingTalkTokenReference`, by namespace and name.
pub type ReferenceRef = ObjectRef<DingTalkTokenReference>;

/// The reference of an app: its name without UID and version, which thousands of copies would carry.
pub fn app_ref(app: &DingTalkApp) -> AppRef {
    AppRef::new(app.metadata.name.as_deref().unwrap_or_default())
        .within(app.metadata.namespace.as_deref().unwrap_or_default())
}

/// The same for a `DingTalkTokenReference`.
pub fn reference_ref(reference: &DingTalkTokenReference) -> ReferenceRef {
    ReferenceRef::new(reference.metadata.name.as_deref().unwrap_or_default())
        .within(reference.metadata.namespace.as_deref().unwrap_or_default())
}

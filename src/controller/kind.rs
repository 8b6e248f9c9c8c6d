//! What apps and references have in common.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use serde::de::DeserializeOwned;

use super::kept::{lighten, lighten_reference};
use super::work_queue::WorkQueue;
use crate::api::{DingTalkApp, DingTalkTokenReference};
use crate::core::{Concerned, Core, Stub};

/// The queues of all kinds.
pub(super) struct WorkQueues {
    pub apps: WorkQueue<DingTalkApp>,
    pub references: WorkQueue<DingTalkTokenReference>,
}

/// A kind whose objects are reconciled.
pub(super) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Stub
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Its name, as logs and metrics show it.
    const NAME: &'static str;

    fn queue(queues: &WorkQueues) -> &WorkQueue<Self>;

    /// Returns those of this kind.
    fn concerned(all: &mut Concerned) -> &mut Vec<ObjectRef<Self>>;

    /// Whether the object exists, served or not.
    fn exists(core: &Core, key: &ObjectRef<Self>) -> bool;

    /// Keeps only what is used. `allowed` are the prefixes of a target's label and annotation keys.
    fn lighten(&mut self, allowed: &[String]);
}

impl Kind for DingTalkApp {
    const NAME: &'static str = "DingTalkApp";

    fn queue(queues: &WorkQueues) -> &WorkQueue<Self> {
        &queues.apps
    }

    fn concerned(all: &mut Concerned) -> &mut Vec<ObjectRef<Self>> {
        &mut all.apps
    }

    fn exists(core: &Core, key: &ObjectRef<Self>) -> bool {
        core.index.admission.knows(key)
    }

    fn lighten(&mut self, allowed: &[String]) {
        lighten(self, allowed);
    }
}

impl Kind for DingTalkTokenReference {
    const NAME: &'static str = "DingTalkTokenReference";

    fn queue(queues: &WorkQueues) -> &WorkQueue<Self> {
        &queues.references
    }

    fn concerned(all: &mut Concerned) -> &mut Vec<ObjectRef<Self>> {
        &mut all.references
    }

    fn exists(core: &Core, key: &ObjectRef<Self>) -> bool {
        core.index.reference_admission.knows(key)
    }

    fn lighten(&mut self, allowed: &[String]) {
        lighten_reference(self, allowed);
    }
}

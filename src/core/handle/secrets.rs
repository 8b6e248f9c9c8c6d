//! Updates about Secrets, and which objects they concern.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Concerned, Core};
use crate::api::AppRef;
use crate::core::index::{Asked, Reported};

impl Core {
    /// Records a Secret that a watch reported.
    pub(crate) fn secret_applied(&mut self, reported: Reported) -> Concerned {
        let (namespace, name) = reported.secret.clone();
        let apps = self.index.secret_applied(reported);
        self.concerned(apps, &namespace, &name)
    }

    /// Records a Secret that a list contained.
    pub(crate) fn secret_in_list(&mut self, reported: Reported) -> Concerned {
        let (namespace, name) = reported.secret.clone();
        let apps = self.index.secret_in_list(reported);
        self.concerned(apps, &namespace, &name)
    }

    /// Records a Secret that a call returned.
    pub(crate) fn secret_answered(&mut self, reported: Reported, asked: &Asked) -> Concerned {
        let (namespace, name) = reported.secret.clone();
        let apps = self.index.secret_answered(reported, asked);
        self.concerned(apps, &namespace, &name)
    }

    /// Records that a watch reported a Secret's deletion.
    pub(crate) fn secret_deleted(&mut self, metadata: &ObjectMeta) -> Concerned {
        let apps = self.index.secret_deleted(metadata);
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let name = metadata.name.as_deref().unwrap_or_default();
        self.concerned(apps, namespace, name)
    }

    /// Records that a Secret does not exist, unless it was created since it was `asked` for.
    pub(crate) fn secret_not_found(
        &mut self,
        namespace: &str,
        name: &str,
        asked: &Asked,
    ) -> Concerned {
        let apps = self.index.secret_not_found(namespace, name, asked);
        self.concerned(apps, namespace, name)
    }

    /// Returns these apps, and the references that a Secret concerns.
    fn concerned(&self, apps: Vec<AppRef>, namespace: &str, name: &str) -> Concerned {
        Concerned {
            apps,
            references: self.index.references_of(namespace, name),
        }
    }
}

//! Updates about Secrets, and which objects they concern.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Concerned, Core};
use crate::api::AppRef;
use crate::core::index::Asked;

impl Core {
    /// Records a Secret that a call returned.
    pub(crate) fn secret_answered(&mut self, metadata: ObjectMeta, asked: &Asked) -> Concerned {
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let name = metadata.name.clone().unwrap_or_default();
        let apps = self.index.secret_answered(metadata, asked);
        self.concerned(apps, &namespace, &name)
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
    pub(crate) fn concerned(&self, apps: Vec<AppRef>, namespace: &str, name: &str) -> Concerned {
        Concerned {
            apps,
            references: self.index.references_of(namespace, name),
        }
    }
}

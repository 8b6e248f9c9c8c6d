//! Updates about Secrets, and which objects they concern.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Concerned, Core};
use crate::api::{AppRef, ReferenceRef};
use crate::core::index::{Asked, Index, Reported, SecretRef, secret_ref};
use crate::core::token::record::ObjectVersion;

impl Core {
    /// Records a Secret that a watch reported.
    pub(crate) fn secret_applied(&mut self, reported: Reported) -> Concerned {
        self.changed(&reported.secret.clone(), |index| {
            index.secret_applied(reported)
        })
    }

    /// Records a Secret that a list contained.
    pub(crate) fn secret_in_list(&mut self, reported: Reported) -> Concerned {
        self.changed(&reported.secret.clone(), |index| {
            index.secret_in_list(reported)
        })
    }

    /// Records a Secret that a call returned.
    pub(crate) fn secret_answered(&mut self, reported: Reported, asked: &Asked) -> Concerned {
        self.changed(&reported.secret.clone(), |index| {
            index.secret_answered(reported, asked)
        })
    }

    /// Records that a watch reported a Secret's deletion.
    pub(crate) fn secret_deleted(&mut self, metadata: &ObjectMeta) -> Concerned {
        self.changed(&secret_ref(metadata), |index| {
            index.secret_deleted(metadata)
        })
    }

    /// Records that a Secret does not exist, unless it was created since it was `asked` for.
    pub(crate) fn secret_not_found(
        &mut self,
        namespace: &str,
        name: &str,
        asked: &Asked,
    ) -> Concerned {
        self.changed(&(namespace.to_owned(), name.to_owned()), |index| {
            index.secret_not_found(namespace, name, asked)
        })
    }

    /// Records that a list of the Secrets of `scope` is complete.
    pub(crate) fn secrets_listed(&mut self, scope: Option<&str>) -> Concerned {
        let (apps, gone) = self.index.secrets_listed(scope);
        let references: HashSet<ReferenceRef> = gone
            .iter()
            .flat_map(|secret| self.index.references_of(secret))
            .collect();
        Concerned {
            apps,
            references: references.into_iter().collect(),
        }
    }

    /// Makes a change of what is known about a Secret. It concerns references only if they see the
    /// Secret otherwise than before: those of one app would wake each other whenever they read its
    /// Secret.
    fn changed(
        &mut self,
        secret: &SecretRef,
        change: impl FnOnce(&mut Index) -> Vec<AppRef>,
    ) -> Concerned {
        let before = self.seen(secret);
        let apps = change(&mut self.index);
        let references = match self.seen(secret) == before {
            true => Vec::new(),
            false => self.index.references_of(secret),
        };
        Concerned { apps, references }
    }

    /// Returns the version of a Secret, and whether nothing else is known about it.
    fn seen(&self, secret: &SecretRef) -> Option<(ObjectVersion, bool)> {
        let target = self.index.present(secret)?;
        Some((target.version.clone(), target.is_past_bounds()))
    }
}

#[cfg(test)]
mod tests;

//! Calls about the Secrets of one app or reference, and what is learned from the responses.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tracing::{info, warn};

use super::cluster::{ClusterError, SecretContents};
use super::context::Context;
use super::kinds::{APP, REFERENCE};
use crate::api::{AppRef, Cause, ReferenceRef};
use crate::core::Asked;
use crate::core::Concerned;
use crate::core::{
    Data, Deletion, FailedChange, ObjectVersion, Recorded, TargetMeta, Write, WriteOutcome,
};
use crate::dingtalk::Redactor;
use crate::operator::SecretWrite;

/// The object that Secrets are written for.
#[derive(Clone, Copy)]
pub(super) enum Owner<'a> {
    App(&'a AppRef),
    Reference(&'a ReferenceRef),
}

/// The Secrets of an object.
#[derive(Clone, Copy)]
pub(super) struct Secrets<'a> {
    pub context: &'a Context,
    pub owner: Owner<'a>,
}

impl<'a> Owner<'a> {
    /// Returns its kind, as logs and metrics name it.
    fn kind(self) -> &'static str {
        match self {
            Self::App(_) => APP,
            Self::Reference(_) => REFERENCE,
        }
    }

    fn name(self) -> &'a str {
        match self {
            Self::App(app) => &app.name,
            Self::Reference(reference) => &reference.name,
        }
    }

    fn namespace(self) -> &'a str {
        let namespace = match self {
            Self::App(app) => &app.namespace,
            Self::Reference(reference) => &reference.namespace,
        };
        namespace.as_deref().unwrap_or_default()
    }
}

impl<'a> Secrets<'a> {
    fn namespace(self) -> &'a str {
        self.owner.namespace()
    }

    /// (client) Writes a Secret. `public` lists further texts that an error may contain.
    pub(super) async fn write(
        self,
        write: &Write,
        cause: Cause,
        public: &[String],
    ) -> Result<WriteOutcome, ClusterError> {
        let (context, name) = (self.context, write.name.as_str());
        let asked = context.asks(self.namespace(), name);
        let started = context.clock.now().monotonic;
        let written = context.cluster.write_secret(self.namespace(), write).await;
        let took = context.clock.now().monotonic;
        let took = took.saturating_duration_since(started);
        let outcome = match &written {
            Ok(_) => SecretWrite::Written,
            Err(error) => error.written(),
        };
        context
            .metrics
            .secret_write(self.owner.kind(), cause, outcome, took);
        match written {
            Ok(metadata) => {
                self.log_write(write, cause);
                let version = ObjectVersion::of(&metadata);
                // The watch event of the same version will bring nothing new.
                self.look_at_others(context.secret_written(metadata, &asked));
                Ok(WriteOutcome::Done(version))
            }
            Err(error) if error.is_not_found() && write.replaces.is_some() => {
                self.look_at_others(context.secret_gone(self.namespace(), name, &asked));
                Ok(WriteOutcome::Outdated)
            }
            Err(error) if error.is_conflict() => {
                self.look(name).await?;
                Ok(WriteOutcome::Outdated)
            }
            Err(error) if error.is_immutable() && write.replaces.is_some() => {
                Ok(WriteOutcome::Immutable)
            }
            Err(error) => {
                let sent = write.data.values().flatten();
                let sent: Vec<&str> = sent.map(|value| value.as_str()).collect();
                let failed = self.failed(&error, name, &sent, public);
                warn!(
                    kind = self.owner.kind(),
                    namespace = self.namespace(),
                    name = self.owner.name(),
                    secret = name,
                    cause = cause.as_str(),
                    error = %failed.message,
                    see = failed.problem.reason().page(),
                    "Secret write failed; will retry"
                );
                Ok(WriteOutcome::Failed(failed))
            }
        }
    }

    /// (client) Reads a Secret of `namespace`: its metadata, and the values of the keys that it
    /// records. `None` if it does not exist, or if this replica may no longer learn what others
    /// wrote.
    pub(super) async fn read(
        self,
        operation: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<(TargetMeta, Option<Data>)>, ClusterError> {
        let context = self.context;
        let asked = context.asks(namespace, name);
        let read = context.cluster.read_secret(operation, namespace, name);
        match read.await {
            Ok(_) if !context.may_learn() => Ok(None),
            Ok(mut contents) => {
                let found = found(&mut contents);
                self.seen(contents.into_metadata(), &asked);
                Ok(Some(found))
            }
            Err(error) if error.is_not_found() => {
                self.look_at_others(context.secret_gone(namespace, name, &asked));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// (client) Deletes a Secret in the version that was seen. If it has another one, reads its
    /// metadata. `public` lists further texts that an error may contain.
    pub(super) async fn delete(
        self,
        operation: &'static str,
        name: &str,
        version: &ObjectVersion,
        why: Deletion,
        public: &[String],
    ) -> Result<(), FailedChange> {
        let context = self.context;
        let asked = context.asks(self.namespace(), name);
        let deleted = context
            .cluster
            .delete_secret(operation, self.namespace(), name, version);
        let looked = match deleted.await {
            Ok(()) => {
                info!(kind = self.owner.kind(), namespace = self.namespace(), name = self.owner.name(), secret = name, reason = ?why, "Secret deleted");
                self.look_at_others(context.secret_gone(self.namespace(), name, &asked));
                Ok(())
            }
            Err(error) if error.is_not_found() || error.is_conflict() => self.look(name).await,
            Err(error) => Err(error),
        };
        looked.map_err(|error| {
            let failed = self.failed(&error, name, &[], public);
            warn!(
                kind = self.owner.kind(),
                namespace = self.namespace(),
                name = self.owner.name(),
                secret = name,
                reason = ?why,
                error = %failed.message,
                see = failed.problem.reason().page(),
                "Secret deletion failed; will retry"
            );
            failed
        })
    }

    /// Returns a failure of the API server that is safe to show: a webhook could repeat what was
    /// `sent`.
    fn failed(
        self,
        error: &ClusterError,
        name: &str,
        sent: &[&str],
        public: &[String],
    ) -> FailedChange {
        let names = [name, self.namespace(), self.owner.name()];
        let public = public.iter().map(String::as_str);
        let redactor = Redactor::new(sent.iter().copied(), names.into_iter().chain(public));
        let message = redactor.clean(&error.to_string());
        FailedChange {
            problem: error.write_problem(),
            message: message.unwrap_or_else(|| "the API server refused it".to_owned()),
            random: self.context.clock.random(),
        }
    }

    /// (client) Reads the metadata of a Secret that may have changed.
    pub(super) async fn look(self, name: &str) -> Result<(), ClusterError> {
        let (context, namespace) = (self.context, self.namespace());
        let asked = context.asks(namespace, name);
        match context.cluster.read_secret_metadata(namespace, name).await {
            Ok(metadata) => self.seen(metadata, &asked),
            Err(error) if error.is_not_found() => {
                self.look_at_others(context.secret_gone(namespace, name, &asked));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Records a Secret that was read.
    fn seen(self, metadata: ObjectMeta, asked: &Asked) {
        self.look_at_others(self.context.secret_read(metadata, asked));
    }

    /// Wakes the objects concerned except the owner, which is being reconciled.
    fn look_at_others(self, mut concerned: Concerned) {
        match self.owner {
            Owner::App(app) => concerned.apps.retain(|other| other != app),
            Owner::Reference(reference) => concerned.references.retain(|other| other != reference),
        }
        self.context.look_at(concerned);
    }

    /// Logs a write and its cause.
    fn log_write(self, write: &Write, cause: Cause) {
        let tokens = &write.recorded.tokens;
        let expires_at = tokens.iter().map(|token| token.lifetime.expires_at).min();
        let corp_id = match tokens.as_slice() {
            [token] => Some(token.corp_id.as_str()),
            _ => None,
        };
        info!(
            kind = self.owner.kind(),
            namespace = self.namespace(),
            name = self.owner.name(),
            secret = write.name,
            corp_id,
            cause = cause.as_str(),
            tokens = tokens.len(),
            expires_at = expires_at.map(tracing::field::display),
            "Secret written"
        );
    }
}

/// Returns a Secret's metadata, and the values of the keys that it records.
pub(super) fn found(contents: &mut SecretContents) -> (TargetMeta, Option<Data>) {
    let target = TargetMeta::of(contents.metadata.clone());
    let keys: Vec<String> = target.recorded.iter().flat_map(Recorded::keys).collect();
    let data = Data::found(keys, |key| contents.take(key));
    (target, data)
}

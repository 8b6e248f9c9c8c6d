//! Calls about the Secrets of one app or reference, and what is learned from the responses.

use std::collections::BTreeSet;

use kube::runtime::reflector::ObjectRef;
use tracing::{info, warn};

use super::cluster::{ClusterError, Result, SecretContents};
use super::context::Context;
use super::kind::Kind;
use crate::core::{
    Concerned, Data, Deletion, FailedChange, Held, ObjectVersion, Recorded, TargetMeta, Why, Write,
    WriteOutcome, our_data,
};
use crate::dingtalk::Redactor;
use crate::operator::SecretWrite;

/// A Secret that was read.
pub(super) struct Found {
    pub target: TargetMeta,
    /// The keys that it records, as far as they are there.
    pub data: Data,
    /// The keys that the operator was the last to write.
    ours: BTreeSet<String>,
}

impl Found {
    /// Returns whether the data is as recorded, and the tokens: all of them, or else those whose
    /// values only the operator wrote according to the managed fields.
    pub(super) fn tokens(&self) -> (bool, Vec<Held>) {
        let Some(recorded) = &self.target.recorded else {
            return (false, Vec::new());
        };
        match self.data.tokens_recorded(recorded) {
            Some(tokens) => (true, tokens),
            // They say that nobody else has written any, so they do not tell which to believe.
            None if self.target.data_is_ours => (false, Vec::new()),
            None => (false, self.data.tokens_untouched(recorded, &self.ours)),
        }
    }
}

/// The Secrets of an object.
pub(super) struct Secrets<'a, K: Kind> {
    pub context: &'a Context,
    pub owner: &'a ObjectRef<K>,
}

impl<K: Kind> Secrets<'_, K> {
    fn namespace(&self) -> &str {
        self.owner.namespace.as_deref().unwrap_or_default()
    }

    /// (client) Writes a Secret. `public` lists further texts that an error may contain.
    pub(super) async fn write(
        &self,
        write: &Write,
        why: &Why,
        public: &[String],
    ) -> Result<WriteOutcome> {
        let (context, name) = (self.context, write.name.as_str());
        let asked = context.asks(self.namespace(), name);
        let started = context.clock.now().monotonic;
        let written = context.cluster.write_secret(self.namespace(), write).await;
        let took = context.clock.now().monotonic;
        let took = took.saturating_duration_since(started);
        let refused = written.as_ref().err();
        let is_creation = write.replaces.is_none();
        let outcome = refused.map_or(SecretWrite::Written, |it| it.written(is_creation));
        context
            .metrics
            .secret_write(K::NAME, why.cause, outcome, took);
        match written {
            Ok(metadata) => {
                self.log_write(write, why);
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
                    kind = K::NAME,
                    namespace = self.namespace(),
                    name = self.owner.name,
                    secret = name,
                    cause = why.cause.as_str(),
                    shared_by = why.shared_by.as_deref(),
                    renew_requested_at = why.renew_requested_at.as_deref(),
                    error = %failed.message,
                    see = failed.problem.reason().page(),
                    "Secret write failed; will retry"
                );
                Ok(WriteOutcome::Failed(failed))
            }
        }
    }

    /// (client) Reads a Secret of `namespace`. `None` if it does not exist, or if this replica may no
    /// longer learn what others wrote.
    pub(super) async fn read(
        &self,
        operation: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Found>> {
        let context = self.context;
        let asked = context.asks(namespace, name);
        let read = context.cluster.read_secret(operation, namespace, name);
        match read.await {
            Ok(_) if !context.may_learn() => Ok(None),
            Ok(mut contents) => {
                let found = found(&mut contents);
                self.look_at_others(context.secret_read(contents.metadata, &asked));
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
        &self,
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
                info!(kind = K::NAME, namespace = self.namespace(), name = self.owner.name, secret = name, reason = ?why, "Secret deleted");
                self.look_at_others(context.secret_deleted(self.namespace(), name, &asked));
                Ok(())
            }
            Err(error) if error.is_not_found() || error.is_conflict() => self.look(name).await,
            Err(error) => Err(error),
        };
        looked.map_err(|error| {
            let failed = self.failed(&error, name, &[], public);
            warn!(
                kind = K::NAME,
                namespace = self.namespace(),
                name = self.owner.name,
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
        &self,
        error: &ClusterError,
        name: &str,
        sent: &[&str],
        public: &[String],
    ) -> FailedChange {
        let names = [name, self.namespace(), self.owner.name.as_str()];
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
    pub(super) async fn look(&self, name: &str) -> Result<()> {
        let (context, namespace) = (self.context, self.namespace());
        let asked = context.asks(namespace, name);
        let concerned = match context.cluster.read_secret_metadata(namespace, name).await {
            Ok(metadata) => context.secret_read(metadata, &asked),
            Err(error) if error.is_not_found() => context.secret_gone(namespace, name, &asked),
            Err(error) => return Err(error),
        };
        self.look_at_others(concerned);
        Ok(())
    }

    /// Wakes the objects concerned except the owner, which is being reconciled.
    fn look_at_others(&self, mut concerned: Concerned) {
        K::concerned(&mut concerned).retain(|other| other != self.owner);
        self.context.look_at(concerned);
    }

    fn log_write(&self, write: &Write, why: &Why) {
        let (tokens, news) = (&write.recorded.tokens, &write.news);
        let corp_id = match tokens.as_slice() {
            [token] => Some(token.corp_id.as_str()),
            _ => None,
        };
        info!(
            kind = K::NAME,
            namespace = self.namespace(),
            name = self.owner.name,
            secret = write.name,
            corp_id,
            cause = why.cause.as_str(),
            shared_by = why.shared_by.as_deref(),
            renew_requested_at = why.renew_requested_at.as_deref(),
            tokens = tokens.len(),
            new_tokens = news.new_tokens,
            new_corp_ids = news.new_corp_ids,
            former_expires_at = news.former_expires_at.map(tracing::field::display),
            expires_at = write.recorded.expires_at().map(tracing::field::display),
            "Secret written"
        );
    }
}

fn found(contents: &mut SecretContents) -> Found {
    let ours = our_data(&contents.metadata);
    let target = TargetMeta::of(contents.metadata.clone());
    let keys: Vec<String> = target.recorded.iter().flat_map(Recorded::keys).collect();
    let data = Data::found(keys, |key| contents.data.remove(key));
    Found { target, data, ours }
}

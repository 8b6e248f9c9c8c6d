//! Copies of tokens in other namespaces: look, decide, act.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use tracing::{info, warn};

use super::cluster::ClusterError;
use super::context::Context;
use super::index::ReferenceState;
use super::kinds::REFERENCE;
use super::refusal::{refuse_reference, restore_reference};
use super::retry::{RETRY, retry_unless_gone, too_many_steps};
use super::stub::Stub;
use super::target::{found, shown};
use crate::api::{DingTalkTokenReference, Reason, ReferenceRef, reference_ref};
use crate::plan::{
    CopyStep, Data, ObjectVersion, ReferenceMemory, ReferenceStep, TargetMeta, copy_cause,
    copy_write, reference_notice, reference_status, reference_step,
};

/// More steps in a row than any way has, apart from one for each copy.
const STEPS_MAX: usize = 12;

/// Brings one reference as far as it can be brought now.
pub async fn reconcile(
    reference: Arc<DingTalkTokenReference>,
    context: Arc<Context>,
) -> Result<Action, std::convert::Infallible> {
    let namespace = reference.namespace().unwrap_or_default();
    let namespaces = [&namespace, &reference.spec.app_ref.namespace];
    // It is woken once both are known.
    if reference.metadata.deletion_timestamp.is_some()
        || !namespaces.iter().all(|one| context.scopes.is_known(one))
        || !context.leads()
    {
        return Ok(Action::await_change());
    }
    let key = reference_ref(&reference);
    if !context.reference_workers.begin(&namespace, &key) {
        // As with apps.
        context
            .reference_alarm
            .set(&key, Some(context.wall() + RETRY));
        return Ok(Action::await_change());
    }
    let wake_at = handle(&reference, &key, &context).await;
    context.reference_alarm.set(&key, wake_at);
    context.wake_references(context.reference_workers.end(&namespace));
    Ok(Action::await_change())
}

/// Returns the time to look again.
async fn handle(
    reference: &DingTalkTokenReference,
    key: &ReferenceRef,
    context: &Arc<Context>,
) -> Option<Timestamp> {
    let refusal = context.index().reference_refusal(key);
    if let Some(refusal) = refusal {
        return refuse_reference(context, reference, &refusal).await;
    }
    if reference.is_stub() {
        return restore_reference(context, reference).await;
    }
    let copier = Copier {
        key: key.clone(),
        memory: remember(context, key, reference),
        namespace: reference.namespace().unwrap_or_default(),
        reference,
        context,
    };
    let (generation, now) = (reference.metadata.generation, context.wall());
    let later = copier.memory().begin_look(generation, now);
    match later {
        Some(later) => Some(later),
        None => copier.run().await,
    }
}

/// The memory of a reference; a new one where it is new or was recreated.
fn remember(
    context: &Context,
    key: &ReferenceRef,
    reference: &DingTalkTokenReference,
) -> Arc<Mutex<ReferenceMemory>> {
    let mut memories = context
        .reference_memories
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let uid = reference.metadata.uid.clone().unwrap_or_default();
    let memory = memories.entry(key.clone()).or_default();
    let is_same = {
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.uid.is_empty() {
            memory.uid.clone_from(&uid);
        }
        memory.uid == uid
    };
    if !is_same {
        *memory = Arc::default();
        let mut new = memory.lock().unwrap_or_else(PoisonError::into_inner);
        new.uid = uid;
    }
    Arc::clone(memory)
}

struct Copier<'a> {
    key: ReferenceRef,
    memory: Arc<Mutex<ReferenceMemory>>,
    namespace: String,
    reference: &'a DingTalkTokenReference,
    context: &'a Arc<Context>,
}

impl Copier<'_> {
    /// Returns the time to look again.
    async fn run(&self) -> Option<Timestamp> {
        let steps = STEPS_MAX + 3 * self.copies();
        for _ in 0..steps {
            let now = self.context.wall();
            let (step, state) = {
                let index = self.context.index();
                let mut view = index.reference_view(self.reference)?;
                view.metadata_prefixes = &self.context.metadata_prefixes;
                let step = reference_step(&view, &mut self.memory(), now);
                (step, index.reference_state(&self.key)?)
            };
            let done = match step {
                ReferenceStep::ReadNamespace => self.read_namespace().await,
                ReferenceStep::Copies(steps) => self.act(steps, &state).await,
                ReferenceStep::Settle {
                    told,
                    expires_at,
                    wake_at,
                } => {
                    return match self.settle(&told, expires_at, now).await {
                        Ok(()) => wake_at,
                        Err(error) => {
                            retry_unless_gone(&self.key, "status write", &error, wake_at, now)
                        }
                    };
                }
            };
            if let Err(error) = done {
                return retry_unless_gone(&self.key, "reconcile", &error, None, now);
            }
        }
        Some(too_many_steps(&self.key, self.context.wall()))
    }

    /// (client) Acts on some copies. What was decided before the reference or its app changed, or before
    /// another replica took the lead, is decided anew.
    async fn act(
        &self,
        steps: Vec<CopyStep>,
        decided_in: &ReferenceState,
    ) -> Result<(), ClusterError> {
        for step in steps {
            let state = self.context.index().reference_state(&self.key);
            if !self.context.leads() || state.as_ref() != Some(decided_in) {
                return Ok(());
            }
            match step {
                CopyStep::ReadSource { name } => drop(self.read_source(&name).await?),
                CopyStep::Write { name, source_name } => self.copy(&name, &source_name).await?,
                CopyStep::Delete { name, version } => self.delete(&name, &version).await?,
            }
        }
        Ok(())
    }

    fn copies(&self) -> usize {
        let index = self.context.index();
        let view = index.reference_view(self.reference);
        let copies = view.map(|view| view.copies.map_or(0, |copies| copies.len()));
        copies.unwrap_or_default()
    }

    /// (client) Reads which namespace of its name this is. It stays the same as long as the reference.
    async fn read_namespace(&self) -> Result<(), ClusterError> {
        let uid = self.context.cluster.read_namespace_uid(&self.namespace);
        let uid = uid.await?;
        let reference_uid = self.reference.metadata.uid.as_deref().unwrap_or_default();
        let app = self
            .context
            .index()
            .namespace_read(&self.key, reference_uid, uid);
        if let Some(app) = app {
            self.context.wake(&app);
        }
        Ok(())
    }

    /// (client) Reads the app's Secret; `None` if there is none.
    async fn read_source(
        &self,
        name: &str,
    ) -> Result<Option<(TargetMeta, Option<Data>)>, ClusterError> {
        let app_namespace = self.reference.spec.app_ref.namespace.as_str();
        let asked = self.context.asks(app_namespace, name);
        let operation = "read the app's Secret";
        let read = self
            .context
            .cluster
            .read_secret(operation, app_namespace, name);
        let mut contents = match read.await {
            Ok(contents) => contents,
            Err(error) if error.is_not_found() => {
                let users = self.context.secret_gone(app_namespace, name, &asked);
                self.context.wake_all(users);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (source, data) = found(&mut contents);
        let users = self.context.secret_read(contents.metadata, &asked);
        self.context.wake_all(users);
        let recorded = source.recorded.as_ref();
        let data =
            data.filter(|data| recorded.is_some_and(|it| data.tokens_recorded(it).is_some()));
        self.memory().source_read(name, &source, data.is_some());
        Ok(Some((source, data)))
    }

    /// (client) Reads the app's Secret and writes the copy.
    async fn copy(&self, name: &str, source_name: &str) -> Result<(), ClusterError> {
        let Some((source, data)) = self.read_source(source_name).await? else {
            return Ok(());
        };
        let generation = self.reference.metadata.generation;
        let (write, repair, cause) = {
            let index = self.context.index();
            let Some(view) = index.reference_view(self.reference) else {
                return Ok(());
            };
            // The grant may have been withdrawn while the Secret was read.
            let copy = view.copies.as_deref().unwrap_or_default().iter();
            let Some(copy) = copy.into_iter().find(|copy| copy.name == name) else {
                return Ok(());
            };
            let recorded = source
                .recorded
                .as_ref()
                .filter(|_| copy.source.map(|source| &source.version) == Some(&source.version));
            let (Some(recorded), Some(data)) = (recorded, &data) else {
                return Ok(());
            };
            let write = copy_write(
                self.reference,
                name,
                recorded.clone(),
                Some(data),
                copy.present,
            );
            let mut memory = self.memory();
            let writing = memory.writing(name);
            let repair = writing.is_repair(&write.recorded, generation);
            let cause = copy_cause(writing, copy.present, &write.recorded, repair);
            (write, repair, cause)
        };
        let now = self.context.wall();
        let asked = self.context.asks(&self.namespace, name);
        let written = self
            .context
            .write_target(REFERENCE, &self.key, &write, cause);
        match written.await {
            Ok(metadata) => {
                let version = ObjectVersion::of(&metadata);
                let users = self.context.secret_written(metadata, &asked);
                self.context.wake_all(users);
                self.memory()
                    .writing(name)
                    .wrote(version, write.recorded, generation, repair, now);
                Ok(())
            }
            Err(error) if error.is_conflict() || error.is_not_found() => {
                self.look_at_copy(name).await
            }
            Err(error) if error.is_immutable() && write.replaces.is_some() => {
                match &write.replaces {
                    Some(version) => self.delete(name, version).await,
                    None => Ok(()),
                }
            }
            Err(error) => {
                let problem = error.write_problem();
                let message = shown(&error, &write, &self.key, &[]);
                warn!(
                    kind = REFERENCE,
                    namespace = self.namespace,
                    name = self.key.name,
                    secret = name,
                    cause = cause.as_str(),
                    error = message,
                    "Secret write failed; will retry"
                );
                let mut memory = self.memory();
                let writing = memory.writing(name);
                let random = self.context.clock.random();
                writing.failed(problem, message, generation, random, now);
                Ok(())
            }
        }
    }

    /// (client) Deletes a Secret that is no longer a copy.
    async fn delete(&self, name: &str, version: &ObjectVersion) -> Result<(), ClusterError> {
        let operation = "delete the copy";
        let cluster = &self.context.cluster;
        let asked = self.context.asks(&self.namespace, name);
        let deleted = cluster.delete_secret(operation, &self.namespace, name, version);
        match deleted.await {
            Ok(()) => {
                info!(
                    kind = REFERENCE,
                    namespace = self.namespace,
                    name = self.key.name,
                    secret = name,
                    "Secret deleted"
                );
                let users = self.context.secret_gone(&self.namespace, name, &asked);
                self.context.wake_all(users);
                Ok(())
            }
            Err(error) if error.is_not_found() || error.is_conflict() => {
                self.look_at_copy(name).await
            }
            Err(error) => Err(error),
        }
    }

    /// (client) Looks at a Secret that is not as it was thought to be.
    async fn look_at_copy(&self, name: &str) -> Result<(), ClusterError> {
        let users = self.context.look_at_secret(&self.namespace, name).await?;
        self.context.wake_all(users);
        Ok(())
    }

    /// (client) Reports.
    async fn settle(
        &self,
        told: &(&'static str, Reason, String),
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), ClusterError> {
        let (previous, current) = {
            let index = self.context.index();
            let Some(view) = index.reference_view(self.reference) else {
                return Ok(());
            };
            let memory = self.memory();
            let previous = match &memory.status {
                Some((status, _)) => status.clone(),
                None => self.reference.status.clone().unwrap_or_default(),
            };
            let current = reference_status(&view, told, expires_at, &previous, now);
            (previous, current)
        };
        self.context
            .measure_reference(&self.key, |metrics, namespace, name| {
                metrics.references.set(namespace, name, &current.conditions);
                metrics.objects.copy_expires(namespace, name, expires_at);
            });
        if previous == current {
            return Ok(());
        }
        let written = self
            .context
            .cluster
            .write_status(self.reference, &previous, &current);
        let version = written.await?;
        self.memory().status = Some((current.clone(), version));
        if let Some(notice) = reference_notice(&previous, &current) {
            self.context.publish(self.reference, &notice).await;
        }
        Ok(())
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, ReferenceMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

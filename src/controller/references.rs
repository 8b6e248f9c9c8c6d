//! Reconciles references: copies of tokens in other namespaces.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;

use super::cluster::Result;
use super::context::Context;
use super::refusal::{refuse_reference, restore_reference};
use super::retry::{LOOK_AGAIN, retry_read, retry_status, retry_unless_gone, too_many_steps};
use super::secrets::Secrets;
use crate::api::{DingTalkTokenReference, ReferenceRef, reference_ref};
use crate::core::{
    CopyStep, Data, Deletion, ObjectVersion, ReferenceMemory, ReferenceState, ReferenceStep, Stub,
    TargetMeta, Told, copy_now, light_status, reference_notice, reference_status, reference_step,
    write_reference_status_at,
};

/// More steps than any reference needs in a row, apart from those for each copy.
const STEPS_MAX: usize = 12;

/// Reconciles one reference as far as possible now.
pub(super) async fn reconcile(
    reference: Arc<DingTalkTokenReference>,
    context: Arc<Context>,
) -> Result<Action, std::convert::Infallible> {
    let namespace = reference.namespace().unwrap_or_default();
    let namespaces = [&namespace, &reference.spec.app_ref.namespace];
    // It is woken once both namespaces are known.
    let is_to_be_handled = reference.metadata.deletion_timestamp.is_none()
        && namespaces.iter().all(|one| context.scopes.is_known(one))
        && context.leads();
    let (key, queue) = (reference_ref(&reference), &context.queues.references);
    if is_to_be_handled && queue.begin(&key, context.look_at_clock().wall) {
        let wake_at = handle(&reference, &key, &context).await;
        queue.end(&key, wake_at);
    }
    Ok(Action::await_change())
}

/// Reconciles a reference and returns when to look again.
async fn handle(
    reference: &DingTalkTokenReference,
    key: &ReferenceRef,
    context: &Arc<Context>,
) -> Option<Timestamp> {
    let refusal = context.core().index.reference_admission.refusal(key);
    if let Some(refusal) = refusal {
        return refuse_reference(context, (reference, key), &refusal).await;
    }
    if reference.is_stub() {
        return restore_reference(context, key).await;
    }
    let later = {
        let mut core = context.core();
        core.remember_reference(reference);
        core.copies_wait_until(reference, context.wall())
    };
    if later.is_some() {
        return later;
    }
    let copier = Copier {
        key: key.clone(),
        namespace: reference.namespace().unwrap_or_default(),
        reference,
        context,
    };
    copier.run().await
}

struct Copier<'a> {
    key: ReferenceRef,
    namespace: String,
    reference: &'a DingTalkTokenReference,
    context: &'a Arc<Context>,
}

impl Copier<'_> {
    /// Takes all steps that are possible now and returns when to look again.
    async fn run(&self) -> Option<Timestamp> {
        let mut steps = 0;
        // How many copies there are is known once the grant is.
        while steps < STEPS_MAX + 3 * self.copies() {
            steps += 1;
            // Whoever leads now reports, too. This replica looks again once it leads.
            if !self.context.leads() {
                return None;
            }
            let now = self.context.wall();
            let (step, state) = self.decide(now)?;
            let done = match step {
                ReferenceStep::ReadNamespace => self.read_namespace().await,
                ReferenceStep::Copies(steps) => self.act(steps, &state).await,
                ReferenceStep::Settle {
                    told,
                    expires_at,
                    wake_at,
                } => {
                    self.memory(|memory| memory.refused_reads.end());
                    return match self.settle(&told, expires_at, now).await {
                        Ok(again) => wake_at.into_iter().chain(again).min(),
                        Err(error) => {
                            let until = error.is_refused().then(|| self.status_refused(now));
                            retry_status(&self.key, &error, until.flatten(), wake_at, now)
                        }
                    };
                }
            };
            match done {
                Err(error) if error.is_forbidden() => {
                    let until = self.read_refused(now);
                    return Some(retry_read(&self.key, "reconcile", &error, until, now));
                }
                Err(error) => {
                    return retry_unless_gone(&self.key, "reconcile", &error, None, now);
                }
                Ok(()) => {}
            }
        }
        Some(too_many_steps(&self.key, self.context.wall()))
    }

    /// Returns the next step and the state it was decided in; `None` if the reference is gone.
    fn decide(&self, now: Timestamp) -> Option<(ReferenceStep, ReferenceState)> {
        let prefixes = &self.context.metadata_prefixes;
        let mut core = self.context.core();
        let step = core.decide_copies(self.reference, prefixes, |view, memory| {
            reference_step(view, memory, now)
        })?;
        Some((step, core.index.reference_state(&self.key)?))
    }

    /// Returns what decisions about the reference depend on.
    fn state(&self) -> Option<ReferenceState> {
        self.context.core().index.reference_state(&self.key)
    }

    /// (client) Acts on some copies. After a change of the reference, its app or the leader, the
    /// remaining steps are decided again. They do not depend on each other, so one that fails holds
    /// up none; the first error is returned.
    async fn act(&self, steps: Vec<CopyStep>, decided_in: &ReferenceState) -> Result<()> {
        let mut result = Ok(());
        for step in steps {
            if !self.context.leads() || self.state().as_ref() != Some(decided_in) {
                break;
            }
            let acted = match step {
                CopyStep::ReadSource { name } => self.read_source(&name).await.map(drop),
                CopyStep::Look { name } => self.secrets().look(&name).await,
                CopyStep::Write { name, source_name } => self.copy(&name, &source_name).await,
                CopyStep::Delete { name, version, why } => {
                    self.delete(&name, &version, why).await;
                    Ok(())
                }
            };
            result = result.and(acted);
        }
        result
    }

    fn copies(&self) -> usize {
        let copies = self.memory(|memory| memory.copies());
        copies.unwrap_or_default()
    }

    /// (client) Reads the UID of the reference's namespace, which cannot change during the life of
    /// the reference.
    async fn read_namespace(&self) -> Result<()> {
        let uid = self.context.cluster.read_namespace_uid(&self.namespace);
        let uid = uid.await?;
        let index = &mut self.context.core().index;
        let app = index.namespace_read(&self.key, self.uid(), uid);
        self.context.wake_all(app);
        Ok(())
    }

    /// (client) Reads the app's Secret; `None` if it does not hold what its metadata records.
    async fn read_source(&self, name: &str) -> Result<Option<(TargetMeta, Data)>> {
        let app_namespace = self.reference.spec.app_ref.namespace.as_str();
        let (secrets, operation) = (self.secrets(), "read the app's Secret");
        let read = secrets.read(operation, app_namespace, name);
        let Some(found) = read.await? else {
            return Ok(None);
        };
        let (is_genuine, _) = found.tokens();
        self.memory(|memory| memory.source_read(name, &found.target, is_genuine));
        Ok(is_genuine.then_some((found.target, found.data)))
    }

    /// (client) Reads the app's Secret and writes the copy.
    async fn copy(&self, name: &str, source_name: &str) -> Result<()> {
        let Some((source, data)) = self.read_source(source_name).await? else {
            return Ok(());
        };
        let now = self.context.wall();
        // The grant may have been withdrawn during the read.
        let decided = self.context.decide_copies(self.reference, |view, memory| {
            copy_now(view, memory, name, &source, now)
        });
        let Some((mut write, why)) = decided.flatten() else {
            return Ok(());
        };
        write.hold(data);
        let outcome = self.secrets().write(&write, &why, &[]).await?;
        let generation = self.reference.metadata.generation;
        let now = self.context.wall();
        self.memory(|memory| memory.writing(name).ended(&write, outcome, generation, now));
        Ok(())
    }

    /// (client) Deletes a copy. A failure is remembered and retried later: it holds up nothing
    /// else.
    async fn delete(&self, name: &str, version: &ObjectVersion, why: Deletion) {
        let (secrets, operation) = (self.secrets(), "delete the copy");
        let deleted = secrets.delete(operation, name, version, why, &[]);
        if let Err(failed) = deleted.await {
            let generation = self.reference.metadata.generation;
            let now = self.context.wall();
            self.memory(|memory| {
                memory
                    .writing(name)
                    .not_deleted(why, failed, generation, now);
            });
        }
    }

    /// Records that a read was refused, and returns when to retry.
    fn read_refused(&self, now: Timestamp) -> Option<Timestamp> {
        let generation = self.reference.metadata.generation;
        let random = self.context.clock.random();
        self.memory(|memory| memory.refused_reads.add(generation, random, now))
    }

    /// Records that the status was refused, and returns when to retry.
    fn status_refused(&self, now: Timestamp) -> Option<Timestamp> {
        let generation = self.reference.metadata.generation;
        let random = self.context.clock.random();
        self.memory(|memory| memory.written_status.refused(generation, random, now))
    }

    /// (client) Reports status, event and metrics. If it cannot do so yet, returns when it can: a
    /// newer state of the reference may be known.
    async fn settle(
        &self,
        told: &Told,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        let reference = self.reference;
        let report = self.context.decide_copies(reference, |view, memory| {
            let (metadata, shown) = (&reference.metadata, reference.status.as_ref());
            let previous = memory.written_status.previous(metadata, shown)?;
            let current = reference_status(view, told, expires_at, &previous.status, now);
            let kept = light_status(current.clone());
            let written = &mut memory.written_status;
            if previous.status == kept {
                written.is_up_to_date();
            }
            let paced_at = write_reference_status_at(&previous, &kept, now);
            let later = paced_at.max(written.waits_until(metadata.generation, now));
            Some((previous, current, kept, later))
        });
        let Some((previous, current, kept, later)) = report.flatten() else {
            return Ok(Some(now + LOOK_AGAIN));
        };
        self.context.measure(&self.key, |metrics, namespace, name| {
            metrics.references.set(namespace, name, &current.conditions);
            metrics.objects.copy_expires(namespace, name, expires_at);
        });
        if previous.status == kept {
            return Ok(None);
        }
        if later.is_some() {
            return Ok(later);
        }
        let over = (&previous.status, previous.version.as_deref());
        let written = self.context.cluster.write_status(reference, over, &current);
        let version = written.await?;
        let notice = reference_notice(&previous.status, &current);
        self.memory(|memory| memory.written_status.wrote(kept, version, now));
        if let Some(notice) = notice {
            self.context.publish(self.reference, &notice).await;
        }
        Ok(None)
    }

    fn secrets(&self) -> Secrets<'_, DingTalkTokenReference> {
        Secrets {
            context: self.context,
            owner: &self.key,
        }
    }

    fn uid(&self) -> &str {
        self.reference.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Calls `act` with the reference's memory; `None` if the reference is gone. The core is locked
    /// meanwhile, so `act` must not lock it.
    fn memory<T>(&self, act: impl FnOnce(&mut ReferenceMemory) -> T) -> Option<T> {
        let mut core = self.context.core();
        core.reference_of(&self.key, self.uid()).map(act)
    }
}

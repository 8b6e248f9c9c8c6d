//! Reconciles one app: look, decide and act until there is nothing more to do for now.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use tracing::info;

use super::cluster::Result;
use super::context::Context;
use super::kind::Kind;
use super::refusal::{refuse, restore};
use super::retry::{retry_read, too_many_steps};
use super::secrets::Secrets;
use crate::api::{AppRef, DingTalkApp, app_ref};
use crate::core::{
    Assembly, Deletion, Memory, ObjectVersion, Step, Stub, TargetStep, Templates, Why, Write,
    WriteOutcome, next_step,
};

/// More steps than any app needs in a row: a backstop against endless loops.
const STEPS_MAX: usize = 12;

/// Reconciles one app as far as possible now.
pub(super) async fn reconcile(
    app: Arc<DingTalkApp>,
    context: Arc<Context>,
) -> Result<Action, std::convert::Infallible> {
    let key = app_ref(&app);
    // It is woken once the namespace is known.
    let is_known = context
        .scopes
        .is_known(&app.namespace().unwrap_or_default());
    let queue = &context.queues.apps;
    if is_known && queue.begin(&key, context.look_at_clock().wall) {
        let wake_at = match context.not_before(&app) {
            Some(later) => Some(later),
            None => handle(&app, &key, &context).await,
        };
        queue.end(&key, wake_at);
    }
    Ok(Action::await_change())
}

/// Reconciles an app and returns when to look again.
async fn handle(app: &DingTalkApp, key: &AppRef, context: &Arc<Context>) -> Option<Timestamp> {
    let refusal = context.core().index.admission.refusal(key);
    if let Some(refusal) = refusal {
        return refuse(context, (app, key), &refusal).await;
    }
    if app.is_stub() {
        return match context.leads() {
            true => restore(context, key).await,
            false => None,
        };
    }
    // A replica that led may hold a token; one that never led holds nothing.
    if !context.leads() && context.core().app(key).is_none() {
        return None;
    }
    context.core().remember(app, context.wall());
    let reconciler = Reconciler {
        key: key.clone(),
        namespace: app.namespace().unwrap_or_default(),
        app,
        context,
    };
    reconciler.run().await
}

pub(super) struct Reconciler<'a> {
    pub key: AppRef,
    pub namespace: String,
    pub app: &'a DingTalkApp,
    pub context: &'a Arc<Context>,
}

impl Reconciler<'_> {
    /// Takes all steps that are possible now and returns when to look again.
    async fn run(&self) -> Option<Timestamp> {
        // With layout `PerCorp`, each corp may have a Secret to write or delete.
        let steps = STEPS_MAX + 5 * self.app.spec.corp_ids.len();
        for _ in 0..steps {
            let now = self.context.wall();
            let step = self.context.decide(self.app, now, next_step)?;
            let done = match step {
                Step::ParseTemplates => {
                    let templates = Templates::of(self.app);
                    let generation = self.app.metadata.generation;
                    self.memory(|memory| memory.templates_parsed(generation, templates));
                    Ok(())
                }
                Step::Targets(steps) if !self.context.leads() => {
                    match self.write_last(steps).await {
                        true => Ok(()),
                        false => return None,
                    }
                }
                Step::ReadCredentials | Step::Settle(_) if !self.context.leads() => return None,
                Step::Targets(steps) => self.act(steps).await.map_err(Arc::new),
                Step::ReadCredentials => self.read_credentials().await,
                Step::Settle(settled) => {
                    self.memory(|memory| memory.refused_reads.end());
                    return self.settle(&settled, now).await;
                }
            };
            if let Err(error) = done {
                let until = error.is_forbidden().then(|| self.read_refused(now));
                return Some(retry_read(
                    &self.key,
                    "reconcile",
                    &error,
                    until.flatten(),
                    now,
                ));
            }
        }
        Some(too_many_steps(&self.key, self.context.wall()))
    }

    /// Records that a read was refused, and returns when to retry.
    fn read_refused(&self, now: Timestamp) -> Option<Timestamp> {
        let (generation, random) = (self.app.metadata.generation, self.context.clock.random());
        self.memory(|memory| memory.refused_reads.add(generation, random, now))
    }

    /// (client) Acts on some Secrets. After a change of the app or of the leader, the remaining
    /// steps are decided again. They do not depend on each other, so one that fails holds up none;
    /// the first error is returned.
    async fn act(&self, steps: Vec<TargetStep>) -> Result<()> {
        let mut result = Ok(());
        for (done, step) in steps.into_iter().enumerate() {
            let is_current = || self.context.core().index.current(self.app).is_some();
            if done > 0 && !(self.context.leads() && is_current()) {
                break;
            }
            let acted = match step {
                TargetStep::Assemble { name, assembly } => {
                    self.assemble(&name, *assembly);
                    Ok(())
                }
                TargetStep::Look { name } => self.secrets().look(&name).await,
                TargetStep::Read { name, corp_ids } => self.read_target(&name, &corp_ids).await,
                TargetStep::Delete { name, version, why } => {
                    self.delete_target(&name, &version, why).await;
                    Ok(())
                }
                TargetStep::Write { write, why } => self.write(&write, &why).await,
            };
            result = result.and(acted);
        }
        result
    }

    fn assemble(&self, name: &str, assembly: Assembly) {
        let assembled = assembly.assemble();
        self.memory(|memory| memory.assembled(name, assembled));
    }

    /// (client) Writes tokens that are held after the lease was lost: once, and only over the
    /// version of the Secret that is known here, so not where another replica has written.
    /// Everything else is left to the leader. Returns whether contents were assembled that can be
    /// written now.
    async fn write_last(&self, steps: Vec<TargetStep>) -> bool {
        let mut has_assembled = false;
        for step in steps {
            match step {
                TargetStep::Assemble { name, assembly } => {
                    self.assemble(&name, *assembly);
                    has_assembled = true;
                }
                TargetStep::Write { write, why }
                    if self.memory(|memory| memory.is_first_write(&write)) == Some(true) =>
                {
                    self.write_once(&write, &why).await;
                }
                TargetStep::Write { .. }
                | TargetStep::Read { .. }
                | TargetStep::Look { .. }
                | TargetStep::Delete { .. } => {}
            }
        }
        has_assembled
    }

    /// (client) Writes a token that is held after the lease was lost.
    async fn write_once(&self, write: &Write, why: &Why) {
        let outcome = self.secrets().write(write, why, &[]).await;
        let done = match outcome {
            Ok(outcome @ WriteOutcome::Done(_)) => {
                self.write_ended(write, outcome);
                "in-flight token written"
            }
            _ => "in-flight token left to the leader",
        };
        info!(
            kind = DingTalkApp::NAME,
            namespace = self.namespace,
            name = self.key.name,
            secret = write.name,
            "Lease lost; {done}"
        );
    }

    /// (client) Reads what a target holds.
    async fn read_target(&self, name: &str, corp_ids: &[String]) -> Result<()> {
        let operation = "read the target Secret";
        let secrets = self.secrets();
        if let Some(found) = secrets.read(operation, &self.namespace, name).await? {
            let tokens = found.tokens();
            self.memory(|memory| memory.target_read(name, &found.target, tokens, corp_ids));
        }
        Ok(())
    }

    /// (client) Deletes a target. A failure is remembered and retried later: it holds up nothing
    /// else.
    async fn delete_target(&self, name: &str, version: &ObjectVersion, why: Deletion) {
        let operation = match why {
            Deletion::Immutable => "delete the immutable target Secret",
            Deletion::Former => "delete the former target Secret",
        };
        let public = &self.app.spec.corp_ids;
        let secrets = self.secrets();
        let deleted = secrets.delete(operation, name, version, why, public);
        if let Err(failed) = deleted.await {
            let (generation, now) = (self.app.metadata.generation, self.context.wall());
            self.memory(|memory| {
                memory
                    .writing_mut(name)
                    .not_deleted(why, failed, generation, now);
            });
        }
    }

    async fn write(&self, write: &Write, why: &Why) -> Result<()> {
        let public = &self.app.spec.corp_ids;
        let outcome = self.secrets().write(write, why, public).await?;
        self.write_ended(write, outcome);
        Ok(())
    }

    fn write_ended(&self, write: &Write, outcome: WriteOutcome) {
        let now = self.context.wall();
        self.memory(|memory| memory.write_ended(write, outcome, self.app, now));
    }

    pub(super) fn secrets(&self) -> Secrets<'_, DingTalkApp> {
        Secrets {
            context: self.context,
            owner: &self.key,
        }
    }

    /// Calls `act` with the app's memory; `None` if the app is gone. The core is locked meanwhile,
    /// so `act` must not lock it.
    pub(super) fn memory<T>(&self, act: impl FnOnce(&mut Memory) -> T) -> Option<T> {
        let uid = self.app.metadata.uid.as_deref().unwrap_or_default();
        self.context.core().app_of(&self.key, uid).map(act)
    }
}

//! One app: look, decide, act, until there is nothing more to do for now.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use tracing::{info, warn};

use super::cluster::ClusterError;
use super::context::Context;
use super::index::Asked;
use super::kinds::APP;
use super::remembered::Remembered;
use super::retry::{RETRY, retry_later, too_many_steps};
use super::stub::Stub;
use super::target::{found, log_write, shown};
use crate::api::{AppRef, Cause, DingTalkApp, app_ref};
use crate::plan::{
    Assembly, Deletion, ObjectVersion, Step, TargetStep, Templates, Write, next_step,
    refreshes_pods,
};

/// More steps in a row than any way through the plan has: a backstop against going in circles.
const STEPS_MAX: usize = 12;

/// Brings one app as far as it can be brought now.
pub async fn reconcile(
    app: Arc<DingTalkApp>,
    context: Arc<Context>,
) -> Result<Action, std::convert::Infallible> {
    let key = app_ref(&app);
    let namespace = app.namespace().unwrap_or_default();
    // It is woken once it is known.
    if !context.scopes.is_known(&namespace) {
        return Ok(Action::await_change());
    }
    if !context.workers.begin(&namespace, &key) {
        // It is woken in its turn; the time is a backstop, in case the one before it is deleted.
        context.alarm.set(&key, Some(context.wall() + RETRY));
        return Ok(Action::await_change());
    }
    let wake_at = match context.not_before(&app, &key) {
        Some(later) => Some(later),
        None => handle(&app, &key, &context).await,
    };
    context.alarm.set(&key, wake_at);
    if let Some(next) = context.workers.end(&namespace) {
        context.wake(&next);
    }
    Ok(Action::await_change())
}

/// Returns the time to look again.
async fn handle(app: &DingTalkApp, key: &AppRef, context: &Arc<Context>) -> Option<Timestamp> {
    let refusal = context.index().refusal(key);
    if let Some(refusal) = refusal {
        return super::refusal::refuse(context, app, &refusal).await;
    }
    if app.is_stub() {
        return match context.leads() {
            true => super::refusal::restore(context, app).await,
            false => None,
        };
    }
    // A replica that led may have a token in hand; one that never did has nothing.
    if !context.leads() && context.remembered(key).is_none() {
        return None;
    }
    let reconciler = Reconciler {
        key: key.clone(),
        memory: context.remember(app),
        namespace: app.namespace().unwrap_or_default(),
        app,
        context,
    };
    reconciler.run().await
}

pub struct Reconciler<'a> {
    pub key: AppRef,
    pub memory: Remembered,
    pub namespace: String,
    pub app: &'a DingTalkApp,
    pub context: &'a Arc<Context>,
}

impl Reconciler<'_> {
    /// Returns the time to look again.
    async fn run(&self) -> Option<Timestamp> {
        // A layout with a Secret for each organisation may have to write or delete each of them.
        let steps = STEPS_MAX + 5 * self.app.spec.corp_ids.len();
        for _ in 0..steps {
            let now = self.context.wall();
            let step = self.decide(now)?;
            let done = match step {
                Step::ParseTemplates => {
                    let templates = Templates::of(self.app);
                    let generation = self.app.metadata.generation;
                    self.memory().templates_parsed(generation, templates);
                    Ok(())
                }
                Step::Targets(steps) if !self.context.leads() => {
                    match self.write_last(steps).await {
                        true => Ok(()),
                        false => return None,
                    }
                }
                Step::ReadCredentials | Step::Settle(_) if !self.context.leads() => return None,
                Step::Targets(steps) => self.act(steps).await,
                Step::ReadCredentials => self.read_credentials().await,
                Step::Settle(settled) => return self.settle(&settled, now).await,
            };
            if let Err(error) = done {
                return Some(retry_later(&self.key, "reconcile", &error, now));
            }
        }
        Some(too_many_steps(&self.key, self.context.wall()))
    }

    /// (client) Acts on some Secrets. What was decided before the app changed, or before another replica
    /// took the lead, is decided anew.
    async fn act(&self, steps: Vec<TargetStep>) -> Result<(), ClusterError> {
        for (done, step) in steps.into_iter().enumerate() {
            let is_current = || self.context.index().current(self.app).is_some();
            if done > 0 && !(self.context.leads() && is_current()) {
                return Ok(());
            }
            match step {
                TargetStep::Assemble { name, assembly } => self.assemble(&name, *assembly),
                TargetStep::Read { name, corp_ids } => self.read_target(&name, &corp_ids).await?,
                TargetStep::Delete { name, version, why } => {
                    self.delete_target(&name, &version, why).await?;
                }
                TargetStep::Write {
                    write,
                    repair,
                    cause,
                } => self.write(&write, repair, cause).await?,
            }
        }
        Ok(())
    }

    fn assemble(&self, name: &str, assembly: Assembly) {
        let assembled = assembly.assemble();
        self.memory().assembled(name, assembled);
    }

    /// (client) After the lead was lost: a token in hand is still written, once, in the state of the
    /// Secret that is known here, so not where another replica has written. Whatever else is wanted is left
    /// to the leader. Returns whether contents were put together that can be written now.
    async fn write_last(&self, steps: Vec<TargetStep>) -> bool {
        let mut has_assembled = false;
        for step in steps {
            match step {
                TargetStep::Assemble { name, assembly } => {
                    self.assemble(&name, *assembly);
                    has_assembled = true;
                }
                TargetStep::Write {
                    write,
                    repair: false,
                    cause,
                } if self.memory().is_first_write(&write) => self.write_once(&write, cause).await,
                TargetStep::Write { .. } | TargetStep::Read { .. } | TargetStep::Delete { .. } => {}
            }
        }
        has_assembled
    }

    /// (client) Writes a token in hand after the lead was lost.
    async fn write_once(&self, write: &Write, cause: Cause) {
        let name = write.name.as_str();
        let asked = self.context.asks(&self.namespace, name);
        let written = self.context.cluster.write_secret(&self.namespace, write);
        match written.await {
            Ok(metadata) => {
                log_write(&self.key, write, cause);
                info!(
                    kind = APP,
                    namespace = self.namespace,
                    name = self.key.name,
                    secret = name,
                    "Lease lost; in-flight token written"
                );
                let version = ObjectVersion::of(&metadata);
                self.written(metadata, &asked);
                let generation = self.app.metadata.generation;
                let now = self.context.wall();
                self.memory().wrote(write, version, generation, false, now);
            }
            Err(error) => {
                info!(
                    kind = APP,
                    namespace = self.namespace,
                    name = self.key.name,
                    secret = name,
                    cause = cause.as_str(),
                    error = shown(&error, write, &self.key, &self.app.spec.corp_ids),
                    "Lease lost; in-flight token left to the leader"
                );
            }
        }
    }

    /// (pure) Looks at what is known and decides; `None` if the app is gone.
    fn decide(&self, now: Timestamp) -> Option<Step> {
        self.context.decide(self.app, &self.memory, now, next_step)
    }

    /// (client) Reads what a Secret of ours holds.
    async fn read_target(&self, name: &str, corp_ids: &[String]) -> Result<(), ClusterError> {
        let asked = self.context.asks(&self.namespace, name);
        let read =
            self.context
                .cluster
                .read_secret("read the target Secret", &self.namespace, name);
        match read.await {
            // What others wrote is not for a replica that has lost the lead.
            Ok(_) if !self.context.may_learn() => Ok(()),
            Ok(mut contents) => {
                let (target, data) = found(&mut contents);
                self.seen(contents.metadata, &asked);
                self.memory()
                    .target_read(name, &target, data.as_ref(), corp_ids);
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                self.absent(name, &asked);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// (client) Deletes a Secret of ours.
    async fn delete_target(
        &self,
        name: &str,
        version: &ObjectVersion,
        why: Deletion,
    ) -> Result<(), ClusterError> {
        let operation = match why {
            Deletion::Immutable => "delete the immutable target Secret",
            Deletion::Former => "delete the former target Secret",
        };
        let asked = self.context.asks(&self.namespace, name);
        let deleted = self
            .context
            .cluster
            .delete_secret(operation, &self.namespace, name, version);
        match deleted.await {
            Ok(()) => {
                info!(kind = APP, namespace = self.namespace, name = self.key.name, secret = name, reason = ?why, "Secret deleted");
                self.absent(name, &asked);
                Ok(())
            }
            Err(error) if error.is_not_found() || error.is_conflict() => {
                self.look_at_target(name).await
            }
            Err(error) => Err(error),
        }
    }

    /// (client) Writes a target.
    async fn write(&self, write: &Write, repair: bool, cause: Cause) -> Result<(), ClusterError> {
        let generation = self.app.metadata.generation;
        let name = write.name.as_str();
        let now = self.context.wall();
        let asked = self.context.asks(&self.namespace, name);
        let written = self.context.write_target(APP, &self.key, write, cause);
        match written.await {
            Ok(metadata) => {
                let version = ObjectVersion::of(&metadata);
                self.written(metadata, &asked);
                let mut memory = self.memory();
                memory.wrote(write, version, generation, repair, now);
                if refreshes_pods(self.app) {
                    memory.unrefreshed.get_or_insert_default().wrote(name);
                }
                Ok(())
            }
            Err(error) if error.is_not_found() && write.replaces.is_some() => {
                self.absent(name, &asked);
                Ok(())
            }
            Err(error) if error.is_conflict() => self.look_at_target(name).await,
            Err(error) if error.is_immutable() && write.replaces.is_some() => {
                self.memory()
                    .writing(name)
                    .immutable
                    .clone_from(&write.replaces);
                Ok(())
            }
            Err(error) => {
                let problem = error.write_problem();
                let message = shown(&error, write, &self.key, &self.app.spec.corp_ids);
                warn!(
                    kind = APP,
                    namespace = self.namespace,
                    name = self.key.name,
                    secret = name,
                    cause = cause.as_str(),
                    error = message,
                    "Secret write failed; keeping the tokens, will retry"
                );
                self.memory().writing(name).failed(
                    problem,
                    message,
                    generation,
                    self.context.clock.random(),
                    now,
                );
                Ok(())
            }
        }
    }

    /// (client) Looks at the Secret under a name, which is not as it was thought to be.
    async fn look_at_target(&self, name: &str) -> Result<(), ClusterError> {
        let users = self.context.look_at_secret(&self.namespace, name).await?;
        self.wake_others(users);
        Ok(())
    }

    /// Records a Secret that was written. The watch's event of the same state will say nothing new, so
    /// the other apps that it matters to are woken here.
    fn written(&self, metadata: ObjectMeta, asked: &Asked) {
        let users = self.context.secret_written(metadata, asked);
        self.wake_others(users);
    }

    /// The same for a Secret that was read.
    pub fn seen(&self, metadata: ObjectMeta, asked: &Asked) {
        let users = self.context.secret_read(metadata, asked);
        self.wake_others(users);
    }

    /// Records that a Secret is not there, unless it was created since it was `asked` for.
    pub fn absent(&self, name: &str, asked: &Asked) {
        let users = self.context.secret_gone(&self.namespace, name, asked);
        self.wake_others(users);
    }

    fn wake_others(&self, users: Vec<AppRef>) {
        self.context
            .wake_all(users.into_iter().filter(|user| *user != self.key));
    }

    pub fn memory(&self) -> std::sync::MutexGuard<'_, crate::plan::Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! One app: look, decide, act, until there is nothing more to do for now.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Resource;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use tracing::{info, warn};

use super::cluster::ClusterError;
use super::fetcher::Job;
use super::index::AppRef;
use super::{Context, Remembered};
use crate::api::{DingTalkApp, DingTalkAppStatus, MANAGER};
use crate::dingtalk::{Credentials, Redactor};
use crate::plan::{
    CredentialsProblem, Data, Minting, Notice, NoticeType, ObjectVersion, Schedule, Settled, Step,
    TargetMeta, TokenRecord, Verdict, View, Write, next_step, notices, same_meaning, status,
};

/// More steps in a row than any way through the plan has: a backstop against going in circles.
const STEPS_MAX: usize = 12;
/// After a call to the API server that failed and that no condition tells of.
const RETRY: SignedDuration = SignedDuration::from_secs(5);
/// Credentials that may not be read are tried again this often: a change of RBAC is not seen.
const UNREADABLE_RETRY: Duration = Duration::from_secs(60);
/// A failure that stays the same moves its next attempt in the status at most this often.
const STATUS_PACE: SignedDuration = SignedDuration::from_secs(60);

/// Brings one app as far as it can be brought now.
pub async fn reconcile(
    app: Arc<DingTalkApp>,
    context: Arc<Context>,
) -> Result<Action, std::convert::Infallible> {
    if !context.ready().await {
        return Ok(Action::await_change());
    }
    let reconciler = Reconciler {
        key: AppRef::from_obj(&*app),
        memory: context.remember(&app),
        namespace: app.namespace().unwrap_or_default(),
        app: &app,
        context: &context,
    };
    let wake_at = reconciler.run().await;
    context.alarm.set(&reconciler.key, wake_at);
    Ok(Action::await_change())
}

struct Reconciler<'a> {
    key: AppRef,
    memory: Remembered,
    namespace: String,
    app: &'a DingTalkApp,
    context: &'a Arc<Context>,
}

impl Reconciler<'_> {
    /// Gives the time to look again.
    async fn run(&self) -> Option<Timestamp> {
        for _ in 0..STEPS_MAX {
            let now = Timestamp::now();
            let done = match self.decide(now)? {
                Step::ReadTarget => self.read_target().await,
                Step::ReadCredentials { due } => self.read_credentials(due).await,
                Step::DeleteTarget(version) => self.delete_target(&version).await,
                Step::Write {
                    write,
                    record,
                    repair,
                } => self.write(&write, &record, repair).await,
                Step::Settle(settled) => return self.settle(&settled, now).await,
            };
            if let Err(error) = done {
                warn!(app = %self.key, %error, "tried again in {} s", RETRY.as_secs());
                return Some(now + RETRY);
            }
        }
        warn!(app = %self.key, "the Secret changes faster than it can be followed");
        Some(Timestamp::now() + RETRY)
    }

    /// (pure) Looks at what is known and decides; `None` where the app is gone.
    fn decide(&self, now: Timestamp) -> Option<Step> {
        let observed = self.context.index().observe(self.app)?;
        let view = View {
            app: self.app,
            credentials: &observed.credentials,
            target: observed
                .target
                .as_ref()
                .map(|(target, ownership)| (target, *ownership)),
            claim: &observed.claim,
            site_known: self.context.dingtalk.knows(&self.app.spec.site),
        };
        Some(next_step(&view, &mut self.memory(), now))
    }

    /// (client) Reads what the target holds.
    async fn read_target(&self) -> Result<(), ClusterError> {
        let name = self.app.target_name();
        let read =
            self.context
                .cluster
                .read_secret("read the target Secret", &self.namespace, &name);
        match read.await {
            Ok(mut contents) => {
                let data = Data::found(|key| contents.take(key));
                self.seen(contents.metadata);
                let index = self.context.index();
                if let Some(target) = index.target(&self.key) {
                    self.memory().target_read(target, data.as_ref());
                }
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                self.absent(&name);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// (client) Reads the credentials and queues the fetch.
    async fn read_credentials(&self, due: bool) -> Result<(), ClusterError> {
        let reference = &self.app.spec.credentials_secret_ref;
        let name = reference.name.as_str();
        let now = Timestamp::now();
        let problem = |reason, message, version, retry| CredentialsProblem {
            reason,
            message,
            since: now,
            version,
            generation: self.app.metadata.generation,
            retry,
        };
        let read = self
            .context
            .cluster
            .read_secret("read the credentials", &self.namespace, name);
        let mut contents = match read.await {
            Ok(contents) => contents,
            Err(error) if error.is_not_found() => {
                self.absent(name);
                let message = format!(
                    "Secret {name} does not exist: create it with the keys {} and {}",
                    reference.client_id_key, reference.client_secret_key
                );
                self.memory().credentials_failed(problem(
                    "CredentialsNotFound",
                    message,
                    None,
                    None,
                ));
                return Ok(());
            }
            Err(error) if error.is_forbidden() => {
                let version = self.context.index().credentials_version(&self.key).cloned();
                let message = format!("Secret {name} cannot be read: {error}");
                let retry = Some(Schedule::after(now, UNREADABLE_RETRY));
                self.memory().credentials_failed(problem(
                    "CredentialsUnreadable",
                    message,
                    version,
                    retry,
                ));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let version = ObjectVersion::of(&contents.metadata);
        let credentials = Credentials::read(
            &reference.client_id_key,
            &reference.client_secret_key,
            |key| contents.take(key),
        );
        self.seen(contents.metadata);
        match credentials {
            Ok(credentials) => self.queue_fetch(credentials, version, due, now),
            Err(error) => {
                let message = format!("Secret {name}: {error}: put the app's credentials there");
                self.memory().credentials_failed(problem(
                    "CredentialsKeyMissing",
                    message,
                    Some(version),
                    None,
                ));
            }
        }
        Ok(())
    }

    fn queue_fetch(
        &self,
        credentials: Credentials,
        version: ObjectVersion,
        due: bool,
        now: Timestamp,
    ) {
        let fingerprint = credentials.fingerprint(&self.context.salt);
        // Read before the memory is locked: whoever needs both locks the index first.
        let recorded = self
            .context
            .index()
            .target(&self.key)
            .and_then(TargetMeta::record);
        let mut memory = self.memory();
        let verdict =
            memory.credentials_read(&version, fingerprint, &credentials.trimmed_keys, due);
        if verdict == Verdict::Unchanged {
            return;
        }
        let minting = Minting {
            id: self.context.next_fetch_id(),
            site: self.app.spec.site.clone(),
            corp_id: self.app.spec.corp_ids.first().cloned().unwrap_or_default(),
            credentials: version,
            generation: self.app.metadata.generation,
            since: now,
        };
        memory.minting = Some(minting.clone());
        let held = memory.held.as_ref();
        let record = held.map(|held| held.record.clone()).or(recorded);
        let job = Job {
            app: self.key.clone(),
            memory: Arc::clone(&self.memory),
            minting,
            credentials,
            expires_at: record.map(|record| record.lifetime.expires_at),
            known: held.map(|held| held.token.clone()),
            renew_before: self.app.spec.renew_before(),
        };
        drop(memory);
        self.context.fetch(job);
    }

    /// (client) Deletes a target that became immutable, so that it can be created anew.
    async fn delete_target(&self, version: &ObjectVersion) -> Result<(), ClusterError> {
        let name = self.app.target_name();
        match self
            .context
            .cluster
            .delete_secret(&self.namespace, &name, version)
            .await
        {
            Ok(()) => {
                info!(app = %self.key, secret = name, "deleted an immutable Secret to create it anew");
                self.absent(&name);
                Ok(())
            }
            Err(error) if error.is_not_found() || error.is_conflict() => {
                self.look_at_target().await
            }
            Err(error) => Err(error),
        }
    }

    /// (client) Writes the target.
    async fn write(
        &self,
        write: &Write,
        record: &TokenRecord,
        repair: bool,
    ) -> Result<(), ClusterError> {
        let generation = self.app.metadata.generation;
        let now = Timestamp::now();
        let written = self
            .context
            .cluster
            .write_secret(&self.namespace, write)
            .await;
        self.context.metrics.secret_write(written.is_ok());
        match written {
            Ok(metadata) => {
                let version = ObjectVersion::of(&metadata);
                self.seen(metadata);
                self.memory()
                    .wrote(version, record, generation, repair, now);
                Ok(())
            }
            Err(error) if error.is_not_found() && write.replaces.is_some() => {
                self.absent(&write.name);
                Ok(())
            }
            Err(error) if error.is_conflict() => self.look_at_target().await,
            Err(error) if error.is_immutable() && write.replaces.is_some() => {
                self.memory().immutable.clone_from(&write.replaces);
                Ok(())
            }
            Err(error) => {
                let terminating = error.is_namespace_terminating();
                let message = self.shown(&error, &write.name);
                warn!(app = %self.key, error = message, "the token is kept, the write tried again");
                self.memory()
                    .write_failed(message, terminating, generation, rand::random(), now);
                Ok(())
            }
        }
    }

    /// (client) Looks at the Secret under the target's name, which is not as it was thought to be.
    async fn look_at_target(&self) -> Result<(), ClusterError> {
        let name = self.app.target_name();
        match self
            .context
            .cluster
            .read_secret_metadata(&self.namespace, &name)
            .await
        {
            Ok(metadata) => {
                self.seen(metadata);
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                self.absent(&name);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes note of a Secret that was read or written. The watch's event of the same state will say
    /// nothing new, so the other apps that it matters to are woken here.
    fn seen(&self, metadata: ObjectMeta) {
        let users = self.context.index().secret_applied(metadata);
        self.wake_others(users);
    }

    /// Takes note of a Secret that is not there.
    fn absent(&self, name: &str) {
        let users = self.context.index().secret_absent(&self.namespace, name);
        self.wake_others(users);
    }

    fn wake_others(&self, users: Vec<AppRef>) {
        self.context
            .wake_all(users.into_iter().filter(|user| *user != self.key));
    }

    /// An error of the API server as it may be shown: a webhook could repeat what it was sent.
    fn shown(&self, error: &ClusterError, secret: &str) -> String {
        let memory = self.memory();
        let token = memory.held.as_ref().map(|held| held.token.expose());
        Redactor::new(token, [secret, self.namespace.as_str(), &self.key.name])
            .clean(&error.to_string())
            .unwrap_or_else(|| "the API server refused the write".to_owned())
    }

    /// (client) Reports; gives the time to look again.
    async fn settle(&self, settled: &Settled, now: Timestamp) -> Option<Timestamp> {
        if settled.quiet {
            return settled.wake_at;
        }
        let (previous, current, notices, written_at) = self.report(settled, now);
        let mut wake_at = settled.wake_at;
        if current != previous {
            let due = written_at
                .filter(|_| same_meaning(&previous, &current))
                .map(|at| at + STATUS_PACE)
                .filter(|at| *at > now);
            if let Some(due) = due {
                wake_at = Some(wake_at.map_or(due, |at| at.min(due)));
            } else if let Err(error) = self.write_status(&previous, current, now).await {
                if error.is_not_found() || error.is_conflict() {
                    return None;
                }
                warn!(app = %self.key, %error, "tried again in {} s", RETRY.as_secs());
                return Some(now + RETRY);
            }
        }
        {
            let mut memory = self.memory();
            memory.happened = crate::plan::Happened::default();
            memory.trimmed_keys.clear();
        }
        for notice in notices {
            if let Err(error) = self
                .context
                .cluster
                .publish(&self.namespace, &self.event(&notice))
                .await
            {
                warn!(app = %self.key, reason = notice.reason, %error, "the event is lost");
            }
        }
        wake_at
    }

    /// (pure) The status to write over which, and the events of the change.
    fn report(
        &self,
        settled: &Settled,
        now: Timestamp,
    ) -> (
        DingTalkAppStatus,
        DingTalkAppStatus,
        Vec<Notice>,
        Option<Timestamp>,
    ) {
        let memory = self.memory();
        let (previous, written_at) = memory.previous_status(self.app);
        let current = status(self.app, settled, &memory, &previous, now);
        let notices = notices(&previous, &current, memory.happened, &memory.trimmed_keys);
        (previous, current, notices, written_at)
    }

    async fn write_status(
        &self,
        previous: &DingTalkAppStatus,
        current: DingTalkAppStatus,
        now: Timestamp,
    ) -> Result<(), ClusterError> {
        let version = self
            .context
            .cluster
            .write_status(self.app, previous, &current)
            .await?;
        self.memory().status_written(current, version, now);
        Ok(())
    }

    fn event(&self, notice: &Notice) -> Event {
        let now = Timestamp::now();
        // A name has at most 253 characters; the time in it makes it unique.
        let mut name = self.key.name.clone();
        name.truncate(220);
        Event {
            metadata: ObjectMeta {
                name: Some(format!(
                    "{}.{:x}",
                    name.trim_end_matches(['.', '-']),
                    now.as_nanosecond()
                )),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(
                match notice.type_ {
                    NoticeType::Normal => "Normal",
                    NoticeType::Warning => "Warning",
                }
                .to_owned(),
            ),
            reason: Some(notice.reason.clone()),
            action: Some(notice.action.to_owned()),
            note: Some(notice.note.clone()),
            regarding: Some(self.app.object_ref(&())),
            reporting_controller: Some(MANAGER.to_owned()),
            reporting_instance: Some(self.context.instance.clone()),
            ..Event::default()
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, crate::plan::Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

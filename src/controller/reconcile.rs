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
use super::sharing::Wish;
use super::{Context, Remembered};
use crate::api::{DingTalkApp, DingTalkAppStatus, MANAGER};
use crate::dingtalk::{Credentials, Redactor};
use crate::plan::{
    CREDENTIALS_KEY_MISSING, CREDENTIALS_NOT_FOUND, CREDENTIALS_UNREADABLE, CredentialsProblem,
    Data, Deletion, Held, KnownCredentials, Minting, Notice, NoticeType, ObjectVersion, Schedule,
    Settled, Step, TargetMeta, Write, WriteProblem, due, next_step, notices, renew_request, status,
    write_status_at,
};

/// More steps in a row than any way through the plan has: a backstop against going in circles.
const STEPS_MAX: usize = 12;
/// After a call to the API server that failed and that no condition tells of.
const RETRY: SignedDuration = SignedDuration::from_secs(5);
/// Credentials that may not be read are tried again this often: a change of RBAC is not seen.
const UNREADABLE_RETRY: Duration = Duration::from_secs(60);

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

pub struct Reconciler<'a> {
    pub key: AppRef,
    pub memory: Remembered,
    pub namespace: String,
    pub app: &'a DingTalkApp,
    pub context: &'a Arc<Context>,
}

impl Reconciler<'_> {
    /// Gives the time to look again.
    async fn run(&self) -> Option<Timestamp> {
        // A layout with a Secret for each organisation may have to write or delete each of them.
        let steps = STEPS_MAX + 4 * self.app.spec.corp_ids.len();
        for _ in 0..steps {
            let now = Timestamp::now();
            let done = match self.decide(now)? {
                Step::ReadTarget { name, corp_ids } => self.read_target(&name, &corp_ids).await,
                Step::ReadCredentials => self.read_credentials().await,
                Step::DeleteTarget { name, version, why } => {
                    self.delete_target(&name, &version, why).await
                }
                Step::Write { write, repair } => self.write(&write, repair).await,
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
        let index = self.context.index();
        let view = index.view(self.app, self.context.site_known(self.app))?;
        Some(next_step(&view, &mut self.memory(), now))
    }

    /// (client) Reads what a Secret of ours holds.
    async fn read_target(&self, name: &str, corp_ids: &[String]) -> Result<(), ClusterError> {
        let read =
            self.context
                .cluster
                .read_secret("read the target Secret", &self.namespace, name);
        match read.await {
            Ok(mut contents) => {
                let target = TargetMeta::of(contents.metadata.clone());
                let keys: Vec<String> = match &target.recorded {
                    Some(recorded) => recorded.keys().collect(),
                    None => Vec::new(),
                };
                let data = Data::found(keys, |key| contents.take(key));
                self.seen(contents.metadata);
                self.memory()
                    .target_read(name, &target, data.as_ref(), corp_ids);
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                self.absent(name);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// (client) Reads the credentials and queues the fetches that are due.
    async fn read_credentials(&self) -> Result<(), ClusterError> {
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
                    CREDENTIALS_NOT_FOUND,
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
                    CREDENTIALS_UNREADABLE,
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
            Ok(credentials) => self.queue_fetches(credentials, version).await,
            Err(error) => {
                let message = format!("Secret {name}: {error}: put the app's credentials there");
                self.memory().credentials_failed(problem(
                    CREDENTIALS_KEY_MISSING,
                    message,
                    Some(version),
                    None,
                ));
            }
        }
        Ok(())
    }

    /// Queues what is due, unless another app has it already.
    async fn queue_fetches(&self, credentials: Credentials, version: ObjectVersion) {
        let fingerprint = credentials.fingerprint(&self.context.salt);
        let known = KnownCredentials {
            version,
            fingerprint,
        };
        self.memory()
            .credentials_read(known.clone(), &credentials.trimmed_keys);
        self.context
            .index()
            .client_known(&self.key, &credentials.client_id);
        let credentials = Arc::new(credentials);
        let wish = |corp_id| Wish {
            app: &self.key,
            site: &self.app.spec.site,
            corp_id,
            client_id: &credentials.client_id,
            known: &known,
        };
        for corp_id in &self.app.spec.corp_ids {
            let since = self.minted_at(corp_id);
            if let Some(held) = self.context.token_minted_for_another(&wish(corp_id), since) {
                self.adopt(corp_id, held, &known);
            }
        }
        let due = {
            let index = self.context.index();
            let site_known = self.context.site_known(self.app);
            let Some(view) = index.view(self.app, site_known) else {
                return;
            };
            due(&view, &mut self.memory(), Timestamp::now())
        };
        for corp_id in &due {
            let since = self.minted_at(corp_id);
            if !self.is_asked_to_renew(corp_id)
                && let Some(held) = self.context.shared_token(&wish(corp_id), since).await
            {
                self.adopt(corp_id, held, &known);
                continue;
            }
            self.queue_fetch(corp_id.clone(), &credentials, &known);
        }
    }

    fn adopt(&self, corp_id: &str, held: Held, known: &KnownCredentials) {
        let mut memory = self.memory();
        let corp = memory.corp(corp_id);
        let is_held = corp
            .held
            .as_ref()
            .is_some_and(|own| own.token == held.token);
        if is_held && corp.tried == Some(known.fingerprint) {
            return;
        }
        memory.happened.value_changed |= !is_held;
        let corp = memory.corp(corp_id);
        corp.tried = Some(known.fingerprint);
        corp.adopt(held, Timestamp::now());
    }

    fn is_asked_to_renew(&self, corp_id: &str) -> bool {
        let index = self.context.index();
        let recorded = index
            .target_of(&self.key, corp_id)
            .and_then(|(_, target)| target.recorded.as_ref()?.token(corp_id));
        let memory = self.memory();
        let held = memory
            .corps
            .get(corp_id)
            .and_then(|corp| corp.held.as_ref());
        let token = held.map(|held| &held.record).or(recorded);
        memory.open_request(self.app, corp_id, token).is_some()
    }

    /// When the token that the app has was requested; `None` where it is another's credentials'.
    fn minted_at(&self, corp_id: &str) -> Option<Timestamp> {
        let index = self.context.index();
        let recorded = index
            .target_of(&self.key, corp_id)
            .and_then(|(_, target)| target.recorded.as_ref()?.token(corp_id));
        let memory = self.memory();
        let corp = memory.corps.get(corp_id)?;
        let known = memory.credentials.as_ref()?;
        let held = corp.held.as_ref().map(|held| &held.record);
        let record = held.or(recorded)?;
        let is_same = match corp.tried {
            Some(tried) => tried == known.fingerprint,
            None => record.credentials == known.version,
        };
        is_same.then_some(record.lifetime.minted_at)
    }

    fn queue_fetch(
        &self,
        corp_id: String,
        credentials: &Arc<Credentials>,
        known: &KnownCredentials,
    ) {
        // Read before the memory is locked: whoever needs both locks the index first.
        let recorded = {
            let index = self.context.index();
            let target = index.target_of(&self.key, &corp_id);
            target
                .and_then(|(_, target)| target.recorded.as_ref()?.token(&corp_id))
                .map(|token| token.lifetime.expires_at)
        };
        let minting = Minting {
            id: self.context.next_fetch_id(),
            site: self.app.spec.site.clone(),
            client_id: credentials.client_id.clone(),
            credentials: known.version.clone(),
            generation: self.app.metadata.generation,
            request: renew_request(self.app).map(str::to_owned),
            renew_before: self.app.spec.renew_before(),
            since: Timestamp::now(),
            corp_id,
        };
        let mut memory = self.memory();
        let corp = memory.corp(&minting.corp_id);
        corp.minting = Some(minting.clone());
        corp.tried = Some(known.fingerprint);
        let held = corp.held.as_ref();
        let job = Job {
            app: self.key.clone(),
            memory: Arc::clone(&self.memory),
            credentials: Arc::clone(credentials),
            fingerprint: known.fingerprint,
            expires_at: held
                .map(|held| held.record.lifetime.expires_at)
                .or(recorded),
            known: held.map(|held| held.token.clone()),
            minting,
        };
        drop(memory);
        self.context.fetch(job);
    }

    /// (client) Deletes a Secret of ours.
    async fn delete_target(
        &self,
        name: &str,
        version: &ObjectVersion,
        why: Deletion,
    ) -> Result<(), ClusterError> {
        let (operation, done) = match why {
            Deletion::Immutable => (
                "delete the immutable target Secret",
                "deleted an immutable Secret to create it anew",
            ),
            Deletion::Former => (
                "delete the former target Secret",
                "deleted a Secret that is no target any more",
            ),
        };
        let deleted = self
            .context
            .cluster
            .delete_secret(operation, &self.namespace, name, version);
        match deleted.await {
            Ok(()) => {
                info!(app = %self.key, secret = name, "{done}");
                self.absent(name);
                Ok(())
            }
            Err(error) if error.is_not_found() || error.is_conflict() => {
                self.look_at_target(name).await
            }
            Err(error) => Err(error),
        }
    }

    /// (client) Writes a target.
    async fn write(&self, write: &Write, repair: bool) -> Result<(), ClusterError> {
        let generation = self.app.metadata.generation;
        let name = write.name.as_str();
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
                self.memory().wrote(write, version, generation, repair, now);
                Ok(())
            }
            Err(error) if error.is_not_found() && write.replaces.is_some() => {
                self.absent(name);
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
                let problem = if error.is_namespace_terminating() {
                    WriteProblem::NamespaceTerminating
                } else if error.is_too_large() {
                    WriteProblem::TooLarge
                } else {
                    WriteProblem::Refused
                };
                let message = self.shown(&error, write);
                warn!(app = %self.key, secret = name, error = message, "the tokens are kept, the write tried again");
                self.memory().writing(name).failed(
                    problem,
                    message,
                    generation,
                    rand::random(),
                    now,
                );
                Ok(())
            }
        }
    }

    /// (client) Looks at the Secret under a name, which is not as it was thought to be.
    async fn look_at_target(&self, name: &str) -> Result<(), ClusterError> {
        match self
            .context
            .cluster
            .read_secret_metadata(&self.namespace, name)
            .await
        {
            Ok(metadata) => {
                self.seen(metadata);
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                self.absent(name);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes note of a Secret that was read or written. The watch's event of the same state will say
    /// nothing new, so the other apps that it matters to are woken here.
    fn seen(&self, metadata: ObjectMeta) {
        let users = self.context.secret_seen(metadata);
        self.wake_others(users);
    }

    /// Takes note of a Secret that is not there.
    fn absent(&self, name: &str) {
        let users = self.context.secret_gone(&self.namespace, name);
        self.wake_others(users);
    }

    fn wake_others(&self, users: Vec<AppRef>) {
        self.context
            .wake_all(users.into_iter().filter(|user| *user != self.key));
    }

    /// An error of the API server as it may be shown: a webhook could repeat what it was sent.
    fn shown(&self, error: &ClusterError, write: &Write) -> String {
        let sent = write.data.values().flatten().map(|value| value.as_str());
        let public = [write.name.as_str(), self.namespace.as_str(), &self.key.name];
        let corp_ids = self.app.spec.corp_ids.iter().map(String::as_str);
        Redactor::new(sent, public.into_iter().chain(corp_ids))
            .clean(&error.to_string())
            .unwrap_or_else(|| "the API server refused the write".to_owned())
    }

    /// (client) Reports; gives the time to look again.
    async fn settle(&self, settled: &Settled, now: Timestamp) -> Option<Timestamp> {
        if settled.quiet {
            return settled.wake_at;
        }
        let retry_restart = self.restart_workloads(settled, now).await;
        let (previous, current, notices, written_at) = self.report(settled, now);
        let mut wake_at = settled.wake_at.into_iter().chain(retry_restart).min();
        if current != previous {
            let due = written_at
                .map(|at| write_status_at(&previous, &current, at))
                .filter(|at| *at > now);
            if let Some(due) = due {
                return Some(wake_at.map_or(due, |at| at.min(due)));
            }
            if let Err(error) = self.write_status(&previous, current, now).await {
                if error.is_not_found() || error.is_conflict() {
                    return None;
                }
                warn!(app = %self.key, %error, "tried again in {} s", RETRY.as_secs());
                wake_at = Some(now + RETRY);
                return wake_at;
            }
        }
        {
            let mut memory = self.memory();
            memory.happened = crate::plan::Happened::default();
            memory.trimmed_keys.clear();
        }
        for notice in notices {
            self.publish(&notice).await;
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

    /// (client) Publishes an event of the app.
    pub async fn publish(&self, notice: &Notice) {
        let event = event(self.app, &self.context.instance, notice);
        if let Err(error) = self.context.cluster.publish(&self.namespace, &event).await {
            warn!(app = %self.key, reason = notice.reason, %error, "the event is lost");
        }
    }

    pub fn memory(&self) -> std::sync::MutexGuard<'_, crate::plan::Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event about `object`, reported by the process `instance`.
pub fn event<K>(object: &K, instance: &str, notice: &Notice) -> Event
where
    K: Resource<DynamicType = ()>,
{
    let now = Timestamp::now();
    // A name has at most 253 characters; the time in it makes it unique.
    let mut name = object.name_any();
    name.truncate(220);
    Event {
        metadata: ObjectMeta {
            name: Some(format!(
                "{}.{:x}",
                name.trim_end_matches(['.', '-']),
                now.as_nanosecond()
            )),
            namespace: object.namespace(),
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
        regarding: Some(object.object_ref(&())),
        reporting_controller: Some(MANAGER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}

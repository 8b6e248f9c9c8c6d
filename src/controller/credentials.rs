//! Reads an app's credentials, and queues the fetches that are due with them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::cluster::ClusterError;
use super::index::Wish;
use super::job::Job;
use super::reconcile::Reconciler;
use super::sharing::Shared;
use crate::api::{Cause, Reason};
use crate::dingtalk::{Call, Credentials, CredentialsId};
use crate::plan::{
    CredentialsProblem, KnownCredentials, Memory, Minting, ObjectVersion, Schedule, due,
    renew_request,
};

/// Credentials that may not be read are tried again this often: a change of RBAC is not seen.
const UNREADABLE_RETRY: Duration = Duration::from_secs(60);

impl Reconciler<'_> {
    /// (client) Reads the credentials and queues the fetches that are due.
    pub async fn read_credentials(&self) -> Result<(), ClusterError> {
        let reference = &self.app.spec.credentials_secret_ref;
        let name = reference.name.as_str();
        let now = self.context.wall();
        let problem = |reason, message, version, retry| CredentialsProblem {
            reason,
            message,
            since: now,
            version,
            generation: self.app.metadata.generation,
            retry,
        };
        let was = self.context.known_secret(&self.namespace, name);
        let read = self
            .context
            .cluster
            .read_secret("read the credentials", &self.namespace, name);
        let mut contents = match read.await {
            Ok(contents) => contents,
            Err(error) if error.is_not_found() => {
                self.absent(name, was.as_ref());
                let message = format!(
                    "Secret {name} does not exist: create it with the keys {} and {}",
                    reference.client_id_key, reference.client_secret_key
                );
                self.memory().credentials_failed(problem(
                    Reason::CredentialsNotFound,
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
                    Reason::CredentialsUnreadable,
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
        // The other keys, up to a megabyte, are not kept while a shared token is looked for.
        self.seen(contents.into_metadata());
        match credentials {
            Ok(credentials) => self.queue_fetches(credentials, version).await,
            Err(error) => {
                let message = format!("Secret {name}: {error}: put the app's credentials there");
                let reason = match error.is_invalid_value() {
                    true => Reason::CredentialsInvalid,
                    false => Reason::CredentialsKeyMissing,
                };
                self.memory()
                    .credentials_failed(problem(reason, message, Some(version), None));
            }
        }
        Ok(())
    }

    /// Queues what is due, unless another app has it already.
    async fn queue_fetches(&self, credentials: Credentials, version: ObjectVersion) {
        let fingerprint = credentials.fingerprint(&self.context.salt);
        let known = KnownCredentials {
            reference: self.app.spec.credentials_secret_ref.clone(),
            client_id: credentials.client_id.clone(),
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
            if let Some(shared) = self.context.token_minted_for_another(&wish(corp_id), since) {
                self.adopt(corp_id, shared, &known);
            }
        }
        let due = {
            let index = self.context.index();
            let site_known = self.context.site_known(self.app);
            let Some(view) = index.view(self.app, site_known) else {
                return;
            };
            let mut memory = self.memory();
            let due = due(&view, &mut memory, self.context.wall()).into_iter();
            let due = due.map(|(corp_id, cause)| {
                let held_since = held_since(&memory, &corp_id);
                (corp_id, cause, held_since)
            });
            due.collect::<Vec<_>>()
        };
        for (corp_id, cause, held_since) in &due {
            let since = self.minted_at(corp_id);
            if !self.is_asked_to_renew(corp_id)
                && let Some(shared) = self.context.shared_token(&wish(corp_id), since).await
            {
                self.adopt(corp_id, shared, &known);
                continue;
            }
            self.queue_fetch((corp_id.clone(), *cause, *held_since), &credentials, &known);
        }
    }

    fn adopt(&self, corp_id: &str, shared: Shared, known: &KnownCredentials) {
        let Shared { held, is_fetched } = shared;
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
        corp.adopt(held, is_fetched, self.context.wall());
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
            .and_then(|(_, target)| target.recorded.as_ref()?.token(corp_id))
            // A time to come, as somebody may write it, would be newer than any token.
            .filter(|token| token.lifetime.is_plausible(self.context.wall()));
        let memory = self.memory();
        let corp = memory.corps.get(corp_id)?;
        let known = memory.credentials.as_ref()?;
        let held = corp.held.as_ref().map(|held| &held.record);
        let record = held.or(recorded)?;
        let is_same = match corp.tried {
            Some(tried) => tried == known.fingerprint,
            None => known.fetched(record),
        };
        is_same.then_some(record.lifetime.minted_at)
    }

    /// Queues a fetch that was found to be due, unless another app has brought the token since.
    fn queue_fetch(
        &self,
        (corp_id, cause, was_held_since): (String, Cause, Option<Timestamp>),
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
        let now = self.context.clock.now();
        let minting = Minting {
            id: self.context.next_fetch_id(),
            site: self.app.spec.site.clone(),
            client_id: credentials.client_id.clone(),
            credentials: known.version.clone(),
            reference: known.reference.clone(),
            fingerprint: known.fingerprint,
            cause,
            generation: self.app.metadata.generation,
            request: renew_request(self.app).map(str::to_owned),
            renew_before: self.app.spec.renew_before(),
            since: now.wall,
            corp_id,
        };
        let mut memory = self.memory();
        if held_since(&memory, &minting.corp_id) != was_held_since {
            return;
        }
        let corp = memory.corp(&minting.corp_id);
        corp.minting = Some(minting.clone());
        corp.tried = Some(known.fingerprint);
        let held = corp.held.as_ref();
        let expires_at = held
            .map(|held| held.record.lifetime.expires_at)
            .or(recorded);
        let job = Job {
            app: self.key.clone(),
            memory: Arc::clone(&self.memory),
            call: self.call(&minting, known),
            rank: corp.rank(expires_at, minting.since),
            credentials: Arc::clone(credentials),
            expires_at,
            failing_since: corp.failing.as_ref().and_then(|failing| {
                let age = minting.since.duration_since(failing.streak_since);
                now.monotonic
                    .checked_sub(Duration::try_from(age).unwrap_or_default())
            }),
            known: held.map(|held| held.token.clone()),
            queued_at: now.monotonic,
            minting,
        };
        drop(memory);
        self.context.fetch(job);
    }

    fn call(&self, minting: &Minting, known: &KnownCredentials) -> Call {
        Call {
            site: minting.site.as_str().into(),
            namespace: self.namespace.as_str().into(),
            client_id: minting.client_id.as_str().into(),
            corp_id: minting.corp_id.as_str().into(),
            credentials: CredentialsId {
                uid: known.version.uid.as_str().into(),
                fingerprint: known.fingerprint,
            },
        }
    }
}

/// When the token that is held for an organisation was requested.
fn held_since(memory: &Memory, corp_id: &str) -> Option<Timestamp> {
    let held = memory.corps.get(corp_id)?.held.as_ref()?;
    Some(held.record.lifetime.minted_at)
}

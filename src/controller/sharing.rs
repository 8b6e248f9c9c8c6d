//! One mint for many: apps with the same site, `client_id`, `corpId` and client secret share a token,
//! since a second mint might revoke the first. An app with another secret shares nothing: it proves
//! its own secret by its own call.

use std::sync::PoisonError;

use jiff::Timestamp;
use tracing::debug;

use super::context::{Context, life_left};
use super::index::{AppRef, Candidate, Wish};
use super::job::Job;
use super::remembered::Remembered;
use super::tokens::TokenKey;
use crate::dingtalk::{Credentials, Failure, Minted};
use crate::plan::{
    Data, FailedAttempt, Held, KnownCredentials, Lifetime, ObjectVersion, TargetMeta, TokenRecord,
    lifetime,
};

/// So many Secrets of other apps are read for one token that is wanted.
const READS_MAX: usize = 16;

impl Wish<'_> {
    fn key(&self) -> TokenKey {
        let (site, corp_id) = (self.site.to_owned(), self.corp_id.to_owned());
        (site, corp_id, self.known.fingerprint)
    }
}

/// A token of another app, credited to the app that wants it.
pub struct Shared {
    /// The token.
    pub held: Held,
    /// Whether this process fetched it; else it was read from a Secret.
    pub is_fetched: bool,
}

impl Shared {
    fn fetched(held: Held, wish: &Wish<'_>) -> Self {
        Self {
            held: credited(held, &wish.known.version),
            is_fetched: true,
        }
    }

    fn read(held: Held, wish: &Wish<'_>) -> Self {
        Self {
            held: credited(held, &wish.known.version),
            is_fetched: false,
        }
    }
}

impl Context {
    /// Hands what came of a fetch to the other apps that share the token. A failure goes to those
    /// that are about to make the same call.
    pub fn share(&self, job: &Job, result: &Result<Minted, Failure>, requested_at: Timestamp) {
        let minting = &job.minting;
        let corp_id = &minting.corp_id;
        let sharers = self
            .index()
            .sharers(&job.app, &minting.site, &minting.client_id, corp_id);
        let key = (
            minting.site.clone(),
            corp_id.clone(),
            job.call.credentials.fingerprint,
        );
        if sharers.is_empty() {
            // What was shared before may be revoked by now.
            if result.is_ok() {
                self.shared.remove(&key);
            }
            return;
        }
        let now = self.wall();
        let held = result.as_ref().ok().map(|minted| Held {
            token: minted.token.clone(),
            record: TokenRecord {
                site: minting.site.clone(),
                client_id: minting.client_id.clone(),
                corp_id: corp_id.clone(),
                lifetime: lifetime(requested_at, minted.expires_in),
                credentials: ObjectVersion::default(),
                answers: None,
            },
        });
        if let Some(held) = &held {
            self.shared.insert(key, held.clone(), now);
        }
        for sharer in sharers {
            let Some(memory) = self.remembered(&sharer) else {
                continue;
            };
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let known = memory.credentials.clone();
            let is_same = known
                .as_ref()
                .map(|known| known.fingerprint == job.call.credentials.fingerprint);
            let corp = memory.corp(corp_id);
            match (known, is_same, result) {
                (Some(known), Some(true), Ok(_)) => {
                    let Some(held) = held.clone() else { continue };
                    corp.tried = Some(job.call.credentials.fingerprint);
                    corp.adopt(credited(held, &known.version), true, now);
                    memory.happened.value_changed = true;
                }
                (Some(_), Some(true), Err(failure)) => {
                    let Some(queued) = corp.minting.take() else {
                        continue;
                    };
                    let expires_at = corp.held.as_ref();
                    let expires_at = expires_at.map(|held| held.record.lifetime.expires_at);
                    let left = life_left(expires_at, now);
                    let attempt = FailedAttempt {
                        failure: failure.clone(),
                        life_left: left,
                        is_site_down: false,
                        random: self.clock.random(),
                    };
                    corp.failed(&queued, attempt, now);
                }
                (None, None, Ok(_)) => memory.identify = true,
                _ => continue,
            }
            drop(memory);
            self.wake(&sharer);
        }
    }

    /// A token that this process fetched for another app with the same credentials, not older than
    /// `since`: of two that were fetched within a second, the one that is in no Secret yet is newer.
    pub fn token_minted_for_another(
        &self,
        wish: &Wish<'_>,
        since: Option<Timestamp>,
    ) -> Option<Shared> {
        let held = self.shared.get(&wish.key())?;
        let lifetime = held.record.lifetime;
        let is_newer = since.is_none_or(|since| lifetime.minted_at >= since);
        (is_newer && lifetime.expires_at > self.wall()).then(|| Shared::fetched(held, wish))
    }

    /// A token that another app with the same credentials holds and that is newer than `since`: one
    /// that this process fetched, or one in a Secret of the same namespace. Whoever may write Secrets
    /// of another namespace could have made up what is in them, by whichever manager.
    pub async fn shared_token(&self, wish: &Wish<'_>, since: Option<Timestamp>) -> Option<Shared> {
        let sharers = self
            .index()
            .sharers(wish.app, wish.site, wish.client_id, wish.corp_id);
        if sharers.is_empty() {
            return None;
        }
        let now = self.wall();
        let is_newer = |lifetime: Lifetime| {
            lifetime.expires_at > now && since.is_none_or(|since| lifetime.minted_at > since)
        };
        let fetched = sharers
            .iter()
            .filter_map(|sharer| self.fetched_for(sharer, wish))
            .chain(self.shared.get(&wish.key()))
            .filter(|held| is_newer(held.record.lifetime))
            .max_by_key(|held| held.record.lifetime.minted_at);
        let newest = fetched.as_ref().map(|held| held.record.lifetime.minted_at);
        let mut candidates = self.index().candidates(wish, &sharers, now);
        candidates.retain(|candidate| {
            is_newer(candidate.lifetime)
                && newest.is_none_or(|at| candidate.lifetime.minted_at > at)
        });
        for candidate in candidates.iter().take(READS_MAX) {
            if let Some(held) = self.token_in(candidate, wish).await {
                return Some(Shared::read(held, wish));
            }
        }
        fetched.map(|held| Shared::fetched(held, wish))
    }

    /// The token that this process fetched for `app`, if its credentials are those of the wish.
    fn fetched_for(&self, app: &AppRef, wish: &Wish<'_>) -> Option<Held> {
        let memory = self.remembered(app)?;
        let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let corp = memory.corps.get(wish.corp_id)?;
        // A token of former credentials may be held still, while the app waits for a new one.
        let is_same = corp.is_fetched && corp.minted_with == Some(wish.known.fingerprint);
        let held = corp.held.as_ref().filter(|_| is_same)?;
        (held.record.site == wish.site).then(|| held.clone())
    }

    /// (client) The token in an app's own Secret, if the app's credentials are those of the wish.
    async fn token_in(&self, candidate: &Candidate, wish: &Wish<'_>) -> Option<Held> {
        let app = &candidate.app;
        let memory = self.remembered(app)?;
        let locked = || memory.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.credentials_of_another(app, &memory).await?;
        // What it was fetched with must be what the app has now, or its value proves nothing.
        if known.fingerprint != wish.known.fingerprint || candidate.credentials != known.version {
            return None;
        }
        {
            let mut memory = locked();
            if memory
                .writing(&candidate.secret)
                .has_distrusted(&candidate.version)
            {
                return None;
            }
            let corp = memory.corps.get(wish.corp_id);
            let held = corp.and_then(|corp| corp.held.as_ref());
            if let Some(held) = held.filter(|held| held.record.lifetime == candidate.lifetime) {
                return Some(held.clone());
            }
        }
        let namespace = app.namespace.as_deref().unwrap_or_default();
        let operation = "read the Secret of an app that shares a token";
        let read = self
            .cluster
            .read_secret(operation, namespace, &candidate.secret);
        let mut contents = read.await.ok()?;
        let target = TargetMeta::of(contents.metadata.clone());
        let recorded = target.recorded.as_ref()?;
        let keys = recorded.keys().collect::<Vec<_>>();
        let data = Data::found(keys, |key| contents.take(key));
        if target.version != candidate.version {
            // The watch tells of the change, and the app looks again.
            return None;
        }
        let corp_ids = [wish.corp_id.to_owned()];
        locked().target_read(&candidate.secret, &target, data.as_ref(), &corp_ids);
        let mut tokens = data?.tokens_recorded(recorded)?.into_iter();
        let held = tokens.find(|held| held.record.corp_id == wish.corp_id)?;
        debug!(
            namespace = app.namespace,
            name = app.name,
            secret = candidate.secret,
            "token shared"
        );
        Some(held)
    }

    /// (client) The credentials of an app that may share a token. Those that cannot be used are read
    /// once for each change.
    async fn credentials_of_another(
        &self,
        app: &AppRef,
        memory: &Remembered,
    ) -> Option<KnownCredentials> {
        let locked = || memory.lock().unwrap_or_else(PoisonError::into_inner);
        let (reference, seen) = {
            let index = self.index();
            let seen = index.credentials_version(app).cloned();
            (index.credentials_ref(app)?.clone(), seen)
        };
        let tried = (reference, seen);
        {
            let memory = locked();
            let known = memory.credentials.as_ref();
            if let Some(known) = known.filter(|known| known.reference == tried.0) {
                return Some(known.clone());
            }
            if memory.credentials_problem.is_some()
                || memory.unusable_to_others.as_ref() == Some(&tried)
            {
                return None;
            }
        }
        let reference = tried.0.clone();
        let namespace = app.namespace.as_deref().unwrap_or_default();
        let operation = "read the credentials of an app that may share a token";
        let read = self
            .cluster
            .read_secret(operation, namespace, &reference.name);
        let read = match read.await {
            Ok(contents) => Some(contents),
            Err(error) if error.is_not_found() || error.is_forbidden() => None,
            Err(_) => return None,
        };
        let usable = read.and_then(|mut contents| {
            let take = |key: &str| contents.take(key);
            let (id, secret) = (&reference.client_id_key, &reference.client_secret_key);
            let credentials = Credentials::read(id, secret, take).ok()?;
            Some(KnownCredentials {
                client_id: credentials.client_id.clone(),
                version: ObjectVersion::of(&contents.metadata),
                fingerprint: credentials.fingerprint(&self.salt),
                reference: reference.clone(),
            })
        });
        let mut memory = locked();
        match usable {
            Some(known) => {
                memory.credentials.get_or_insert(known.clone());
                Some(known)
            }
            None => {
                memory.unusable_to_others = Some(tried);
                None
            }
        }
    }
}

/// The same token, as fetched with an app's own credentials, which are the same.
fn credited(held: Held, version: &ObjectVersion) -> Held {
    Held {
        record: TokenRecord {
            credentials: version.clone(),
            // What was asked of the other app.
            answers: None,
            ..held.record
        },
        ..held
    }
}

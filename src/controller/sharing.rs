//! One mint for many: apps with the same site, `client_id`, `corpId` and client secret share a token,
//! since a second mint might revoke the first. An app with another secret shares nothing: it proves
//! its own secret by its own call.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tracing::debug;

use super::fetcher::Job;
use super::index::{AppRef, named};
use super::{Context, life_left};
use crate::dingtalk::{Credentials, Failure, Fingerprint, Minted};
use crate::plan::{
    Data, FailedAttempt, Held, KnownCredentials, ObjectVersion, TokenRecord, lifetime,
};

/// Site, organisation, and what stands for `client_id` and client secret.
type TokenKey = (String, String, Fingerprint);

/// The tokens of this process that more than one app may want, the newest of each.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<TokenKey, Held>>);

impl Tokens {
    fn insert(&self, key: TokenKey, held: Held, now: Timestamp) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, held| held.record.lifetime.expires_at > now);
        tokens.insert(key, held);
    }

    fn is_empty(&self) -> bool {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.is_empty()
    }

    fn get(&self, key: &TokenKey) -> Option<Held> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(key).cloned()
    }
}

/// A token that an app wants, and what it proves itself with.
pub struct Wish<'a> {
    /// The app.
    pub app: &'a AppRef,
    /// The site.
    pub site: &'a str,
    /// The organisation.
    pub corp_id: &'a str,
    /// The `client_id`.
    pub client_id: &'a str,
    /// The app's credentials.
    pub known: &'a KnownCredentials,
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
        if sharers.is_empty() {
            return;
        }
        let now = Timestamp::now();
        let held = result.as_ref().ok().map(|minted| Held {
            token: minted.token.clone(),
            record: TokenRecord {
                site: minting.site.clone(),
                client_id: minting.client_id.clone(),
                corp_id: corp_id.clone(),
                lifetime: lifetime(requested_at, minted.expires_in),
                credentials: ObjectVersion::default(),
            },
        });
        if let Some(held) = &held {
            let key = (
                minting.site.clone(),
                corp_id.clone(),
                job.call.credentials.fingerprint,
            );
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
                    corp.adopt(credited(held, &known.version), now);
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
                        random: rand::random(),
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

    /// A token that this process minted for another app with the same credentials, not older than
    /// `since`: of two that were minted within a second, the one that is in no Secret yet is newer.
    pub fn token_minted_for_another(
        &self,
        wish: &Wish<'_>,
        since: Option<Timestamp>,
    ) -> Option<Held> {
        if self.shared.is_empty() {
            return None;
        }
        let key = (
            wish.site.to_owned(),
            wish.corp_id.to_owned(),
            wish.known.fingerprint,
        );
        let held = self.shared.get(&key)?;
        let lifetime = held.record.lifetime;
        let is_newer = since.is_none_or(|since| lifetime.minted_at >= since);
        (is_newer && lifetime.expires_at > Timestamp::now())
            .then(|| credited(held, &wish.known.version))
    }

    /// A token that another app with the same credentials holds and that is newer than `since`.
    pub async fn shared_token(&self, wish: &Wish<'_>, since: Option<Timestamp>) -> Option<Held> {
        let fingerprint = wish.known.fingerprint;
        let sharers = self
            .index()
            .sharers(wish.app, wish.site, wish.client_id, wish.corp_id);
        if sharers.is_empty() {
            return None;
        }
        let key = (wish.site.to_owned(), wish.corp_id.to_owned(), fingerprint);
        let mut newest = self.shared.get(&key);
        for sharer in &sharers {
            if let Some(held) = self.token_of(sharer, wish, fingerprint).await
                && newest.as_ref().is_none_or(|newest| {
                    newest.record.lifetime.minted_at < held.record.lifetime.minted_at
                })
            {
                newest = Some(held);
            }
        }
        let now = Timestamp::now();
        let held = newest.filter(|held| {
            let lifetime = held.record.lifetime;
            lifetime.expires_at > now && since.is_none_or(|since| lifetime.minted_at > since)
        })?;
        self.shared.insert(key, held.clone(), now);
        Some(credited(held, &wish.known.version))
    }

    /// (client) The token that `app` holds of the wish, if its credentials are the same. What it
    /// does not know of itself since the process started is read.
    async fn token_of(
        &self,
        app: &AppRef,
        wish: &Wish<'_>,
        fingerprint: Fingerprint,
    ) -> Option<Held> {
        let memory = self.remembered(app)?;
        let locked = || memory.lock().unwrap_or_else(PoisonError::into_inner);
        let namespace = app.namespace.as_deref().unwrap_or_default();
        let is_wanted = |held: &Held| held.record.site == wish.site;
        let recorded = {
            let index = self.index();
            index
                .target_of(app, wish.corp_id)
                .map(|(name, target)| (name.to_owned(), target.clone()))
        };
        let is_held = locked()
            .corps
            .get(wish.corp_id)
            .is_some_and(|corp| corp.held.is_some());
        if !is_held && recorded.is_none() {
            return None;
        }
        let known = locked().credentials.clone();
        let known = match known {
            Some(known) => known,
            None => {
                let reference = self.index().credentials_ref(app)?.clone();
                let operation = "read the credentials of an app that may share a token";
                let read = self
                    .cluster
                    .read_secret(operation, namespace, &reference.name);
                let mut contents = read.await.ok()?;
                let credentials = Credentials::read(
                    &reference.client_id_key,
                    &reference.client_secret_key,
                    |key| contents.take(key),
                )
                .ok()?;
                let known = KnownCredentials {
                    client_id: credentials.client_id.clone(),
                    reference,
                    version: ObjectVersion::of(&contents.metadata),
                    fingerprint: credentials.fingerprint(&self.salt),
                };
                locked().credentials.get_or_insert(known.clone());
                known
            }
        };
        if known.fingerprint != fingerprint {
            return None;
        }
        if is_held {
            // A token of its former credentials may be held still, while it waits for a new one.
            let held = locked().corps.get(wish.corp_id)?.proven(&known);
            return held.filter(is_wanted);
        }
        let (name, target) = recorded?;
        let token = target.recorded.as_ref()?.token(wish.corp_id)?;
        // What it was fetched with must be what the app has now, or its value proves nothing.
        if token.credentials != known.version {
            return None;
        }
        let operation = "read the Secret of an app that shares a token";
        let mut contents = self
            .cluster
            .read_secret(operation, namespace, &name)
            .await
            .ok()?;
        let target = crate::plan::TargetMeta::of(contents.metadata.clone());
        let keys = target.recorded.as_ref()?.keys().collect::<Vec<_>>();
        let data = Data::found(keys, |key| contents.take(key));
        let corp_ids = [wish.corp_id.to_owned()];
        let mut memory = locked();
        memory.target_read(&name, &target, data.as_ref(), &corp_ids);
        debug!(app = %named(app), secret = name, "its token is shared");
        let held = memory.corps.get(wish.corp_id)?.proven(&known);
        held.filter(is_wanted)
    }
}

/// The same token, as fetched with an app's own credentials, which are the same.
fn credited(held: Held, version: &ObjectVersion) -> Held {
    Held {
        record: TokenRecord {
            credentials: version.clone(),
            ..held.record
        },
        ..held
    }
}

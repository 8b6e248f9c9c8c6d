//! Tokens in the Secrets of other apps with the same credentials. A new process only knows them
//! from there.

use jiff::Timestamp;
use tracing::debug;

use super::context::Context;
use super::reads::Read;
use super::secrets::Secrets;
use crate::api::AppRef;
use crate::core::{Candidate, Held, KnownCredentials, TokenQuery};

/// Secrets of other apps that are read for one wanted token.
const READS_MAX: usize = 16;
/// How often they are looked for: one that is written while it is read may hold the token afterwards.
const ROUNDS: usize = 3;

impl Context {
    /// (client) Returns a token newer than `since` from the Secret of another app of the same
    /// namespace with the same credentials, and that app. Secrets of other namespaces do not count:
    /// whoever may write them could forge their contents under any manager's name.
    pub(super) async fn shared_token(
        &self,
        query: &TokenQuery<'_>,
        since: Option<Timestamp>,
    ) -> Option<(Held, AppRef)> {
        let mut tried = Vec::new();
        for _ in 0..ROUNDS {
            let candidates = self.candidates(query, since);
            if candidates == tried {
                break;
            }
            for candidate in candidates.iter().filter(|it| !tried.contains(it)) {
                if let Some(held) = self.token_in(candidate, query).await {
                    return Some((held, candidate.app.clone()));
                }
            }
            tried = candidates;
        }
        None
    }

    /// Returns the Secrets that may hold a token newer than `since`.
    fn candidates(&self, query: &TokenQuery<'_>, since: Option<Timestamp>) -> Vec<Candidate> {
        let now = self.wall();
        let index = &self.core().index;
        let client_id = &query.known.client_id;
        let sharers = index.sharers(query.app, query.site, client_id, query.corp_id);
        let candidates = index.candidates(query, &sharers, now).into_iter();
        let newer = candidates.filter(|candidate| {
            candidate.lifetime.expires_at > now
                && since.is_none_or(|since| candidate.lifetime.requested_at > since)
        });
        newer.take(READS_MAX).collect()
    }

    /// (client) Returns the token in an app's own Secret, if the app's credentials are those of the
    /// query.
    async fn token_in(&self, candidate: &Candidate, query: &TokenQuery<'_>) -> Option<Held> {
        let app = &candidate.app;
        let known = self.credentials_of_another(app).await?;
        // If it was fetched with other credentials than the app has now, its value proves nothing.
        if known.fingerprint != query.known.fingerprint || candidate.credentials != known.version {
            return None;
        }
        {
            let mut core = self.core();
            let memory = core.app(app)?;
            if memory
                .writing(&candidate.secret)
                .distrusts(&candidate.version)
            {
                return None;
            }
            let organisation = memory.corps.get(query.corp_id);
            let held = organisation.and_then(|it| it.held.as_ref());
            if let Some(held) = held.filter(|held| held.record.lifetime == candidate.lifetime) {
                return Some(held.clone());
            }
        }
        let namespace = app.namespace.as_deref().unwrap_or_default();
        let operation = "read the Secret of an app that shares a token";
        let secrets = Secrets {
            context: self,
            owner: query.app,
        };
        let read = secrets.read(operation, namespace, &candidate.secret);
        let found = read.await.ok()??;
        let target = &found.target;
        if target.recorded.is_none() || target.version != candidate.version {
            // It was written meanwhile.
            return None;
        }
        let (is_genuine, tokens) = found.tokens();
        let mut of_corp = tokens.iter();
        let held = of_corp.find(|held| held.record.corp_id == query.corp_id);
        let held = held.cloned();
        let corp_ids = [query.corp_id.to_owned()];
        self.core().app(app)?.target_read(
            &candidate.secret,
            target,
            (is_genuine, tokens),
            &corp_ids,
        );
        let held = held?;
        debug!(
            namespace = app.namespace,
            name = app.name,
            secret = candidate.secret,
            "token shared"
        );
        Some(held)
    }

    /// (client) Returns the credentials of an app that may share a token. Unusable ones are read
    /// once for each change.
    async fn credentials_of_another(&self, app: &AppRef) -> Option<KnownCredentials> {
        let tried = {
            let mut core = self.core();
            let seen = core.index.credentials_version(app).cloned();
            let tried = (core.index.credentials_ref(app)?.clone(), seen);
            let memory = core.app(app)?;
            let known = memory.credentials.as_ref();
            if let Some(known) = known.filter(|known| known.reference == tried.0) {
                return Some(known.clone());
            }
            if memory.credentials_problem.is_some()
                || memory.unusable_to_others.as_ref() == Some(&tried)
            {
                return None;
            }
            tried
        };
        let namespace = app.namespace.as_deref().unwrap_or_default();
        match self.credentials(namespace, &tried.0).await {
            Ok(Some(Read {
                version,
                credentials: Ok(credentials),
            })) => {
                let known = KnownCredentials {
                    client_id: credentials.client_id.clone(),
                    version,
                    fingerprint: credentials.fingerprint(&self.salt),
                    reference: tried.0,
                };
                let mut core = self.core();
                core.app(app)?.credentials.get_or_insert(known.clone());
                Some(known)
            }
            Ok(None) => None,
            Err(error) if !error.is_not_found() && !error.is_forbidden() => None,
            Ok(Some(_)) | Err(_) => {
                self.core().app(app)?.unusable_to_others = Some(tried);
                None
            }
        }
    }
}

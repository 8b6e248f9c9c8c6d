//! Reads an app's credentials and queues the fetches that are due with them.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::{ClusterError, SecretContents};
use super::context::Context;
use super::job::Job;
use super::reads::{Outcome, Read, SharedCredentials};
use super::reconcile::Reconciler;
use crate::api::{Cause, CredentialsSecretRef, Reason, full_name};
use crate::core::{
    CredentialsProblem, Due, KnownCredentials, ObjectVersion, PendingFetch, Schedule, TokenQuery,
    due,
};
use crate::dingtalk::{Call, Credentials, CredentialsId};

/// Retry interval for credentials that may not be read: nothing reports a change of RBAC.
const UNREADABLE_RETRY: Duration = Duration::from_secs(60);

impl Context {
    /// (client) Returns credentials. One read serves all that wait for it, and all that come while
    /// a fetch waits with the same version. `None` if this replica may no longer learn what others
    /// wrote.
    pub(super) async fn credentials(
        &self,
        namespace: &str,
        reference: &CredentialsSecretRef,
    ) -> Result<Option<Read<SharedCredentials>>, Arc<ClusterError>> {
        let seen = self.asks(namespace, &reference.name).was;
        let reading = self.reads.of(namespace, reference, seen);
        let read = reading.result(|| self.read(namespace, reference)).await?;
        Ok(self.may_learn().then_some(read))
    }

    /// (client) Reads credentials, and records what that tells about their Secret.
    async fn read(&self, namespace: &str, reference: &CredentialsSecretRef) -> Outcome {
        let name = reference.name.as_str();
        let asked = self.asks(namespace, name);
        let operation = "read the credentials";
        let read = self.cluster.read_secret(operation, namespace, name);
        let SecretContents { metadata, mut data } = match read.await {
            Ok(contents) => contents,
            Err(error) => {
                if error.is_not_found() {
                    self.look_at(self.secret_gone(namespace, name, &asked));
                }
                return Err(Arc::new(error));
            }
        };
        let version = ObjectVersion::of(&metadata);
        let credentials = Credentials::read(
            &reference.client_id_key,
            &reference.client_secret_key,
            |key| data.remove(key),
        );
        // Frees the other keys, up to a megabyte: only the credentials are shared.
        drop(data);
        self.look_at(self.secret_read(metadata, &asked));
        Ok(Read {
            version,
            credentials: credentials.map(Arc::new),
        })
    }
}

impl Reconciler<'_> {
    /// (client) Reads the credentials, and queues the fetches that are due or records why the
    /// credentials cannot be used.
    pub(super) async fn read_credentials(&self) -> Result<(), Arc<ClusterError>> {
        let reference = &self.app.spec.credentials_secret_ref;
        let name = &reference.name;
        let read = self.context.credentials(&self.namespace, reference).await;
        let (reason, message, version) = match read {
            Ok(None) => return Ok(()),
            Ok(Some(Read {
                version,
                credentials: Ok(credentials),
            })) => {
                self.queue_fetches(&credentials, version).await;
                return Ok(());
            }
            Ok(Some(Read {
                version,
                credentials: Err(error),
            })) => {
                let reason = match error.is_invalid_value() {
                    true => Reason::CredentialsInvalid,
                    false => Reason::CredentialsKeyMissing,
                };
                let message = format!(
                    "Secret {name}: {error}: put the app's credentials there; to see its keys: \
                     kubectl describe secret {name} -n {}",
                    self.namespace
                );
                (reason, message, Some(version))
            }
            Err(error) if error.is_not_found() => {
                let message = format!(
                    "Secret {name} does not exist: create it with the keys {} and {}",
                    reference.client_id_key, reference.client_secret_key
                );
                (Reason::CredentialsNotFound, message, None)
            }
            Err(error) if error.is_forbidden() => {
                let core = self.context.core();
                let version = core.index.credentials_version(&self.key).cloned();
                let message = format!("Secret {name} cannot be read: {error}");
                (Reason::CredentialsUnreadable, message, version)
            }
            Err(error) => return Err(error),
        };
        let now = self.context.wall();
        let problem = CredentialsProblem {
            reason,
            message,
            since: now,
            version,
            generation: self.app.metadata.generation,
            retry: (reason == Reason::CredentialsUnreadable)
                .then(|| Schedule::after(now, UNREADABLE_RETRY)),
        };
        self.memory(|memory| memory.credentials_failed(problem));
        Ok(())
    }

    /// Queues the fetches that are due, unless another app already has the token.
    async fn queue_fetches(&self, credentials: &SharedCredentials, version: ObjectVersion) {
        let fingerprint = credentials.fingerprint(&self.context.salt);
        let known = KnownCredentials {
            reference: self.app.spec.credentials_secret_ref.clone(),
            client_id: credentials.client_id.clone(),
            version,
            fingerprint,
        };
        let uid = self.app.metadata.uid.as_deref().unwrap_or_default();
        self.context
            .core()
            .credentials_read(&self.key, uid, &known, &credentials.trimmed_keys);
        let due = self.context.decide(self.app, self.context.wall(), due);
        for due in due.unwrap_or_default() {
            let query = TokenQuery {
                app: &self.key,
                site: &self.app.spec.site,
                corp_id: &due.corp_id,
                known: &known,
            };
            // Another app's token does not answer a request.
            if due.why.renew_requested_at.is_none()
                && let Some((held, app)) = self.context.shared_token(&query, due.newer_than).await
            {
                self.memory(|memory| memory.corp_mut(&due.corp_id).found(held, full_name(&app)));
                self.context.core().tokens.found(due.token);
                continue;
            }
            if due.why.cause == Cause::TokenShared {
                continue;
            }
            self.queue_fetch(&due, credentials, &known);
        }
    }

    /// Queues a fetch that was found due, unless one is queued or has ended since.
    fn queue_fetch(&self, due: &Due, credentials: &SharedCredentials, known: &KnownCredentials) {
        let now = self.context.clock.now();
        let pending = |id| PendingFetch {
            id,
            token: due.token,
            app: full_name(&self.key),
            uid: self.app.metadata.uid.clone().unwrap_or_default(),
            credentials: known.version.clone(),
            reference: known.reference.clone(),
            why: due.why.clone(),
            generation: self.app.metadata.generation,
            renew_before: self.app.spec.renew_before(),
            former: due.former.clone(),
            since: now.wall,
        };
        let expires_at = due.former.as_ref().map(|former| former.lifetime.expires_at);
        let known_token = self.memory(|memory| {
            let held = memory.corps.get(&due.corp_id)?.held.as_ref();
            held.map(|held| held.token.clone())
        });
        let mut core = self.context.core();
        let tokens = &mut core.tokens;
        let Some(attempts) = tokens.get(due.token).map(|token| &token.attempts) else {
            return;
        };
        let rank = attempts.rank(expires_at, now.wall);
        let failing_since = attempts.failing().and_then(|failing| {
            let age = now.wall.duration_since(failing.streak_since);
            now.monotonic
                .checked_sub(Duration::try_from(age).unwrap_or_default())
        });
        let Some(pending) = tokens.begin(due.token, due.ended, &self.namespace, pending) else {
            return;
        };
        drop(core);
        let job = Job {
            app: self.key.clone(),
            call: self.call(&due.corp_id, known),
            rank,
            credentials: credentials.clone(),
            expires_at,
            failing_since,
            known: known_token.flatten(),
            queued_at: now.monotonic,
            pending,
        };
        self.context.fetch(job);
    }

    fn call(&self, corp_id: &str, known: &KnownCredentials) -> Call {
        Call {
            site: self.app.spec.site.as_str().into(),
            namespace: self.namespace.as_str().into(),
            client_id: known.client_id.as_str().into(),
            corp_id: corp_id.into(),
            credentials: CredentialsId {
                uid: known.version.uid.as_str().into(),
                fingerprint: known.fingerprint,
            },
        }
    }
}

//! Credentials that were read, or are being read: one read serves everybody who waits for it, and
//! everybody who comes while a fetch waits with what it found.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::OnceCell;

use super::cluster::ClusterError;
use crate::api::CredentialsSecretRef;
use crate::core::ObjectVersion;
use crate::dingtalk::{Credentials, CredentialsError};

/// Namespace of the credentials, and the reference to them there.
type Key = (String, CredentialsSecretRef);

/// A version of a Secret, and the credentials in it.
#[derive(Clone)]
pub(super) struct Read<C> {
    pub version: ObjectVersion,
    pub credentials: Result<C, CredentialsError>,
}

/// How a read ended.
pub(super) type Outcome = Result<Read<Arc<Credentials>>, Arc<ClusterError>>;

/// The reads whose outcome somebody waits for or holds.
#[derive(Clone, Default)]
pub(super) struct Reads(Arc<Mutex<HashMap<Key, Weak<Reading>>>>);

pub(super) struct Reading {
    outcome: OnceCell<Outcome>,
    /// The version of the Secret that was known when it began.
    was: Option<ObjectVersion>,
    key: Key,
    all: Reads,
}

/// Credentials that were read. As long as somebody holds them, nobody has to read them again.
#[derive(Clone)]
pub(super) struct SharedCredentials {
    credentials: Arc<Credentials>,
    _reading: Arc<Reading>,
}

impl Deref for SharedCredentials {
    type Target = Credentials;

    fn deref(&self) -> &Credentials {
        &self.credentials
    }
}

impl Reads {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Weak<Reading>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the read that serves whoever has `seen` this version of the Secret.
    pub(super) fn of(
        &self,
        namespace: &str,
        reference: &CredentialsSecretRef,
        seen: Option<ObjectVersion>,
    ) -> Arc<Reading> {
        let key = (namespace.to_owned(), reference.clone());
        let mut all = self.lock();
        match all.get(&key).and_then(Weak::upgrade) {
            Some(last) if last.serves(seen.as_ref()) => last,
            last => {
                let reading = Arc::new(Reading {
                    outcome: OnceCell::new(),
                    was: seen,
                    key: key.clone(),
                    all: self.clone(),
                });
                all.insert(key, Arc::downgrade(&reading));
                // If nobody else holds the last one any more, dropping it takes the lock.
                drop(all);
                drop(last);
                reading
            }
        }
    }
}

impl Reading {
    /// Whether its outcome is as good as that of a read that begins now. A read that began before
    /// a newer version was seen may have missed that version.
    fn serves(&self, seen: Option<&ObjectVersion>) -> bool {
        match self.outcome.get() {
            None => self.was.as_ref() == seen,
            Some(Ok(read)) => seen == Some(&read.version),
            Some(Err(_)) => false,
        }
    }

    /// (client) Returns the outcome. The first who waits for it makes the read; if that one is
    /// cancelled, the next.
    pub(super) async fn result<F>(
        self: Arc<Self>,
        read: impl FnOnce() -> F,
    ) -> Result<Read<SharedCredentials>, Arc<ClusterError>>
    where
        F: Future<Output = Outcome>,
    {
        let read = self.outcome.get_or_init(read).await.clone()?;
        let credentials = read.credentials.map(|credentials| SharedCredentials {
            credentials,
            _reading: self,
        });
        Ok(Read {
            version: read.version,
            credentials,
        })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        // Another read may have taken its place.
        if all.get(&self.key).is_some_and(|it| it.strong_count() == 0) {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt;
    use zeroize::Zeroizing;

    use super::*;

    fn version(number: u32) -> ObjectVersion {
        ObjectVersion {
            uid: "credentials".to_owned(),
            resource_version: number.to_string(),
        }
    }

    /// Returns what a read finds that finds this version.
    fn found(number: u32) -> Read<Arc<Credentials>> {
        let value = |key: &str| Some(Zeroizing::new(key.as_bytes().to_vec()));
        Read {
            version: version(number),
            credentials: Credentials::read("id", "secret", value).map(Arc::new),
        }
    }

    fn begin(reads: &Reads, seen: u32) -> Arc<Reading> {
        let reference = CredentialsSecretRef {
            name: "credentials".to_owned(),
            client_id_key: "id".to_owned(),
            client_secret_key: "secret".to_owned(),
        };
        reads.of("hr", &reference, Some(version(seen)))
    }

    /// Reads for somebody who has `seen` a version, and would find the version `there`.
    fn read(reads: &Reads, seen: u32, there: u32) -> Read<SharedCredentials> {
        let result = begin(reads, seen).result(|| ready(Ok(found(there))));
        result.now_or_never().expect("an outcome").expect("found")
    }

    #[test]
    fn a_read_serves_those_who_have_seen_nothing_newer_than_it_began_with() {
        let reads = Reads::default();
        let first = begin(&reads, 1);
        assert!(Arc::ptr_eq(&first, &begin(&reads, 1)));
        let newer = begin(&reads, 2);
        assert!(!Arc::ptr_eq(&first, &newer), "it may find version 1");
        drop(first);
        assert!(Arc::ptr_eq(&newer, &begin(&reads, 2)));
    }

    #[test]
    fn what_was_found_serves_those_who_have_seen_that_version_while_it_is_held() {
        let reads = Reads::default();
        let held = read(&reads, 1, 2);
        assert_eq!(held.version, version(2));
        let again = read(&reads, 2, 3);
        assert_eq!(again.version, version(2), "it is not read again");
        drop(held);
        assert_eq!(read(&reads, 2, 3).version, version(2));
        assert_eq!(read(&reads, 3, 3).version, version(3));
        drop(again);
        assert_eq!(read(&reads, 2, 4).version, version(4));
        assert!(reads.lock().is_empty(), "nobody holds anything");
    }

    #[test]
    fn a_failure_is_told_to_all_who_wait_and_to_nobody_who_comes_later() {
        let reads = Reads::default();
        let reading = begin(&reads, 1);
        let failure = || ready(Err(Arc::new(ClusterError::TimedOut { operation: "read" })));
        let waiting = [Arc::clone(&reading), Arc::clone(&reading)];
        for waiting in waiting {
            let result = waiting.result(failure).now_or_never();
            assert!(result.expect("an outcome").is_err());
        }
        let waiting = Arc::clone(&reading).result(|| ready(Ok(found(1))));
        let result = waiting.now_or_never();
        assert!(result.expect("an outcome").is_err(), "it has failed once");
        assert_eq!(read(&reads, 1, 1).version, version(1));
    }

    #[test]
    fn whoever_waits_for_a_read_that_is_cancelled_makes_it() {
        let reads = Reads::default();
        let mut first = Box::pin(begin(&reads, 1).result(pending::<Outcome>));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(begin(&reads, 1).result(|| ready(Ok(found(1)))));
        assert!(second.as_mut().now_or_never().is_none(), "it waits");
        drop(first);
        assert!(second.as_mut().now_or_never().is_some_and(|it| it.is_ok()));
    }
}

//! Credentials that are proven: they have fetched a token.
//!
//! Unproven credentials share a small budget, so that nobody can use up the rate of a `client_id` or a
//! site with wrong credentials.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use super::CredentialsId;
use crate::dingtalk::Fingerprint;

/// Maximum number of proofs. Credentials whose proof was evicted are proven again by their next fetch.
const KEPT: usize = 16 * 1024;

/// The proven credentials of a site.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    contents: Recent<Fingerprint>,
    /// `client_id` and UID of Secrets with proven credentials, so that a rotated secret stays proven.
    secrets: Recent<(Arc<str>, Arc<str>)>,
}

impl Proofs {
    /// Records that a fetch with these credentials succeeded.
    pub(super) fn add(&mut self, client_id: &Arc<str>, credentials: &CredentialsId) {
        self.contents.add(credentials.fingerprint);
        self.secrets
            .add((Arc::clone(client_id), Arc::clone(&credentials.uid)));
    }

    /// Whether a fetch with these credentials, or with former ones of the same Secret and `client_id`,
    /// has succeeded.
    pub(super) fn has(&self, client_id: &Arc<str>, credentials: &CredentialsId) -> bool {
        self.contents.has(&credentials.fingerprint)
            || self
                .secrets
                .has(&(Arc::clone(client_id), Arc::clone(&credentials.uid)))
    }
}

#[derive(Debug, Default)]
struct Recent<K> {
    known: HashSet<K>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash> Recent<K> {
    fn add(&mut self, key: K) {
        if self.known.insert(key.clone()) {
            self.order.push_back(key);
        }
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn has(&self, key: &K) -> bool {
        self.known.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_kept_and_the_oldest_is_forgotten() {
        let mut recent = Recent::default();
        for number in 0..=KEPT {
            recent.add(number);
            recent.add(number);
        }
        assert!(!recent.has(&0) && recent.has(&1) && recent.has(&KEPT));
        assert_eq!((recent.known.len(), recent.order.len()), (KEPT, KEPT));
    }
}

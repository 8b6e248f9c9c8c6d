//! Tokens that this process has fetched, for the apps that share them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::dingtalk::Fingerprint;
use crate::plan::Held;

/// Site, organisation, and what stands for `client_id` and client secret.
pub type TokenKey = (String, String, Fingerprint);

/// The tokens that this process fetched and more than one app may want, the newest of each.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<TokenKey, Held>>);

impl Tokens {
    pub fn insert(&self, key: TokenKey, held: Held, now: Timestamp) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, held| held.record.lifetime.expires_at > now);
        tokens.insert(key, held);
    }

    pub fn remove(&self, key: &TokenKey) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.remove(key);
    }

    pub fn get(&self, key: &TokenKey) -> Option<Held> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(key).cloned()
    }
}

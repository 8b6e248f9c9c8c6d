//! Which apps want a target Secret. The oldest of them has it.

use std::collections::{BTreeMap, HashMap};

use super::admission::Age;
use super::maps::take_away;
use super::names::SecretRef;
use crate::api::AppRef;

/// The apps that want each target Secret, by age.
#[derive(Default)]
pub(super) struct Claims(HashMap<SecretRef, BTreeMap<Age, AppRef>>);

impl Claims {
    pub fn add(&mut self, secret: SecretRef, age: Age, app: AppRef) {
        self.0.entry(secret).or_default().insert(age, app);
    }

    pub fn remove(&mut self, secret: &SecretRef, age: &Age) {
        take_away(&mut self.0, secret, |claims| claims.remove(age));
    }

    /// Returns the app that has the Secret.
    pub fn holder(&self, secret: &SecretRef) -> Option<&AppRef> {
        self.0.get(secret)?.values().next()
    }

    /// Returns the Secrets that any app wants.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        self.0.keys()
    }
}

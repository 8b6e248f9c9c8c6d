//! Which apps want a target Secret. The oldest of them has it.

use std::collections::HashMap;

use super::admission::Age;
use super::maps::take_away;
use super::names::SecretRef;
use crate::api::AppRef;

/// The apps that want each target Secret, by age: nearly always one, for which a tree is ten times as
/// large.
#[derive(Default)]
pub(super) struct Claims(HashMap<SecretRef, Vec<(Age, AppRef)>>);

impl Claims {
    pub fn add(&mut self, secret: SecretRef, age: Age, app: AppRef) {
        let claims = self.0.entry(secret);
        let claims = claims.or_insert_with(|| Vec::with_capacity(1));
        let older = claims.partition_point(|(other, _)| *other < age);
        claims.insert(older, (age, app));
    }

    pub fn remove(&mut self, secret: &SecretRef, age: &Age) {
        take_away(&mut self.0, secret, |claims| {
            claims.retain(|(other, _)| other != age);
        });
    }

    /// Returns the app that has the Secret.
    pub fn holder(&self, secret: &SecretRef) -> Option<&AppRef> {
        self.0.get(secret)?.first().map(|(_, app)| app)
    }

    /// Returns the Secrets that any app wants.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        self.0.keys()
    }
}

//! The apps that may share one token.

use std::collections::{HashMap, HashSet};

use crate::api::AppRef;
use crate::core::token::schedule::Lifetime;

/// The apps that hold or want a token of one site, `client_id` and corp.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Sharers {
    pub apps: HashSet<AppRef>,
    /// The lifetime of the newest valid token in their Secrets, by namespace; `None` until one of
    /// them is compared with it. The comparison is about what former processes wrote, so it does
    /// not follow what this one writes.
    pub newest: Option<HashMap<String, Lifetime>>,
}

impl Sharers {
    pub fn add(&mut self, app: AppRef) {
        self.apps.insert(app);
        self.newest = None;
    }

    pub fn remove(&mut self, app: &AppRef) {
        self.apps.remove(app);
        self.newest = None;
    }
}

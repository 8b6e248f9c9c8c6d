//! Which apps have a result, and how far the others are.

use std::collections::BTreeMap;
use std::fmt;

use super::outcome::{AppName, Outcome, Renewed};
use crate::api::CorpStatus;
use crate::cli::apps::App;

/// The apps that were asked for new tokens.
pub struct Waiting {
    request: String,
    apps: BTreeMap<AppName, State>,
    told: usize,
}

struct State {
    corps: usize,
    /// Corps with a new token.
    new: usize,
    /// `None` while the operator has not acted.
    outcome: Option<Outcome>,
}

impl Waiting {
    /// Nothing has happened yet.
    pub fn new(apps: &[App], request: &str) -> Self {
        let state = |app: &App| State {
            corps: app.spec.corp_ids.len(),
            new: 0,
            outcome: None,
        };
        let apps = apps.iter().map(|app| (AppName::of(app), state(app)));
        Self {
            request: request.to_owned(),
            apps: apps.collect(),
            told: 0,
        }
    }

    /// Whether every app has a result.
    pub fn is_over(&self) -> bool {
        self.apps.values().all(|state| state.outcome.is_some())
    }

    /// Records what an app's status says.
    pub fn see(&mut self, app: &App) {
        let Some(state) = self.apps.get_mut(&AppName::of(app)) else {
            return;
        };
        let (None, Some(status)) = (&state.outcome, &app.status) else {
            return;
        };
        state.corps = status.corps.len().max(state.corps);
        let is_new = |corp: &&CorpStatus| is_after(corp, &self.request);
        state.new = status.corps.iter().filter(is_new).count();
        if status.last_handled_renew_request.as_ref() == Some(&self.request) {
            state.outcome = Some(Outcome::Done(status.corps.clone()));
        }
    }

    /// Records that an app is gone.
    pub fn lose(&mut self, app: &App) {
        if let Some(state) = self.apps.get_mut(&AppName::of(app)) {
            state.outcome.get_or_insert(Outcome::Deleted);
        }
    }

    /// What to tell the person who waits; `None` if it is what was told last.
    pub fn progress(&mut self) -> Option<String> {
        let total: usize = self.apps.values().map(|state| state.corps).sum();
        let new: usize = self.apps.values().map(|state| state.new).sum();
        if total < 2 || new == self.told {
            return None;
        }
        self.told = new;
        Some(format!("{new} of {total} have a new token"))
    }

    /// What came of each app, if the wait ends now.
    pub fn outcomes(self) -> impl Iterator<Item = Renewed> {
        self.apps.into_iter().map(|(app, state)| Renewed {
            app,
            outcome: state.outcome.unwrap_or(Outcome::Late),
        })
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let corps: usize = self.apps.values().map(|state| state.corps).sum();
        match corps {
            1 => formatter.write_str("1 corpId")?,
            corps => write!(formatter, "{corps} corpIds")?,
        }
        match self.apps.len() {
            1 => Ok(()),
            apps => write!(formatter, " of {apps} DingTalkApps"),
        }
    }
}

/// Whether the token was requested after the renewal was; statuses have whole seconds.
fn is_after(corp: &CorpStatus, request: &str) -> bool {
    let second = request.get(..19).unwrap_or(request);
    let renewed = corp.last_renewal_time.as_deref();
    renewed.is_some_and(|at| at >= second)
}

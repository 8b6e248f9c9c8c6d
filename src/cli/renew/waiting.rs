//! Progress of the requested renewals.

use std::collections::BTreeMap;
use std::fmt;

use super::outcome::{AppName, Outcome, Renewed};
use crate::api::CorpStatus;
use crate::cli::apps::App;

/// The apps for which new tokens were requested.
pub(super) struct Waiting {
    request: String,
    apps: BTreeMap<AppName, State>,
    told: usize,
}

struct State {
    corps: usize,
    /// Number of corps with a new token.
    new: usize,
    /// `None` until the operator has handled the request.
    outcome: Option<Outcome>,
}

impl Waiting {
    pub(super) fn new(apps: &[App], request: &str) -> Self {
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
    pub(super) fn is_over(&self) -> bool {
        self.apps.values().all(|state| state.outcome.is_some())
    }

    /// Records an app's status.
    pub(super) fn see(&mut self, app: &App) {
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

    /// Records that an app was deleted.
    pub(super) fn lose(&mut self, app: &App) {
        if let Some(state) = self.apps.get_mut(&AppName::of(app)) {
            state.outcome.get_or_insert(Outcome::Deleted);
        }
    }

    /// Returns a message about the progress; `None` if there was none since the last call.
    pub(super) fn progress(&mut self) -> Option<String> {
        let total: usize = self.apps.values().map(|state| state.corps).sum();
        let new: usize = self.apps.values().map(|state| state.new).sum();
        if total < 2 || new == self.told {
            return None;
        }
        self.told = new;
        Some(format!("{new} of {total} have a new token"))
    }

    /// Ends the wait and returns the outcome for each app.
    pub(super) fn outcomes(self) -> impl Iterator<Item = Renewed> {
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

/// Whether the token was fetched after the renewal was requested. Times in statuses are whole seconds.
fn is_after(corp: &CorpStatus, request: &str) -> bool {
    let second = request.get(..19).unwrap_or(request);
    let renewed = corp.last_renewal_time.as_deref();
    renewed.is_some_and(|at| at >= second)
}

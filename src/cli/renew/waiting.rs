//! Progress of the requested renewals.

use std::collections::BTreeMap;
use std::fmt;

use super::outcome::{AppName, Outcome, Renewed};
use super::request::Request;
use super::standstill::{Standstill, standstill};
use crate::cli::apps::App;

/// The apps for which new tokens were requested.
pub(super) struct Waiting {
    request: Request,
    apps: BTreeMap<AppName, State>,
    /// Number of apps without an outcome.
    open: usize,
    corps: usize,
    /// Number of corps with a new token.
    new: usize,
    told: usize,
    /// Whether the operator has had time to report what has changed since the request.
    is_settled: bool,
}

struct State {
    corps: usize,
    /// Number of corps with a new token.
    new: usize,
    /// The standstill before the request.
    before: Option<Standstill>,
    /// A standstill that was reported before the request and has not ended yet.
    standing: Option<Standstill>,
    /// `None` until the operator has handled the request, or will not handle it in time.
    outcome: Option<Outcome>,
}

impl State {
    fn new(app: &App, request: &Request) -> Self {
        Self {
            corps: app.spec.corp_ids.len(),
            new: 0,
            before: standstill(app, request),
            standing: None,
            outcome: None,
        }
    }

    fn see(&mut self, app: &App, request: &Request, is_settled: bool) {
        if let Some(status) = &app.status {
            self.corps = status.corps.len().max(self.corps);
            let new = status.corps.iter().filter(|corp| request.is_before(corp));
            self.new = new.count();
            if status.last_handled_renew_request.as_ref() == Some(&request.text) {
                self.outcome = Some(Outcome::Done(status.corps.clone()));
                return;
            }
        }
        if app.spec.suspend {
            let why = "spec.suspend was set during the renewal".to_owned();
            self.outcome = Some(Outcome::Refused(why));
            return;
        }
        let standstill = standstill(app, request);
        // A status from before the request says nothing about what was put right just before it.
        let counts = is_settled || standstill != self.before;
        match standstill {
            Some(standstill) if counts => self.outcome = Some(standstill.into()),
            standing => self.standing = standing,
        }
    }
}

impl Waiting {
    pub(super) fn new(apps: &[App], request: Request) -> Self {
        let states = apps
            .iter()
            .map(|app| (AppName::of(app), State::new(app, &request)));
        let apps: BTreeMap<AppName, State> = states.collect();
        Self {
            open: apps.len(),
            corps: apps.values().map(|state| state.corps).sum(),
            apps,
            request,
            new: 0,
            told: 0,
            is_settled: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.open == 0
    }

    pub(super) fn awaits(&self, app: &AppName) -> bool {
        let state = self.apps.get(app);
        state.is_some_and(|state| state.outcome.is_none())
    }

    pub(super) fn see(&mut self, app: &App) {
        let state = self.apps.get_mut(&AppName::of(app));
        let Some(state) = state.filter(|state| state.outcome.is_none()) else {
            return;
        };
        let (corps, new) = (state.corps, state.new);
        state.see(app, &self.request, self.is_settled);
        self.corps = self.corps + state.corps - corps;
        self.new = self.new + state.new - new;
        self.open -= usize::from(state.outcome.is_some());
    }

    /// Whether [`Self::settle`] was called.
    pub(super) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Accepts what was reported before the request, since the operator has had time to report anything else.
    pub(super) fn settle(&mut self) {
        self.is_settled = true;
        for state in self.apps.values_mut() {
            if state.outcome.is_none() {
                state.outcome = state.standing.take().map(Outcome::from);
                self.open -= usize::from(state.outcome.is_some());
            }
        }
    }

    /// Records the outcome of an app, unless it has one.
    pub(super) fn end(&mut self, app: &AppName, outcome: Outcome) {
        if let Some(state) = self.apps.get_mut(app)
            && state.outcome.is_none()
        {
            state.outcome = Some(outcome);
            self.open -= 1;
        }
    }

    /// Returns a message about the progress; `None` if there was none since the last call.
    pub(super) fn progress(&mut self) -> Option<String> {
        if self.corps < 2 || self.new == self.told {
            return None;
        }
        self.told = self.new;
        Some(format!("{} of {} have a new token", self.new, self.corps))
    }

    /// Ends the wait and returns the outcome for each app.
    pub(super) fn outcomes(self) -> impl Iterator<Item = Renewed> {
        self.apps.into_iter().map(|(app, state)| Renewed {
            app,
            outcome: state
                .outcome
                .or_else(|| state.standing.map(Outcome::from))
                .unwrap_or(Outcome::Late),
        })
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.corps {
            1 => formatter.write_str("1 corpId")?,
            corps => write!(formatter, "{corps} corpIds")?,
        }
        match self.apps.len() {
            1 => Ok(()),
            apps => write!(formatter, " of {apps} DingTalkApps"),
        }
    }
}

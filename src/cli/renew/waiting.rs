//! Progress of the requested renewals.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kube::ResourceExt as _;

use super::outcome::{AppName, Outcome, Renewed};
use super::request::Request;
use super::standstill::{Standstill, standstill};
use crate::api::ANNOTATION_RENEW_REQUESTED_AT;
use crate::cli::apps::App;

/// The apps for which new tokens were requested.
pub(super) struct Waiting {
    request: Request,
    /// Apps without an outcome.
    open: BTreeMap<AppName, State>,
    ended: BTreeMap<AppName, Outcome>,
    corps: usize,
    /// Number of corps with a new token.
    new: usize,
    told: usize,
    /// Whether the operator has had time to report what has changed since the request.
    is_settled: bool,
}

struct State {
    uid: Option<String>,
    /// The last request that was handled before.
    handled_before: Option<String>,
    corps: usize,
    /// Number of corps with a new token.
    new: usize,
    /// The standstill before the request.
    before: Option<Standstill>,
    /// A standstill that was reported before the request and has not ended yet.
    standing: Option<Standstill>,
}

impl State {
    fn new(app: &App, request: &Request) -> Self {
        let status = app.status.as_ref();
        Self {
            uid: app.metadata.uid.clone(),
            handled_before: status.and_then(|it| it.last_handled_renew_request.clone()),
            corps: app.spec.corp_ids.len(),
            new: 0,
            before: standstill(app, request),
            standing: None,
        }
    }

    /// Records an app's status. Returns the outcome if the operator has handled the request, or will not handle it in
    /// time.
    fn see(&mut self, app: &App, request: &Request, is_settled: bool) -> Option<Outcome> {
        if app.metadata.uid != self.uid {
            // It was created anew, without the request.
            return Some(Outcome::Deleted);
        }
        if let Some(status) = &app.status {
            self.corps = status.corps.len().max(self.corps);
            let new = status.corps.iter().filter(|corp| request.is_before(corp));
            self.new = new.count();
            let handled = status.last_handled_renew_request.as_deref();
            if handled.is_some_and(|it| self.is_answer(it, app, request)) {
                return Some(Outcome::Done(status.corps.clone()));
            }
        }
        if app.spec.suspend {
            let why = "spec.suspend was set during the renewal".to_owned();
            return Some(Outcome::Refused(why));
        }
        self.standing = standstill(app, request);
        // A status from before the request says nothing about what was put right just before it.
        let counts = is_settled || self.standing != self.before;
        self.standing.take_if(|_| counts).map(Outcome::from)
    }

    /// Whether the handled request is this one, or a later one that has taken its place.
    fn is_answer(&self, handled: &str, app: &App, request: &Request) -> bool {
        let current = app.annotations().get(ANNOTATION_RENEW_REQUESTED_AT);
        let is_current = current.is_some_and(|it| it == handled);
        let is_new = self.handled_before.as_deref() != Some(handled);
        handled == request.text || (is_current && is_new)
    }
}

impl Waiting {
    pub(super) fn new(apps: &[App], request: Request) -> Self {
        let state_of = |app: &App| (AppName::of(app), State::new(app, &request));
        let open: BTreeMap<AppName, State> = apps.iter().map(state_of).collect();
        Self {
            corps: open.values().map(|state| state.corps).sum(),
            open,
            ended: BTreeMap::new(),
            request,
            new: 0,
            told: 0,
            is_settled: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn awaits(&self, app: &AppName) -> bool {
        self.open.contains_key(app)
    }

    /// Returns the apps without an outcome that are not among these.
    pub(super) fn missing(&self, present: &BTreeSet<AppName>) -> Vec<AppName> {
        let open = self.open.keys();
        open.filter(|app| !present.contains(app)).cloned().collect()
    }

    pub(super) fn see(&mut self, app: &App) {
        let name = AppName::of(app);
        let Some(state) = self.open.get_mut(&name) else {
            return;
        };
        let (corps, new) = (state.corps, state.new);
        let outcome = state.see(app, &self.request, self.is_settled);
        self.corps = self.corps + state.corps - corps;
        self.new = self.new + state.new - new;
        if let Some(outcome) = outcome {
            self.end(&name, outcome);
        }
    }

    /// Whether [`Self::settle`] was called.
    pub(super) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Accepts what was reported before the request, since the operator has had time to report anything else.
    pub(super) fn settle(&mut self) {
        self.is_settled = true;
        self.open.retain(|app, state| match state.standing.take() {
            Some(standing) => {
                self.ended.insert(app.clone(), standing.into());
                false
            }
            None => true,
        });
    }

    /// Records the outcome of an app, unless it has one.
    pub(super) fn end(&mut self, app: &AppName, outcome: Outcome) {
        if let Some((app, _)) = self.open.remove_entry(app) {
            self.ended.insert(app, outcome);
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
    pub(super) fn outcomes(mut self) -> impl Iterator<Item = Renewed> {
        let late = self.open.into_iter().map(|(app, state)| {
            let outcome = state.standing.map_or(Outcome::Late, Outcome::from);
            (app, outcome)
        });
        self.ended.extend(late);
        let ended = self.ended.into_iter();
        ended.map(|(app, outcome)| Renewed { app, outcome })
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.corps {
            1 => formatter.write_str("1 corpId")?,
            corps => write!(formatter, "{corps} corpIds")?,
        }
        match self.open.len() + self.ended.len() {
            1 => Ok(()),
            apps => write!(formatter, " of {apps} DingTalkApps"),
        }
    }
}

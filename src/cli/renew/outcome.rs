//! Outcomes of requested renewals.

use std::fmt;
use std::process::ExitCode;

use kube::ResourceExt as _;

use crate::api::{CorpError, CorpStatus};
use crate::cli::apps::App;
use crate::cli::error::CliError;
use crate::cli::exit::{FOUND_A_PROBLEM, TIMED_OUT};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AppName {
    pub namespace: String,
    pub name: String,
}

impl AppName {
    pub(super) fn of(app: &App) -> Self {
        Self {
            namespace: app.namespace().unwrap_or_default(),
            name: app.name_any(),
        }
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// How apps were selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    One,
    Several,
    /// By label, namespace, or all.
    Matching,
}

/// Outcome of a requested renewal.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The operator has handled the request, or reports problems for which it will not in time; contains the status
    /// of the corps.
    Done(Vec<CorpStatus>),
    Suspended,
    /// The operator will not renew any token of the app, for this reason.
    Refused(String),
    /// The app could not be read or annotated.
    Failed(CliError),
    Deleted,
    /// The app's labels changed during the wait, and the selector no longer matches.
    Unselected,
    /// The operator did not handle the request in time.
    Late,
}

#[derive(Debug)]
pub(super) struct Renewed {
    pub app: AppName,
    pub outcome: Outcome,
}

impl Renewed {
    /// Returns the corps, if there is a result for them.
    pub(super) fn corps(&self) -> &[CorpStatus] {
        match &self.outcome {
            Outcome::Done(corps) => corps,
            _ => &[],
        }
    }

    /// Returns the problems of the corps.
    pub(super) fn errors(&self) -> impl Iterator<Item = &CorpError> {
        self.corps().iter().filter_map(|corp| corp.error.as_ref())
    }

    /// Whether every corp has a new token.
    pub(super) fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Done(_)) && self.errors().next().is_none()
    }

    /// Returns why no renewal was requested; `None` if one was.
    pub(super) fn into_error(self) -> Option<CliError> {
        match self.outcome {
            Outcome::Failed(error) => Some(error),
            Outcome::Suspended => Some(CliError::Suspended(self.app.to_string())),
            _ => None,
        }
    }

    /// Returns why the renewal has no result; `None` if it has one.
    pub(super) fn problem(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Done(_) => None,
            Outcome::Suspended => Some("spec.suspend is set".to_owned()),
            Outcome::Refused(why) => Some(why.clone()),
            Outcome::Failed(error) => Some(error.to_string()),
            Outcome::Deleted => Some("deleted during the renewal".to_owned()),
            Outcome::Unselected => Some(
                "its labels no longer match the selector, so the result is unknown; the request remains"
                    .to_owned(),
            ),
            Outcome::Late => Some("no result in time".to_owned()),
        }
    }
}

/// Returns the exit code for the worst outcome. A suspended app only counts as a problem if it was selected
/// by name.
pub(super) fn exit_code(renewed: &[Renewed], selection: Selection) -> ExitCode {
    let has = |of: fn(&Outcome) -> bool| renewed.iter().any(|it| of(&it.outcome));
    let is_well = |it: &Renewed| match it.outcome {
        Outcome::Suspended => selection == Selection::Matching,
        _ => it.is_ok(),
    };
    if has(|outcome| matches!(outcome, Outcome::Failed(_))) {
        ExitCode::FAILURE
    } else if has(|outcome| matches!(outcome, Outcome::Late)) {
        ExitCode::from(TIMED_OUT)
    } else if renewed.iter().all(is_well) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND_A_PROBLEM)
    }
}

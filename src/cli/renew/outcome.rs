//! What came of the request to renew an app.

use std::fmt;
use std::process::ExitCode;

use kube::ResourceExt as _;

use crate::api::CorpStatus;
use crate::cli::apps::App;
use crate::cli::error::CliError;
use crate::cli::exit::{FOUND_A_PROBLEM, TIMED_OUT};

/// An app's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl AppName {
    /// Of an app.
    pub fn of(app: &App) -> Self {
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

/// How apps were chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// One by its name.
    One,
    /// Several by their names.
    Several,
    /// Those that match.
    Matching,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// The operator has acted upon it: the corps as they are now.
    Done(Vec<CorpStatus>),
    /// It was not asked for: the app is suspended.
    Suspended,
    /// The app could not be read or annotated.
    Failed(CliError),
    /// The app was deleted meanwhile.
    Deleted,
    /// The operator has not acted upon it in time.
    Late,
}

/// An app, and what came of it.
#[derive(Debug)]
pub struct Renewed {
    /// The app.
    pub app: AppName,
    /// What came of it.
    pub outcome: Outcome,
}

impl Renewed {
    /// The organisations, if the operator has acted.
    pub fn corps(&self) -> &[CorpStatus] {
        match &self.outcome {
            Outcome::Done(corps) => corps,
            _ => &[],
        }
    }

    /// Whether every organisation has a new token.
    pub fn is_ok(&self) -> bool {
        match &self.outcome {
            Outcome::Done(corps) => corps.iter().all(|corp| corp.error.is_none()),
            _ => false,
        }
    }

    /// Why there is no result of an app that was not asked.
    pub fn into_error(self) -> Option<CliError> {
        match self.outcome {
            Outcome::Failed(error) => Some(error),
            Outcome::Suspended => Some(CliError::Suspended(self.app.to_string())),
            _ => None,
        }
    }

    /// What happened instead of a renewal.
    pub fn problem(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Done(_) => None,
            Outcome::Suspended => Some("spec.suspend is set".to_owned()),
            Outcome::Failed(error) => Some(error.to_string()),
            Outcome::Deleted => Some("deleted meanwhile".to_owned()),
            Outcome::Late => Some("no result in time".to_owned()),
        }
    }
}

/// The worst of all decides. A suspended app is a problem only if it was asked for by its name.
pub fn exit_code(renewed: &[Renewed], selection: Selection) -> ExitCode {
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

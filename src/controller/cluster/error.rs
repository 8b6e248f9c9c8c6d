//! What went wrong in a call to the API server, and what follows from it.

use std::time::Duration;

use thiserror::Error;

use crate::core::WriteProblem;
use crate::dingtalk::visible;
use crate::operator::SecretWrite;

/// The client library retries for minutes by itself; an app must not wait for that.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// What went wrong in a call to the API server.
#[derive(Debug, Error)]
pub(crate) enum ClusterError {
    /// No answer within the time-out.
    #[error("{operation}: no answer from the API server within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut {
        /// What was tried.
        operation: &'static str,
    },
    /// The API server refused, or could not be reached.
    #[error("{operation}: {}", said(source))]
    Call {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: kube::Error,
    },
    /// The request could not be built, or the answer is no object.
    #[error("{operation}: the request or its answer is malformed")]
    Malformed {
        /// What was tried.
        operation: &'static str,
    },
}

/// The API server's own words, without the library's repetitions.
fn said(error: &kube::Error) -> String {
    match error {
        // A webhook's words are among them.
        kube::Error::Api(status) => visible(&status.message),
        other => other.to_string(),
    }
}

impl ClusterError {
    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Call {
                source: kube::Error::Api(status),
                ..
            } => Some(status),
            _ => None,
        }
    }

    /// The API server answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.status().is_some()
    }

    /// There is no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }

    /// The object is not in the expected state, or exists already.
    pub(crate) fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| {
            kube::core::Status::is_conflict(status) || kube::core::Status::is_already_exists(status)
        })
    }

    /// It is not allowed.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_forbidden)
    }

    /// The object's data was made immutable.
    pub(crate) fn is_immutable(&self) -> bool {
        self.status().is_some_and(|status| {
            status.is_invalid()
                && status
                    .message
                    .contains("field is immutable when `immutable`")
        })
    }

    /// The object is larger than the API server or its store takes.
    fn is_too_large(&self) -> bool {
        self.status().is_some_and(|status| {
            status.code == 413
                || status.message.contains("request is too large")
                || status.message.contains("Too long: must have at most")
                || status.message.contains("Too long: may not be more than")
        })
    }

    /// What stands in the way of a write.
    pub(crate) fn write_problem(&self) -> WriteProblem {
        if self.is_namespace_terminating() {
            WriteProblem::NamespaceTerminating
        } else if self.is_too_large() {
            WriteProblem::TooLarge
        } else if !self.is_answered() {
            WriteProblem::Unanswered
        } else {
            WriteProblem::Refused
        }
    }

    /// What came of a write of a Secret, for the metrics.
    pub(crate) fn written(&self) -> SecretWrite {
        match self.is_conflict() || self.is_not_found() || self.is_immutable() {
            true => SecretWrite::Conflict,
            false => SecretWrite::Refused(self.write_problem().reason()),
        }
    }

    /// The namespace is on its way out.
    fn is_namespace_terminating(&self) -> bool {
        self.status()
            .and_then(|status| status.details.as_ref())
            .is_some_and(|details| {
                details
                    .causes
                    .iter()
                    .any(|cause| cause.reason == "NamespaceTerminating")
            })
    }
}

//! Errors of calls to the API server, and what they mean.

use std::time::Duration;

use kube::core::Status;
use thiserror::Error;

use crate::core::WriteProblem;
use crate::operator::{SecretWrite, said};

/// Longest time that a caller waits for one call.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP statuses of an API server that is starting, stopping or without etcd, and of a load balancer
/// without one.
const UNAVAILABLE: std::ops::RangeInclusive<u16> = 502..=504;

/// The result of a call to the API server.
pub(crate) type Result<T, E = ClusterError> = std::result::Result<T, E>;

#[derive(Debug, Error)]
pub(crate) enum ClusterError {
    /// No response within the time-out.
    #[error("{operation}: no answer from the API server within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut { operation: &'static str },
    /// The API server refused, or was unreachable.
    #[error("{operation}: {}", said(source))]
    Call {
        operation: &'static str,
        source: kube::Error,
    },
    /// The request could not be built, or the response is not the expected object.
    #[error("{operation}: the request or its answer is malformed")]
    Malformed { operation: &'static str },
}

impl ClusterError {
    fn status(&self) -> Option<&Status> {
        match self {
            Self::Call {
                source: kube::Error::Api(status),
                ..
            } => Some(status),
            _ => None,
        }
    }

    /// Whether the API server responded, rather than something in front of it or nothing.
    pub(crate) fn is_answered(&self) -> bool {
        self.status()
            .is_some_and(|status| !UNAVAILABLE.contains(&status.code))
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }

    /// Whether the object is not in the expected state, or already exists.
    pub(crate) fn is_conflict(&self) -> bool {
        self.status()
            .is_some_and(|status| status.is_conflict() || status.is_already_exists())
    }

    pub(crate) fn is_forbidden(&self) -> bool {
        self.status().is_some_and(Status::is_forbidden)
    }

    /// Whether the API server refused the call, whatever the object's state.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_answered() && !self.is_conflict() && !self.is_not_found()
    }

    /// Whether the object's data is immutable.
    pub(crate) fn is_immutable(&self) -> bool {
        let message = "field is immutable when `immutable`";
        self.status()
            .is_some_and(|status| status.is_invalid() && status.message.contains(message))
    }

    /// Whether the object exceeds what the API server or etcd accepts.
    fn is_too_large(&self) -> bool {
        self.status().is_some_and(|status| {
            status.code == 413
                || status.message.contains("request is too large")
                || status.message.contains("Too long: must have at most")
                || status.message.contains("Too long: may not be more than")
        })
    }

    /// Returns why a write failed.
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

    /// Returns the result of a Secret's write, or of its creation, for the metrics.
    pub(crate) fn written(&self, is_creation: bool) -> SecretWrite {
        // Where a Secret is created, its namespace is missing.
        let is_gone = self.is_not_found() && !is_creation;
        match self.is_conflict() || is_gone || self.is_immutable() {
            true => SecretWrite::Conflict,
            false => SecretWrite::Refused(self.write_problem().reason()),
        }
    }

    fn is_namespace_terminating(&self) -> bool {
        let details = self.status().and_then(|status| status.details.as_ref());
        let mut causes = details.into_iter().flat_map(|details| &details.causes);
        causes.any(|cause| cause.reason == "NamespaceTerminating")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;

    #[test]
    fn a_secret_that_is_gone_is_a_conflict_and_a_namespace_that_is_gone_a_refusal() {
        let status = Status::failure("namespaces \"hr\" not found", "NotFound").with_code(404);
        let error = ClusterError::Call {
            operation: "write the Secret",
            source: kube::Error::Api(Box::new(status)),
        };
        assert_eq!(error.written(false), SecretWrite::Conflict);
        let refused = SecretWrite::Refused(Reason::SecretWriteFailed);
        assert_eq!(error.written(true), refused);
    }

    #[test]
    fn an_unavailable_api_server_has_refused_nothing() {
        for (code, problem) in [
            (500, WriteProblem::Refused),
            (502, WriteProblem::Unanswered),
            (503, WriteProblem::Unanswered),
            (504, WriteProblem::Unanswered),
            (403, WriteProblem::Refused),
        ] {
            let status = Status::failure("no", "Reason").with_code(code);
            let error = ClusterError::Call {
                operation: "write the Secret",
                source: kube::Error::Api(Box::new(status)),
            };
            assert_eq!(error.write_problem(), problem, "{code}");
        }
    }
}

//! Connection errors.

use std::error::Error as _;
use std::time::Duration;

/// Timeout for connecting, including DNS and TLS.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout for a whole request, including the response body.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The step at which a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Resolving the host name.
    Dns,
    /// Connecting.
    Connect,
    /// TLS handshake.
    Tls,
    /// Receiving the complete response.
    Answer,
}

/// The site did not respond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    /// The step that failed.
    pub step: Step,
    /// Description of the error.
    pub message: String,
}

impl Unreached {
    /// Creates an error for a request without a complete response.
    pub(super) fn without_answer(message: String) -> Self {
        let step = Step::Answer;
        Self { step, message }
    }
}

impl From<reqwest::Error> for Unreached {
    fn from(error: reqwest::Error) -> Self {
        let causes = std::iter::successors(error.source(), |cause| (*cause).source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        let all = causes.join(": ");
        let innermost = causes.last().map_or("unknown cause", String::as_str);
        let (step, message) = if all.contains("dns error") {
            (Step::Dns, format!("DNS look-up failed: {innermost}"))
        } else if error.is_timeout() && error.is_connect() {
            let most = CONNECT_TIMEOUT.as_secs();
            (Step::Connect, format!("no connection within {most} s"))
        } else if error.is_timeout() {
            let most = REQUEST_TIMEOUT.as_secs();
            (
                Step::Answer,
                format!("no complete response within {most} s"),
            )
        } else if all.contains("certificate") || all.contains("Tls") || all.contains("TLS") {
            (Step::Tls, format!("TLS failed: {innermost}"))
        } else if error.is_connect() {
            (Step::Connect, format!("could not connect: {innermost}"))
        } else {
            (Step::Answer, format!("the connection broke: {innermost}"))
        };
        Self { step, message }
    }
}

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

/// Converts an error of the HTTP client.
pub(super) fn described(error: &reqwest::Error) -> Unreached {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    let all = causes.join(": ");
    let innermost = causes.last().map_or("unknown cause", String::as_str);
    let failed = |step, what: &str| Unreached {
        step,
        message: format!("{what}: {innermost}"),
    };
    if all.contains("dns error") {
        failed(Step::Dns, "DNS look-up failed")
    } else if error.is_timeout() && error.is_connect() {
        Unreached {
            step: Step::Connect,
            message: format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
        }
    } else if error.is_timeout() {
        Unreached {
            step: Step::Answer,
            message: format!(
                "no complete response within {} s",
                REQUEST_TIMEOUT.as_secs()
            ),
        }
    } else if all.contains("certificate") || all.contains("Tls") || all.contains("TLS") {
        failed(Step::Tls, "TLS failed")
    } else if error.is_connect() {
        failed(Step::Connect, "could not connect")
    } else {
        failed(Step::Answer, "the connection broke")
    }
}

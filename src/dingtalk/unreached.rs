//! Why a site did not answer.

use std::error::Error as _;
use std::time::Duration;

/// To connect, DNS and TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For the whole call, the body included.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The step of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The name was not resolved.
    Dns,
    /// There was no connection.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// There was no complete answer.
    Answer,
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    /// The step that failed.
    pub step: Step,
    /// What happened.
    pub message: String,
}

/// Says which step failed, by the innermost cause.
pub fn described(error: &reqwest::Error) -> Unreached {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    let all = causes.join(": ");
    let innermost = causes.last().map_or("no cause given", String::as_str);
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
            message: format!("no complete answer within {} s", REQUEST_TIMEOUT.as_secs()),
        }
    } else if all.contains("certificate") || all.contains("Tls") || all.contains("TLS") {
        failed(Step::Tls, "TLS failed")
    } else if error.is_connect() {
        failed(Step::Connect, "could not connect")
    } else {
        failed(Step::Answer, "the connection broke")
    }
}

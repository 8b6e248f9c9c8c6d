//! Recorded calls, without secrets.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A call of the token endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Time of the call.
    pub at: Timestamp,
    /// HTTP method.
    pub method: String,
    /// Path, as received.
    pub path: String,
    /// `Host` header.
    pub host: String,
    /// The client_id in the body.
    pub client_id: Option<String>,
    /// The corpId in the path, decoded.
    pub corp_id: String,
    /// Number of calls in flight, including this one.
    pub concurrency: usize,
    /// HTTP status of the response; `None` if there was none.
    pub status: Option<u16>,
    /// Error code in the response.
    pub code: Option<String>,
}

//! What was called, without secrets.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One call of the token route.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// When it came.
    pub at: Timestamp,
    /// Its method.
    pub method: String,
    /// Its path, as received.
    pub path: String,
    /// The `Host` that it was sent to.
    pub host: String,
    /// The client_id in its body.
    pub client_id: Option<String>,
    /// The organisation in its path, decoded.
    pub corp_id: String,
    /// How many calls were in flight, this one included.
    pub concurrency: usize,
    /// The HTTP status of the answer; none where none was given.
    pub status: Option<u16>,
    /// The code of the answer.
    pub code: Option<String>,
}

//! Scripts: responses to the next calls that deviate from the rules.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a response leaks secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the error code.
    Code,
    /// In the error message.
    Message,
    /// In the request ID.
    RequestId,
    /// In an HTML page.
    Html,
}

/// How to respond to a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Respond by the rules.
    Normal,
    /// Return an error.
    Fail {
        /// HTTP status.
        status: u16,
        /// Error code.
        code: String,
    },
    /// Return an error in the style of the older API: HTTP status 200 with `errcode`.
    FailLegacy {
        /// Error code.
        errcode: i64,
    },
    /// Return this response.
    Raw {
        /// HTTP status.
        status: u16,
        /// `Content-Type` header.
        content_type: String,
        /// Further headers.
        headers: Vec<(String, String)>,
        /// Body.
        body: String,
    },
    /// Return a token with this `expires_in`, or without it if `null`.
    ExpiresIn(Value),
    /// Respond by the rules, after a delay in milliseconds.
    HeadersLate(u64),
    /// Respond by the rules, with a delay in milliseconds before each byte of the body.
    BodyTrickles(u64),
    /// Reset the connection.
    Reset,
    /// Do not respond.
    NeverAnswer,
    /// Return an error that contains the client secret of the request and the last token.
    Echo {
        /// Where the error contains them.
        place: Place,
        /// HTTP status.
        status: u16,
    },
}

impl Behaviour {
    /// Returns an HTML page like a firewall's.
    pub fn html(status: u16) -> Self {
        Self::Raw {
            status,
            content_type: "text/html".to_owned(),
            headers: Vec::new(),
            body: "<!DOCTYPE html><html><title>Forbidden</title></html>".to_owned(),
        }
    }

    /// Returns an error with a `Retry-After` header.
    pub fn retry_after(status: u16, retry_after: &str) -> Self {
        Self::Raw {
            status,
            content_type: "application/json".to_owned(),
            headers: vec![("Retry-After".to_owned(), retry_after.to_owned())],
            body: "{}".to_owned(),
        }
    }
}

/// The behaviour for the next matching calls. Absent fields match all calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// Matches calls with this client_id.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Matches calls for this corp.
    #[serde(default)]
    pub corp_id: Option<String>,
    /// Number of calls; `None` means no limit.
    #[serde(default)]
    pub calls: Option<u32>,
    /// How to respond.
    pub behaviour: Behaviour,
}

impl Script {
    fn matches(&self, client_id: Option<&str>, corp_id: &str) -> bool {
        let same =
            |wanted: &Option<String>, is: Option<&str>| wanted.is_none() || wanted.as_deref() == is;
        same(&self.client_id, client_id) && same(&self.corp_id, Some(corp_id))
    }
}

/// Returns the behaviour of the first script that matches the call, and counts the call.
pub(crate) fn take(scripts: &mut Vec<Script>, client_id: Option<&str>, corp_id: &str) -> Behaviour {
    let Some(at) = scripts
        .iter()
        .position(|script| script.matches(client_id, corp_id))
    else {
        return Behaviour::Normal;
    };
    let behaviour = scripts[at].behaviour.clone();
    match &mut scripts[at].calls {
        Some(0 | 1) => {
            scripts.remove(at);
        }
        Some(calls) => *calls -= 1,
        None => {}
    }
    behaviour
}

//! What the next calls get instead of an answer by the rules.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where an answer repeats what it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the error's code.
    Code,
    /// In the error's message.
    Message,
    /// In the request id.
    RequestId,
    /// In an HTML page.
    Html,
}

/// One way to answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// By the rules.
    Normal,
    /// An error with this status and code.
    Fail {
        /// The HTTP status.
        status: u16,
        /// The code.
        code: String,
    },
    /// An error in the legacy style: HTTP 200 with `errcode`.
    FailLegacy {
        /// The code.
        errcode: i64,
    },
    /// This status, these headers, this body.
    Raw {
        /// The HTTP status.
        status: u16,
        /// `Content-Type`.
        content_type: String,
        /// Further headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// A token with this `expires_in`; `null` leaves it out.
    ExpiresIn(Value),
    /// By the rules, after so many milliseconds.
    HeadersLate(u64),
    /// By the rules, a byte at a time with so many milliseconds between them.
    BodyTrickles(u64),
    /// The connection is reset.
    Reset,
    /// No answer, until the client gives up.
    NeverAnswer,
    /// An error that repeats the client secret that was sent and the last token.
    Echo {
        /// Where.
        place: Place,
        /// The HTTP status.
        status: u16,
    },
}

impl Behaviour {
    /// A firewall's page.
    pub fn html(status: u16) -> Self {
        Self::Raw {
            status,
            content_type: "text/html".to_owned(),
            headers: Vec::new(),
            body: "<!DOCTYPE html><html><title>Forbidden</title></html>".to_owned(),
        }
    }

    /// An error of this status with a `Retry-After`.
    pub fn retry_after(status: u16, retry_after: &str) -> Self {
        Self::Raw {
            status,
            content_type: "application/json".to_owned(),
            headers: vec![("Retry-After".to_owned(), retry_after.to_owned())],
            body: "{}".to_owned(),
        }
    }
}

/// What the next calls get; what it does not name matches any.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// Calls of this client_id.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Calls for this organisation.
    #[serde(default)]
    pub corp_id: Option<String>,
    /// How many calls; `None` means all from now on.
    #[serde(default)]
    pub calls: Option<u32>,
    /// What they get.
    pub behaviour: Behaviour,
}

impl Script {
    fn matches(&self, client_id: Option<&str>, corp_id: &str) -> bool {
        let same =
            |wanted: &Option<String>, is: Option<&str>| wanted.is_none() || wanted.as_deref() == is;
        same(&self.client_id, client_id) && same(&self.corp_id, Some(corp_id))
    }
}

/// The behaviour that the first matching script has for a call; it counts.
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

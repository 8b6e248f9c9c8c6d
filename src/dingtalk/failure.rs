//! Failures of a fetch, classified by error code or HTTP status.

use std::time::Duration;

use crate::api::{CorpError, Reason};

mod class;
mod row;
mod table;

pub use class::{Class, Limit, Pace};
pub use row::{Row, Scope, Signal};
pub use table::{TABLE, UNREACHABLE};

/// Returns the row for the first known code, or for the HTTP status if no code is known.
///
/// Also returns the matched code, or the first of `codes` if none is known.
pub fn look_up<'a>(codes: &[&'a str], status: u16) -> (&'static Row, Option<&'a str>) {
    let by_code = |code: &&'a str| {
        let row = first_row(|signal| signal.matches_code(code))?;
        Some((row, Some(*code)))
    };
    codes.iter().find_map(by_code).unwrap_or_else(|| {
        let by_status = first_row(|signal| signal.matches_status(status));
        (by_status.unwrap_or(&UNREACHABLE), codes.first().copied())
    })
}

fn first_row(matches: impl Fn(&Signal) -> bool) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.signals.iter().any(&matches))
}

/// A failed fetch. Contains no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Reason shown to users.
    pub reason: Reason,
    /// Determines when to retry.
    pub class: Class,
    /// Requests that a throttle or ban applies to.
    pub scope: Scope,
    /// What the user should do.
    pub advice: &'static str,
    /// DingTalk's error code, verbatim; `None` if it contained a secret.
    pub code: Option<String>,
    /// HTTP status, if DingTalk responded.
    pub http_status: Option<u16>,
    /// DingTalk's request ID.
    pub request_id: Option<String>,
    /// DingTalk's message or the connection error, redacted, at most 256 bytes.
    pub message: Option<String>,
    /// Wait that the response asked for.
    pub wait: Option<Duration>,
    /// Whether the response was HTML, which gateways and DingTalk's firewall send.
    pub html: bool,
}

impl Failure {
    /// Creates a failure from a table row, without any details of a response.
    pub fn of(row: &Row) -> Self {
        Self {
            reason: row.reason,
            class: row.class,
            scope: row.scope,
            advice: row.advice,
            code: None,
            http_status: None,
            request_id: None,
            message: None,
            wait: None,
            html: false,
        }
    }

    /// Returns the failure that a status records; `None` if its reason is not one of DingTalk's.
    pub(crate) fn recorded(error: &CorpError) -> Option<Self> {
        let rows = || TABLE.iter().chain([&UNREACHABLE]);
        let http_status = error
            .http_status
            .and_then(|status| u16::try_from(status).ok());
        let codes: Vec<&str> = error.code.as_deref().into_iter().collect();
        let (by_code, _) = look_up(&codes, http_status.unwrap_or_default());
        let named = |row: &&Row| error.reason == row.reason;
        let row = Some(by_code).filter(named).or_else(|| rows().find(named))?;
        Some(Self {
            code: error.code.clone(),
            http_status,
            request_id: error.request_id.clone(),
            message: error.message.clone(),
            ..Self::of(row)
        })
    }

    /// Returns the scope of a throttle or ban; `None` for other failures.
    pub fn held_back(&self) -> Option<Scope> {
        self.class.traits().limit.map(|_| self.scope)
    }

    /// Reclassifies the failure as a ban of the whole site.
    #[must_use]
    pub fn into_site_ban(mut self) -> Self {
        let (row, _) = look_up(&["1111"], 200);
        self.reason = row.reason;
        self.class = row.class;
        self.scope = row.scope;
        self.advice = row.advice;
        self
    }
}

#[cfg(test)]
mod tests;

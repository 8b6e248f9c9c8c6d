//! What each failure means: one table, from the code or HTTP status to reason, class and pace.

use std::time::Duration;

use crate::api::Reason;

mod row;
mod table;

pub use row::{Class, Row, Scope, Signal};
pub use table::{TABLE, UNREACHABLE};

/// The row of an answer: by the first of `codes` that is known, then by HTTP status.
///
/// The second value is the code that decided.
pub fn look_up<'a>(codes: &[&'a str], status: u16) -> (&'static Row, Option<&'a str>) {
    for code in codes {
        let known = |row: &&Row| row.signals.iter().any(|signal| signal.is_code(code));
        if let Some(row) = TABLE.iter().find(known) {
            return (row, Some(code));
        }
    }
    let row = TABLE
        .iter()
        .find(|row| {
            row.signals
                .iter()
                .any(|signal| signal.matches_status(status))
        })
        .unwrap_or(&UNREACHABLE);
    (row, codes.first().copied())
}

/// One failed attempt, with nothing secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its name.
    pub reason: Reason,
    /// Its pace.
    pub class: Class,
    /// What it holds back.
    pub scope: Scope,
    /// What a person does about it.
    pub advice: &'static str,
    /// DingTalk's code, verbatim, unless it gave a secret away.
    pub code: Option<String>,
    /// The HTTP status, if one was received.
    pub http_status: Option<u16>,
    /// DingTalk's request id.
    pub request_id: Option<String>,
    /// What was said or what happened, at most 256 bytes.
    pub message: Option<String>,
    /// How long the endpoint asked us to wait.
    pub wait: Option<Duration>,
    /// Whether the answer was HTML, as a gateway or a ban answers.
    pub html: bool,
}

impl Failure {
    /// A failure of this row that no answer has told more about.
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

    /// Whom it holds back, if it is a throttle or a ban.
    pub fn held_back(&self) -> Option<Scope> {
        matches!(self.class, Class::Throttled { .. } | Class::Banned).then_some(self.scope)
    }

    /// The same answer, understood as the site's ban.
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

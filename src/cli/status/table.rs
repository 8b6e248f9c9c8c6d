//! Shows several apps as a table.

use jiff::Timestamp;

use super::report::AppReport;
use crate::cli::output::Tone;
use crate::cli::span::{seconds_until, span};
use crate::cli::table::{Cell, Table};

/// Options for the table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Columns {
    /// Whether to show the namespace.
    pub namespace: bool,
    /// Whether to show the site, the Secret and the age.
    pub wide: bool,
    pub colours: bool,
}

/// Returns a table with a line for each app.
pub(super) fn table(apps: &[AppReport], columns: Columns, now: Timestamp) -> String {
    let mut table = Table::default();
    if columns.namespace {
        table = table.column("NAMESPACE", apps, |app| app.namespace.as_str());
    }
    table = table
        .column("NAME", apps, |app| app.name.as_str())
        .column("READY", apps, |app| {
            Cell::new(&app.ready, Tone::of(app.is_ready()))
        })
        .column("TOKENS", apps, |app| app.tokens.clone())
        .column("EXPIRES IN", apps, |app| left(app.seconds_left))
        .column("NEXT RENEWAL", apps, |app| {
            from_now(app.next_attempt_time.as_deref(), now)
        })
        .column("FAILING FOR", apps, |app| {
            ago(app.failing_since_time.as_deref(), now)
        })
        .column("REASON", apps, |app| app.reason.clone());
    if columns.wide {
        table = table
            .column("SITE", apps, |app| app.site.as_str())
            .column("SECRET", apps, |app| app.secret.clone())
            .column("AGE", apps, |app| {
                app.created.map(|at| span(now.duration_since(at).as_secs()))
            });
    }
    table.render(columns.colours)
}

/// Shows the remaining lifetime of a token.
pub(super) fn left(seconds: Option<i64>) -> Cell {
    match seconds {
        Some(seconds) if seconds <= 0 => Cell::new("expired", Tone::Bad),
        seconds => seconds.map(span).into(),
    }
}

/// Shows the time until `time`, or `now` if it has passed.
pub(super) fn from_now(time: Option<&str>, now: Timestamp) -> Option<String> {
    let seconds = seconds_until(time?, now)?;
    Some(match seconds {
        ..=0 => "now".to_owned(),
        seconds => span(seconds),
    })
}

/// Shows the time since `time`.
pub(super) fn ago(time: Option<&str>, now: Timestamp) -> Option<String> {
    Some(span(-seconds_until(time?, now)?))
}

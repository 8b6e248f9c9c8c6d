//! All apps as a table.

use jiff::Timestamp;

use super::report::AppReport;
use crate::cli::output::Tone;
use crate::cli::span::{seconds_until, span};
use crate::cli::table::{Cell, Table};

/// What of the apps is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns {
    /// Namespaces, if there may be several.
    pub namespace: bool,
    /// The site, the Secret and the age as well.
    pub wide: bool,
    /// In colours.
    pub colours: bool,
}

/// A line for each app.
pub fn table(apps: &[AppReport], columns: Columns, now: Timestamp) -> String {
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

/// How long a token is valid.
pub fn left(seconds: Option<i64>) -> Cell {
    match seconds {
        Some(seconds) if seconds <= 0 => Cell::new("expired", Tone::Bad),
        seconds => seconds.map(span).into(),
    }
}

/// The time until a moment; `now` if it has come.
pub fn from_now(time: Option<&str>, now: Timestamp) -> Option<String> {
    let seconds = seconds_until(time?, now)?;
    Some(match seconds {
        ..=0 => "now".to_owned(),
        seconds => span(seconds),
    })
}

/// The time since a moment.
pub fn ago(time: Option<&str>, now: Timestamp) -> Option<String> {
    Some(span(-seconds_until(time?, now)?))
}

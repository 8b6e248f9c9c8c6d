//! Shows several apps as a table.

use jiff::Timestamp;

use super::report::AppReport;
use crate::cli::output::Tone;
use crate::cli::program::Program;
use crate::cli::span::{seconds_until, span};
use crate::cli::table::{Cell, Table};

/// Seconds until an attempt, negative, from which on it is said to be overdue. A status may be a minute old.
const OVERDUE: i64 = -120;

#[derive(Clone, Copy, Default)]
pub(super) struct View {
    pub namespace: bool,
    pub wide: bool,
    pub colours: bool,
    /// For the commands in the advice.
    pub program: Program,
}

/// Returns a table with a line for each app.
pub(super) fn table(apps: &[AppReport], view: View, now: Timestamp) -> String {
    let mut table = Table::default();
    if view.namespace {
        table = table.column("NAMESPACE", apps, |it| it.namespace.as_str());
    }
    table = table
        .column("NAME", apps, |it| it.name.as_str())
        .column("READY", apps, |it| {
            Cell::new(&it.ready, Tone::of(it.is_ready()))
        })
        .column("TOKENS", apps, |it| it.tokens.clone())
        .column("EXPIRES IN", apps, |it| left(it.seconds_left))
        .column("NEXT RENEWAL", apps, |it| {
            from_now(it.next_attempt_time.as_deref(), now)
        })
        .column("FAILING FOR", apps, |it| {
            ago(it.failing_since_time.as_deref(), now)
        })
        .column("REASON", apps, |it| it.reason.clone());
    if view.wide {
        table = table
            .column("SITE", apps, |it| it.site.as_str())
            .column("SECRET", apps, |it| it.secret.clone())
            .column("AGE", apps, |it| {
                it.created.map(|at| span(now.duration_since(at).as_secs()))
            });
    }
    table.render(view.colours)
}

/// Shows the remaining lifetime of a token.
pub(super) fn left(seconds: Option<i64>) -> Cell {
    match seconds {
        Some(seconds) if seconds <= 0 => Cell::new("expired", Tone::Bad),
        seconds => seconds.map(span).into(),
    }
}

/// Shows the time until `time`, `now` if it has just passed, or for how long it has passed.
pub(super) fn from_now(time: Option<&str>, now: Timestamp) -> Option<String> {
    let seconds = seconds_until(time?, now)?;
    Some(match seconds {
        1.. => span(seconds),
        _ if seconds > OVERDUE => "now".to_owned(),
        _ => format!("overdue {}", span(-seconds)),
    })
}

/// Shows the time since `time`.
pub(super) fn ago(time: Option<&str>, now: Timestamp) -> Option<String> {
    Some(span(-seconds_until(time?, now)?))
}

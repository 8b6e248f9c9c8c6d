//! Shows one app in detail.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::report::{AppReport, CorpReport};
use super::table::{View, ago, from_now, left};
use crate::cli::advice::advice;
use crate::cli::output::Tone;
use crate::cli::program::Program;
use crate::cli::span::span;
use crate::cli::table::{Cell, Table};
use crate::dingtalk::visible;

/// Maximum number of corps that are shown, except in wide output.
const CORPS_MAX: usize = 50;

/// Returns a description of the app, a table of its corps with failing ones first, and advice.
pub(super) fn detail(app: &AppReport, view: View, now: Timestamp) -> String {
    let mut corps: Vec<&CorpReport> = app.corps.iter().collect();
    corps.sort_by_key(|corp| (corp.error().is_none(), corp.is_well()));
    let shown = match view.wide {
        true => corps.len(),
        false => corps.len().min(CORPS_MAX),
    };
    let (shown, hidden) = corps.split_at_checked(shown).unwrap_or((&corps, &[]));
    let mut text = summary(app, view, now);
    if !shown.is_empty() {
        text.push('\n');
        text.push_str(&table(shown, view, now));
    }
    text.push_str(&more(hidden));
    text.push_str(&what_to_do(app, view.program));
    text
}

fn summary(app: &AppReport, view: View, now: Timestamp) -> String {
    let mut text = format!("DingTalkApp {}/{}\n", app.namespace, app.name);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<9}{}", visible(value));
    };
    let reason = app.reason.as_deref().unwrap_or("nothing reported");
    line("ready", &format!("{}, {reason}", app.ready));
    line("says", app.message.as_deref().unwrap_or("-"));
    line("site", &app.site);
    line("tokens", &tokens(app));
    if let Some(next) = &app.next_attempt_time {
        let wait = from_now(Some(next), now).unwrap_or_default();
        line("next", &format!("{next} ({wait})"));
    }
    if let Some(since) = &app.failing_since_time {
        let lasting = ago(Some(since), now).unwrap_or_default();
        line("failing", &format!("since {since} ({lasting})"));
    }
    if app.suspended {
        line(
            "suspended",
            " no tokens are fetched: to resume, set spec.suspend to false",
        );
    }
    if app.outdated {
        line(
            "status",
            "of an earlier spec: the operator has not processed the current one",
        );
    }
    let ready = Tone::of(app.is_ready()).paint(&app.ready, view.colours);
    text.replacen(&app.ready, &ready, 1)
}

fn tokens(app: &AppReport) -> String {
    let count = app.tokens.as_deref().unwrap_or("none");
    let place = app.secret.as_deref().unwrap_or("no Secret yet");
    let until = match (&app.expiration_time, app.seconds_left) {
        (Some(until), Some(left)) if left > 0 => {
            format!(", the first until {until} ({})", span(left))
        }
        (Some(until), _) => format!(", the first expired at {until}"),
        (None, _) => String::new(),
    };
    format!("{count} valid, in {place}{until}")
}

fn table(corps: &[&CorpReport], view: View, now: Timestamp) -> String {
    let table = Table::default()
        .column("CORPID", corps, |it| it.status.corp_id.as_str())
        .column("SECRET", corps, |it| it.status.secret_name.as_str())
        .column("VALID UNTIL", corps, |it| it.status.expiration_time.clone())
        .column("LEFT", corps, |it| left(it.seconds_left));
    let table = match view.wide {
        true => table
            .column("RENEWED", corps, |it| it.status.last_renewal_time.clone())
            .column("CAUSE", corps, |it| it.status.last_renewal_cause.clone())
            .column("NEXT", corps, |it| it.status.next_attempt_time.clone())
            .column("FAILING FOR", corps, |it| {
                ago(Some(it.error()?.since_time.as_str()), now)
            }),
        false => table
            .column("RENEWED", corps, |it| {
                let renewed = ago(it.status.last_renewal_time.as_deref(), now);
                renewed.map(|span| format!("{span} ago"))
            })
            .column("NEXT", corps, |it| {
                from_now(it.status.next_attempt_time.as_deref(), now)
            }),
    };
    let mut table = table
        .column("REASON", corps, |it| match it.error() {
            Some(error) => Cell::new(&error.reason, Tone::Bad),
            None => Cell::from("-"),
        })
        .column("CODE", corps, |it| it.error()?.code.clone());
    if view.wide {
        table = table
            .column("HTTP", corps, |it| {
                Some(it.error()?.http_status?.to_string())
            })
            .column("REQUEST ID", corps, |it| it.error()?.request_id.clone())
            .column("MESSAGE", corps, |it| it.error()?.message.clone());
    }
    table.render(view.colours)
}

/// Says how many corps are not shown.
fn more(hidden: &[&CorpReport]) -> String {
    let failing = hidden.iter().filter(|corp| corp.error().is_some()).count();
    match (hidden.len(), failing) {
        (0, _) => String::new(),
        (count, 0) => format!("… and {count} more (-o wide shows all)\n"),
        (count, failing) => {
            format!("… and {count} more, {failing} of them failing (-o wide shows all)\n")
        }
    }
}

/// Lists the commands that explain the reasons of the app.
fn what_to_do(app: &AppReport, program: Program) -> String {
    let reasons = app.corps.iter().filter_map(CorpReport::error);
    let mut reasons: Vec<&str> = reasons.map(|error| error.reason.as_str()).collect();
    if reasons.is_empty() && !app.is_ready() {
        reasons.extend(app.reason.as_deref());
    }
    advice(reasons, program)
}

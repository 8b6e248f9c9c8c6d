//! Shows the outcomes of `renew`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::outcome::{Outcome, Renewed, Selection};
use crate::api::{CorpError, CorpStatus};
use crate::cli::advice::advice;
use crate::cli::output::Tone;
use crate::cli::program::Program;
use crate::cli::table::{Cell, Table};
use crate::dingtalk::visible;

/// Result for a corp, or for an app without a result.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item<'a> {
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    corp_id: Option<&'a str>,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a CorpError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl<'a> Item<'a> {
    fn of(renewed: &'a Renewed, corp: Option<&'a CorpStatus>) -> Self {
        Self {
            namespace: &renewed.app.namespace,
            name: &renewed.app.name,
            corp_id: corp.map(|corp| corp.corp_id.as_str()),
            ok: corp.is_some_and(|corp| corp.error.is_none()),
            secret_name: corp.map(|corp| corp.secret_name.as_str()),
            expires_at: corp.and_then(|corp| corp.expiration_time.as_deref()),
            error: corp.and_then(|corp| corp.error.as_ref()),
            problem: renewed.problem(),
        }
    }

    fn result(&self) -> Cell {
        let word = match (self.ok, &self.problem) {
            (true, _) => "ok",
            (false, None) => "fails",
            (false, Some(problem)) => problem,
        };
        Cell::new(word, Tone::of(self.ok))
    }
}

pub(super) fn items(renewed: &[Renewed]) -> Vec<Item<'_>> {
    let items = renewed.iter().flat_map(|it| {
        let corps = it.corps().iter().map(move |corp| Item::of(it, Some(corp)));
        let missing = it.problem().map(|_| Item::of(it, None));
        missing.into_iter().chain(corps)
    });
    items.collect()
}

#[derive(Clone, Copy)]
pub(super) struct View {
    pub selection: Selection,
    pub namespace: bool,
    pub wide: bool,
    pub colours: bool,
    /// For the commands in the advice.
    pub program: Program,
}

pub(super) fn shown(renewed: &[Renewed], view: View) -> String {
    if renewed.iter().all(|it| matches!(it.outcome, Outcome::Late)) {
        return String::new();
    }
    match (view.wide, view.selection) {
        (true, _) => by_corp(renewed, view),
        (false, Selection::One) => renewed.iter().map(|it| sentences(it, view)).collect(),
        (false, Selection::Several | Selection::Matching) => by_app(renewed, view),
    }
}

/// Returns a message about apps without a result; `None` if all have one. `cluster` has the flags for the cluster.
pub(super) fn late(renewed: &[Renewed], timeout: Duration, cluster: &str) -> Option<String> {
    let late = renewed
        .iter()
        .filter(|it| matches!(it.outcome, Outcome::Late));
    let late: Vec<&Renewed> = late.collect();
    let namespaces: BTreeSet<&str> = late.iter().map(|it| it.app.namespace.as_str()).collect();
    let namespaces = Vec::from_iter(namespaces).join(", ");
    match late.as_slice() {
        [] => None,
        [one] => Some(format!(
            "no result within {timeout:?}: is the operator running, and does it serve namespace \
             {namespaces}? The request remains; see kubectl describe dta {} -n {namespaces}{cluster}",
            one.app.name
        )),
        several => Some(format!(
            "no result for {} DingTalkApps within {timeout:?}: is the operator running, and does it \
             serve {namespaces}? The requests remain",
            several.len()
        )),
    }
}

fn sentences(renewed: &Renewed, view: View) -> String {
    match renewed.problem() {
        Some(problem) => {
            let word = Tone::Bad.paint("fails ", view.colours);
            format!("{word}{}  {}\n", renewed.app, visible(&problem))
        }
        None => {
            let corps = renewed.corps().iter();
            corps.map(|corp| line(corp, view)).collect()
        }
    }
}

fn line(corp: &CorpStatus, view: View) -> String {
    let corp_id = &corp.corp_id;
    match &corp.error {
        None => {
            let word = Tone::Good.paint("ok    ", view.colours);
            let until = corp.expiration_time.as_deref().unwrap_or_default();
            let secret = &corp.secret_name;
            let said =
                format!("{corp_id}  Secret {secret} holds a token that is valid until {until}");
            format!("{word}{}\n", visible(&said))
        }
        Some(error) => {
            let word = Tone::Bad.paint("fails ", view.colours);
            let code = error.code.as_deref();
            let code = code.map(|code| format!(" {code}")).unwrap_or_default();
            let message = error.message.as_deref().unwrap_or_default();
            let (reason, program) = (&error.reason, view.program.shown());
            let said =
                format!("{corp_id}  {reason}{code}: {message}; see `{program} explain {reason}`");
            format!("{word}{}\n", visible(&said))
        }
    }
}

fn by_app(renewed: &[Renewed], view: View) -> String {
    let mut table = Table::default();
    if view.namespace {
        table = table.column("NAMESPACE", renewed, |it| it.app.namespace.as_str());
    }
    let table = table
        .column("NAME", renewed, |it| it.app.name.as_str())
        .column("RESULT", renewed, result)
        .column("RENEWED", renewed, |it| {
            let all = it.corps().len();
            (all > 0).then(|| format!("{}/{all}", all - it.errors().count()))
        })
        .column("VALID UNTIL", renewed, |it| {
            let corps = it.corps().iter();
            let times = corps.filter_map(|corp| corp.expiration_time.as_deref());
            times.min()
        })
        .column("REASON", renewed, reasons);
    let errors = renewed.iter().flat_map(Renewed::errors);
    let reasons = errors.map(|error| error.reason.as_str());
    table.render(view.colours) + &advice(reasons, view.program)
}

fn result(renewed: &Renewed) -> Cell {
    let word = match &renewed.outcome {
        Outcome::Done(_) if renewed.is_ok() => "ok",
        Outcome::Done(_) | Outcome::Refused(_) => "fails",
        Outcome::Suspended => "suspended",
        Outcome::Failed(_) => "error",
        Outcome::Deleted => "deleted",
        Outcome::Unselected => "unknown",
        Outcome::Late => "late",
    };
    Cell::new(word, Tone::of(renewed.is_ok()))
}

fn reasons(renewed: &Renewed) -> Option<String> {
    let errors = renewed.errors();
    let reasons: BTreeSet<&str> = errors.map(|error| error.reason.as_str()).collect();
    match reasons.is_empty() {
        true => renewed.problem(),
        false => Some(Vec::from_iter(reasons).join(",")),
    }
}

fn by_corp(renewed: &[Renewed], view: View) -> String {
    let items = items(renewed);
    let mut table = Table::default();
    if view.namespace {
        table = table.column("NAMESPACE", &items, |it| it.namespace);
    }
    table
        .column("NAME", &items, |it| it.name)
        .column("CORPID", &items, |it| it.corp_id)
        .column("RESULT", &items, Item::result)
        .column("VALID UNTIL", &items, |it| it.expires_at)
        .column("SECRET", &items, |it| it.secret_name)
        .column("REASON", &items, |it| Some(it.error?.reason.as_str()))
        .column("CODE", &items, |it| it.error?.code.as_deref())
        .column("MESSAGE", &items, |it| it.error?.message.as_deref())
        .render(view.colours)
}

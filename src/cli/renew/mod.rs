//! `renew`: requests new tokens.

mod ask;
mod outcome;
mod request;
mod shown;
mod standstill;
mod waiting;
mod watch;

#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use jiff::Timestamp;
use kube::Client;
use kube::runtime::watcher::Config;
use tokio::time::timeout;

use super::apps::{App, Scope, list};
use super::cluster::{ClusterArguments, cluster};
use super::error::CliError;
use super::exit::{FOUND_A_PROBLEM, TIMED_OUT};
use super::flags::{duration, object_name, selector};
use super::output::{Output, has_colours, print_note};
use super::program::Program;
use ask::{ask, read_all};
use outcome::{Renewed, Selection, exit_code};
use request::Request;
use shown::{View, items, shown};
use waiting::Waiting;
use watch::{WATCH_SECONDS, wait};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("apps").required(true).multiple(true))]
pub(super) struct RenewArguments {
    /// Names of the DingTalkApps.
    #[arg(group = "apps", value_parser = object_name, conflicts_with_all = ["selector", "all", "all_namespaces"])]
    name: Vec<String>,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Renew the DingTalkApps in all namespaces.
    #[arg(short = 'A', long, group = "apps", conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Renew all DingTalkApps in the namespace.
    #[arg(long, group = "apps", conflicts_with = "selector")]
    all: bool,
    /// Renew the DingTalkApps with these labels, such as team=hr.
    #[arg(short = 'l', long, group = "apps", value_parser = selector)]
    selector: Option<String>,
    /// How long the command may take. A thousand corpIds take 100 seconds.
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = duration)]
    timeout: Duration,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl RenewArguments {
    fn selection(&self) -> Selection {
        match self.name.len() {
            0 => Selection::Matching,
            1 => Selection::One,
            _ => Selection::Several,
        }
    }

    /// Returns what to watch: only the requested apps, if the API server can select them.
    fn watched(&self) -> Config {
        let name = self.name.first().filter(|_| self.name.len() == 1);
        Config {
            field_selector: name.map(|name| format!("metadata.name={name}")),
            label_selector: self.selector.clone(),
            timeout: Some(WATCH_SECONDS),
            ..Config::default()
        }
    }
}

pub(super) async fn renew(
    arguments: RenewArguments,
    program: Program,
) -> Result<ExitCode, CliError> {
    let started = Instant::now();
    let (client, namespace) = cluster(&arguments.cluster).await?;
    renew_with(client, &namespace, &arguments, program, started).await
}

/// Requests the renewals and shows the results, at most until the time-out.
async fn renew_with(
    client: Client,
    namespace: &str,
    arguments: &RenewArguments,
    program: Program,
    started: Instant,
) -> Result<ExitCode, CliError> {
    let left = || arguments.timeout.saturating_sub(started.elapsed());
    let scope = Scope::of(namespace.to_owned(), arguments.all_namespaces);
    let requesting = requested(&client, namespace, &scope, arguments);
    let Ok(requested) = timeout(left(), requesting).await else {
        print_note(&format!(
            "the API server did not answer within {:?}; new tokens may have been requested for some of the \
             DingTalkApps",
            arguments.timeout
        ));
        return Ok(ExitCode::from(TIMED_OUT));
    };
    let (asked, mut renewed, request) = requested?;
    if asked.is_empty() && renewed.is_empty() {
        print_note(&format!("no DingTalkApps found in {scope}"));
        arguments.output.print_items(&items(&[]), String::new)?;
        return Ok(ExitCode::from(FOUND_A_PROBLEM));
    }
    if arguments.selection() == Selection::One && asked.is_empty() {
        // The only result is an error.
        if let Some(error) = renewed.pop().and_then(Renewed::into_error) {
            return Err(error);
        }
    }
    if !asked.is_empty() {
        let watched = arguments.watched();
        renewed.extend(results(client, &scope, watched, &asked, request, left()).await?);
    }
    renewed.sort_by(|one, other| one.app.cmp(&other.app));
    show(arguments, program, &renewed)?;
    Ok(exit_code(&renewed, arguments.selection()))
}

/// Requests new tokens. Returns the apps for which this succeeded, the outcomes of the others, and the request.
async fn requested(
    client: &Client,
    namespace: &str,
    scope: &Scope,
    arguments: &RenewArguments,
) -> Result<(Vec<App>, Vec<Renewed>, String), CliError> {
    let apps = match arguments.selection() {
        Selection::Matching => {
            let apps = list(client.clone(), scope, arguments.selector.as_deref()).await?;
            apps.into_iter().map(Ok).collect()
        }
        Selection::One | Selection::Several => read_all(client, namespace, &arguments.name).await,
    };
    let request = Timestamp::now().to_string();
    let (mut asked, mut renewed) = (Vec::new(), Vec::new());
    for app in ask(client, apps, &request).await {
        match app {
            Ok(app) => asked.push(app),
            Err(other) => renewed.push(other),
        }
    }
    Ok((asked, renewed, request))
}

/// Waits for the results of the requests, at most for the time that is `left`.
async fn results(
    client: Client,
    scope: &Scope,
    watched: Config,
    asked: &[App],
    text: String,
    left: Duration,
) -> Result<Vec<Renewed>, CliError> {
    let ends_at = Timestamp::now().checked_add(left);
    let ends_at = ends_at.unwrap_or(Timestamp::MAX);
    let request = Request { text, ends_at };
    let mut waiting = Waiting::new(asked, request.clone());
    print_note(&format!(
        "requested new tokens for {waiting} at {}",
        request.text
    ));
    if let Ok(ended) = timeout(left, wait(client, scope, watched, &mut waiting)).await {
        ended?;
    }
    Ok(waiting.outcomes().collect())
}

fn show(arguments: &RenewArguments, program: Program, renewed: &[Renewed]) -> Result<(), CliError> {
    if let Some(message) = shown::late(renewed, arguments.timeout, &arguments.cluster.repeated()) {
        print_note(&message);
    }
    let view = View {
        selection: arguments.selection(),
        namespace: arguments.all_namespaces,
        wide: arguments.output == Output::Wide,
        colours: has_colours(),
        program,
    };
    arguments
        .output
        .print_items(&items(renewed), || shown(renewed, view))
}

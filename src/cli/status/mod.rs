//! `status`: shows the status of apps and their tokens.

mod detail;
mod report;
mod table;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use super::apps::{Scope, list, read};
use super::cluster::{ClusterArguments, cluster};
use super::error::CliError;
use super::exit::verdict;
use super::flags::object_name;
use super::output::{Output, has_colours, print_note};
use super::program::Program;
use detail::detail;
use report::AppReport;
use table::{View, table};

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// Show only this DingTalkApp, with all of its corpIds. Default: all apps.
    #[arg(value_parser = object_name)]
    name: Option<String>,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Show the DingTalkApps in all namespaces.
    #[arg(short = 'A', long, conflicts_with_all = ["name", "namespace"])]
    all_namespaces: bool,
    /// Show only DingTalkApps with these labels, such as team=hr.
    #[arg(short = 'l', long, conflicts_with = "name")]
    selector: Option<String>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn status(
    arguments: StatusArguments,
    program: Program,
) -> Result<ExitCode, CliError> {
    let (client, namespace) = cluster(&arguments.cluster).await?;
    let scope = Scope::of(namespace.clone(), arguments.all_namespaces);
    let apps = match &arguments.name {
        Some(name) => vec![read(client, &namespace, name).await?],
        None => list(client, &scope, arguments.selector.as_deref()).await?,
    };
    let now = Timestamp::now();
    let reports: Vec<AppReport> = apps.iter().map(|app| AppReport::of(app, now)).collect();
    let text = || shown(&arguments, program, &reports, now);
    arguments.output.print_items(&reports, text)?;
    if reports.is_empty() {
        print_note(&format!("no DingTalkApps found in {scope}"));
    }
    Ok(verdict(is_well(&reports)))
}

/// Whether there are apps, and all of them are ready.
fn is_well(reports: &[AppReport]) -> bool {
    !reports.is_empty() && reports.iter().all(AppReport::is_ready)
}

fn shown(
    arguments: &StatusArguments,
    program: Program,
    reports: &[AppReport],
    now: Timestamp,
) -> String {
    let view = View {
        namespace: arguments.all_namespaces,
        wide: arguments.output == Output::Wide,
        colours: has_colours(),
        program,
    };
    match (&arguments.name, reports) {
        (_, []) => String::new(),
        (Some(_), [app]) => detail(app, view, now),
        _ => table(reports, view, now),
    }
}

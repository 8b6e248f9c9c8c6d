//! Commands of the program.

mod advice;
mod apps;
mod check;
mod chinese;
mod cluster;
mod completions;
mod doctor;
mod error;
mod exit;
mod explain;
mod flags;
mod output;
mod pages;
mod program;
mod reasons;
mod renew;
mod run;
mod sites;
mod span;
mod status;
mod table;
mod validate;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use kube::ResourceExt;

use crate::api::definitions;
use crate::dingtalk::visible;
use crate::operator::forbid_core_dumps;
use error::CliError;
use output::{print_note, print_text};
use program::Program;

pub use reasons::{causes_markdown, legacy_markdown, reasons_markdown};

/// Keeps valid DingTalk access tokens in Kubernetes Secrets.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 success; 1 the command failed; 2 incorrect usage; \
                  3 it ran and found a problem, or found nothing; 4 the result did not arrive in time."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator.
    Run(Box<run::RunArguments>),
    /// Print the CustomResourceDefinitions as YAML.
    Crd,
    /// Show the status of DingTalkApps and their tokens, with advice on failures.
    ///
    /// Reads only DingTalkApps, no Secrets.
    Status(status::StatusArguments),
    /// Test an app's credentials against its site from this machine, and explain the result.
    ///
    /// Fetches a token like the operator does, but writes nothing. If DingTalk revokes the former token at
    /// each fetch, the token in the Secret becomes invalid. Therefore this command asks for confirmation if a
    /// Secret holds a valid token or cannot be read; without a terminal, it requires --yes.
    Check(Box<check::CheckArguments>),
    /// Request new tokens for apps from the operator, and wait for the result.
    Renew(renew::RenewArguments),
    /// Diagnose the connection to the sites from this machine, and the installation in the cluster. Sends no
    /// credentials.
    Doctor(Box<doctor::DoctorArguments>),
    /// Check manifests of DingTalkApps and DingTalkTokenReferences like the API server does, but without a
    /// cluster.
    Validate(validate::ValidateArguments),
    /// Explain an error code of DingTalk, an HTTP status, or a reason, event or cause reported by the operator.
    Explain(explain::ExplainArguments),
    /// Print a shell completion script.
    Completions(completions::CompletionsArguments),
}

/// Commands for installing the operator, which the plugin hides.
const OF_THE_OPERATOR: [&str; 2] = ["run", "crd"];

/// Returns the command line definition of the operator.
pub fn command_line() -> clap::Command {
    Cli::command()
}

/// Returns the command line definition of the kubectl plugin.
pub fn plugin_command_line() -> clap::Command {
    let name = Program::Plugin.shown();
    let command_line = Cli::command()
        .name(name)
        .bin_name(name)
        .about("Shows, checks and renews the DingTalk access tokens of a cluster.");
    OF_THE_OPERATOR.iter().fold(command_line, |it, name| {
        it.mut_subcommand(*name, |command| command.hide(true))
    })
}

impl Program {
    fn command_line(self) -> clap::Command {
        match self {
            Self::Operator => command_line(),
            Self::Plugin | Self::Completion => plugin_command_line(),
        }
    }
}

/// Parses and executes a command line, and prints why it failed. The first of `words` is the path of the program.
pub async fn execute(words: Vec<OsString>) -> ExitCode {
    executed(words).await.unwrap_or_else(|error| {
        print_note(&said(&error));
        ExitCode::FAILURE
    })
}

/// Returns the line about a failed command. Its text may be that of others, such as a webhook's.
fn said(error: &CliError) -> String {
    format!("error: {}", visible(&error.to_string()))
}

async fn executed(mut words: Vec<OsString>) -> Result<ExitCode, CliError> {
    let path = words.first().cloned().unwrap_or_default();
    let program = Program::called_as(&path);
    let command_line = program.command_line();
    if program == Program::Completion {
        let words = words.split_off(words.len().min(1));
        return completions::complete_words(words, command_line);
    }
    let matches = command_line.get_matches_from(words);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    forbid_core_dumps()?;
    cli.command.execute(program).await
}

impl Command {
    async fn execute(self, program: Program) -> Result<ExitCode, CliError> {
        match self {
            Self::Run(arguments) => run::run(*arguments).await,
            Self::Crd => print_crds(),
            Self::Status(arguments) => status::status(arguments, program).await,
            Self::Check(arguments) => check::check(*arguments, program).await,
            Self::Renew(arguments) => renew::renew(arguments, program).await,
            Self::Doctor(arguments) => doctor::doctor(*arguments).await,
            Self::Validate(arguments) => validate::validate(&arguments),
            Self::Explain(arguments) => explain::explain(&arguments),
            Self::Completions(arguments) => {
                completions::completions(&arguments, &program.command_line(), program)
            }
        }
    }
}

fn print_crds() -> Result<ExitCode, CliError> {
    for (_, yaml) in crds()? {
        print_text(&format!("---\n{yaml}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the name and the YAML of each CustomResourceDefinition, as stored in `crds/`.
pub fn crds() -> Result<Vec<(String, String)>, serde_yaml_ng::Error> {
    definitions()
        .iter()
        .map(|crd| Ok((crd.name_any(), serde_yaml_ng::to_string(crd)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_lines_are_consistent() {
        command_line().debug_assert();
        plugin_command_line().debug_assert();
    }

    #[test]
    fn an_error_cannot_steer_the_terminal() {
        let refused = std::io::Error::other("webhook: \x1b[2J\u{202e}no");
        let error = error::failed("cannot annotate DingTalkApp hr/payroll")(refused);
        let expected = "error: cannot annotate DingTalkApp hr/payroll: webhook:  [2Jno";
        assert_eq!(said(&error), expected);
    }

    #[test]
    fn the_plugin_goes_by_kubectls_name_and_hides_what_runs_the_operator() {
        let help = plugin_command_line().render_help().to_string();
        assert!(help.contains("Usage: kubectl dingtalk <COMMAND>"), "{help}");
        let lines: Vec<&str> = help.lines().map(str::trim_start).collect();
        let has = |command: &str| lines.iter().any(|line| line.starts_with(command));
        assert!(
            has("status ") && has("renew ") && !has("run ") && !has("crd "),
            "{help}"
        );
        let wrong = plugin_command_line().try_get_matches_from(["kubectl-dingtalk", "renew"]);
        let said = wrong.expect_err("an app is missing").to_string();
        assert!(said.contains("kubectl dingtalk renew"), "{said}");
        let hidden = plugin_command_line().try_get_matches_from(["kubectl-dingtalk", "crd"]);
        assert!(hidden.is_ok(), "hidden, and there");
    }
}

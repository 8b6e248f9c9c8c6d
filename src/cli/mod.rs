//! The command line.

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
use crate::operator::forbid_core_dumps;
use output::print_text;

pub use error::CliError;
pub use program::Program;
pub use reasons::{causes_markdown, reasons_markdown};

/// Keeps DingTalk access tokens in Kubernetes Secrets, valid at all times.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 all is well; 1 the command could not do its job; 2 wrong usage; \
                  3 it did, and found a problem (status, check, renew, doctor, validate) or nothing (explain); \
                  4 it gave up waiting (renew)."
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
    /// Show DingTalkApps and their tokens: what is valid, what fails, and what to do.
    ///
    /// It reads DingTalkApps only, no Secrets.
    Status(status::StatusArguments),
    /// Try an app's credentials against its site from here, and explain the answer. Writes nothing.
    ///
    /// It fetches a token as the operator does. If DingTalk revokes the former token at each fetch, the one
    /// in the Secret is revoked by it. So it asks first if a Secret holds a valid token; without a
    /// terminal it needs --yes.
    Check(Box<check::CheckArguments>),
    /// Ask the operator for new tokens of apps now, and wait for them.
    Renew(renew::RenewArguments),
    /// Look for what stands in the way: the sites as they are reached from here, and what is installed in the
    /// cluster. Sends no credentials.
    Doctor(Box<doctor::DoctorArguments>),
    /// Check manifests of DingTalkApps and DingTalkTokenReferences without a cluster, by the rules that the
    /// API server applies.
    Validate(validate::ValidateArguments),
    /// Explain a code of DingTalk or a reason of a condition: what it means and what to do.
    Explain(explain::ExplainArguments),
    /// Print a script that completes command lines in a shell.
    Completions(completions::CompletionsArguments),
}

/// The commands that only whoever installs the operator needs.
const OF_THE_OPERATOR: [&str; 2] = ["run", "crd"];

/// The program's command line, for the list of its flags.
pub fn command_line() -> clap::Command {
    Cli::command()
}

/// The command line of the plugin for kubectl: the same program under another name.
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

/// Does what the words of a command line say, the program's own path being the first.
///
/// # Errors
/// The command could not do its job.
pub async fn execute(mut words: Vec<OsString>) -> Result<ExitCode, CliError> {
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

/// The CustomResourceDefinitions with their names, as `crds/` holds them.
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

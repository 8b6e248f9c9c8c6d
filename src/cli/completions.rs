//! `completions`, and completion for `kubectl dingtalk`.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_complete::engine::{CompletionCandidate, complete};

use super::error::{CliError, failed};
use super::output::print_text;
use super::program::Program;

/// Directive of the Go library Cobra: do not complete file names.
const NO_FILES: &str = ":4";

#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// Shell to complete command lines in.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn completions(
    arguments: &CompletionsArguments,
    command_line: &Command,
    program: Program,
) -> Result<ExitCode, CliError> {
    print_text(&script(arguments.shell, command_line, program))?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell, command_line: &Command, program: Program) -> String {
    let name = program.file_name();
    // The scripts would otherwise offer hidden commands.
    let shown = command_line
        .get_subcommands()
        .filter(|it| !it.is_hide_set());
    let mut command_line = Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .subcommands(shown.cloned());
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command_line, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Prints the candidates for the last of `words`, the words after `kubectl dingtalk`, in the format that
/// kubectl expects of plugins.
pub(super) fn complete_words(
    words: Vec<OsString>,
    command_line: Command,
) -> Result<ExitCode, CliError> {
    print_text(&completed(words, command_line)?)?;
    Ok(ExitCode::SUCCESS)
}

fn completed(mut words: Vec<OsString>, mut command_line: Command) -> Result<String, CliError> {
    if words.is_empty() {
        words.push(OsString::new());
    }
    let is_flag = |word: &OsStr| word.as_encoded_bytes().starts_with(b"-");
    let wants_flags = words.last().is_some_and(|word| is_flag(word));
    let index = words.len();
    words.insert(0, command_line.get_name().into());
    let folder = std::env::current_dir().ok();
    let candidates = complete(&mut command_line, words, index, folder.as_deref())
        .map_err(failed("cannot complete the command line"))?;
    let mut text = String::new();
    for candidate in candidates {
        let value = candidate.get_value();
        if !candidate.is_hide_set() && (wants_flags || !is_flag(value)) {
            let _ = writeln!(text, "{}{}", value.display(), description(&candidate));
        }
    }
    Ok(format!("{text}{NO_FILES}\n"))
}

/// Returns the first line of a candidate's help.
fn description(candidate: &CompletionCandidate) -> String {
    let help = candidate.get_help().map(ToString::to_string);
    let line = help.as_deref().and_then(|help| help.lines().next());
    line.map_or_else(String::new, |line| format!("\t{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::plugin_command_line;

    fn words(line: &str) -> Vec<String> {
        let words = line.split(' ').map(OsString::from).collect();
        let text = completed(words, plugin_command_line()).expect("candidates");
        let lines = text.lines().map(|line| line.split('\t').next());
        lines.flatten().map(str::to_owned).collect()
    }

    #[test]
    fn commands_flags_and_values_are_completed_for_kubectl() {
        assert_eq!(words("sta"), ["status", ":4"]);
        assert_eq!(words("status -o y"), ["yaml", ":4"]);
        assert_eq!(words("renew --sel"), ["--selector", ":4"]);
        assert_eq!(words("completions z"), ["zsh", ":4"]);
        assert_eq!(words("nonsense x"), [":4"]);
    }

    #[test]
    fn an_empty_word_is_completed_by_commands_without_those_of_the_operator() {
        let all = words("");
        assert!(all.contains(&"check".to_owned()), "{all:?}");
        assert!(!all.iter().any(|it| it == "run" || it == "crd"), "{all:?}");
        assert!(!all.iter().any(|it| it.starts_with('-')), "{all:?}");
    }

    #[test]
    fn every_shell_has_a_script_that_names_the_program() {
        use clap::ValueEnum as _;
        for shell in Shell::value_variants() {
            let script = script(*shell, &plugin_command_line(), Program::Plugin);
            for word in ["kubectl-dingtalk", "status", "all-namespaces"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
            assert!(!script.contains("watch-namespace"), "{shell}: hidden");
        }
    }
}

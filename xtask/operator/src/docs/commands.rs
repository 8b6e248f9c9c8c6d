//! Checks of commands in the documentation: this repository's programs accept their arguments, and files of deploy/
//! exist.

use std::path::Path;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory as _};
use dingtalk_token_operator::cli::{command_line, plugin_command_line};
use xtask::Cli;

/// Returns what is wrong with a command.
pub(crate) fn wrong_command(root: &Path, command: &str) -> Option<String> {
    let words: Vec<&str> = without_comment(command).split_whitespace().collect();
    let missing = words.iter().find(|word| {
        let is_file = word.starts_with("deploy/") && !word.contains(['…', '*', '<']);
        is_file && !root.join(word).exists()
    });
    if let Some(missing) = missing {
        return Some(format!("there is no {missing}: {command}"));
    }
    let refused = match words.as_slice() {
        ["dingtalk-token-operator", rest @ ..] if !rest.is_empty() => refused(command_line(), rest),
        ["kubectl", "dingtalk", rest @ ..] if !rest.is_empty() => {
            refused(plugin_command_line(), rest)
        }
        ["cargo", "xtask", rest @ ..] if !rest.is_empty() => refused(Cli::command(), rest),
        _ => None,
    };
    refused.map(|error| format!("{command} is refused: {error}"))
}

fn refused(program: Command, arguments: &[&str]) -> Option<String> {
    // Upper-case words stand for names, which are in lower case.
    let named = |word: &&str| match word.chars().all(|letter| letter.is_ascii_uppercase()) {
        true => word.to_lowercase(),
        false => (*word).to_owned(),
    };
    let words = arguments.iter().map(named);
    let words = ["program".to_owned()].into_iter().chain(words);
    let error = program.try_get_matches_from(words).err()?;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
        _ => Some(
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        ),
    }
}

fn without_comment(command: &str) -> &str {
    command
        .split_once(" #")
        .map_or(command, |(command, _)| command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_this_repository_are_parsed_and_their_files_exist() {
        let root = xtask::root();
        for right in [
            "dingtalk-token-operator explain 90010   # a code",
            "dingtalk-token-operator --version",
            "dingtalk-token-operator",
            "kubectl dingtalk status -A",
            "kubectl dingtalk renew NAME",
            "cargo xtask test -- model::",
            "kubectl apply -k deploy/try",
            "helm install --whatever",
        ] {
            assert_eq!(wrong_command(&root, right), None, "{right}");
        }
        for wrong in [
            "dingtalk-token-operator explian 90010",
            "dingtalk-token-operator renew a --wait",
            "kubectl dingtalk status payroll -A",
            "cargo xtask tests",
            "kubectl apply -k deploy/tries",
        ] {
            assert!(wrong_command(&root, wrong).is_some(), "{wrong}");
        }
    }
}

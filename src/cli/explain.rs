//! `explain`: what a code or reason means.

use std::process::ExitCode;

use clap::Args;

use super::error::CliError;
use super::exit::FOUND_A_PROBLEM;
use super::output::{Output, print_text};
use super::reasons::{Explained, find};

/// What to explain.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// A code of DingTalk, such as invalid.client or 90002, a reason, such as SecretConflict, or a
    /// cause, such as RenewalDue.
    code: String,
    /// How to show it.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Prints what is known.
pub fn explain(arguments: &ExplainArguments) -> Result<ExitCode, CliError> {
    let found = find(&arguments.code);
    if arguments.output.is_for_people() {
        let parts: Vec<String> = found.iter().map(shown).collect();
        print_text(&parts.join("\n"))?;
    } else {
        arguments.output.print_items(&found)?;
    }
    if found.is_empty() {
        eprintln!(
            "{:?} is none of the codes and reasons that are known here. DingTalk's own list of \
             error codes may have it; the operator goes by the HTTP status then, see its message.",
            arguments.code
        );
        return Ok(ExitCode::from(FOUND_A_PROBLEM));
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(explained: &Explained) -> String {
    let Explained {
        reason,
        meaning,
        signals,
        class,
        pace,
        holds_back,
        advice,
    } = explained;
    let mut lines = vec![
        reason.to_string(),
        format!("  means       {meaning}"),
        format!("  do          {advice}"),
    ];
    if let Some(class) = class {
        lines.push(format!("  class       {class}"));
        lines.push(format!("  next try    {pace}"));
        lines.push(format!("  holds back  {holds_back}"));
    }
    if !signals.is_empty() {
        lines.push(format!("  seen as     {}", signals.join(", ")));
    }
    lines.join("\n") + "\n"
}

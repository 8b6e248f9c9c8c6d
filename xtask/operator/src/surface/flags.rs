//! The command line: commands, their arguments, and the exit codes.

use clap::{Arg, ArgAction, Command};
use dingtalk_token_operator::cli::command_line;

use super::Line;

/// Returns the lines of all commands, except hidden ones.
pub(super) fn lines() -> Vec<Line> {
    let program = command_line();
    let mut lines = Vec::new();
    let help = program.get_after_help().map(ToString::to_string);
    lines.extend(help.iter().flat_map(|help| exit_codes(help)));
    for command in program.get_subcommands().filter(|it| !it.is_hide_set()) {
        let name = command.get_name();
        lines.push(Line::has(name, ""));
        let arguments = command.get_arguments().filter(|it| !it.is_hide_set());
        for argument in arguments {
            describe(command, argument, &mut lines);
        }
    }
    lines
}

fn exit_codes(help: &str) -> Vec<Line> {
    let codes = help.trim_end_matches('.').split([':', ';']);
    let codes = codes.map(str::trim);
    let codes = codes.filter(|code| code.starts_with(|first: char| first.is_ascii_digit()));
    codes.map(|code| Line::has("exit-code", code)).collect()
}

fn describe(command: &Command, argument: &Arg, lines: &mut Vec<Line>) {
    let shown = match argument.get_long() {
        Some(long) => format!("--{long}"),
        None => argument.get_id().to_string(),
    };
    let subject = format!("{}.{shown}", command.get_name());
    let kind = match argument.get_action() {
        ArgAction::Append => "values",
        ArgAction::Set => "value",
        _ => "switch",
    };
    lines.push(Line::has(&subject, kind));
    // The values of a switch are only for the parser.
    let values = match kind {
        "switch" => Vec::new(),
        _ => argument.get_possible_values(),
    };
    for value in values {
        lines.push(Line::has(&subject, &format!("value {}", value.get_name())));
    }
    if let Some(short) = argument.get_short() {
        lines.push(Line::has(&subject, &format!("short -{short}")));
    }
    if let Some(variable) = argument.get_env() {
        let said = format!("variable {}", variable.to_string_lossy());
        lines.push(Line::has(&subject, &said));
    }
    if argument.is_required_set() {
        lines.push(Line::must(&subject, "required"));
    }
}

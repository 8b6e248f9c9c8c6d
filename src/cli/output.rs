//! How results are shown: for people by default, as JSON for programs.

use clap::ValueEnum;
use serde::Serialize;

use super::CliError;

/// How a result is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// A list as programs get it: an object, which can gain fields.
#[derive(Serialize)]
struct Items<'a, T> {
    items: &'a [T],
}

/// Prints results as JSON.
pub fn print_items(items: &[impl Serialize]) -> Result<(), CliError> {
    println!("{}", serde_json::to_string_pretty(&Items { items })?);
    Ok(())
}

/// A green or red word where a person looks at a terminal.
pub fn coloured(word: &str, is_good: bool) -> String {
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    if !is_terminal || std::env::var_os("NO_COLOR").is_some() {
        return word.to_owned();
    }
    let colour = if is_good { 32 } else { 31 };
    format!("\x1b[{colour}m{word}\x1b[0m")
}

//! How results are shown: for people by default, as JSON or YAML for programs.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde::Serialize;

use super::error::CliError;

/// How a result is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For people, with all there is.
    Wide,
    /// For programs.
    Json,
    /// For programs, as YAML.
    Yaml,
}

/// A list as programs get it: an object, which can gain fields.
#[derive(Serialize)]
struct Items<'a, T> {
    items: &'a [T],
}

impl Output {
    /// Whether a person reads it.
    pub fn is_for_people(self) -> bool {
        matches!(self, Self::Text | Self::Wide)
    }

    /// Prints results for programs; for people, the caller prints them.
    pub fn print_items(self, items: &[impl Serialize]) -> Result<(), CliError> {
        self.print(&Items { items })
    }

    /// Prints a result for programs that has more than items; for people, the caller prints it.
    pub fn print(self, result: &impl Serialize) -> Result<(), CliError> {
        match self {
            Self::Text | Self::Wide => Ok(()),
            Self::Json => print_text(&(serde_json::to_string_pretty(result)? + "\n")),
            Self::Yaml => print_text(&serde_yaml_ng::to_string(result)?),
        }
    }
}

/// Prints a text. A reader that has seen enough, such as `head`, is no failure.
pub fn print_text(text: &str) -> Result<(), CliError> {
    let mut output = std::io::stdout().lock();
    let written = output.write_all(text.as_bytes());
    match written.and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::Print(error)),
        _ => Ok(()),
    }
}

/// Whether a person looks at a terminal and wants colours.
pub fn has_colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// How a word looks where there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As any other text.
    Plain,
    /// Green.
    Good,
    /// Red.
    Bad,
}

impl Tone {
    /// Good or bad.
    pub fn of(is_good: bool) -> Self {
        match is_good {
            true => Self::Good,
            false => Self::Bad,
        }
    }

    /// The word in this tone.
    pub fn paint(self, word: &str, has_colours: bool) -> String {
        let colour = match self {
            Self::Good if has_colours => 32,
            Self::Bad if has_colours => 31,
            _ => return word.to_owned(),
        };
        format!("\x1b[{colour}m{word}\x1b[0m")
    }
}

/// A text that cannot move the cursor of a terminal, whoever wrote it.
pub fn plain(text: &str) -> String {
    let shown = |letter: char| match letter.is_control() {
        true => ' ',
        false => letter,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_there_only_when_wanted() {
        assert_eq!(Tone::Good.paint("ok", true), "\x1b[32mok\x1b[0m");
        assert_eq!(Tone::of(false).paint("fails", true), "\x1b[31mfails\x1b[0m");
        assert_eq!(Tone::Bad.paint("fails", false), "fails");
        assert_eq!(Tone::Plain.paint("ding1", true), "ding1");
    }

    #[test]
    fn what_others_wrote_cannot_steer_a_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc\u{9b}d"), "a [2Jb c d");
        assert_eq!(plain("授权"), "授权");
    }
}

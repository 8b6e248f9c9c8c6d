//! Output formats: text for people, JSON and YAML for programs.

use std::ffi::OsStr;
use std::io::{ErrorKind, IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde::Serialize;

use super::error::{CliError, failed};

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Text.
    #[default]
    Text,
    /// Text with all details.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// A list in JSON or YAML. It is an object so that fields can be added later.
#[derive(Serialize)]
struct Items<'a, T> {
    items: &'a [T],
}

impl Output {
    /// Prints a list, which is `text` in text formats.
    pub(super) fn print_items(
        self,
        items: &[impl Serialize],
        text: impl FnOnce() -> String,
    ) -> Result<(), CliError> {
        self.print(&Items { items }, text)
    }

    /// Prints a result, which is `text` in text formats.
    pub(super) fn print(
        self,
        result: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), CliError> {
        print_text(&match self {
            Self::Text | Self::Wide => text(),
            Self::Json => serde_json::to_string_pretty(result)? + "\n",
            Self::Yaml => serde_yaml_ng::to_string(result)?,
        })
    }
}

/// Prints a text to standard output. Ignores a closed pipe, as caused by `head`.
pub(super) fn print_text(text: &str) -> Result<(), CliError> {
    let mut output = std::io::stdout().lock();
    let written = output.write_all(text.as_bytes());
    match written.and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(failed("cannot write the result")(error))
        }
        _ => Ok(()),
    }
}

/// Whether standard output is a terminal and `NO_COLOR` is not set.
pub(super) fn has_colours() -> bool {
    let no_color = std::env::var_os("NO_COLOR");
    std::io::stdout().is_terminal() && allows_colours(no_color.as_deref())
}

/// Whether this value of `NO_COLOR` allows colours. By its definition, an empty one is the same as none.
fn allows_colours(no_color: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty)
}

/// Colour of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
}

impl Tone {
    pub(super) fn of(is_good: bool) -> Self {
        match is_good {
            true => Self::Good,
            false => Self::Bad,
        }
    }

    /// Returns the word with escape sequences for its colour, if `has_colours`.
    pub(super) fn paint(self, word: &str, has_colours: bool) -> String {
        let colour = match self {
            Self::Good if has_colours => 32,
            Self::Bad if has_colours => 31,
            _ => return word.to_owned(),
        };
        format!("\x1b[{colour}m{word}\x1b[0m")
    }
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

    /// Regression: an empty `NO_COLOR` took the colours away.
    #[test]
    fn an_empty_no_color_is_none() {
        let allows = |value: &str| allows_colours(Some(OsStr::new(value)));
        assert!(allows_colours(None) && allows(""));
        assert!(!allows("1") && !allows("0"));
    }
}

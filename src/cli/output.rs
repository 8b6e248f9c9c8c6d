//! Output formats: text for people, JSON and YAML for programs.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, IsTerminal as _, Write};

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
        })?;
        Ok(())
    }
}

/// Prints a text to standard output. Returns whether somebody reads it; nobody does after `head` has ended.
pub(super) fn print_text(text: &str) -> Result<bool, CliError> {
    written(std::io::stdout().lock(), text).map_err(failed("cannot write the result"))
}

/// Prints a line about the result or the progress to standard error.
pub(super) fn print_note(line: &str) {
    print_question(&format!("{line}\n"));
}

/// Prints a text to standard error, without a line feed.
pub(super) fn print_question(text: &str) {
    // There is nowhere else to report an error.
    let _ = written(std::io::stderr().lock(), text);
}

/// Writes a text. Returns whether somebody reads it.
fn written(mut output: impl Write, text: &str) -> Result<bool, io::Error> {
    let written = output.write_all(text.as_bytes());
    match written.and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether standard output is a terminal with colours, and `NO_COLOR` is not set.
pub(super) fn has_colours() -> bool {
    let variables = ["NO_COLOR", "TERM"].map(std::env::var_os);
    let [no_color, terminal] = variables.each_ref().map(Option::as_deref);
    std::io::stdout().is_terminal() && allows_colours(no_color, terminal)
}

/// Whether these values of `NO_COLOR` and `TERM` allow colours. By its definition, an empty `NO_COLOR` is the same as
/// none.
fn allows_colours(no_color: Option<&OsStr>, terminal: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty) && terminal.is_none_or(|it| it != "dumb")
}

/// Colour of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Doubtful,
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
            Self::Doubtful if has_colours => 33,
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
        assert_eq!(Tone::Doubtful.paint("warn", true), "\x1b[33mwarn\x1b[0m");
        assert_eq!(Tone::Bad.paint("fails", false), "fails");
        assert_eq!(Tone::Plain.paint("ding1", true), "ding1");
    }

    /// A disk without room.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> Result<usize, io::Error> {
            Err(ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> Result<(), io::Error> {
            Ok(())
        }
    }

    /// Regression: a note that nobody reads ended the program with a panic.
    #[test]
    fn what_nobody_reads_is_no_error_and_a_full_disk_is() {
        let (reader, writer) = io::pipe().expect("a pipe");
        assert!(written(&writer, "x").expect("written"));
        drop(reader);
        assert!(!written(&writer, "x").expect("nobody reads"));
        let error = written(Full, "x").expect_err("no room");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    /// Regression: an empty `NO_COLOR` took the colours away.
    #[test]
    fn an_empty_no_color_is_none() {
        let allows = |value: &str| allows_colours(Some(OsStr::new(value)), None);
        assert!(allows_colours(None, None) && allows(""));
        assert!(!allows("1") && !allows("0"));
    }

    /// Regression: a terminal without colours, such as that of an editor, showed the escape sequences.
    #[test]
    fn a_dumb_terminal_has_no_colours() {
        let allows = |terminal: &str| allows_colours(None, Some(OsStr::new(terminal)));
        assert!(allows("xterm-256color") && allows(""));
        assert!(!allows("dumb"));
    }
}

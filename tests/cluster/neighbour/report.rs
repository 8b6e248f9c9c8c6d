//! What is said of a run.

use std::io::Write as _;

use tokio::time::Instant;

use super::ground::Ground;

/// How much of the log is shown, and of a line.
const LOG_LINES: usize = 40;
const LINE_MAX: usize = 400;

/// A promise that was not kept.
#[derive(Debug)]
pub struct Breach {
    pub promise: &'static str,
    pub whom: String,
    pub how: String,
}

impl Breach {
    pub fn of_process(how: String) -> Self {
        Self {
            promise: "one process lasts through the attack",
            whom: "the operator".to_owned(),
            how,
        }
    }

    pub fn of_test(how: &str) -> Self {
        Self {
            promise: "the attack is carried out as intended",
            whom: "the test".to_owned(),
            how: how.to_owned(),
        }
    }
}

/// To the terminal, whether the test passes or not.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "neighbour::{line}");
}

/// The text of a failed test.
pub fn failure(name: &str, ground: &Ground, breach: &Breach, began: Instant) -> String {
    let Breach { promise, whom, how } = breach;
    let seconds = began.elapsed().as_secs();
    let log = ground.log();
    let lines: Vec<&str> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
    let last: Vec<String> = last.iter().map(|line| shortened(line)).collect();
    format!(
        "neighbour::{name}, {seconds} s after the attack began\n\
         broken promise: {promise}\n\
         of: {whom}\n\
         how: {how}\n\
         calls: {}\n\
         the end of the operator's log:\n{}",
        ground.calls(),
        last.join("\n"),
    )
}

pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(LINE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

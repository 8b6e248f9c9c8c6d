//! The exit codes beside success and failure; the help of the program lists them all.

use std::process::ExitCode;

/// Exit code of a command that worked and found that something else does not.
pub(super) const FOUND_A_PROBLEM: u8 = 3;
/// Exit code of a command that gave up waiting.
pub(super) const TIMED_OUT: u8 = 4;

/// The exit code of a command that found problems, or none.
pub(super) fn verdict(is_well: bool) -> ExitCode {
    match is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FOUND_A_PROBLEM),
    }
}

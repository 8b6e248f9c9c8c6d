//! Exit codes of the commands. The program's help lists them all.

use std::process::ExitCode;

pub(super) const FOUND_A_PROBLEM: u8 = 3;
pub(super) const TIMED_OUT: u8 = 4;

/// Returns the exit code of a command that succeeded, by whether it found no problem.
pub(super) fn verdict(is_well: bool) -> ExitCode {
    match is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FOUND_A_PROBLEM),
    }
}

//! The exit codes beside success and failure; the help of the program lists them all.

/// Exit code of a command that worked and found that something else does not.
pub(super) const FOUND_A_PROBLEM: u8 = 3;
/// Exit code of a command that gave up waiting.
pub(super) const TIMED_OUT: u8 = 4;

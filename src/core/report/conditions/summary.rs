//! Summary of several corps' problems.

use crate::api::Reason;
use crate::core::report::problem::Problem;

/// Corps named in a condition; the others are in `status.corps`.
pub(super) const NAMED_MAX: usize = 3;

/// Returns the common reason and message of all problems.
pub(super) fn summary(problems: &[(&str, Problem)], total: usize) -> (Reason, String) {
    let mut reasons = problems.iter().map(|(_, problem)| problem.reason);
    let reason = reasons.next().unwrap_or(Reason::Pending);
    let reason = match reasons.all(|other| other == reason) {
        true => reason,
        false => Reason::CorpsFailing,
    };
    // A problem common to all corps is reported once.
    let first = problems.first().map_or("", |(_, problem)| &problem.message);
    if problems.len() == total && problems.iter().all(|(_, other)| other.message == first) {
        return (reason, first.to_owned());
    }
    let messages = problems.iter().map(|(_, problem)| problem.message.as_str());
    let named: Vec<&str> = messages.take(NAMED_MAX).collect();
    let more = match problems.len() - named.len() {
        0 => String::new(),
        more => format!(" | and {more} more, see status.corps"),
    };
    let message = format!(
        "{} of {total} corpIds fail: {}{more}",
        problems.len(),
        named.join(" | ")
    );
    (reason, message)
}

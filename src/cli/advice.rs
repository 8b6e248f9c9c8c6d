//! Lists the commands that explain the reported failures.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::program::Program;
use crate::dingtalk::visible;

/// Returns an `explain` command for each reason, with the number of corpIds that fail for it.
pub(super) fn advice<'a>(reasons: impl IntoIterator<Item = &'a str>, program: Program) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    if counts.is_empty() {
        return String::new();
    }
    let mut text = "\nWhat to do:\n".to_owned();
    for (reason, count) in counts {
        let corps = match count {
            1 => String::new(),
            count => format!("   # {count} corpIds"),
        };
        let _ = writeln!(
            text,
            "  {} explain {}{corps}",
            program.shown(),
            visible(reason)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_named_once() {
        let text = advice(["Throttled", "Banned", "Throttled"], Program::Operator);
        let expected = "\nWhat to do:\n  dingtalk-token-operator explain Banned\n  \
                        dingtalk-token-operator explain Throttled   # 2 corpIds\n";
        assert_eq!(text, expected);
        assert_eq!(advice([], Program::Plugin), "");
    }
}

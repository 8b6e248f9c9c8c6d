//! Names that are constants or variants in the code.

use std::fs;

use dingtalk_token_operator::api::{Cause, Origin, Reason};
use strum::IntoEnumIterator as _;

use super::Line;
use xtask::{Failure, root};

/// File and prefix of constants, and the subject of their lines.
const CONSTANTS: [(&str, &str, &str); 4] = [
    ("src/api/names.rs", "LABEL_", "label"),
    ("src/api/names.rs", "ANNOTATION_", "annotation"),
    ("src/api/names.rs", "KEY_", "key"),
    ("src/api/status.rs", "CONDITION_", "condition"),
];

/// Returns the lines of all names. Constants are read from the sources, so that none can be left out.
pub(super) fn lines() -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for (path, prefix, what) in CONSTANTS {
        let source = fs::read_to_string(root().join(path))?;
        let found = constants(&source, prefix);
        if found.is_empty() {
            return Err(format!("{path} has no constant {prefix}…").into());
        }
        lines.extend(found.iter().map(|value| Line::has(what, value)));
    }
    for reason in Reason::iter() {
        let what = match reason.origin() {
            Origin::DingTalk | Origin::Condition => "reason",
            Origin::Event => "event",
        };
        lines.push(Line::has(what, reason.as_str()));
    }
    lines.extend(Cause::iter().map(|cause| Line::has("cause", cause.as_str())));
    Ok(lines)
}

fn constants(source: &str, prefix: &str) -> Vec<String> {
    let declarations = source.split("pub const ").skip(1);
    let declared = declarations.filter(|declaration| declaration.starts_with(prefix));
    declared
        .filter_map(|declaration| {
            let (_, value) = declaration.split_once('"')?;
            let (value, _) = value.split_once('"')?;
            Some(value.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_found_however_they_are_wrapped() {
        let source = "pub const KEY_A: &str = \"a\";\npub const KEY_B: &str =\n    \"b\";\npub const X: &str = \"x\";";
        assert_eq!(constants(source, "KEY_"), ["a", "b"]);
    }
}

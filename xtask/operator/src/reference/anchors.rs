//! Anchors of error codes.

use std::ops::RangeInclusive;

/// Gives each code in the first column of the tables an anchor, such as `code-90002`, also those of a
/// range. Patterns of codes have none.
pub(crate) fn anchored(text: &str, prefix: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(" | ") {
        Some((first, rest)) if first.starts_with("| ") => {
            format!("{} | {rest}", cell(first, prefix))
        }
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn cell(cell: &str, prefix: &str) -> String {
    let parts = cell.split('`').enumerate();
    let parts = parts.map(|(index, part)| match index % 2 {
        0 => ranges(part, prefix),
        _ if part.contains('…') => format!("`{part}`"),
        _ => format!("<a id=\"{prefix}-{part}\"></a>`{part}`"),
    });
    parts.collect()
}

/// Puts the anchors of each range of codes in front of it.
fn ranges(text: &str, prefix: &str) -> String {
    let parts = text.split_inclusive([',', '、', '|']);
    let parts = parts.map(|part| {
        let Some(codes) = codes(part) else {
            return part.to_owned();
        };
        let anchors = codes.map(|code| format!("<a id=\"{prefix}-{code}\"></a>"));
        let range = part.trim_start();
        let (space, _) = part.split_at(part.len() - range.len());
        format!("{space}{}{range}", anchors.collect::<String>())
    });
    parts.collect()
}

/// Returns the codes of a range such as `90003 to 90008`; HTTP statuses are none.
fn codes(range: &str) -> Option<RangeInclusive<u32>> {
    let range = range.trim_end_matches([',', '、', '|']).trim();
    let ends = range.split_once(" to ").or_else(|| range.split_once('～'));
    let (first, last) = ends?;
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_an_anchor_and_nothing_else_has() {
        let text = "## A\n\nText of `b` | c.\n\n| code | do |\n|---|---|\n| `1`, `…a…`, HTTP 405、`2` | see `3` |\n";
        let row =
            "| <a id=\"code-1\"></a>`1`, `…a…`, HTTP 405、<a id=\"code-2\"></a>`2` | see `3` |";
        let expected = text.replace("| `1`, `…a…`, HTTP 405、`2` | see `3` |", row);
        assert_eq!(anchored(text, "code"), expected);
    }

    /// Regression: the codes of a range had no anchors.
    #[test]
    fn each_code_of_a_range_has_an_anchor_in_both_languages() {
        let anchors = "<a id=\"c-7\"></a><a id=\"c-8\"></a>";
        for (row, anchored_row) in [
            ("| 7 to 8 | do |\n", format!("| {anchors}7 to 8 | do |\n")),
            (
                "| `…a…`, 7 to 8, HTTP 300 to 399 | do |\n",
                format!("| `…a…`, {anchors}7 to 8, HTTP 300 to 399 | do |\n"),
            ),
            (
                "| `…a…`、7～8 | 1 to 2 |\n",
                format!("| `…a…`、{anchors}7～8 | 1 to 2 |\n"),
            ),
        ] {
            assert_eq!(anchored(row, "c"), anchored_row);
        }
    }
}

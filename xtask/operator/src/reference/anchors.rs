//! Anchors of error codes.

/// Gives each code in the first column of the tables an anchor, such as `code-90002`. Patterns of
/// codes have none.
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
        0 => part.to_owned(),
        _ if part.contains('…') => format!("`{part}`"),
        _ => format!("<a id=\"{prefix}-{part}\"></a>`{part}`"),
    });
    parts.collect()
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
}

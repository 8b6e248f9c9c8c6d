//! Release notes: a version's section of CHANGELOG.md.

use super::SOURCE;
use crate::Failure;

const UNRELEASED: &str = "Unreleased";

/// Returns the section of a tag in the form that GitHub needs: one line for each item, and absolute links. A
/// rehearsal may use `Unreleased`.
pub(super) fn cut(changelog: &str, tag: &str, is_rehearsal: bool) -> Result<String, Failure> {
    let version = tag.trim_start_matches('v');
    let found = section(changelog, version);
    let found = found.or_else(|| section(changelog, UNRELEASED).filter(|_| is_rehearsal));
    let lines = found.ok_or_else(|| {
        format!("CHANGELOG.md has no section `## {version}`: rename `## {UNRELEASED}` to it")
    })?;
    let text = absolute_links(&joined(&lines), tag);
    match text.trim().is_empty() {
        true => Err(format!("CHANGELOG.md says nothing about {version}").into()),
        false => Ok(text),
    }
}

/// Returns the lines below `## VERSION`. A date may follow the version.
fn section<'a>(changelog: &'a str, version: &str) -> Option<Vec<&'a str>> {
    let heading = |line: &&str| line.starts_with("## ");
    let mut lines = changelog
        .lines()
        .skip_while(|line| !heading(line) || line.split_whitespace().nth(1) != Some(version));
    lines.next()?;
    Some(lines.take_while(|line| !heading(line)).collect())
}

/// Joins the lines of each item, since GitHub shows line breaks in release notes.
fn joined(lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        let continued = line
            .strip_prefix("  ")
            .filter(|rest| !rest.trim_start().starts_with("- "));
        match continued {
            Some(rest) => {
                text.truncate(text.trim_end().len());
                text.push(' ');
                text.push_str(rest.trim());
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text.trim_matches('\n').to_owned() + "\n"
}

fn absolute_links(text: &str, tag: &str) -> String {
    let mut parts = text.split("](");
    let mut linked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        linked.push_str("](");
        if !part.starts_with("http") && !part.starts_with('#') {
            linked.push_str(&[SOURCE, "/blob/", tag, "/"].concat());
        }
        linked.push_str(part);
    }
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "\
# Changelog

## Unreleased

- Next.

## 0.2.0 (2026-12-01)

- One that
  goes on, see [a page](docs/a.md).
  - Nested.
- [Two](https://example.com).

## 0.1.0

";

    #[test]
    fn the_notes_are_the_versions_section() {
        let notes = cut(CHANGELOG, "v0.2.0", false).expect("notes");
        let expected = format!(
            "- One that goes on, see [a page]({SOURCE}/blob/v0.2.0/docs/a.md).\n  - Nested.\n- [Two](https://example.com).\n"
        );
        assert_eq!(notes, expected);
    }

    #[test]
    fn without_a_section_there_is_no_release_but_a_rehearsal() {
        for missing in ["v0.2", "v0.3.0", "vUnreleased-1"] {
            let error = cut(CHANGELOG, missing, false)
                .expect_err(missing)
                .to_string();
            assert!(error.contains("rename `## Unreleased` to it"), "{error}");
        }
        let rehearsed = cut(CHANGELOG, "v0.3.0", true).expect("notes");
        assert_eq!(rehearsed, "- Next.\n");
        let error = cut(CHANGELOG, "v0.1.0", true).expect_err("empty");
        assert!(
            error.to_string().contains("says nothing about 0.1.0"),
            "{error}"
        );
    }
}

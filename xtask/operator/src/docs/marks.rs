//! Checks that the documentation says of every block of commands what runs it, or why nothing does, in a comment
//! before the block: ``<!-- Run by `NAME`, remarks. -->`` or `<!-- Not run: REASON. -->`. What is in backticks after
//! `Run by` is a function, such as a test, a command of `cargo xtask`, or a file, such as `.ci/run`.

use std::collections::BTreeMap;
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

use super::commands::wrong_command;
use xtask::Failure;
use xtask::layout::{missing_functions, texts_with_commands};

/// Languages of blocks of commands.
const SHELLS: [&str; 4] = ["console", "sh", "bash", "shell"];

/// The comment before a block of commands.
#[derive(Debug, PartialEq)]
pub(super) struct Mark {
    /// Line of the block.
    pub(super) line: usize,
    /// Empty if there is none.
    pub(super) text: String,
}

/// Returns what is wrong with the marks of all pages.
pub(super) fn wrong_marks(root: &Path) -> Result<Vec<String>, Failure> {
    let mut problems = Vec::new();
    let mut functions: BTreeMap<String, String> = BTreeMap::new();
    for (path, text) in texts_with_commands(root)? {
        let page = path.strip_prefix(root).unwrap_or(&path).display();
        for mark in marks(&text) {
            let place = format!("{page}, line {}", mark.line);
            let Some(names) = mark.runners() else {
                problems.push(format!(
                    "{place}: write before the commands what runs them, as CONTRIBUTING.md, Documentation, says"
                ));
                continue;
            };
            for name in names {
                if name.starts_with("cargo xtask ") {
                    problems.extend(wrong_command(root, name).map(|it| format!("{place}: {it}")));
                } else if !root.join(name).is_file() {
                    functions.insert(name.to_owned(), place.clone());
                }
            }
        }
    }
    let named = functions.keys().cloned().collect();
    let missing = missing_functions(root, &["src", "tests", "xtask"], named)?;
    let missing = missing.iter().map(|name| {
        let place = functions.get(name).map_or("", String::as_str);
        format!("{place}: there is no function {name}: name what runs the commands")
    });
    problems.extend(missing);
    Ok(problems)
}

/// Returns the marks of a page's blocks of commands, in their order.
pub(super) fn marks(page: &str) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut comment = String::new();
    for (event, place) in Parser::new(page).into_offset_iter() {
        match event {
            Event::Html(line) => comment.push_str(&line),
            Event::End(TagEnd::HtmlBlock) => {}
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language)))
                if SHELLS.contains(&&*language) =>
            {
                let before = page.get(..place.start).unwrap_or_default();
                marks.push(Mark {
                    line: before.matches('\n').count() + 1,
                    text: comment.trim().to_owned(),
                });
            }
            _ => comment.clear(),
        }
    }
    marks
}

impl Mark {
    /// Returns what runs the block: nothing if the mark says why, `None` if it is not a mark.
    fn runners(&self) -> Option<Vec<&str>> {
        let said = self.text.strip_prefix("<!-- ")?.strip_suffix(" -->")?;
        if said.starts_with("Not run: ") {
            return Some(Vec::new());
        }
        let names = said.strip_prefix("Run by ")?.split('`');
        let names: Vec<&str> = names.skip(1).step_by(2).collect();
        (!names.is_empty()).then_some(names)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is wrong with a page of a repository with one test.
    fn wrong(page: &str) -> Vec<String> {
        wrong_in("docs/page.md", page)
    }

    fn wrong_in(file: &str, page: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["deploy/chart", "docs", "src", "tests", "xtask"] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        for (name, text) in [
            ("docs/page.md", ""),
            (file, page),
            ("tests/a.rs", "async fn it_is_run() {}"),
            ("ci", ""),
        ] {
            fs::write(folder.path().join(name), text).expect("written");
        }
        let wrong = wrong_marks(folder.path()).map_err(|error| error.to_string());
        wrong.expect("read")
    }

    fn block(mark: &str) -> String {
        format!("Text.\n\n{mark}\n\n```console\n$ ls\n```\n")
    }

    #[test]
    fn every_block_of_commands_says_what_runs_it_or_why_nothing_does() {
        for right in [
            "<!-- Run by `it_is_run`. -->",
            "<!-- Run by `it_is_run`, `cargo xtask e2e` and `ci`, with others:\na remark. -->",
            "<!-- Not run: needs `docker`. -->",
        ] {
            assert_eq!(wrong(&block(right)), Vec::<String>::new(), "{right}");
        }
        for (mark, said) in [
            ("", "docs/page.md, line 5: write before"),
            ("<!-- Run by hand. -->", "write before"),
            ("<!-- Not run: -->", "write before"),
            ("<!-- Not run: needs Docker. -->\n\nText.", "write before"),
            ("<!-- Run by `it_runs`. -->", "there is no function it_runs"),
            (
                "<!-- Run by `cargo xtask e3e`. -->",
                "cargo xtask e3e is refused",
            ),
        ] {
            let found = wrong(&block(mark));
            assert!(
                found.len() == 1 && found[0].contains(said),
                "{mark}: {found:?}"
            );
        }
    }

    /// Regression: the commands of the chart's README had no mark.
    #[test]
    fn a_page_of_a_folder_to_deploy_needs_marks_too() {
        let found = wrong_in("deploy/chart/README.md", &block(""));
        let place = "deploy/chart/README.md, line 5: ";
        assert!(found.len() == 1 && found[0].starts_with(place), "{found:?}");
    }

    #[test]
    fn a_mark_is_that_of_the_next_block_alone_in_lists_as_well() {
        let page = "```yaml\na: b\n```\n\n1. Text:\n\n   <!-- Not run: a. -->\n\n   ```sh\n   ls\n   ```\n\n   \
            ```bash\n   ls\n   ```\n";
        let mark = |line, text: &str| Mark {
            line,
            text: text.to_owned(),
        };
        assert_eq!(marks(page), [mark(9, "<!-- Not run: a. -->"), mark(13, "")]);
    }
}

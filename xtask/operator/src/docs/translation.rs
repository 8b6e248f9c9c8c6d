//! Checks of translated pages: they must be up to date, and have the same commands and manifests.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use sha2::{Digest as _, Sha256};

use super::marks::marks;
use crate::manifests::{BEGIN, END};
use xtask::Failure;
use xtask::layout::page_texts;

/// Folder of the translations of docs/.
const FOLDER: &str = "docs/zh-CN/";
/// Name of the translation of a README.md, which is beside it.
pub(super) const README: &str = "README.zh-CN.md";
const RECORD: &str = "<!-- Translation of ";

/// A page and its translation, as paths in the repository.
#[derive(Debug)]
struct Pair {
    page: String,
    translation: String,
    /// The links from the page to its translation, and back.
    links: [String; 2],
}

/// Returns every translation with its page.
fn pairs(root: &Path) -> Result<Vec<Pair>, Failure> {
    let mut pairs = Vec::new();
    for path in page_texts(root)?.into_keys() {
        pairs.extend(pair(&path.strip_prefix(root)?.to_string_lossy()));
    }
    Ok(pairs)
}

/// Returns a translation with its page; `None` if it is not a translation.
fn pair(translation: &str) -> Option<Pair> {
    let (page, links) = if let Some(folder) = translation.strip_suffix(README) {
        let links = [README, "README.md"].map(str::to_owned);
        (format!("{folder}README.md"), links)
    } else {
        let name = translation.strip_prefix(FOLDER)?;
        let links = [format!("zh-CN/{name}"), format!("../{name}")];
        (format!("docs/{name}"), links)
    };
    (!page.ends_with("/SUMMARY.md")).then(|| Pair {
        page,
        translation: translation.to_owned(),
        links,
    })
}

/// Returns what is wrong with the translations.
pub(super) fn problems(root: &Path) -> Result<Vec<String>, Failure> {
    let mut problems = Vec::new();
    for pair in pairs(root)? {
        let page = read(root, &pair.page)?;
        let translation = read(root, &pair.translation)?;
        problems.extend(outdated(&pair, &page, &translation));
        problems.extend(unlinked(&pair, &page, &translation));
        problems.extend(
            difference(&page, &translation)
                .map(|it| format!("{} and {}: {it}", pair.page, pair.translation)),
        );
    }
    Ok(problems)
}

/// Records that a translation is up to date.
pub(super) fn record(root: &Path, translation: &Path) -> Result<(), Failure> {
    let pairs = pairs(root)?;
    let pair = pairs
        .iter()
        .find(|pair| Path::new(&pair.translation) == translation);
    let pair = pair.ok_or_else(|| format!("{} is not a translation", translation.display()))?;
    let page = read(root, &pair.page)?;
    let text = read(root, &pair.translation)?;
    let rest = match text.starts_with(RECORD) {
        true => text.split_once('\n').map_or("", |(_, rest)| rest),
        false => &text,
    };
    let recorded = format!("{}\n{rest}", line(pair, &page));
    fs::write(root.join(&pair.translation), recorded)?;
    println!(
        "{} is recorded as an up-to-date translation of {}",
        pair.translation, pair.page
    );
    Ok(())
}

fn read(root: &Path, path: &str) -> Result<String, Failure> {
    let path: PathBuf = root.join(path);
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Returns the first line of a translation, which has the hash of the page that it translates.
fn line(pair: &Pair, page: &str) -> String {
    format!("{RECORD}{}, content {} -->", pair.page, content(page))
}

/// Returns a hash of a page, without the generated part.
fn content(page: &str) -> String {
    let generated = page.split_once(BEGIN);
    let generated = generated.and_then(|(_, rest)| rest.split_once(END));
    let written = match generated {
        Some((generated, _)) => page.replace(generated, ""),
        None => page.to_owned(),
    };
    let hash = Sha256::digest(written.as_bytes());
    let start = hash.iter().take(8);
    start.fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn outdated(pair: &Pair, page: &str, translation: &str) -> Option<String> {
    let (name, path) = (&pair.page, &pair.translation);
    if translation.lines().next() == Some(&line(pair, page)) {
        return None;
    }
    Some(format!(
        "{path} is out of date: see `git log -p {name}`, translate the changes to {name}, and \
         run `cargo xtask docs --translated {path}`"
    ))
}

/// Checks that a page and its translation link to each other at the top.
fn unlinked(pair: &Pair, page: &str, translation: &str) -> Option<String> {
    let [there, back] = &pair.links;
    let is_linked = |text: &str, link: &str| {
        let mut top = text.lines().take_while(|line| !line.starts_with("## "));
        top.any(|line| line.contains(&format!("]({link})")))
    };
    match is_linked(page, there) && is_linked(translation, back) {
        true => None,
        false => Some(format!(
            "{} and {}: below the titles, link to {there} and {back}",
            pair.page, pair.translation
        )),
    }
}

/// Returns how the code blocks of a translation, and their marks, differ from those of the page, except in comments.
fn difference(page: &str, translation: &str) -> Option<String> {
    let (ours, theirs) = (blocks(page), blocks(translation));
    for (index, block) in ours.iter().enumerate() {
        let other = theirs.get(index).map_or(&[][..], Vec::as_slice);
        let lines = block.iter().map(Some).chain([None]);
        let others = other.iter().map(Some).chain([None]);
        if let Some((line, other)) = lines.zip(others).find(|(line, other)| line != other) {
            let shown =
                |line: Option<&String>| line.map_or("nothing".to_owned(), |it| format!("`{it}`"));
            return Some(format!(
                "code block {} has {} in one and {} in the other",
                index + 1,
                shown(line),
                shown(other)
            ));
        }
    }
    if theirs.len() > ours.len() {
        return Some("the translation has more code blocks".to_owned());
    }
    let mut both = marks(page).into_iter().zip(marks(translation));
    let (mark, other) = both.find(|(mark, other)| mark.text != other.text)?;
    Some(format!(
        "the commands in line {} have the mark `{}` in one and `{}` in the other",
        mark.line, mark.text, other.text
    ))
}

/// Returns the code blocks of a page: their language, and their lines without comments.
fn blocks(text: &str) -> Vec<Vec<String>> {
    let mut blocks: Vec<Vec<String>> = Vec::new();
    let mut is_open = false;
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                blocks.push(vec![format!("```{language}")]);
                is_open = true;
            }
            Event::End(TagEnd::CodeBlock) => is_open = false,
            Event::Text(code) if is_open => {
                let lines = code.lines().map(without_comment);
                let lines = lines.filter(|line| !line.is_empty());
                if let Some(block) = blocks.last_mut() {
                    block.extend(lines.map(str::to_owned));
                }
            }
            _ => {}
        }
    }
    blocks
}

/// Returns a line without its comment, which begins with `#` or `//`, at the line's start or after white space.
fn without_comment(line: &str) -> &str {
    let starts = ["#", "//"].into_iter().filter_map(|sign| {
        let mut before = line.match_indices(sign).map(|(start, _)| &line[..start]);
        before.find(|before| before.is_empty() || before.ends_with(char::is_whitespace))
    });
    let shortest = starts.min_by_key(|before| before.len());
    shortest.unwrap_or(line).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A page\n\n```yaml\nsite: china   # the site\n\nname: a#b\n```\n";

    fn pair() -> Pair {
        super::pair("docs/zh-CN/a.md").expect("a translation")
    }

    #[test]
    fn a_translation_is_in_its_folder_and_that_of_a_readme_beside_it() {
        for (translation, page, there, back) in [
            ("docs/zh-CN/a.md", "docs/a.md", "zh-CN/a.md", "../a.md"),
            ("README.zh-CN.md", "README.md", README, "README.md"),
            (
                "docs/consumers/go/README.zh-CN.md",
                "docs/consumers/go/README.md",
                README,
                "README.md",
            ),
        ] {
            let pair = super::pair(translation).expect(translation);
            assert_eq!(pair.page, page);
            assert_eq!(pair.links, [there, back], "{translation}");
        }
        for page in ["README.md", "docs/a.md", "docs/zh-CN/SUMMARY.md"] {
            assert!(super::pair(page).is_none(), "{page}");
        }
    }

    #[test]
    fn the_translations_of_all_folders_are_known() {
        let pairs = pairs(&xtask::root()).expect("pages");
        for page in [
            "README.md",
            "docs/faq.md",
            "docs/consumers/README.md",
            "docs/consumers/spring-boot/README.md",
        ] {
            assert!(pairs.iter().any(|pair| pair.page == page), "{page}");
        }
    }

    #[test]
    fn a_translation_is_outdated_once_its_page_changes() {
        let translation = format!("{}\n\n# 页面\n", line(&pair(), PAGE));
        assert_eq!(outdated(&pair(), PAGE, &translation), None);
        let changed = PAGE.replace("A page", "Another page");
        let problem = outdated(&pair(), &changed, &translation).expect("outdated");
        assert!(
            problem.contains("cargo xtask docs --translated docs/zh-CN/a.md"),
            "{problem}"
        );
        assert!(outdated(&pair(), PAGE, "# 页面\n").is_some());
    }

    #[test]
    fn a_page_and_its_translation_lead_to_each_other() {
        let (page, translation) = (
            "# A\n\n[中文](zh-CN/a.md)\n",
            "# 甲\n\n[English](../a.md)\n",
        );
        assert_eq!(unlinked(&pair(), page, translation), None);
        assert!(unlinked(&pair(), "# A\n", translation).is_some());
        assert!(unlinked(&pair(), page, "# 甲\n\n## 乙\n\n[English](../a.md)\n").is_some());
    }

    #[test]
    fn what_is_generated_does_not_count() {
        let page = |generated: &str| format!("Text.\n{BEGIN}\n{generated}\n{END}\nMore.\n");
        assert_eq!(content(&page("one")), content(&page("two")));
        assert_ne!(
            content(&page("one")),
            content(&page("one").replace("More", "Less"))
        );
    }

    #[test]
    fn code_is_the_same_but_for_comments() {
        let same = "# 页面\n\n```yaml\nsite: china # 站点\nname: a#b\n```\n";
        assert_eq!(difference(PAGE, same), None);
        for (other, said) in [
            (
                same.replace("china", "global"),
                "`site: china` in one and `site: global` in the other",
            ),
            (
                same.replace("name: a#b\n", ""),
                "`name: a#b` in one and nothing in the other",
            ),
            (
                same.replace("yaml", "json"),
                "```yaml` in one and ````json` in the other",
            ),
            ("# 页面\n".to_owned(), "code block 1"),
            (format!("{same}\n```sh\nls\n```\n"), "more code blocks"),
        ] {
            let found = difference(PAGE, &other).expect(said);
            assert!(found.contains(said), "{found}");
        }
    }

    #[test]
    fn comments_begin_after_white_space() {
        for (line, code) in [
            ("# all", ""),
            ("\t// all", ""),
            ("a: b#c # d", "a: b#c"),
            (".c(d) // e # f", ".c(d)"),
            ("get https://a.example/b", "get https://a.example/b"),
        ] {
            assert_eq!(without_comment(line), code);
        }
    }

    #[test]
    fn commands_have_the_same_mark() {
        let marked = |reason: &str| format!("<!-- Not run: {reason}. -->\n\n```sh\nls\n```\n");
        let page = marked("needs Docker");
        assert_eq!(difference(&page, &page), None);
        for other in [marked("needs kind"), "```sh\nls\n```\n".to_owned()] {
            let found = difference(&page, &other).expect("a difference");
            assert!(found.contains("in line 3 have the mark"), "{found}");
        }
    }
}

//! Links between pages of the documentation and to their headings, and links from installed files to pages.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::source::shown;
use crate::Failure;

/// A page: its links and anchors.
#[derive(Default)]
pub struct Page {
    /// Destinations of its links, as written.
    pub links: Vec<String>,
    /// Anchors of its headings, and those set as `<a id="…">`.
    pub anchors: BTreeSet<String>,
}

/// URL of the files of the main branch.
const ONLINE: &str =
    "https://github.com/dingtalk-token-operator/dingtalk-token-operator/blob/main/";

/// Returns the broken links of README.md and its siblings, docs/ and deploy/.
pub fn broken_links(root: &Path) -> Result<Vec<String>, Failure> {
    let pages = page_texts(root)?.into_iter();
    let pages: BTreeMap<PathBuf, Page> = pages.map(|(path, text)| (path, page(&text))).collect();
    let mut broken = Vec::new();
    for (path, page) in &pages {
        let name = shown(path.strip_prefix(root)?);
        let own = page.links.iter().filter(|link| !link.contains("://"));
        for link in own {
            if !Page::leads_somewhere(link, path, &pages) {
                broken.push(format!("{name}: the link {link} is broken"));
            }
        }
    }
    for (path, url) in online(&root.join("deploy"))? {
        // The path is relative to the root, as on a page there.
        let (link, _) = url.split_once("#{{").unwrap_or((&url, ""));
        if !Page::leads_somewhere(link, &root.join("deploy"), &pages) {
            let name = shown(path.strip_prefix(root)?);
            broken.push(format!("{name}: the link {ONLINE}{url} is broken"));
        }
    }
    Ok(broken)
}

/// Returns the pages of the documentation: README.md and its siblings, and those of docs/.
pub fn page_texts(root: &Path) -> Result<BTreeMap<PathBuf, String>, Failure> {
    let mut texts = BTreeMap::new();
    read_texts(root, false, &mut texts)?;
    read_texts(&root.join("docs"), true, &mut texts)?;
    match texts.len() {
        0 => Err("there is no documentation".into()),
        _ => Ok(texts),
    }
}

/// Returns the links to files of the main branch, each after the file that has it.
fn online(folder: &Path) -> Result<Vec<(PathBuf, String)>, Failure> {
    let mut links = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            links.extend(online(&path)?);
            continue;
        }
        // A packaged chart is not text.
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        for rest in text.split(ONLINE).skip(1) {
            let ends = |letter: char| letter.is_whitespace() || ")>\"'`".contains(letter);
            let link = rest.split(ends).next().unwrap_or_default();
            links.push((path.clone(), link.to_owned()));
        }
    }
    Ok(links)
}

impl Page {
    /// Whether a link on the page `from` leads to a file, and to an anchor of a page if it names one.
    pub fn leads_somewhere(link: &str, from: &Path, pages: &BTreeMap<PathBuf, Self>) -> bool {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = match file.is_empty() {
            true => from.to_owned(),
            false => plain(&from.with_file_name("").join(file)),
        };
        match pages.get(&target).filter(|_| !anchor.is_empty()) {
            Some(page) => page.anchors.contains(anchor),
            None => target.exists(),
        }
    }
}

/// Returns the path without `..`.
pub fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

fn read_texts(
    folder: &Path,
    is_deep: bool,
    texts: &mut BTreeMap<PathBuf, String>,
) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Skips files that the builds of consumers have downloaded.
        let is_ours = !["node_modules", "target"]
            .map(OsStr::new)
            .contains(&path.file_name().unwrap_or_default());
        if path.is_dir() && is_deep && is_ours {
            read_texts(&path, is_deep, texts)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path)?;
            texts.insert(path, text);
        }
    }
    Ok(())
}

fn page(text: &str) -> Page {
    let mut page = Page::default();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, pulldown_cmark::Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                page.anchors
                    .extend(heading.take().map(|heading| anchor(&heading)));
            }
            Event::InlineHtml(tag) => {
                let id = tag.strip_prefix("<a id=\"");
                let id = id.and_then(|rest| rest.split_once('"'));
                page.anchors.extend(id.map(|(id, _)| id.to_owned()));
            }
            _ => {}
        }
    }
    page
}

/// Returns the anchor that GitHub assigns to a heading.
fn anchor(heading: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter);
    let letters = heading.to_lowercase();
    let letters = letters.chars().filter(kept);
    letters.map(|it| if it == ' ' { '-' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_the_anchors_of_github_and_others_may_be_set() {
        let page = page(
            "# What the `state` tells, and why\n\n[a](b.md#c) `[no](link)`\n\n| <a id=\"f\"></a>[d](#e) |\n|---|\n",
        );
        let anchors = ["what-the-state-tells-and-why", "f"].map(str::to_owned);
        assert_eq!(page.anchors, anchors.into());
        assert_eq!(page.links, ["b.md#c", "#e"]);
    }
}

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

/// URLs of the files and folders of the main branch.
const ONLINE: [&str; 2] = [
    "https://github.com/dingtalk-token-operator/dingtalk-token-operator/blob/main/",
    "https://github.com/dingtalk-token-operator/dingtalk-token-operator/tree/main/",
];

/// Returns the broken links of README.md and its siblings, docs/ and deploy/.
pub fn broken_links(root: &Path) -> Result<Vec<String>, Failure> {
    let texts = page_texts(root)?;
    let pages = texts.iter().map(|(path, text)| (path.clone(), page(text)));
    let pages: BTreeMap<PathBuf, Page> = pages.collect();
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
    let in_pages = texts.iter();
    let in_pages =
        in_pages.flat_map(|(path, text)| online(text).map(move |url| (path.clone(), url)));
    let mut all: Vec<(PathBuf, String)> = in_pages.collect();
    all.extend(online_in(&root.join("deploy"))?);
    for (path, url) in all {
        // The path is relative to the root, as on a page there.
        let (link, _) = url.split_once("#{{").unwrap_or((&url, ""));
        if !Page::leads_somewhere(link, &root.join("deploy"), &pages) {
            let name = shown(path.strip_prefix(root)?);
            broken.push(format!("{name}: the link to {url} on GitHub is broken"));
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

/// Returns the texts in which readers find commands: the pages of the documentation, and those of deploy/.
pub fn texts_with_commands(root: &Path) -> Result<BTreeMap<PathBuf, String>, Failure> {
    let mut texts = page_texts(root)?;
    read_texts(&root.join("deploy"), true, &mut texts)?;
    Ok(texts)
}

/// Returns the links to the main branch in a folder's files, each after the file that has it.
fn online_in(folder: &Path) -> Result<Vec<(PathBuf, String)>, Failure> {
    let mut links = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            links.extend(online_in(&path)?);
            continue;
        }
        // A packaged chart is not text.
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        links.extend(online(&text).map(|link| (path.clone(), link)));
    }
    Ok(links)
}

/// Returns the links to the main branch, relative to the repository's root. They may be in code as well.
fn online(text: &str) -> impl Iterator<Item = String> {
    let ends = |letter: char| letter.is_whitespace() || ")>\"'`".contains(letter);
    let after = ONLINE
        .into_iter()
        .flat_map(move |url| text.split(url).skip(1));
    after.map(move |rest| rest.split(ends).next().unwrap_or_default().to_owned())
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

    #[test]
    fn links_to_the_main_branch_on_github_need_their_file_and_anchor() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for name in ["docs", "deploy"] {
            fs::create_dir(root.join(name)).expect("a folder");
        }
        let [file, tree] = ONLINE;
        let text = format!(
            "# A\n\n[a]({file}docs/a.md#a) <{tree}docs>\n\n```\nsee {file}docs/a.md#b\n{tree}c\n```\n"
        );
        fs::write(root.join("docs/a.md"), text).expect("written");
        let template = format!("runbook: {file}docs/a.md#{{{{ reason }}}}\nsee: \"{file}d.md\"\n");
        fs::write(root.join("deploy/b.yaml"), template).expect("written");
        let broken = broken_links(root).expect("pages");
        let expected = [
            "docs/a.md: the link to docs/a.md#b on GitHub is broken",
            "docs/a.md: the link to c on GitHub is broken",
            "deploy/b.yaml: the link to d.md on GitHub is broken",
        ];
        assert_eq!(broken, expected);
    }
}

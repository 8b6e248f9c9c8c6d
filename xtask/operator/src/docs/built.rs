//! Checks of the built site: its links to files and anchors, and its search index.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dingtalk_token_operator::api::Reason;
use percent_encoding::percent_decode_str;
use strum::IntoEnumIterator as _;

use xtask::Failure;
use xtask::layout::Page;

/// Returns the broken links.
pub(super) fn dead_links(site: &Path) -> Result<Vec<String>, Failure> {
    let mut pages = BTreeMap::new();
    read(site, &mut pages)?;
    let mut dead = Vec::new();
    for (path, page) in &pages {
        for link in page.links.iter().filter(|link| !leads_out(link)) {
            let decoded = percent_decode_str(link).decode_utf8_lossy();
            if !Page::leads_somewhere(&decoded, path, &pages) {
                let name = path.strip_prefix(site).unwrap_or(path);
                dead.push(format!("{}: the link {link} is broken", name.display()));
            }
        }
    }
    match pages.len() {
        0 => Err(format!("{} has no page", site.display()).into()),
        _ => Ok(dead),
    }
}

/// Returns the reasons whose headings a book's search does not find.
pub(super) fn unknown_reasons(book: &Path) -> Result<Vec<String>, Failure> {
    let mut index = String::new();
    for entry in fs::read_dir(book)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("searchindex") {
            index.push_str(&fs::read_to_string(&path)?);
        }
    }
    let unknown = Reason::iter().map(Reason::as_str).filter(|reason| {
        let heading = format!("\"reasons.html#{}\"", reason.to_lowercase());
        !index.contains(&heading)
    });
    let book = book.display();
    Ok(unknown
        .map(|reason| format!("{book}: the search does not find {reason}"))
        .collect())
}

fn read(folder: &Path, pages: &mut BTreeMap<PathBuf, Page>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, pages)?;
        } else if path.extension().is_some_and(|it| it == "html") {
            let text = fs::read_to_string(&path)?;
            let links = ["href", "src"].map(|name| attributes(&text, name));
            let page = Page {
                links: links.concat(),
                anchors: attributes(&text, "id").into_iter().collect(),
            };
            pages.insert(path, page);
        }
    }
    Ok(())
}

/// Returns the values of an attribute.
fn attributes(html: &str, name: &str) -> Vec<String> {
    let attribute = format!(" {name}=\"");
    let values = html.split(&attribute).skip(1);
    let values = values.filter_map(|rest| rest.split_once('"'));
    values
        .map(|(value, _)| value.replace("&amp;", "&"))
        .collect()
}

fn leads_out(link: &str) -> bool {
    ["https:", "http:", "mailto:", "data:"]
        .iter()
        .any(|scheme| link.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_has_to_know_every_reason() {
        let book = tempfile::tempdir().expect("a folder");
        let unknown = || unknown_reasons(book.path()).unwrap_or_default().len();
        assert_eq!(unknown(), Reason::iter().count());
        let headings = Reason::iter().map(|it| it.as_str().to_lowercase());
        let headings: Vec<String> = headings
            .map(|it| format!("\"reasons.html#{it}\""))
            .collect();
        let index = book.path().join("searchindex-0.js");
        fs::write(&index, headings.join(",")).expect("an index");
        assert_eq!(unknown(), 0);
        fs::write(&index, headings[1..].join(",")).expect("an index");
        assert_eq!(unknown(), 1);
    }

    #[test]
    fn a_link_needs_its_file_and_its_anchor() {
        let site = tempfile::tempdir().expect("a folder");
        let page = |name: &str, text: &str| fs::write(site.path().join(name), text).expect(name);
        page(
            "a.html",
            "<h2 id=\"其他\">b</h2><a href=\"b.html#c\"></a><a href=\"https://x/y\"></a>",
        );
        page(
            "b.html",
            "<p id=\"c\"></p><a href=\"a.html#%E5%85%B6%E4%BB%96\"></a><img src=\"a.html\">",
        );
        assert_eq!(dead_links(site.path()).ok(), Some(vec![]));
        page(
            "c.html",
            "<a href=\"b.html#d\"></a><a class=\"x\" href=\"e.html\"></a>",
        );
        let dead = dead_links(site.path()).unwrap_or_default();
        assert_eq!(dead.len(), 2, "{dead:?}");
    }
}

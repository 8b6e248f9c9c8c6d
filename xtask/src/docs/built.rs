//! The links of the site as it was built: to files, and to anchors in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::Failure;
use crate::layout::plain;

/// What a page of the site leads to, and the anchors it has.
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

/// The links that lead nowhere.
pub(super) fn dead_links(site: &Path) -> Result<Vec<String>, Failure> {
    let mut pages = BTreeMap::new();
    read(site, &mut pages)?;
    let mut dead = Vec::new();
    for (path, page) in &pages {
        for link in page.links.iter().filter(|link| !leads_out(link)) {
            if !leads_somewhere(link, path, &pages) {
                let name = path.strip_prefix(site).unwrap_or(path);
                dead.push(format!("{}: the link {link} leads nowhere", name.display()));
            }
        }
    }
    match pages.len() {
        0 => Err(format!("{} has no page", site.display()).into()),
        _ => Ok(dead),
    }
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

/// The values of an attribute.
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

fn leads_somewhere(link: &str, from: &Path, pages: &BTreeMap<PathBuf, Page>) -> bool {
    let link = percent_decode_str(link).decode_utf8_lossy();
    let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
    let target = match file.is_empty() {
        true => from.to_owned(),
        false => plain(&from.with_file_name("").join(file)),
    };
    match pages.get(&target).filter(|_| !anchor.is_empty()) {
        Some(page) => page.anchors.contains(anchor),
        None => target.exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! Looks at the built site in a browser without a window: whether its pages fit on a phone, and what searches find.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::json;

use xtask::Failure;

/// Programs that this check can use. The environment variable can name another one.
const BROWSERS: [&str; 5] = [
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];
const VARIABLE: &str = "CHROMIUM";
const SCRIPT: &str = include_str!("browser.js");
/// Files that mdBook adds to the pages of a book.
const OF_MDBOOK: [&str; 2] = ["404.html", "toc.html"];
const BEGIN: &str = "<pre id=\"seen\">";
const END: &str = "</pre>";

/// The page of a search, words that a reader may look for, and a section that they find. In Chinese: words within a
/// sentence and a heading, two words, one with letters, and one that mdBook's own search finds.
const SEARCHES: [(&str, &str, &str); 9] = [
    ("index.html", "IpNotAllowed", "reasons.html#ipnotallowed"),
    (
        "index.html",
        "rotate secret",
        "faq.html#how-do-i-rotate-the-client-secret",
    ),
    (
        "operating.html",
        "uninstall",
        "faq.html#how-do-i-uninstall-the-operator-without-losing-the-tokens",
    ),
    ("faq.html", "subPath", "using-a-token.html#mount-the-secret"),
    (
        "zh-CN/index.html",
        "换行符",
        "using-a-token.html#每次请求都读取文件",
    ),
    ("zh-CN/index.html", "白名单", "dingtalk.html#4-ip-白名单"),
    ("zh-CN/faq.html", "续期 中断", "faq.html#续期会中断调用吗"),
    ("zh-CN/index.html", "出口ip", "dingtalk.html#4-ip-白名单"),
    ("zh-CN/index.html", "NotGranted", "reasons.html#notgranted"),
];

/// What the browser saw.
#[derive(Debug, Deserialize)]
struct Seen {
    /// Width of each page, and of its frame.
    widths: Vec<(u32, u32)>,
    /// Sections that each search found.
    results: Vec<Vec<String>>,
}

/// Returns what is wrong with the pages and the searches.
pub(super) fn problems(site: &Path) -> Result<Vec<String>, Failure> {
    let mut pages = Vec::new();
    find_pages(site, site, &mut pages)?;
    let seen = look(&browser(), site, &pages)?;
    let mut problems = too_wide(&pages, &seen);
    problems.extend(failed_searches(&seen));
    Ok(problems)
}

/// Returns the first browser that is installed.
fn browser() -> String {
    let is_installed = |name: &&str| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    };
    let known = || BROWSERS.into_iter().find(is_installed);
    let named = env::var(VARIABLE);
    named.unwrap_or_else(|_| known().unwrap_or(BROWSERS[0]).to_owned())
}

fn find_pages(site: &Path, folder: &Path, pages: &mut Vec<String>) -> Result<(), Failure> {
    let entries: Result<Vec<_>, _> = fs::read_dir(folder)?.collect();
    let mut paths: Vec<PathBuf> = entries?.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            find_pages(site, &path, pages)?;
        } else if name.ends_with(".html") && !OF_MDBOOK.contains(&&*name) {
            pages.push(path.strip_prefix(site)?.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

fn look(browser: &str, site: &Path, pages: &[String]) -> Result<Seen, Failure> {
    let url = |page: &str| format!("{}/{page}", site.display());
    let all: Vec<String> = pages.iter().map(|page| url(page)).collect();
    let searches = SEARCHES.map(|(page, words, _)| (url(page), words));
    let tasks = json!({"pages": all, "searches": searches});
    let page = site.with_extension("browser.html");
    let text = format!(
        "<!doctype html><meta charset=\"utf-8\"><body><script>const tasks = {tasks};\n{SCRIPT}</script>\n"
    );
    fs::write(&page, text)?;
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        // Time stands still while something loads, so a slow machine sees the same.
        .args(["--virtual-time-budget=600000", "--dump-dom"])
        // Otherwise a page cannot look into its frames.
        .arg("--allow-file-access-from-files")
        .arg(format!("--user-data-dir={}", page.with_extension("profile").display()))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{browser}: {error}; install Chromium or Chrome, or name it in the variable {VARIABLE}"))?;
    seen(&String::from_utf8_lossy(&output.stdout)).map_err(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("{browser} did not look at the site: {error}\n{said}").into()
    })
}

/// Reads what the script wrote to the document.
fn seen(document: &str) -> Result<Seen, String> {
    let said = document.split_once(BEGIN);
    let said = said.and_then(|(_, rest)| rest.split_once(END));
    let (said, _) = said.ok_or("the script has not ended")?;
    let said = percent_decode_str(said).decode_utf8_lossy();
    serde_json::from_str(&said).map_err(|_| said.into_owned())
}

fn too_wide(pages: &[String], seen: &Seen) -> Vec<String> {
    let both = pages.iter().zip(&seen.widths);
    let wide = both.filter(|(_, (page, frame))| page > frame);
    wide.map(|(name, (page, frame))| {
        format!("{name} is {page} pixels wide on a phone that shows {frame}")
    })
    .collect()
}

fn failed_searches(seen: &Seen) -> Vec<String> {
    let missed = SEARCHES
        .iter()
        .enumerate()
        .filter(|(index, (.., section))| {
            let found = seen.results.get(*index);
            !found.is_some_and(|found| found.iter().any(|it| it == section))
        });
    missed
        .map(|(_, (page, words, section))| {
            format!("the search of {page} for {words} does not find {section}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_all() -> Seen {
        let found = |section: &str| vec!["index.html".to_owned(), section.to_owned()];
        Seen {
            widths: vec![(345, 345), (360, 345)],
            results: SEARCHES.map(|(.., section)| found(section)).to_vec(),
        }
    }

    #[test]
    fn a_search_that_misses_its_section_is_named() {
        let mut seen = seen_all();
        assert!(failed_searches(&seen).is_empty());
        seen.results[5].pop();
        let failed = failed_searches(&seen);
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(failed[0].contains("白名单"), "{failed:?}");
        seen.results.clear();
        assert_eq!(failed_searches(&seen).len(), SEARCHES.len());
    }

    #[test]
    fn a_page_that_is_wider_than_a_phone_is_named() {
        let pages = ["a.html", "zh-CN/b.html"].map(str::to_owned);
        let wide = too_wide(&pages, &seen_all());
        assert_eq!(
            wide,
            ["zh-CN/b.html is 360 pixels wide on a phone that shows 345"]
        );
    }

    #[test]
    fn what_the_script_wrote_is_read() {
        let document = |said: &str| format!("<body><pre id=\"seen\">{said}</pre></body>");
        let said = "%7B%22widths%22%3A%5B%5B1%2C2%5D%5D%2C%22results%22%3A%5B%5B%22a%23%E4%B8%AD%22%5D%5D%7D";
        let read = seen(&document(said)).expect("JSON");
        assert_eq!(read.widths, [(1, 2)]);
        assert_eq!(read.results, [["a#中"]]);
        let error = seen(&document("TypeError%3A%20x")).expect_err("no JSON");
        assert_eq!(error, "TypeError: x");
        assert!(seen("<body></body>").is_err());
    }

    #[test]
    fn without_a_browser_the_check_fails_and_says_what_it_needs() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = look("no-such-browser", &folder.path().join("site"), &[]);
        let error = error.expect_err("no such program").to_string();
        assert!(error.contains("install Chromium"), "{error}");
    }
}

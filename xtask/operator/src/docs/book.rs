//! The site: a book in English and one in Chinese, with the pages that each SUMMARY.md names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::relink::{destinations, relinked};
use super::translation::README;
use xtask::Failure;
use xtask::layout::{page_texts, plain};

/// Version of mdBook, which `.ci/run` installs.
const VERSION: &str = "0.5.4";
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
/// Folder in which the sources of the books are assembled.
const SOURCES: &str = "target/book-sources";
const IMAGES: &str = "docs/images";

/// A book: the folder of its SUMMARY.md and book.toml, and its folder in the site.
struct Book {
    folder: &'static str,
    place: &'static str,
    language: &'static str,
    files: &'static [&'static str],
}

const BOOKS: [Book; 2] = [
    Book {
        folder: "docs",
        place: "",
        language: "en",
        files: &["docs/book.toml", "docs/site.css"],
    },
    Book {
        folder: "docs/zh-CN",
        place: "zh-CN/",
        language: "zh-CN",
        files: &[
            "docs/zh-CN/book.toml",
            "docs/zh-CN/search.js",
            "docs/site.css",
        ],
    },
];

/// A page, with its paths in the repository and the site.
#[derive(Clone, Debug, PartialEq)]
struct Page {
    source: String,
    /// Path in the book, which ends with `.md`.
    chapter: String,
    url: String,
}

/// Builds both books.
pub(super) fn build(root: &Path, site: &Path) -> Result<(), Failure> {
    check_version()?;
    let mut pages = Vec::new();
    for book in &BOOKS {
        pages.push(read_summary(root, book)?);
    }
    check_all_are_in(root, &pages)?;
    let all: Vec<Page> = pages.concat();
    for (book, own) in BOOKS.iter().zip(&pages) {
        let folder = root.join(SOURCES).join(book.language);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        assemble(root, book, own, &folder)?;
        for page in own {
            let text = fs::read_to_string(root.join(&page.source))?;
            let text = relinked(&text, |link| moved(root, page, &all, link));
            write(&folder.join("src").join(&page.chapter), &text)?;
        }
        run(&folder, &site.join(book.place))?;
    }
    Ok(())
}

/// Returns the pages that a SUMMARY.md names.
fn read_summary(root: &Path, book: &Book) -> Result<Vec<Page>, Failure> {
    let summary = fs::read_to_string(root.join(book.folder).join("SUMMARY.md"))?;
    let links = destinations(&summary);
    Ok(links
        .iter()
        .map(|link| {
            page(
                book,
                &resolved(&format!("{}/SUMMARY.md", book.folder), link),
            )
        })
        .collect())
}

fn page(book: &Book, source: &str) -> Page {
    let own = source
        .strip_prefix(book.folder)
        .and_then(|own| own.strip_prefix('/'));
    let chapter = match (own, source.strip_suffix(README)) {
        // The translation of a README.md is beside it.
        (_, Some(folder)) => format!(
            "{}README.md",
            folder.strip_prefix("docs/").unwrap_or(folder)
        ),
        (Some(own), None) => own.to_owned(),
        (None, None) if source == "README.md" => source.to_owned(),
        (None, None) => source.to_lowercase(),
    };
    let html = chapter.replace("README.md", "index.md");
    let html = html.strip_suffix(".md").unwrap_or(&html);
    Page {
        source: source.to_owned(),
        url: format!("{}{html}.html", book.place),
        chapter,
    }
}

/// Checks that every page of docs/ is in a book.
fn check_all_are_in(root: &Path, books: &[Vec<Page>]) -> Result<(), Failure> {
    let named: BTreeSet<&str> = books
        .iter()
        .flatten()
        .map(|it| it.source.as_str())
        .collect();
    for path in page_texts(root)?.into_keys() {
        let path = path.strip_prefix(root)?.to_string_lossy();
        let is_page = path.starts_with("docs/") && !path.ends_with("/SUMMARY.md");
        if is_page && !named.contains(&*path) {
            return Err(format!("{path} is not in a SUMMARY.md").into());
        }
    }
    Ok(())
}

/// Writes the files of a book except its pages.
fn assemble(root: &Path, book: &Book, pages: &[Page], folder: &Path) -> Result<(), Failure> {
    let own = root.join(book.folder);
    let summary = fs::read_to_string(own.join("SUMMARY.md"))?;
    let from = format!("{}/SUMMARY.md", book.folder);
    let summary = relinked(&summary, |link| {
        let source = resolved(&from, link);
        let page = pages.iter().find(|page| page.source == source)?;
        Some(page.chapter.clone())
    });
    write(&folder.join("src/SUMMARY.md"), &summary)?;
    for name in book.files {
        let source = root.join(name);
        let own = source.file_name().unwrap_or_default();
        fs::copy(&source, folder.join(own))?;
    }
    let images = folder.join("src/images");
    fs::create_dir_all(&images)?;
    for image in fs::read_dir(root.join(IMAGES))? {
        let image = image?;
        fs::copy(image.path(), images.join(image.file_name()))?;
    }
    Ok(())
}

/// Returns the destination in the site of a page's link: a page, an image, or a file of the repository.
fn moved(root: &Path, page: &Page, all: &[Page], link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with('#') {
        return None;
    }
    let (file, anchor) = link
        .split_once('#')
        .map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let source = resolved(&page.source, file);
    // A folder shows its README.md, as on GitHub.
    let readme = format!("{source}/README.md");
    let is_target = |page: &&Page| page.source == source || page.source == readme;
    let target = all.iter().find(is_target);
    let mut moved = match (target, source.strip_prefix(IMAGES)) {
        (Some(target), _) => relative(&page.url, &target.url),
        // Each book has a copy of the images.
        (None, Some(image)) => format!(
            "{}images{image}",
            "../".repeat(page.chapter.matches('/').count())
        ),
        (None, None) => {
            let kind = if root.join(&source).is_dir() {
                "tree"
            } else {
                "blob"
            };
            format!("{REPOSITORY}/{kind}/main/{source}")
        }
    };
    if let Some(anchor) = anchor {
        moved.push('#');
        moved.push_str(anchor);
    }
    Some(moved)
}

/// Returns the path in the repository to which a link leads.
fn resolved(from: &str, link: &str) -> String {
    let path = plain(&Path::new(from).with_file_name("").join(link));
    path.to_string_lossy().trim_end_matches('/').to_owned()
}

/// Returns a link from one page of the site to another.
fn relative(from: &str, to: &str) -> String {
    let (mut from, mut to) = (from, to);
    while let (Some((one, rest)), Some((other, others))) =
        (from.split_once('/'), to.split_once('/'))
    {
        if one != other {
            break;
        }
        (from, to) = (rest, others);
    }
    format!("{}{to}", "../".repeat(from.matches('/').count()))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, text)?)
}

fn check_version() -> Result<(), Failure> {
    let install = format!("cargo install mdbook --locked --version {VERSION}");
    let output = Command::new("mdbook").arg("--version").output();
    let output = output.map_err(|error| format!("mdbook: {error}; to install it: {install}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.trim() == format!("mdbook v{VERSION}") {
        true => Ok(()),
        false => Err(format!("mdbook is {} instead of v{VERSION}: {install}", said.trim()).into()),
    }
}

/// Builds a book. Warnings are errors: an unclosed tag, for example, hides text.
fn run(book: &Path, site: &Path) -> Result<(), Failure> {
    let output = Command::new("mdbook")
        .args([Path::new("build"), book, Path::new("--dest-dir"), site])
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() && !said.contains("WARN") && !said.contains("ERROR") {
        true => Ok(()),
        false => Err(format!("mdbook build {}:\n{said}", book.display()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_where_a_reader_expects_them() {
        let [english, chinese] = &BOOKS;
        for (book, source, url) in [
            (english, "README.md", "index.html"),
            (english, "SECURITY.md", "security.html"),
            (english, "docs/configuring.md", "configuring.html"),
            (english, "docs/consumers/README.md", "consumers/index.html"),
            (
                english,
                "docs/consumers/go/README.md",
                "consumers/go/index.html",
            ),
            (chinese, "README.zh-CN.md", "zh-CN/index.html"),
            (
                chinese,
                "docs/consumers/README.zh-CN.md",
                "zh-CN/consumers/index.html",
            ),
            (
                chinese,
                "docs/consumers/go/README.zh-CN.md",
                "zh-CN/consumers/go/index.html",
            ),
            (chinese, "docs/zh-CN/reasons.md", "zh-CN/reasons.html"),
            // Not translated, so it is in both books.
            (
                chinese,
                "docs/reference/api.md",
                "zh-CN/docs/reference/api.html",
            ),
        ] {
            assert_eq!(page(book, source).url, url);
        }
    }

    #[test]
    fn links_lead_to_pages_images_and_files_of_the_repository() {
        let [english, chinese] = &BOOKS;
        let consumers = page(english, "docs/consumers/README.md");
        let translation = page(chinese, "docs/consumers/README.zh-CN.md");
        let chinese = page(chinese, "docs/zh-CN/reasons.md");
        let all = [
            consumers.clone(),
            translation.clone(),
            chinese.clone(),
            page(english, "README.md"),
            page(english, "docs/consumers/java/README.md"),
        ];
        let root = xtask::root();
        let found = |from: &Page, link: &str| moved(&root, from, &all, link);
        for (from, link, expected) in [
            (
                &consumers,
                "../../README.md#quickstart",
                "../index.html#quickstart",
            ),
            (&consumers, "../zh-CN/reasons.md", "../zh-CN/reasons.html"),
            (
                &consumers,
                "../images/overview.svg",
                "../images/overview.svg",
            ),
            (&consumers, "java", "java/index.html"),
            (
                &consumers,
                "README.zh-CN.md",
                "../zh-CN/consumers/index.html",
            ),
            (&translation, "README.md", "../../consumers/index.html"),
            (&translation, "../zh-CN/reasons.md", "../reasons.html"),
            (&chinese, "../../README.md", "../index.html"),
            (&chinese, "../images/overview.svg", "images/overview.svg"),
        ] {
            assert_eq!(found(from, link).as_deref(), Some(expected), "{link}");
        }
        let file = found(&chinese, "../../deploy/install.yaml").unwrap_or_default();
        assert!(file.ends_with("/blob/main/deploy/install.yaml"), "{file}");
        let folder = found(&consumers, "go").unwrap_or_default();
        assert!(folder.ends_with("/tree/main/docs/consumers/go"), "{folder}");
        assert_eq!(found(&chinese, "#here"), None);
        assert_eq!(found(&chinese, "https://example.com"), None);
    }
}

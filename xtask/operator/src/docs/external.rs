//! Checks external links of the documentation, as far as that needs no network.

use std::collections::BTreeMap;
use std::path::Path;

use url::Url;

use super::relink::destinations;
use xtask::Failure;
use xtask::layout::page_texts;

/// Hosts to which the documentation may send readers: DingTalk's, and those of what this project works with. Another
/// one is a decision, or a mistake that nothing else would find.
const HOSTS: [&str; 8] = [
    "docs.sigstore.dev",
    "external-secrets.io",
    "github.com",
    "help.dingtalk.io",
    "kind.sigs.k8s.io",
    "krew.sigs.k8s.io",
    "kubernetes.io",
    "open-dev.dingtalk.com",
];

/// Prints each external link once.
pub(super) fn print(root: &Path) -> Result<(), Failure> {
    for link in links(root)?.keys() {
        println!("{link}");
    }
    Ok(())
}

/// Returns what is wrong with the external links.
pub(super) fn wrong_links(root: &Path) -> Result<Vec<String>, Failure> {
    let wrong = |(link, page): (&String, &String)| Some(format!("{page}: {}", wrong(link)?));
    Ok(links(root)?.iter().filter_map(wrong).collect())
}

/// Returns each external link, with the first page that has it.
fn links(root: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let mut links = BTreeMap::new();
    for (path, text) in page_texts(root)? {
        let page = path.strip_prefix(root)?.display().to_string();
        let all = destinations(&text).into_iter();
        for link in all.filter(|link| link.contains("://")) {
            links.entry(link).or_insert_with(|| page.clone());
        }
    }
    Ok(links)
}

fn wrong(link: &str) -> Option<String> {
    let url = match Url::parse(link) {
        Ok(url) => url,
        Err(error) => return Some(format!("the link {link} is not a URL: {error}")),
    };
    let host = url.host_str().unwrap_or_default();
    if url.scheme() != "https" {
        return Some(format!("the link {link} does not begin with https"));
    }
    (!HOSTS.contains(&host)).then(|| {
        format!(
            "the link {link}: if readers may be sent to {host}, add it to {}",
            file!()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_link_leads_to_a_known_host_by_https() {
        for right in [
            "https://kubernetes.io/docs/a/#b",
            "https://github.com/a/b",
            "https://open-dev.dingtalk.com",
        ] {
            assert_eq!(wrong(right), None);
        }
        for (link, said) in [
            ("http://kubernetes.io/docs", "https"),
            ("https://kubernetes.example/docs", "kubernetes.example"),
            ("https://github.com.example/a", "github.com.example"),
            ("https://[kubernetes.io/docs", "not a URL"),
        ] {
            let problem = wrong(link).expect(link);
            assert!(problem.contains(said), "{problem}");
        }
    }

    #[test]
    fn the_links_of_all_pages_are_found_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::create_dir_all(root.join("docs/a")).expect("a folder");
        let page =
            "[a](b.md) [c](http://d.example/e) <https://github.com/a/b> `https://f.example`\n";
        for name in ["README.md", "docs/a/b.md"] {
            fs::write(root.join(name), page).expect("written");
        }
        let found = links(root).expect("pages");
        let found: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(found, ["http://d.example/e", "https://github.com/a/b"]);
        let problems = wrong_links(root).expect("pages");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("README.md: "), "{problems:?}");
    }
}

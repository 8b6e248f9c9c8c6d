//! Checks the search of the built Chinese book, whose scripts it runs in Node.js.

use std::path::Path;
use std::process::{Command, Stdio};

use xtask::Failure;

const NODE: &str = "node";
const SCRIPT: &str = "xtask/operator/src/docs/search.js";

/// Words that a reader may look for, and a section that they find: words within a sentence and a heading, two words,
/// one with letters, and one that mdBook's own search finds.
const SEARCHES: [(&str, &str); 5] = [
    ("换行符", "using-a-token.html#每次请求都读取文件"),
    ("白名单", "dingtalk.html#4-ip-白名单"),
    ("续期 中断", "faq.html#续期会中断调用吗"),
    ("出口ip", "dingtalk.html#4-ip-白名单"),
    ("NotGranted", "reasons.html#notgranted"),
];

/// Returns the searches that do not find their section.
pub(super) fn failed_searches(root: &Path, book: &Path) -> Result<Vec<String>, Failure> {
    Ok(failed(&results(NODE, &root.join(SCRIPT), book)?))
}

/// Returns the results of each search, which are sections.
fn results(node: &str, script: &Path, book: &Path) -> Result<Vec<Vec<String>>, Failure> {
    let output = Command::new(node)
        .args([script, book])
        .args(SEARCHES.map(|(words, _)| words))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{node}: {error}; the check of the search needs Node.js"))?;
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout)?),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("the search in {} failed:\n{said}", book.display()).into())
        }
    }
}

fn failed(results: &[Vec<String>]) -> Vec<String> {
    let missed = SEARCHES.iter().enumerate().filter(|(index, (_, section))| {
        let found = results.get(*index);
        !found.is_some_and(|found| found.iter().any(|it| it == section))
    });
    missed
        .map(|(_, (words, section))| {
            format!("the search of the Chinese book for {words} does not find {section}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_that_misses_its_section_is_named() {
        let all = SEARCHES.map(|(_, section)| vec!["index.html".to_owned(), section.to_owned()]);
        assert!(failed(&all).is_empty());
        let mut some = all.clone();
        some[1].pop();
        let failed = failed(&some);
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(failed[0].contains("白名单"), "{failed:?}");
        assert_eq!(super::failed(&[]).len(), SEARCHES.len());
    }

    #[test]
    fn without_node_the_check_fails_and_says_what_it_needs() {
        let here = Path::new(".");
        let error = results("no-such-node", here, here).expect_err("no such program");
        assert!(error.to_string().contains("needs Node.js"), "{error}");
    }
}

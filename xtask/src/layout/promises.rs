//! Tests that CONTRIBUTING.md names, and functions that other pages name.

use std::fs;
use std::path::Path;

use super::source::rust_files;
use crate::Failure;

const HEADING: &str = "## Promises and their tests";

/// Returns the tests in the table of promises that do not exist.
pub(super) fn missing_tests(root: &Path) -> Result<Vec<String>, Failure> {
    let text = fs::read_to_string(root.join("CONTRIBUTING.md"))?;
    let (_, table) = text
        .split_once(HEADING)
        .ok_or_else(|| format!("CONTRIBUTING.md has no heading {HEADING:?}"))?;
    let rows = table.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    let named = rows.filter_map(|row| row.split('|').nth(2));
    let named = named.flat_map(|tests| tests.split('`').skip(1).step_by(2));
    let named: Vec<String> = named.map(str::to_owned).collect();
    if named.is_empty() {
        return Err("CONTRIBUTING.md has no table of promises".into());
    }
    missing_functions(root, &["src", "tests"], named)
}

/// Returns those of the functions that the Rust files of these folders do not define.
pub fn missing_functions(
    root: &Path,
    folders: &[&str],
    mut names: Vec<String>,
) -> Result<Vec<String>, Failure> {
    for folder in folders {
        for path in rust_files(&root.join(folder))? {
            let source = fs::read_to_string(path)?;
            names.retain(|name| !source.contains(&format!("fn {name}(")));
        }
    }
    Ok(names)
}

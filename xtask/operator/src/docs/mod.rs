//! The documentation: checks of its pages and translations, and the site that mdBook builds.

mod book;
mod browser;
mod built;
mod commands;
mod examples;
mod external;
mod marks;
mod relink;
mod translation;

use std::path::Path;
use std::process::ExitCode;

use book::build;
use built::{dead_links, unknown_reasons};
use examples::wrong_examples;
use marks::wrong_marks;
use xtask::layout::broken_links;
use xtask::{Failure, root};

/// Folder of the site.
const SITE: &str = "target/book";

/// Checks the documentation and builds its site, records that a translation is up to date, or prints external links.
pub(crate) fn run(translated: Option<&Path>, external: bool) -> Result<ExitCode, Failure> {
    let root = root();
    if external {
        external::print(&root)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(file) = translated {
        translation::record(&root, file)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut problems = translation::problems(&root)?;
    problems.extend(broken_links(&root)?);
    problems.extend(external::wrong_links(&root)?);
    problems.extend(wrong_examples(&root)?);
    problems.extend(wrong_marks(&root)?);
    if problems.is_empty() {
        let site = root.join(SITE);
        build(&root, &site)?;
        problems.extend(dead_links(&site)?);
        let chinese = site.join("zh-CN");
        problems.extend(unknown_reasons(&site)?);
        problems.extend(unknown_reasons(&chinese)?);
        problems.extend(browser::problems(&site)?);
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    Ok(match problems.is_empty() {
        true => {
            println!("the documentation is correct; its site is {SITE}/index.html");
            ExitCode::SUCCESS
        }
        false => ExitCode::FAILURE,
    })
}

//! The documentation: its translations, and the site that mdBook builds of it.

mod book;
mod built;
mod commands;
mod examples;
mod relink;
mod translation;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::layout::broken_links;
use crate::{Failure, root};
use book::build;
use built::{dead_links, unknown_reasons};
#[cfg(test)]
pub(crate) use commands::wrong_command;
use examples::wrong_examples;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Record that this translation is up to date, such as docs/zh-CN/configuring.md, and do nothing else.
    #[arg(long, value_name = "FILE")]
    translated: Option<PathBuf>,
}

/// Where the site is built.
const SITE: &str = "target/book";

/// Checks the documentation and builds its site.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let root = root();
    if let Some(file) = &arguments.translated {
        translation::record(&root, file)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut problems = translation::problems(&root)?;
    problems.extend(broken_links(&root)?);
    problems.extend(wrong_examples(&root)?);
    if problems.is_empty() {
        let site = root.join(SITE);
        build(&root, &site)?;
        problems.extend(dead_links(&site)?);
        problems.extend(unknown_reasons(&site)?);
        problems.extend(unknown_reasons(&site.join("zh-CN"))?);
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    Ok(match problems.is_empty() {
        true => {
            println!("{SITE}/index.html is the site of the documentation");
            ExitCode::SUCCESS
        }
        false => ExitCode::FAILURE,
    })
}

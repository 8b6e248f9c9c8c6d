//! Commands that need the operator's types; `xtask/operator` runs them.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::{Failure, cargo, cargo_program};

/// A command of `xtask/operator`.
#[derive(clap::Subcommand)]
pub enum OfOperator {
    /// Write the generated files: crds/, parts of deploy/ and docs/, and the lists in api/.
    Manifests {
        /// Only check whether they are up to date.
        #[arg(long)]
        check: bool,
    },
    /// Check the documentation's links and translations, and build its site in target/book.
    Docs {
        /// Record that this translation is up to date, such as docs/zh-CN/configuring.md, and do nothing else.
        #[arg(long, value_name = "FILE")]
        translated: Option<PathBuf>,
        /// Print the documentation's links to other sites, each once, and do nothing else.
        #[arg(long, conflicts_with = "translated")]
        external: bool,
    },
    /// Simulate days of many apps with the operator's scheduler and limits.
    Simulate(Simulation),
}

/// What to simulate.
#[derive(clap::Args)]
pub struct Simulation {
    /// Number of hours.
    #[arg(long, default_value_t = 10 * 24)]
    pub hours: i64,
    /// Number of apps.
    #[arg(long, default_value_t = 10_000)]
    pub apps: usize,
    /// Seed of the random numbers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What a repeated fetch returns. Default: each behaviour, one after the other.
    #[arg(long)]
    pub repeat: Option<String>,
}

/// Builds the program of `xtask/operator`, and runs it with this process's arguments.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    let status = cargo(&mut Command::new(cargo_program()))
        .args(["run", "--package", "xtask-operator", "--"])
        .args(std::env::args_os().skip(1))
        .status()?;
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use crate::root;

    /// Returns the packages of Cargo.lock, each with its dependencies.
    fn packages(lock: &str) -> BTreeMap<&str, Vec<&str>> {
        let mut packages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for package in lock.split("[[package]]").skip(1) {
            let mut names = package.lines().filter_map(|line| line.split('"').nth(1));
            if let Some(name) = names.next() {
                let dependencies = names.filter_map(|name| name.split(' ').next());
                packages.entry(name).or_default().extend(dependencies);
            }
        }
        packages
    }

    #[test]
    fn a_change_of_the_operator_does_not_build_the_commands_anew() {
        let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
        let packages = packages(&lock);
        let (mut needed, mut new) = (BTreeSet::new(), vec!["xtask"]);
        while let Some(name) = new.pop() {
            if needed.insert(name) {
                new.extend(packages.get(name).into_iter().flatten());
            }
        }
        assert!(needed.contains("clap"), "{needed:?}");
        for heavy in ["dingtalk-token-operator", "kube", "k8s-openapi"] {
            assert!(packages.contains_key(heavy), "{heavy}");
            assert!(!needed.contains(heavy), "xtask depends on {heavy}");
        }
    }
}

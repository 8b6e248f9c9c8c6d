//! Tests of GitHub's workflows, which do not run here: their permissions, whose code they run, and that this
//! repository's commands in them exist.

use std::collections::BTreeMap;
use std::fs;

use clap::Parser as _;
use serde_json::Value;

use crate::sbom::VERSION;
use crate::{Cli, root};

/// Jobs with write permissions, and these permissions.
const WRITERS: [(&str, &[&str]); 3] = [
    ("images", &["packages"]),
    ("image", &["attestations", "id-token", "packages"]),
    (
        "publish",
        &["attestations", "contents", "id-token", "packages"],
    ),
];
/// Jobs that may sign or publish, and therefore run no code of the repository.
const SIGNERS: [&str; 2] = ["image", "publish"];

fn workflows() -> Vec<(String, String, Value)> {
    let folder = fs::read_dir(root().join(".github/workflows")).expect("workflows");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a workflow");
        let value = serde_yaml_ng::from_str(&text).expect("YAML");
        (path.display().to_string(), text, value)
    };
    folder.map(read).collect()
}

fn jobs() -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for (_, _, workflow) in workflows() {
        let jobs = workflow["jobs"].as_object().expect("jobs").clone();
        all.extend(jobs);
    }
    all
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn a_job_has_the_permissions_it_needs_and_no_other() {
    for (path, _, workflow) in workflows() {
        assert_eq!(workflow["permissions"], serde_json::json!({}), "{path}");
    }
    for (name, job) in jobs() {
        let permissions = job["permissions"].as_object().expect("permissions");
        let mut written: Vec<&str> = permissions
            .iter()
            .filter(|(_, right)| *right != "read")
            .map(|(what, _)| what.as_str())
            .collect();
        written.sort_unstable();
        let expected = WRITERS.iter().find(|(job, _)| *job == name);
        assert_eq!(
            written,
            expected.map_or(&[][..], |(_, rights)| rights),
            "{name}"
        );
    }
}

#[test]
fn actions_are_pinned_by_commit() {
    for (path, text, _) in workflows() {
        let uses = text.lines().filter_map(|line| line.split_once("uses: "));
        for (_, action) in uses.filter(|(_, action)| !action.starts_with("./")) {
            let commit = action
                .split_once('@')
                .and_then(|(_, rest)| rest.split_once(" # v"));
            let is_commit = commit.is_some_and(|(commit, version)| {
                commit.len() == 40
                    && commit.bytes().all(|it| it.is_ascii_hexdigit())
                    && !version.is_empty()
            });
            assert!(is_commit, "{path}: {action}");
        }
        assert!(
            !text.contains("-latest"),
            "{path}: a runner without a version"
        );
    }
}

#[test]
fn what_signs_runs_nothing_of_the_repository_and_no_script_has_expressions() {
    for (name, job) in jobs() {
        for step in steps(&job) {
            let uses = step["uses"].as_str().unwrap_or_default();
            if uses.starts_with("actions/checkout@") {
                assert!(!SIGNERS.contains(&name.as_str()), "{name} checks out");
                assert_eq!(step["with"]["persist-credentials"], false, "{name}");
            }
            // The value of an expression would become part of the script.
            let run = step["run"].as_str().unwrap_or_default();
            assert!(!run.contains("${{"), "{name}: {run}");
        }
    }
}

#[test]
fn commands_of_this_repository_exist() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let mut commands = 0;
    for (name, job) in jobs() {
        for step in steps(&job) {
            let run = step["run"].as_str().unwrap_or_default();
            for line in run.lines().filter(|line| line.starts_with("cargo xtask ")) {
                let line = line.replace("\"$DIGEST\"", &digest);
                let parsed = Cli::try_parse_from(line.split_whitespace().skip(1));
                assert!(
                    parsed.is_ok(),
                    "{name}: {line}: {}",
                    parsed.err().expect("one")
                );
                commands += 1;
            }
        }
    }
    assert!(commands > 0);
}

#[test]
fn the_bill_of_materials_is_written_by_the_version_that_it_asks_for() {
    let install = format!("cargo install cargo-cyclonedx --locked --version {VERSION}");
    let assets = &jobs()["assets"];
    assert!(
        steps(assets)
            .iter()
            .any(|step| step["run"] == install.as_str()),
        "{install}"
    );
}

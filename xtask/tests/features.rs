//! Whether dependencies have the same features in every build of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Sets of features with which a command builds a dependency: one for the target, and perhaps one for the host.
type Features = BTreeMap<String, BTreeSet<String>>;

fn features(selection: &[&str]) -> Features {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix", "none"])
        .args(["--format", "{p}|{f}"])
        .args(selection)
        .output()
        .expect("cargo");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let mut features = Features::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        // `(*)` marks what was printed before, `(proc-macro)` a kind of crate.
        let line = line.replace(" (*)", "").replace(" (proc-macro)", "");
        if let Some((package, of_package)) = line.split_once('|') {
            let known = features.entry(package.to_owned()).or_default();
            known.insert(of_package.to_owned());
        }
    }
    features
}

#[test]
fn no_command_builds_a_dependency_with_features_of_its_own() {
    // What is built for the target alone, then also what is built for the host.
    for (edges, edges_of_tests) in [
        ("normal,no-proc-macro", "normal,dev,no-proc-macro"),
        ("normal,build", "normal,build,dev"),
    ] {
        let of_tests = features(&["--workspace", "--edges", edges_of_tests]);
        for package in ["xtask", "xtask-operator"] {
            for (dependency, sets) in features(&["--package", package, "--edges", edges]) {
                let of_tests = &of_tests[&dependency];
                assert!(
                    sets.is_subset(of_tests),
                    "`cargo run --package {package}` builds {dependency} with the features {sets:?}, `cargo test --workspace` with {of_tests:?}: add what is missing to xtask/workspace-hack/Cargo.toml"
                );
            }
        }
    }
}

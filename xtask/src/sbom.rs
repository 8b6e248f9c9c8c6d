//! The software bill of materials of the operator's program.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use serde_json::Value;

use crate::{Failure, cargo, cargo_program, root};

/// Version of cargo-cyclonedx, which `.ci/run` and the release install.
pub(crate) const VERSION: &str = "0.5.9";
/// Target of the image. The one for arm64 has the same crates.
const TARGET: &str = "x86_64-unknown-linux-musl";
pub(crate) const NAME: &str = "dingtalk-token-operator.cdx.json";
/// Path of the bill of materials.
pub(crate) const FILE: &str = "target/sbom/dingtalk-token-operator.cdx.json";
/// Crates that the program must have.
const PRESENT: [&str; 3] = ["kube", "reqwest", "rustls"];
/// Crates that only tests have.
const ABSENT: [&str; 4] = ["dingtalk-stub", "local-control-plane", "proptest", "rcgen"];

/// Writes the bill of materials to `target/sbom`.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    let install = format!("cargo install cargo-cyclonedx --locked --version {VERSION}");
    let status = cargo(&mut Command::new(cargo_program()))
        .args(["cyclonedx", "--quiet", "--format", "json"])
        .args(["--spec-version", "1.5", "--target", TARGET])
        .args(["--override-filename", NAME.trim_end_matches(".json")])
        .stdin(Stdio::null())
        .status()?;
    // cargo-cyclonedx writes a file for each member of the workspace, next to its Cargo.toml.
    let text = fs::read_to_string(root().join(NAME));
    for folder in members()? {
        let _ = fs::remove_file(folder.join(NAME));
    }
    if !status.success() {
        return Err(format!("cargo cyclonedx failed: see above; to install it: {install}").into());
    }
    // The published file must not contain paths of this machine.
    let text = text?.replace(&root().display().to_string(), "");
    let bill: Value = serde_json::from_str(&text)?;
    check(&bill, &install)?;
    let path = root().join(FILE);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)?;
    let crates = components(&bill).len();
    println!("{FILE} written: {crates} crates");
    Ok(ExitCode::SUCCESS)
}

/// Returns the folders that may be members of the workspace.
fn members() -> Result<Vec<PathBuf>, Failure> {
    let mut folders = vec![root(), root().join("xtask")];
    for parent in ["tests", "xtask"] {
        for entry in fs::read_dir(root().join(parent))? {
            folders.push(entry?.path());
        }
    }
    Ok(folders)
}

fn components(bill: &Value) -> BTreeSet<&str> {
    let components = bill["components"].as_array().into_iter().flatten();
    components.filter_map(|one| one["name"].as_str()).collect()
}

/// Checks that it is plausible for the operator, and was written by the pinned version.
fn check(bill: &Value, install: &str) -> Result<(), Failure> {
    let version = &bill["metadata"]["tools"][0]["version"];
    if version != VERSION {
        return Err(format!("cargo-cyclonedx is {version} instead of {VERSION}: {install}").into());
    }
    let described = &bill["metadata"]["component"]["name"];
    if described != "dingtalk-token-operator" {
        return Err(
            format!("the bill of materials describes {described} instead of the operator").into(),
        );
    }
    let components = components(bill);
    if let Some(missing) = PRESENT.iter().find(|name| !components.contains(**name)) {
        return Err(
            format!("the bill of materials lacks {missing}, which the operator needs").into(),
        );
    }
    if let Some(present) = ABSENT.iter().find(|name| components.contains(**name)) {
        return Err(format!("the bill of materials has {present}, which only tests need").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bill(names: &[&str]) -> Value {
        let components: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        json!({
            "metadata": {
                "tools": [{"name": "cargo-cyclonedx", "version": VERSION}],
                "component": {"name": "dingtalk-token-operator"},
            },
            "components": components,
        })
    }

    #[test]
    fn a_bill_that_cannot_be_the_operators_is_refused() {
        let refused = |bill: &Value| {
            check(bill, "install it")
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(refused(&bill(&PRESENT)), None);
        let missing = refused(&bill(&PRESENT[1..])).expect("refused");
        assert!(missing.contains("lacks kube"), "{missing}");
        let of_tests = refused(&bill(&[&PRESENT[..], &["proptest"]].concat())).expect("refused");
        assert!(of_tests.contains("has proptest"), "{of_tests}");
        let mut other = bill(&PRESENT);
        other["metadata"]["tools"][0]["version"] = json!("0.1.0");
        let other = refused(&other).expect("refused");
        assert!(other.contains("install it"), "{other}");
    }
}

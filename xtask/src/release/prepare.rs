//! Writes the version of the next release into the sources.

use std::fs;
use std::process::{Command, Stdio};

use super::git;
use crate::{Failure, cargo, cargo_program, root};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Replaces this workspace's version by that of a tag, in all files that have it.
pub(super) fn run(tag: &str) -> Result<(), Failure> {
    let version = tag.strip_prefix('v').filter(|rest| is_version(rest));
    let version = version.ok_or_else(|| format!("{tag} is not a tag such as v0.2.0"))?;
    let files = git(&["ls-files", "*.md", "Cargo.toml", "deploy/**.yaml"])?;
    for file in files.lines() {
        let path = root().join(file);
        let text = fs::read_to_string(&path)?;
        let changed = changed(file, &text, VERSION, version);
        if changed != text {
            fs::write(path, changed)?;
            println!("{file} written");
        }
    }
    let lock = cargo(&mut Command::new(cargo_program()))
        .args(["update", "--workspace", "--offline", "--quiet"])
        .stdin(Stdio::null())
        .status()?;
    if !lock.success() {
        return Err("Cargo.lock could not be updated: see above".into());
    }
    println!(
        "Next, run `cargo xtask manifests`, and then `cargo xtask docs`, which names the translations to record."
    );
    Ok(())
}

/// Whether a text has three numbers, and optionally a hyphen and a suffix.
fn is_version(text: &str) -> bool {
    let (numbers, rest) = text.split_once('-').unwrap_or((text, "rc"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let is_rest = |it: u8| it.is_ascii_alphanumeric() || it == b'.' || it == b'-';
    numbers.split('.').count() == 3
        && numbers.split('.').all(is_number)
        && !rest.is_empty()
        && rest.bytes().all(is_rest)
}

/// Returns a file's text with the new version. In most files, only tags of images change.
fn changed(file: &str, text: &str, old: &str, new: &str) -> String {
    let line =
        |text: &str, key: &str| text.replace(&format!("{key}{old}\n"), &format!("{key}{new}\n"));
    match file {
        "CHANGELOG.md" => text.replacen("\n## Unreleased\n", &format!("\n## {new}\n"), 1),
        "Cargo.toml" => {
            let quoted = |version: &str| format!("\nversion = \"{version}\"\n");
            text.replacen(&quoted(old), &quoted(new), 1)
        }
        _ if file.starts_with("deploy/helm/") => {
            let mark = |is: bool| format!("artifacthub.io/prerelease: \"{is}\"\n");
            let is_prerelease = new.contains('-');
            line(&line(text, "version: "), "appVersion: v")
                .replace(&mark(!is_prerelease), &mark(is_prerelease))
        }
        _ => {
            let mut text = text.to_owned();
            for before in [":v", "VERSION=v", "newTag: v"] {
                for after in ["\n", " ", "`"] {
                    let tagged = |version: &str| format!("{before}{version}{after}");
                    text = text.replace(&tagged(old), &tagged(new));
                }
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_changes_where_it_is_this_projects() {
        for (file, before, after) in [
            (
                "CHANGELOG.md",
                "# C\n\n## Unreleased\n\n- A 0.1.0\n",
                "# C\n\n## 0.2.0\n\n- A 0.1.0\n",
            ),
            (
                "Cargo.toml",
                "[w]\nversion = \"0.1.0\"\na = \"0.1.0\"\n",
                "[w]\nversion = \"0.2.0\"\na = \"0.1.0\"\n",
            ),
            (
                "deploy/helm/a/Chart.yaml",
                "version: 0.1.0\nappVersion: v0.1.0\n",
                "version: 0.2.0\nappVersion: v0.2.0\n",
            ),
            (
                "deploy/base/kustomization.yaml",
                "newTag: v0.1.0\n",
                "newTag: v0.2.0\n",
            ),
            (
                "README.md",
                "--tag a.invalid/b:v0.1.0 .\nload b:v0.1.0\n0.1.0\n",
                "--tag a.invalid/b:v0.2.0 .\nload b:v0.2.0\n0.1.0\n",
            ),
            (
                "docs/a.md",
                "`VERSION=v0.1.0` c:v0.1.0-rc.1\n",
                "`VERSION=v0.2.0` c:v0.1.0-rc.1\n",
            ),
        ] {
            assert_eq!(changed(file, before, "0.1.0", "0.2.0"), after, "{file}");
        }
    }

    #[test]
    fn the_chart_says_whether_its_version_is_a_pre_release() {
        let chart = |is: bool| format!("a: b\n  artifacthub.io/prerelease: \"{is}\"\nc: d\n");
        for (new, is_prerelease) in [("0.1.0", false), ("0.2.0", false), ("0.2.0-rc.1", true)] {
            for before in [true, false] {
                let after = changed("deploy/helm/a/Chart.yaml", &chart(before), "0.1.0", new);
                assert_eq!(after, chart(is_prerelease), "{new}");
            }
        }
        let ours = root().join("deploy/helm/dingtalk-token-operator/Chart.yaml");
        let ours = fs::read_to_string(ours).expect("a file");
        let marked = changed("deploy/helm/a/Chart.yaml", &ours, VERSION, "9.9.9-rc.1");
        assert!(marked.contains("\n  artifacthub.io/prerelease: \"true\"\n"));
    }

    #[test]
    fn a_version_has_three_numbers() {
        for right in ["0.2.0", "1.10.0", "1.0.0-rc.1"] {
            assert!(is_version(right), "{right}");
        }
        for wrong in ["", "0.2", "0.2.x", "0.2.0.1", "0.2.0-", "0.2.0 -m", "0..1"] {
            assert!(!is_version(wrong), "{wrong}");
        }
    }
}

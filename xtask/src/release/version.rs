//! Checks that the tag, the versions in the sources and the changelog agree.

use std::fs;

use super::{git, notes};
use crate::chart::check_version;
use crate::{Failure, root};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const BASE: &str = "deploy/base/kustomization.yaml";

/// A release that has passed the checks.
pub(super) struct Release {
    /// Tag, such as v0.2.0.
    pub(super) tag: String,
    pub(super) notes: String,
    /// Time of the commit in seconds since 1970, which every file in an archive gets.
    pub(super) time: u64,
    pub(super) is_rehearsal: bool,
}

impl Release {
    /// Returns the release of a tag, which must be checked out without changes.
    pub(super) fn tagged(tag: &str) -> Result<Self, Failure> {
        check_tag(tag, VERSION)?;
        let changes = git(&["status", "--porcelain"])?;
        if !changes.is_empty() {
            return Err(
                format!("there are uncommitted changes; commit or stash them:\n{changes}").into(),
            );
        }
        check_commit(tag)?;
        Self::checked(tag, false)
    }

    /// Returns a rehearsal of the next release.
    pub(super) fn rehearsal() -> Result<Self, Failure> {
        Self::checked(&format!("v{VERSION}"), true)
    }

    fn checked(tag: &str, is_rehearsal: bool) -> Result<Self, Failure> {
        check_version(VERSION)?;
        if !fs::read_to_string(root().join(BASE))?.contains(&format!("newTag: {tag}\n")) {
            return Err(format!(
                "newTag in {BASE} is not {tag}: change it and run `cargo xtask manifests`"
            )
            .into());
        }
        let changelog = fs::read_to_string(root().join("CHANGELOG.md"))?;
        Ok(Self {
            tag: tag.to_owned(),
            notes: notes::cut(&changelog, tag, is_rehearsal)?,
            time: git(&["log", "-1", "--format=%ct"])?.parse()?,
            is_rehearsal,
        })
    }
}

fn check_tag(tag: &str, version: &str) -> Result<(), Failure> {
    if tag == format!("v{version}") {
        return Ok(());
    }
    Err(format!(
        "the tag is {tag}, but Cargo.toml has version {version}: tag v{version}, or change the version first (CONTRIBUTING.md, Releasing)"
    )
    .into())
}

/// Refuses to release a commit other than the tagged one. A tag that does not exist yet is accepted.
fn check_commit(tag: &str) -> Result<(), Failure> {
    let name = format!("refs/tags/{tag}");
    let tagged = git(&[
        "for-each-ref",
        "--format=%(objectname) %(*objectname)",
        &name,
    ])?;
    let head = git(&["rev-parse", "HEAD"])?;
    match tagged.is_empty() || tagged.contains(&head) {
        true => Ok(()),
        false => Err(format!("{tag} is on another commit: git checkout {tag}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_another_version_is_refused_with_what_to_do() {
        assert!(check_tag("v0.2.0", "0.2.0").is_ok());
        for wrong in ["0.2.0", "v0.2", "v0.2.0-rc.1", "v0.3.0", ""] {
            let error = check_tag(wrong, "0.2.0").expect_err(wrong).to_string();
            assert!(error.contains("tag v0.2.0, or change"), "{error}");
        }
    }

    #[test]
    fn another_chart_version_is_refused_by_name() {
        let error = check_version("99.0.0").expect_err("refused").to_string();
        assert!(
            error.contains("Chart.yaml lacks the line version: 99.0.0"),
            "{error}"
        );
    }
}

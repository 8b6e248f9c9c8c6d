//! Archives of the kubectl plugin, which are reproducible for a program and commit.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::{Compression, GzBuilder};
use strum::VariantArray as _;
use tar::{Builder, EntryType, Header};

use super::sums::sha256;
use crate::{Failure, cargo, cargo_program, root};

/// Platforms with an archive.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    strum::VariantArray,
    strum::EnumString,
    strum::IntoStaticStr,
)]
pub(super) enum Platform {
    #[strum(serialize = "x86_64-unknown-linux-musl")]
    LinuxAmd64,
    #[strum(serialize = "aarch64-unknown-linux-musl")]
    LinuxArm64,
    #[strum(serialize = "x86_64-apple-darwin")]
    DarwinAmd64,
    #[strum(serialize = "aarch64-apple-darwin")]
    DarwinArm64,
}

impl Platform {
    /// Returns operating system and architecture as Kubernetes names them.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::LinuxAmd64 => ("linux", "amd64"),
            Self::LinuxArm64 => ("linux", "arm64"),
            Self::DarwinAmd64 => ("darwin", "amd64"),
            Self::DarwinArm64 => ("darwin", "arm64"),
        }
    }

    pub(super) fn archive_name(self) -> String {
        let (os, arch) = self.names();
        format!("kubectl-dingtalk-{os}-{arch}.tar.gz")
    }

    /// Builds the program. Returns its path.
    pub(super) fn build(self) -> Result<PathBuf, Failure> {
        let triple: &str = self.into();
        let status = cargo(&mut Command::new(cargo_program()))
            .args([
                "build",
                "--release",
                "--locked",
                "--package",
                "dingtalk-token-operator",
            ])
            .args(["--target", triple])
            .stdin(Stdio::null())
            .status()?;
        if !status.success() {
            return Err(format!(
                "building for {triple} failed: see above; to install the target: rustup target add {triple}"
            )
            .into());
        }
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from);
        Ok(target.join(triple).join("release/dingtalk-token-operator"))
    }
}

/// Writes the archive of a program.
pub(super) fn write(path: &Path, program: &Path, time: u64) -> Result<(), Failure> {
    let program = fs::read(program).map_err(|error| format!("{}: {error}", program.display()))?;
    let license = fs::read(root().join("LICENSE"))?;
    fs::write(
        path,
        packed(
            &[
                ("LICENSE", 0o644, &license),
                ("kubectl-dingtalk", 0o755, &program),
            ],
            time,
        )?,
    )?;
    Ok(())
}

fn packed(files: &[(&str, u32, &[u8])], time: u64) -> Result<Vec<u8>, Failure> {
    // The header has no name, time or operating system.
    let gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    let mut tar = Builder::new(gzip);
    for (name, mode, content) in files {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(*mode);
        header.set_mtime(time);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(u64::try_from(content.len())?);
        tar.append_data(&mut header, name, *content)?;
    }
    let mut gzip = tar.into_inner()?;
    gzip.flush()?;
    Ok(gzip.finish()?)
}

/// Returns the digests of the archives in a folder.
pub(super) fn digests(folder: &Path) -> Result<BTreeMap<Platform, String>, Failure> {
    let mut digests = BTreeMap::new();
    for platform in Platform::VARIANTS {
        let path = folder.join(platform.archive_name());
        if path.is_file() {
            digests.insert(*platform, sha256(&path)?);
        }
    }
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn an_archive_has_the_program_and_the_licence_and_nothing_of_the_machine() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("dingtalk-token-operator");
        fs::write(&program, "a program").expect("written");
        let [first, second] = ["first", "second"].map(|name| {
            let path = folder.path().join(name);
            write(&path, &program, 1_700_000_000).expect("an archive");
            // The file gets another time, which must not show.
            fs::write(&program, "a program").expect("written again");
            fs::read(path).expect("the archive")
        });
        assert!(first == second);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(first.as_slice()));
        let mut found = Vec::new();
        for entry in archive.entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            let header = entry.header().clone();
            let path = entry.path().expect("a path").display().to_string();
            assert_eq!(header.mtime().ok(), Some(1_700_000_000), "{path}");
            assert_eq!(
                (header.uid().ok(), header.gid().ok()),
                (Some(0), Some(0)),
                "{path}"
            );
            found.push((path, header.mode().expect("a mode"), text));
        }
        assert_eq!(
            found[1],
            ("kubectl-dingtalk".to_owned(), 0o755, "a program".to_owned())
        );
        assert_eq!(
            (found[0].0.as_str(), found[0].1, found.len()),
            ("LICENSE", 0o644, 2)
        );
        assert!(found[0].2.contains("Apache License"));
    }
}

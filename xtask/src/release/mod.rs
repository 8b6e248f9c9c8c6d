//! Assets of a release, made from a tag. `.github/workflows/release.yaml` publishes them.

mod archive;
mod chart;
mod krew;
mod notes;
mod prepare;
mod sums;
#[cfg(test)]
mod toolchain;
mod version;
#[cfg(test)]
mod workflows;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::image::{check_images, documents, images};
use crate::{Failure, root, sbom};
use archive::Platform;
use version::Release;

/// The released image, without tag and digest.
const REGISTRY: &str = "ghcr.io";
const REPOSITORY: &str = "dingtalk-token-operator/dingtalk-token-operator";
const SOURCE: &str = "https://github.com/dingtalk-token-operator/dingtalk-token-operator";
/// The image that the sources name.
const UNPUBLISHED: &str = "dingtalk-token-operator.invalid/dingtalk-token-operator";
const NOTES: &str = "notes.md";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The tag to release, such as v0.2.0. It must match the versions in the sources.
    #[arg(required_unless_present = "rehearse", conflicts_with = "rehearse")]
    version: Option<String>,
    /// Write this version into the sources instead.
    #[arg(long, conflicts_with_all = ["rehearse", "target", "image_digest"])]
    prepare: bool,
    /// Use the version in Cargo.toml, accept uncommitted changes, notes from `Unreleased`, and missing archives.
    #[arg(long)]
    rehearse: bool,
    /// Where to write the assets. Default: target/release-VERSION.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Write the archive of kubectl-dingtalk for this platform.
    #[arg(long, value_name = "TRIPLE")]
    target: Option<Platform>,
    /// Program for the archive. Default: built for --target.
    #[arg(long, value_name = "FILE", requires = "target")]
    program: Option<PathBuf>,
    /// Write everything else, for the image with this digest. All archives must be in the folder by then.
    #[arg(long, value_name = "sha256:…", value_parser = digest)]
    image_digest: Option<String>,
}

/// Checks the versions, then writes the requested assets.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if let (Some(tag), true) = (&arguments.version, arguments.prepare) {
        prepare::run(tag)?;
        return Ok(ExitCode::SUCCESS);
    }
    let release = match &arguments.version {
        Some(tag) => Release::tagged(tag)?,
        None => Release::rehearsal()?,
    };
    let tag = &release.tag;
    let out = match &arguments.out {
        Some(folder) => std::path::absolute(folder)?,
        None => root().join(format!("target/release-{tag}")),
    };
    fs::create_dir_all(&out)?;
    if let Some(platform) = arguments.target {
        let program = match &arguments.program {
            Some(file) => file.clone(),
            None => platform.build()?,
        };
        let path = out.join(platform.archive_name());
        archive::write(&path, &program, release.time)?;
        println!("{} written", path.display());
    }
    if let Some(digest) = &arguments.image_digest {
        write_assets(&out, &release, digest)?;
        println!("{} has all assets of {tag}", out.display());
    }
    if arguments.target.is_none() && arguments.image_digest.is_none() {
        println!("{tag} can be released");
    }
    Ok(ExitCode::SUCCESS)
}

fn write_assets(out: &Path, release: &Release, digest: &str) -> Result<(), Failure> {
    let tag = &release.tag;
    let image = format!("{REGISTRY}/{REPOSITORY}:{tag}@{digest}");
    fs::write(out.join("install.yaml"), install_manifest(tag, &image)?)?;
    chart::package(out, release, digest)?;
    sbom::run()?;
    fs::copy(root().join(sbom::FILE), out.join(sbom::NAME))?;
    let archives = archive::digests(out)?;
    let krew = fs::read_to_string(root().join(krew::TEMPLATE))?;
    let krew = krew::fill(&krew, tag, &archives, release.is_rehearsal)?;
    fs::write(out.join("dingtalk.yaml"), krew)?;
    let notes = format!(
        "{}\nImage: `{image}`\n\n[How to verify this release]({SOURCE}/blob/{tag}/docs/releases.md)\n",
        release.notes
    );
    fs::write(out.join(NOTES), notes)?;
    sums::write(out, &[NOTES])
}

/// Returns deploy/install.yaml with the released image.
fn install_manifest(tag: &str, image: &str) -> Result<String, Failure> {
    let yaml = fs::read_to_string(root().join("deploy/install.yaml"))?;
    with_image(&yaml, tag, image)
}

fn with_image(yaml: &str, tag: &str, image: &str) -> Result<String, Failure> {
    let unpublished = format!("image: {UNPUBLISHED}:{tag}\n");
    if !yaml.contains(&unpublished) {
        return Err(format!("deploy/install.yaml lacks `{}`", unpublished.trim()).into());
    }
    let (_, objects) = yaml.split_once('\n').unwrap_or_default();
    let objects = objects.replace(&unpublished, &format!("image: {image}\n"));
    let manifest = format!("# dingtalk-token-operator {tag}\n{objects}");
    check_named("install.yaml", &manifest, image)?;
    Ok(manifest)
}

/// Refuses manifests that name an image other than the released one.
fn check_named(what: &str, yaml: &str, image: &str) -> Result<(), Failure> {
    let documents = documents(yaml)?;
    check_images(what, &documents)?;
    let named: Vec<String> = documents.iter().flat_map(images).collect();
    match !named.is_empty() && named.iter().all(|name| name == image) {
        true => Ok(()),
        false => Err(format!("{what} names the images {named:?} instead of {image}").into()),
    }
}

fn digest(text: &str) -> Result<String, String> {
    let is_digest = text
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|it| it.is_ascii_hexdigit()));
    match is_digest {
        true => Ok(text.to_owned()),
        false => Err("expected sha256: and 64 hexadecimal digits".to_owned()),
    }
}

/// Runs a command that must succeed. Returns its standard output.
fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .current_dir(root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("{} failed", command.get_program().display()).into()),
    }
}

fn git(arguments: &[&str]) -> Result<String, Failure> {
    Ok(output(Command::new("git").args(arguments))?
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_names_the_released_image_and_no_other() {
        let image = format!("ghcr.io/a/b:v1.2.3@sha256:{}", "0a".repeat(32));
        let yaml = format!("# Generated.\nspec:\n  image: {UNPUBLISHED}:v1.2.3\n");
        let manifest = with_image(&yaml, "v1.2.3", &image).expect("a manifest");
        assert_eq!(
            manifest,
            format!("# dingtalk-token-operator v1.2.3\nspec:\n  image: {image}\n")
        );
        let error = with_image(&yaml, "v1.2.4", &image).expect_err("another version");
        assert!(error.to_string().contains("v1.2.4"), "{error}");
        let two = format!("{yaml}---\nimage: {UNPUBLISHED}:v1.2.2\n");
        let error = with_image(&two, "v1.2.3", &image).expect_err("another image");
        assert!(error.to_string().contains("v1.2.2"), "{error}");
    }

    #[test]
    fn only_a_whole_digest_is_accepted() {
        assert!(digest(&format!("sha256:{}", "0a".repeat(32))).is_ok());
        for wrong in [
            "",
            "sha256:0a",
            &"0a".repeat(32),
            &format!("sha256:{}", "x".repeat(64)),
        ] {
            assert!(digest(wrong).is_err(), "{wrong}");
        }
    }
}

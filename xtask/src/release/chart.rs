//! The released chart, with the released image in its values.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use local_control_plane::helm;

use super::version::Release;
use super::{REGISTRY, REPOSITORY, check_named, git, output};
use crate::chart::{CHART, table_of};
use crate::{Failure, root};

const NAME: &str = "dingtalk-token-operator";

/// Packages the chart, and renders the package to check which image it names.
pub(super) fn package(out: &Path, release: &Release, digest: &str) -> Result<(), Failure> {
    let stage = root().join("target/release-chart").join(NAME);
    let _ = fs::remove_dir_all(&stage);
    copy(&stage)?;
    let values = fs::read_to_string(stage.join("values.yaml"))?;
    let released = with_image(&values, digest)?;
    let readme = fs::read_to_string(stage.join("README.md"))?;
    let readme = readme.replace(&table_of(&values)?, &table_of(&released)?);
    fs::write(stage.join("values.yaml"), released)?;
    fs::write(stage.join("README.md"), readme)?;
    set_times(
        &stage,
        SystemTime::UNIX_EPOCH + Duration::from_secs(release.time),
    )?;
    let helm = helm()?;
    output(
        Command::new(&helm)
            .arg("package")
            .arg(&stage)
            .arg("--destination")
            .arg(out),
    )?;
    let version = release.tag.trim_start_matches('v');
    let package = out.join(format!("{NAME}-{version}.tgz"));
    let rendered = output(Command::new(&helm).args(["template", NAME]).arg(&package))?;
    check_named(
        "the chart",
        &rendered,
        &format!("{REGISTRY}/{REPOSITORY}@{digest}"),
    )
}

/// Copies the chart's files that are in git.
fn copy(stage: &Path) -> Result<(), Failure> {
    for file in git(&["ls-files", CHART])?.lines() {
        let copy = stage.join(Path::new(file).strip_prefix(CHART)?);
        if let Some(folder) = copy.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(root().join(file), copy)?;
    }
    Ok(())
}

fn with_image(values: &str, digest: &str) -> Result<String, Failure> {
    let (before, image) = values
        .split_once("\nimage:\n")
        .ok_or("values.yaml has no section `image`")?;
    let mut image = image.to_owned();
    for (key, value) in [
        ("registry", REGISTRY),
        ("repository", REPOSITORY),
        ("digest", digest),
    ] {
        let empty = format!("\n  {key}: \"\"\n");
        if !image.contains(&empty) {
            return Err(format!("image.{key} in values.yaml is not empty").into());
        }
        image = image.replacen(&empty, &format!("\n  {key}: {value}\n"), 1);
    }
    Ok(format!("{before}\nimage:\n{image}"))
}

/// Sets the time of all files, which Helm writes to the package.
fn set_times(folder: &Path, time: SystemTime) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => set_times(&path, time)?,
            false => File::options()
                .append(true)
                .open(path)?
                .set_modified(time)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_name_the_released_image_and_change_nothing_else() {
        let source = fs::read_to_string(root().join(CHART).join("values.yaml")).expect("values");
        let digest = format!("sha256:{}", "0a".repeat(32));
        let released = with_image(&source, &digest).expect("values");
        let parsed = |text: &str| serde_yaml_ng::from_str::<serde_json::Value>(text).expect("YAML");
        let mut expected = parsed(&source);
        expected["image"]["registry"] = REGISTRY.into();
        expected["image"]["repository"] = REPOSITORY.into();
        expected["image"]["digest"] = digest.clone().into();
        assert_eq!(parsed(&released), expected);
        assert!(with_image(&released, &digest).is_err());
    }
}

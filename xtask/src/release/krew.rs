//! The manifest of the kubectl plugin for krew.

use std::collections::BTreeMap;

use serde_yaml_ng::Value;

use super::archive::Platform;
use crate::Failure;

pub(super) const TEMPLATE: &str = "deploy/krew/dingtalk.yaml";

/// Fills in a release's version and digests. A rehearsal leaves out platforms that have no archive.
pub(super) fn fill(
    template: &str,
    tag: &str,
    archives: &BTreeMap<Platform, String>,
    is_rehearsal: bool,
) -> Result<String, Failure> {
    let mut manifest: Value = serde_yaml_ng::from_str(template)?;
    let spec = &mut manifest["spec"];
    spec["version"] = tag.into();
    let platforms = spec["platforms"].as_sequence_mut();
    let platforms = platforms.ok_or_else(|| format!("{TEMPLATE} has no platforms"))?;
    let mut filled = Vec::new();
    for mut platform in std::mem::take(platforms) {
        let labels = &platform["selector"]["matchLabels"];
        let label = |name: &str| labels[name].as_str().unwrap_or_default();
        let names = format!("{}/{}", label("os"), label("arch"));
        let archive = archives.iter().find(|(platform, _)| {
            let (os, arch) = platform.names();
            names == format!("{os}/{arch}")
        });
        match archive {
            Some((_, sha256)) => {
                let uri = platform["uri"].as_str().unwrap_or_default();
                platform["uri"] = uri.replace("VERSION", tag).into();
                platform["sha256"] = sha256.as_str().into();
                filled.push(platform);
            }
            None if is_rehearsal => {
                println!("no archive for {names}: it is left out of the manifest for krew");
            }
            None => {
                return Err(
                    format!("there is no archive for {names}: write it with --target").into(),
                );
            }
        }
    }
    *platforms = filled;
    Ok(serde_yaml_ng::to_string(&manifest)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use strum::VariantArray as _;

    use super::*;
    use crate::root;

    fn template() -> String {
        fs::read_to_string(root().join(TEMPLATE)).expect("the manifest")
    }

    fn archives(platforms: &[Platform]) -> BTreeMap<Platform, String> {
        let archive = |platform: &Platform| (*platform, format!("{platform:?}").to_lowercase());
        platforms.iter().map(archive).collect()
    }

    fn platforms(manifest: &Value) -> &[Value] {
        manifest["spec"]["platforms"].as_sequence().expect("a list")
    }

    #[test]
    fn the_manifest_has_what_krew_asks_for() {
        let manifest: Value = serde_yaml_ng::from_str(&template()).expect("YAML");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        assert_eq!(
            manifest["apiVersion"],
            "krew.googlecontainertools.github.com/v1alpha2"
        );
        assert_eq!(manifest["kind"], "Plugin");
        assert_eq!(manifest["metadata"]["name"], "dingtalk");
        // krew's own rules for its index.
        let short = text(&manifest["spec"]["shortDescription"]);
        assert!(short.len() <= 50 && !short.ends_with('.'), "{short}");
        let description = text(&manifest["spec"]["description"]);
        assert!(
            description.lines().all(|line| line.len() <= 80),
            "{description}"
        );
        assert!(
            platforms(&manifest)
                .iter()
                .all(|it| it["bin"] == "kubectl-dingtalk")
        );
    }

    #[test]
    fn each_platform_gets_the_url_and_digest_of_its_archive() {
        let all = archives(Platform::VARIANTS);
        let filled = fill(&template(), "v1.2.3", &all, false).expect("filled");
        assert!(
            !filled.contains("VERSION") && !filled.contains("SHA256_"),
            "{filled}"
        );
        let manifest: Value = serde_yaml_ng::from_str(&filled).expect("YAML");
        assert_eq!(manifest["spec"]["version"], "v1.2.3");
        assert_eq!(platforms(&manifest).len(), Platform::VARIANTS.len());
        for (platform, entry) in Platform::VARIANTS.iter().zip(platforms(&manifest)) {
            let uri = format!(
                "{}/releases/download/v1.2.3/{}",
                super::super::SOURCE,
                platform.archive_name()
            );
            assert_eq!(entry["uri"], uri.as_str());
            assert_eq!(entry["sha256"], all[platform].as_str());
        }
    }

    #[test]
    fn a_missing_archive_is_refused_and_left_out_of_a_rehearsal() {
        let some = archives(&[Platform::LinuxAmd64]);
        let error = fill(&template(), "v1.2.3", &some, false).expect_err("refused");
        assert!(
            error.to_string().contains("no archive for linux/arm64"),
            "{error}"
        );
        let filled = fill(&template(), "v1.2.3", &some, true).expect("filled");
        let manifest: Value = serde_yaml_ng::from_str(&filled).expect("YAML");
        assert_eq!(platforms(&manifest).len(), 1);
    }
}

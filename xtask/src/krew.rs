//! The manifest of the kubectl plugin for krew has what krew asks for, and what a release fills in.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::root;

/// What a release fills in for a platform.
struct Platform {
    os: String,
    arch: String,
    uri: String,
    sha256: String,
    bin: String,
}

fn text() -> String {
    let path = root().join("deploy/krew/dingtalk.yaml");
    std::fs::read_to_string(path).expect("the manifest")
}

fn manifest(text: &str) -> Value {
    serde_yaml_ng::from_str(text).expect("YAML")
}

fn word(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn platforms(manifest: &Value) -> Vec<Platform> {
    let platforms = manifest["spec"]["platforms"].as_array().expect("a list");
    let platforms = platforms.iter().map(|platform| {
        let labels = &platform["selector"]["matchLabels"];
        Platform {
            os: word(&labels["os"]),
            arch: word(&labels["arch"]),
            uri: word(&platform["uri"]),
            sha256: word(&platform["sha256"]),
            bin: word(&platform["bin"]),
        }
    });
    platforms.collect()
}

#[test]
fn the_manifest_has_what_krew_asks_for() {
    let manifest = manifest(&text());
    assert_eq!(
        manifest["apiVersion"],
        "krew.googlecontainertools.github.com/v1alpha2"
    );
    assert_eq!(manifest["kind"], "Plugin");
    assert_eq!(manifest["metadata"]["name"], "dingtalk");
    // krew's own rules for its index.
    let short = word(&manifest["spec"]["shortDescription"]);
    assert!(short.len() <= 50 && !short.ends_with('.'), "{short}");
    let description = word(&manifest["spec"]["description"]);
    assert!(
        description.lines().all(|line| line.len() <= 80),
        "{description}"
    );
    assert!(!platforms(&manifest).is_empty());
    for platform in platforms(&manifest) {
        let archive = format!("kubectl-dingtalk-{}-{}.tar.gz", platform.os, platform.arch);
        assert!(
            platform.uri.starts_with("https://github.com/"),
            "{}",
            platform.uri
        );
        assert!(
            platform.uri.ends_with(&format!("/VERSION/{archive}")),
            "{}",
            platform.uri
        );
        assert_eq!(platform.bin, "kubectl-dingtalk");
    }
}

#[test]
fn a_release_fills_in_the_version_and_a_digest_for_each_platform() {
    let template = manifest(&text());
    assert_eq!(template["spec"]["version"], "VERSION");
    let placeholders: BTreeSet<String> = platforms(&template)
        .into_iter()
        .map(|it| it.sha256)
        .collect();
    let expected = platforms(&template)
        .into_iter()
        .map(|it| format!("SHA256_{}_{}", it.os.to_uppercase(), it.arch.to_uppercase()));
    assert_eq!(placeholders, expected.collect());
    let body: String = text()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let mut filled = body.replace("VERSION", "v0.1.0");
    for placeholder in &placeholders {
        filled = filled.replace(placeholder, "");
    }
    assert!(
        !filled.contains("SHA256") && !filled.contains("VERSION"),
        "{filled}"
    );
}

//! Tests that the toolchain, the base image and the documentation agree on the versions of Rust.

use std::fs;

use crate::root;

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

/// Returns the value of `key = "…"` in a TOML file.
fn value(path: &str, key: &str) -> String {
    let text = text(path);
    let mut lines = text.lines().filter_map(|line| line.split_once(" = "));
    let (_, value) = lines.find(|(name, _)| *name == key).expect(key);
    value.trim_matches('"').to_owned()
}

#[test]
fn images_are_built_by_the_toolchains_rust() {
    let base = format!("rust:{}-alpine", value("rust-toolchain.toml", "channel"));
    for path in [
        "Dockerfile",
        "docs/installing.md",
        "docs/zh-CN/installing.md",
    ] {
        let text = text(path);
        let named: Vec<&str> = text
            .match_indices("rust:")
            .map(|(at, _)| text[at..].split(['@', ' ', '\n', '`']).next().expect("one"))
            .collect();
        assert!(!named.is_empty(), "{path} names no Rust image");
        for image in named {
            assert_eq!(image, base, "{path}");
        }
    }
}

#[test]
fn the_documentation_names_the_oldest_rust() {
    let oldest = value("Cargo.toml", "rust-version");
    for (path, words) in [
        ("README.md", format!("Rust ({oldest} or later)")),
        ("README.zh-CN.md", format!("Rust（{oldest} 或更高版本）")),
    ] {
        assert!(text(path).contains(&words), "{path} does not say {words}");
    }
}

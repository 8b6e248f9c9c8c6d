//! Images that manifests may name.

use serde::Deserialize as _;
use serde_json::Value;

use crate::Failure;

/// Returns the objects of a YAML text.
pub fn documents(yaml: &str) -> Result<Vec<Value>, Failure> {
    let documents = serde_yaml_ng::Deserializer::from_str(yaml);
    Ok(documents
        .map(Value::deserialize)
        .collect::<Result<Vec<_>, _>>()?)
}

/// Refuses images that somebody else could publish: those in a registry, unless they have a digest. No host exists
/// under `.invalid` (RFC 2606).
pub fn check_images(what: &str, documents: &[Value]) -> Result<(), Failure> {
    for image in documents.iter().flat_map(images) {
        if !is_safe(&image) {
            let advice = "name it under .invalid, or add @sha256:… to it";
            return Err(format!("{what} names the image {image}, which anybody who controls that name can replace: {advice}").into());
        }
    }
    Ok(())
}

/// Returns every `image` of an object.
pub fn images(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(images).collect(),
        Value::Object(fields) => {
            let named = fields.get("image").and_then(Value::as_str);
            let below = fields.values().flat_map(images);
            named.map(str::to_owned).into_iter().chain(below).collect()
        }
        _ => Vec::new(),
    }
}

fn is_safe(image: &str) -> bool {
    if let Some((_, digest)) = image.split_once("@sha256:") {
        return digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    // Without a host, the container runtime uses its default registry.
    let host = image.split_once('/').map_or("", |(host, _)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    host.ends_with(".invalid")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_image_is_nobodys_or_has_a_digest() {
        let digest = format!("@sha256:{}", "0a".repeat(32));
        for safe in [
            "operator.invalid/operator:v1",
            "operator.invalid:5000/operator:v1",
            &format!("registry.example/operator{digest}"),
            &format!("registry.example/operator:v1{digest}"),
        ] {
            assert!(is_safe(safe), "{safe}");
        }
        for unsafe_ in [
            "operator",
            "operator:v1",
            "somebody/operator:v1",
            "ghcr.io/somebody/operator:v1",
            "registry.example:5000/operator:v1",
            "invalid/operator",
            "registry.example/operator.invalid/x:v1",
            "registry.example/operator@sha256:0a",
        ] {
            assert!(!is_safe(unsafe_), "{unsafe_}");
        }
    }

    #[test]
    fn images_are_found_wherever_they_are() {
        let pod =
            json!({"spec": {"containers": [{"image": "a"}], "initContainers": [{"image": "b"}]}});
        assert_eq!(images(&json!({"spec": {"template": pod}})), ["a", "b"]);
        let named = json!([{"image": "registry.example/c:v1"}]);
        let error = check_images("pods", &[named]).expect_err("refused");
        assert!(error.to_string().contains("registry.example/c"), "{error}");
    }
}

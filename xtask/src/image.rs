//! Which images the manifests may name.

use serde_json::Value;

use crate::Failure;

/// Refuses an image that somebody else could publish: one at a registry, unless a digest says which
/// it is. Nothing is ever found under `.invalid` (RFC 2606).
pub(crate) fn check_images(what: &str, documents: &[Value]) -> Result<(), Failure> {
    for image in documents.iter().flat_map(images) {
        if !is_safe(&image) {
            let advice = "name it under .invalid, or add @sha256:… to it";
            return Err(format!("{what} names the image {image}, which anybody who controls that name may replace: {advice}").into());
        }
    }
    Ok(())
}

/// Every `image` of an object: a text, or repository, tag and digest as in a chart's values.
pub(crate) fn images(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(images).collect(),
        Value::Object(fields) => {
            let named = fields.get("image").and_then(image);
            named
                .into_iter()
                .chain(fields.values().flat_map(images))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn image(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let repository = value["repository"].as_str()?;
    Some(match value["digest"].as_str().unwrap_or_default() {
        "" => repository.to_owned(),
        digest => format!("{repository}@{digest}"),
    })
}

fn is_safe(image: &str) -> bool {
    if let Some((_, digest)) = image.split_once("@sha256:") {
        return digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    // Without a host it is the container runtime's default registry's.
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
        let digest = format!("sha256:{}", "0".repeat(64));
        let values =
            json!({"image": {"repository": "registry.example/c", "tag": "v1", "digest": digest}});
        assert!(check_images("values", &[values]).is_ok());
        let values =
            json!({"image": {"repository": "registry.example/c", "tag": "v1", "digest": ""}});
        let error = check_images("values", &[values]).expect_err("refused");
        assert!(error.to_string().contains("registry.example/c"), "{error}");
    }
}

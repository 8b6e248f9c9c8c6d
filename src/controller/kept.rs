//! What is kept of watched objects: a tenant can make the rest large.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::{ANNOTATION_RENEW_REQUESTED_AT, DingTalkApp, DingTalkTokenReference};
use crate::core::{forget_forbidden, light_status};

/// Most bytes of a renewal request that count.
const RENEW_REQUEST_MAX: usize = 64;
/// Most bytes of JSON that a status may take, apart from its corps.
const STATUS_BASE_MAX: usize = 32 << 10;
/// Most bytes of JSON that each corp may take in a status.
const STATUS_CORP_MAX: usize = 2 << 10;

/// Keeps only the metadata of an app that is used: a tenant can add 256 KiB of annotations, and
/// even more labels. Drops a status that is too large to be the operator's. `allowed` are the
/// prefixes of a target's label and annotation keys.
pub(super) fn lighten(app: &mut DingTalkApp, allowed: &[String]) {
    let target = &mut app.spec.target;
    forget_forbidden(&mut target.labels, &mut target.annotations, allowed);
    keep_of_metadata(&mut app.metadata, &[ANNOTATION_RENEW_REQUESTED_AT]);
    let annotations = app.metadata.annotations.iter_mut();
    for request in annotations.flat_map(|annotations| annotations.values_mut()) {
        // Only the beginning of a longer request counts.
        let ends = (0..=RENEW_REQUEST_MAX.min(request.len())).rev();
        let end = ends.into_iter().find(|end| request.is_char_boundary(*end));
        request.truncate(end.unwrap_or_default());
        request.shrink_to_fit();
    }
    let corps = app.spec.corp_ids.len();
    // The operator writes smaller ones, so this one is somebody else's and will be overwritten.
    app.status = app.status.take().filter(|status| {
        let size = serde_json::to_vec(status).map_or(0, |status| status.len());
        size <= STATUS_BASE_MAX + corps * STATUS_CORP_MAX
    });
}

/// Keeps only what is used of a reference, as [`lighten`] does of an app.
pub(super) fn lighten_reference(reference: &mut DingTalkTokenReference, allowed: &[String]) {
    let target = &mut reference.spec.target;
    forget_forbidden(&mut target.labels, &mut target.annotations, allowed);
    keep_of_metadata(&mut reference.metadata, &[]);
    let status = reference.status.take().map(light_status);
    reference.status = status.filter(|status| {
        let size = serde_json::to_vec(status).map_or(0, |status| status.len());
        size <= STATUS_BASE_MAX
    });
}

/// Keeps these annotations, and of the other metadata only what identifies the object and its
/// version.
fn keep_of_metadata(metadata: &mut ObjectMeta, annotations: &[&str]) {
    metadata.managed_fields = None;
    metadata.labels = None;
    metadata.owner_references = None;
    metadata.finalizers = None;
    if let Some(kept) = &mut metadata.annotations {
        kept.retain(|key, _| annotations.contains(&key.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(more: &serde_json::Value) -> DingTalkApp {
        let mut app = serde_json::json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": "payroll", "namespace": "hr"},
            "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": ["ding1"]},
        });
        for (field, value) in more.as_object().expect("an object") {
            app[field] = value.clone();
        }
        serde_json::from_value(app).expect("an app")
    }

    #[test]
    fn nothing_is_kept_of_an_apps_metadata_but_what_is_used() {
        let heavy = "\u{e9}".repeat(100_000);
        let mut app = app(&serde_json::json!({"metadata": {
            "name": "payroll", "namespace": "hr", "uid": "u1",
            "labels": {"a": "b"}, "finalizers": [heavy],
            "annotations": {"heavy": heavy, ANNOTATION_RENEW_REQUESTED_AT: heavy},
            "managedFields": [{"manager": heavy}],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": heavy, "uid": "x"}],
        }}));
        lighten(&mut app, &[]);
        let size = serde_json::to_vec(&app.metadata).expect("JSON").len();
        assert!(size < 300, "{size}");
        let request = crate::core::renew_request(&app).expect("kept");
        assert_eq!(request, "\u{e9}".repeat(32));
    }

    /// Regression: the names of a thousand copies were kept of each of thousands of references.
    #[test]
    fn of_a_references_status_little_is_kept_and_it_differs_with_its_names() {
        let status = |names: usize, last: &str, secret: &str| {
            let names = (1..names).map(|n| format!("copied-{n:0240}"));
            let names: Vec<String> = names.chain([last.to_owned()]).collect();
            let mut reference: DingTalkTokenReference = serde_json::from_value(serde_json::json!({
                "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkTokenReference",
                "metadata": {"name": "one", "namespace": "web"},
                "spec": {"appRef": {"namespace": "hr", "name": "payroll"}},
                "status": {"secret": secret, "secretNames": names},
            }))
            .expect("a reference");
            lighten_reference(&mut reference, &[]);
            reference.status
        };
        let (kept, other) = (status(1000, "a", "copied-*"), status(1000, "b", "copied-*"));
        let size = serde_json::to_vec(&kept).expect("JSON").len();
        assert!(size < 200, "{size}");
        assert_eq!(kept, status(1000, "a", "copied-*"));
        assert_ne!(kept, other);
        let one = status(1, "copied", "copied").expect("kept");
        assert_eq!(one.secret_names, ["copied"]);
        let forged = "x".repeat(STATUS_BASE_MAX);
        assert_eq!(status(1, "copied", &forged), None, "not ours by its size");
    }

    #[test]
    fn a_status_that_is_not_ours_by_its_size_is_not_kept() {
        let status = |length: usize| {
            let corp = serde_json::json!({"corpId": "ding1", "secretName": "x".repeat(length)});
            let mut app = app(&serde_json::json!({"status": {"corps": [corp]}}));
            lighten(&mut app, &[]);
            app.status.is_some()
        };
        assert!(status(STATUS_BASE_MAX));
        assert!(!status(STATUS_BASE_MAX + STATUS_CORP_MAX));
    }
}

//! Checks objects against the definitions of the custom resources.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::{Value, json};

use super::manifests::Document;
use super::rules::{RuleError, Rules};
use super::schema::{Fault, apply_defaults, faults, field, unknown_field, unknown_fields};
use crate::api::{GROUP, definitions};

/// Fields of `metadata`.
const METADATA_FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// Placeholder for the suffix that the API server adds to `generateName`; only its length matters.
const GENERATED: &str = "xxxxx";

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Severity {
    /// The API server would reject the manifest.
    Refused,
    /// The API server would accept the manifest, but the operator would report a problem.
    Reported,
}

/// Where an object is: file, number of the document, kind and name.
pub(super) type Place<'a> = (&'a str, usize, &'a str, &'a str);

/// A problem with a manifest.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    pub file: String,
    /// Number of the document in the file, starting at 1.
    pub document: usize,
    /// Kind of the object; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Name of the object; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Path of the field; empty for the whole document.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
    pub severity: Severity,
}

impl Finding {
    pub(super) fn new(
        document: &Document,
        severity: Severity,
        path: &str,
        message: String,
    ) -> Self {
        let text = |pointer: &str| {
            let object = document.object.as_ref().ok();
            let text = object.and_then(|it| it.pointer(pointer)?.as_str());
            text.unwrap_or_default().to_owned()
        };
        Self {
            file: document.file.clone(),
            document: document.number,
            kind: text("/kind"),
            name: text("/metadata/name"),
            path: path.to_owned(),
            message,
            severity,
        }
    }

    /// Returns where the object is.
    pub(super) fn place(&self) -> Place<'_> {
        let (file, kind, name) = (&self.file, &self.kind, &self.name);
        (file.as_str(), self.document, kind.as_str(), name.as_str())
    }
}

/// A custom resource with its schema and validation rules.
struct Resource {
    version: String,
    schema: JSONSchemaProps,
    rules: Rules,
}

/// The custom resources, by kind.
pub(super) struct Resources(BTreeMap<String, Resource>);

impl Resources {
    /// Creates the resources from the definitions of this version.
    pub(super) fn new() -> Result<Self, RuleError> {
        let mut resources = BTreeMap::new();
        for definition in definitions() {
            for version in definition.spec.versions {
                let schema = version.schema.and_then(|it| it.open_api_v3_schema);
                let Some(schema) = schema else { continue };
                let resource = Resource {
                    version: format!("{GROUP}/{}", version.name),
                    rules: Rules::of(&schema)?,
                    schema,
                };
                resources.insert(definition.spec.names.kind.clone(), resource);
            }
        }
        Ok(Self(resources))
    }

    /// Whether an object is, or is meant to be, a custom resource of this operator.
    pub(super) fn is_ours(&self, object: &Value) -> bool {
        let is_kind = object["kind"]
            .as_str()
            .is_some_and(|kind| self.0.contains_key(kind));
        is_kind || group(object) == GROUP
    }

    /// Returns the object with defaults, as the API server would store it, or the faults for which it would
    /// reject the object.
    pub(super) fn admit(&self, object: &Value) -> Result<Result<Value, Vec<Fault>>, RuleError> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let Some(resource) = self.0.get(kind) else {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            let message = format!("not a kind of {GROUP}: write {}", known.join(" or "));
            return Ok(Err(vec![Fault::new("kind", message)]));
        };
        if object["apiVersion"] != *resource.version {
            let message = format!("is not served: write {}", resource.version);
            return Ok(Err(vec![Fault::new("apiVersion", message)]));
        }
        let mut admitted = object.clone();
        // The API server drops a status in a manifest.
        let status = admitted.as_object_mut().and_then(|it| it.remove("status"));
        let mut schema = resource.schema.clone();
        let mut found = metadata_faults(&object["metadata"]);
        if let (Some(status), Some(properties)) = (&status, &schema.properties)
            && let Some(schema) = properties.get("status")
        {
            found.extend(unknown_fields(status, schema, "status"));
        }
        for name in ["apiVersion", "kind", "metadata"] {
            let properties = schema.properties.get_or_insert_default();
            properties.insert(name.to_owned(), JSONSchemaProps::default());
        }
        found.extend(unknown_fields(&admitted, &schema, ""));
        apply_defaults(&mut admitted, &schema);
        found.extend(faults(&admitted, &schema, ""));
        let blocked = found.iter().filter(|fault| fault.blocks_rules);
        let blocked: Vec<&str> = blocked.map(|fault| fault.path.as_str()).collect();
        let seen = as_rules_see(&admitted);
        let broken = resource.rules.faults(&seen, &schema, "", &blocked)?;
        found.extend(broken);
        Ok(match found.is_empty() {
            true => Ok(admitted),
            false => Err(found),
        })
    }
}

fn group(object: &Value) -> &str {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    version.split_once('/').map_or("", |(group, _)| group)
}

/// Returns the object as seen by validation rules, which can only access the name in its metadata.
fn as_rules_see(object: &Value) -> Value {
    let mut seen = object.clone();
    let metadata = &object["metadata"];
    let generated = metadata["generateName"].as_str();
    let generated = generated.map(|start| format!("{start}{GENERATED}"));
    let name = metadata["name"].as_str().map(str::to_owned).or(generated);
    if let Some(fields) = seen.as_object_mut() {
        let metadata = json!({ "name": name.unwrap_or_default() });
        fields.insert("metadata".to_owned(), metadata);
    }
    seen
}

fn metadata_faults(metadata: &Value) -> Vec<Fault> {
    let mut found = Vec::new();
    let Some(fields) = metadata.as_object() else {
        let message = "Required value: name or generateName is required";
        return vec![Fault::new("metadata.name", message)];
    };
    let unknown = fields
        .keys()
        .filter(|it| !METADATA_FIELDS.contains(&it.as_str()));
    found.extend(unknown.map(|name| {
        let message = unknown_field(name, METADATA_FIELDS.into_iter());
        Fault::new(&field("metadata", name), message)
    }));
    if let Err(error) = serde_path_to_error::deserialize::<_, ObjectMeta>(metadata) {
        let path = field("metadata", &error.path().to_string());
        found.push(Fault::new(&path, error.inner().to_string()));
        return found;
    }
    let text = |name: &str| metadata[name].as_str().unwrap_or_default();
    match (text("name"), text("generateName")) {
        ("", "") => {
            let message = "Required value: name or generateName is required";
            found.push(Fault::new("metadata.name", message));
        }
        ("", _) => {}
        (name, _) if is_subdomain(name) => {}
        _ => found.push(Fault::new(
            "metadata.name",
            "not a name: use up to 253 lower-case letters, digits, '-' and '.', beginning and ending with a \
             letter or digit",
        )),
    }
    let namespace = text("namespace");
    let is_namespace = is_label(namespace) && namespace.len() <= 63;
    if !namespace.is_empty() && !is_namespace {
        let message = "not a namespace: use up to 63 lower-case letters, digits and '-', beginning and ending \
                       with a letter or digit";
        found.push(Fault::new("metadata.namespace", message));
    }
    found
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = !name.starts_with('-') && !name.ends_with('-');
    !name.is_empty() && ends && name.bytes().all(is_inner)
}

//! Checks objects against the definitions of the custom resources.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde::Serialize;
use serde_json::{Value, json};

use super::manifests::Place;
use super::metadata::{metadata_faults, name_of};
use super::rules::Rules;
use super::schema::{Fault, apply_defaults, faults, property, type_of, unknown_fields};
use crate::api::{GROUP, definitions};
use crate::cli::error::CliError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Severity {
    /// The API server would reject the manifest.
    Refused,
    /// The API server would accept the manifest, but the operator would report a problem.
    Reported,
}

/// A problem with a manifest.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    #[serde(flatten)]
    pub place: Place,
    /// Path of the field; empty for the whole document.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
    pub severity: Severity,
}

/// Returns the message about a document, or an item of a list, that is not an object.
pub(super) fn no_object(value: &Value) -> String {
    let advice = match value {
        Value::Array(_) => {
            "write each object as a document of its own, with a line --- between them"
        }
        _ => "write each field as `name: value`, with a space after the colon",
    };
    let is = type_of(value);
    format!("must be of type object, but is of type {is}: {advice}")
}

struct Resource {
    version: String,
    schema: JSONSchemaProps,
    rules: Rules,
}

/// The custom resources, by kind.
pub(super) struct Resources(BTreeMap<String, Resource>);

impl Resources {
    pub(super) fn new() -> Result<Self, CliError> {
        let mut resources = BTreeMap::new();
        for definition in definitions() {
            for version in definition.spec.versions {
                let schema = version.schema.and_then(|it| it.open_api_v3_schema);
                let Some(mut schema) = schema else { continue };
                for name in ["apiVersion", "kind", "metadata"] {
                    let properties = schema.properties.get_or_insert_default();
                    properties.insert(name.to_owned(), JSONSchemaProps::default());
                }
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
        let text = |name: &str| object[name].as_str().unwrap_or_default();
        let group = text("apiVersion").split_once('/').map(|(group, _)| group);
        self.0.contains_key(text("kind")) || group == Some(GROUP)
    }

    /// Returns the object with defaults, as the API server would store it, or the faults for which it would
    /// reject the object.
    pub(super) fn admit(&self, object: &Value) -> Result<Value, Vec<Fault>> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let Some(resource) = self.0.get(kind) else {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            let message = format!("not a kind of {GROUP}: write {}", known.join(" or "));
            return Err(vec![Fault::new("kind", message)]);
        };
        if object["apiVersion"] != *resource.version {
            let message = format!("is not served: write {}", resource.version);
            return Err(vec![Fault::new("apiVersion", message)]);
        }
        let mut admitted = object.clone();
        let schema = &resource.schema;
        let mut found = metadata_faults(&object["metadata"]);
        // The API server drops a status in a manifest.
        if let Some(status) = admitted.as_object_mut().and_then(|it| it.remove("status"))
            && let Some(schema) = property(schema, "status")
        {
            found.extend(unknown_fields(&status, schema, "status"));
        }
        found.extend(unknown_fields(&admitted, schema, ""));
        apply_defaults(&mut admitted, schema);
        found.extend(faults(&admitted, schema, ""));
        let blocked = found.iter().filter(|fault| fault.blocks_rules);
        let blocked: Vec<&str> = blocked.map(|fault| fault.path.as_str()).collect();
        let seen = as_rules_see(&admitted);
        let broken = resource.rules.faults(&seen, schema, "", &blocked);
        found.extend(broken);
        match found.is_empty() {
            true => Ok(admitted),
            false => Err(found),
        }
    }
}

/// Returns the object as seen by validation rules, which can only access the name in its metadata.
fn as_rules_see(object: &Value) -> Value {
    let mut seen = object.clone();
    if let Some(fields) = seen.as_object_mut() {
        let metadata = json!({ "name": name_of(&object["metadata"]) });
        fields.insert("metadata".to_owned(), metadata);
    }
    seen
}

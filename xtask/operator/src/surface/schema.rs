//! The schema of the resources.

use dingtalk_token_operator::api::definitions;
use serde_json::Value;

use super::Line;

/// Limits on the values of a field, which may be loosened but not tightened.
const LIMITS: [&str; 10] = [
    "maxLength",
    "minLength",
    "maxItems",
    "minItems",
    "maxProperties",
    "minProperties",
    "maximum",
    "minimum",
    "pattern",
    "format",
];
/// How lists and maps are merged.
const LIST_TYPES: [&str; 3] = [
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
];

/// Returns the lines of every field of every version, without descriptions.
pub(super) fn lines() -> Result<Vec<Line>, serde_json::Error> {
    let mut lines = Vec::new();
    for definition in definitions() {
        let names = &definition.spec.names;
        let kind = &names.kind;
        let mut says = |what: &str, value: &Value| {
            lines.push(Line::has(kind, &format!("{what} {}", shown(value))));
        };
        says("group", &serde_json::to_value(&definition.spec.group)?);
        says("scope", &serde_json::to_value(&definition.spec.scope)?);
        says("names", &serde_json::to_value(names)?);
        for version in &definition.spec.versions {
            let version = serde_json::to_value(version)?;
            let name = format!("{kind}.{}", version["name"].as_str().unwrap_or_default());
            for column in elements(&version["additionalPrinterColumns"]) {
                let priority = column["priority"].as_i64().unwrap_or_default();
                let said = format!(
                    "column {} {} {} priority {priority}",
                    shown(&column["name"]),
                    shown(&column["type"]),
                    shown(&column["jsonPath"]),
                );
                lines.push(Line::has(&name, &said));
            }
            for field in elements(&version["selectableFields"]) {
                let said = format!("selectable {}", shown(&field["jsonPath"]));
                lines.push(Line::has(&name, &said));
            }
            walk(&name, &version["schema"]["openAPIV3Schema"], &mut lines);
        }
    }
    Ok(lines)
}

/// Adds the lines of a schema, and of the fields and items below it.
pub(super) fn walk(path: &str, schema: &Value, lines: &mut Vec<Line>) {
    lines.push(Line::has(path, &format!("type {}", shown(&schema["type"]))));
    if let Some(default) = schema.get("default") {
        lines.push(Line::has(path, &format!("default {}", shown(default))));
    }
    for value in elements(&schema["enum"]) {
        lines.push(Line::has(path, &format!("value {}", shown(value))));
    }
    for list_type in LIST_TYPES {
        if let Some(value) = schema.get(list_type) {
            lines.push(Line::has(path, &format!("{list_type} {}", shown(value))));
        }
    }
    for limit in LIMITS {
        if let Some(value) = schema.get(limit) {
            lines.push(Line::must(path, &format!("{limit} {}", shown(value))));
        }
    }
    for rule in elements(&schema["x-kubernetes-validations"]) {
        let said = format!("rule {}", rule["rule"].as_str().unwrap_or_default());
        lines.push(Line::must(path, &said));
    }
    for field in elements(&schema["required"]) {
        let field = field.as_str().unwrap_or_default();
        lines.push(Line::must(&format!("{path}.{field}"), "required"));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), field, lines);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], lines);
    }
    if schema["additionalProperties"].is_object() {
        walk(&format!("{path}.*"), &schema["additionalProperties"], lines);
    }
}

fn elements(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    }
}

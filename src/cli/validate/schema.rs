//! Applies the schema of a CustomResourceDefinition: sets defaults and checks values like the API server.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Path of the field, such as `spec.corpIds[1]`.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
    /// Whether rules cannot be evaluated, because a value is missing, too large or of a wrong type.
    pub blocks_rules: bool,
}

impl Fault {
    /// Creates a fault that does not block rules.
    pub(super) fn new(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            message: message.into(),
            blocks_rules: false,
        }
    }

    fn blocking(path: &str, message: impl Into<String>) -> Self {
        Self {
            blocks_rules: true,
            ..Self::new(path, message)
        }
    }
}

/// Returns the path of the field `name` of the object at `path`.
pub(super) fn field(path: &str, name: &str) -> String {
    match path.is_empty() {
        true => name.to_owned(),
        false => format!("{path}.{name}"),
    }
}

/// Returns the schema of a list's items.
pub(super) fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(items) => Some(items),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

/// Returns the schema of a map's values.
fn values(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.additional_properties.as_ref()? {
        JSONSchemaPropsOrBool::Schema(values) => Some(values),
        JSONSchemaPropsOrBool::Bool(_) => None,
    }
}

/// Returns the schema of an object's field or of a map's value.
pub(super) fn property<'a>(schema: &'a JSONSchemaProps, name: &str) -> Option<&'a JSONSchemaProps> {
    let named = schema.properties.as_ref().and_then(|all| all.get(name));
    named.or_else(|| values(schema))
}

/// Returns the fields or items of a value that have a schema, with their paths.
pub(super) fn children<'a>(
    value: &'a Value,
    schema: &'a JSONSchemaProps,
    path: &str,
) -> Vec<(String, &'a Value, &'a JSONSchemaProps)> {
    match (value, items(schema)) {
        (Value::Object(object), _) => object
            .iter()
            .filter_map(|(name, value)| Some((field(path, name), value, property(schema, name)?)))
            .collect(),
        (Value::Array(list), Some(items)) => list
            .iter()
            .enumerate()
            .map(|(index, item)| (format!("{path}[{index}]"), item, items))
            .collect(),
        _ => Vec::new(),
    }
}

/// Sets defaults, after removing nulls, since no field is nullable.
pub(super) fn apply_defaults(value: &mut Value, schema: &JSONSchemaProps) {
    match value {
        Value::Object(object) => {
            object.retain(|name, value| !value.is_null() || property(schema, name).is_none());
            for (name, property) in schema.properties.iter().flatten() {
                if let Some(default) = &property.default {
                    object
                        .entry(name.clone())
                        .or_insert_with(|| default.0.clone());
                }
            }
            for (name, value) in object {
                if let Some(property) = property(schema, name) {
                    apply_defaults(value, property);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = items(schema) {
                for item in list {
                    apply_defaults(item, items);
                }
            }
        }
        _ => {}
    }
}

/// Returns a fault for each field that is not in the schema.
pub(super) fn unknown_fields(value: &Value, schema: &JSONSchemaProps, path: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    match value {
        Value::Object(object) if schema.properties.is_some() || values(schema).is_some() => {
            for (name, value) in object {
                let path = field(path, name);
                match property(schema, name) {
                    Some(property) => faults.extend(unknown_fields(value, property, &path)),
                    None => {
                        let known = schema.properties.iter().flatten();
                        let known = known.map(|(name, _)| name.as_str());
                        faults.push(Fault::new(&path, unknown_field(name, known)));
                    }
                }
            }
        }
        _ => {
            for (path, item, schema) in children(value, schema, path) {
                faults.extend(unknown_fields(item, schema, &path));
            }
        }
    }
    faults
}

/// Returns the message for an unknown field, with a suggestion.
pub(super) fn unknown_field<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().find(|known| {
        known.eq_ignore_ascii_case(name) || strsim::damerau_levenshtein(known, name) <= 2
    });
    match near {
        Some(near) => format!("unknown field: did you mean {near}?"),
        None => format!("unknown field: the fields here are {}", known.join(", ")),
    }
}

/// Returns the violations of the schema, rules aside, by a value with defaults.
pub(super) fn faults(value: &Value, schema: &JSONSchemaProps, path: &str) -> Vec<Fault> {
    if let Some(fault) = wrong_type(value, schema, path) {
        return vec![fault];
    }
    let mut faults = Vec::new();
    if let Some(allowed) = &schema.enum_
        && !allowed.iter().any(|allowed| allowed.0 == *value)
    {
        let allowed: Vec<String> = allowed.iter().map(|it| it.0.to_string()).collect();
        let allowed = allowed.join(", ");
        let message = format!("Unsupported value: {value}: supported values: {allowed}");
        faults.push(Fault::new(path, message));
    }
    match value {
        Value::String(text) => faults.extend(wrong_length(text, schema, path)),
        Value::Array(list) => {
            let (min, max) = (schema.min_items, schema.max_items);
            faults.extend(wrong_count(list.len(), min, max, path));
            faults.extend(duplicates(list, schema, path));
        }
        Value::Object(object) => {
            let (min, max) = (schema.min_properties, schema.max_properties);
            faults.extend(wrong_count(object.len(), min, max, path));
            faults.extend(missing(object, schema, path));
        }
        _ => {}
    }
    for (path, value, schema) in children(value, schema, path) {
        faults.extend(self::faults(value, schema, &path));
    }
    faults
}

/// Returns the name of a value's type in schemas.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(value: &Value, schema: &JSONSchemaProps, path: &str) -> Option<Fault> {
    let wanted = schema.type_.as_deref()?;
    let is = type_of(value);
    if is == wanted || (is, wanted) == ("integer", "number") {
        return None;
    }
    let hint = match (wanted, is) {
        ("string", "integer" | "number" | "boolean") => ": put it in quotes",
        ("boolean", "string") => ": write true or false",
        _ => "",
    };
    let message = format!("must be of type {wanted}, but is of type {is}{hint}");
    Some(Fault::blocking(path, message))
}

fn wrong_length(text: &str, schema: &JSONSchemaProps, path: &str) -> Option<Fault> {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(max) = schema.max_length.filter(|max| length > *max) {
        let message = format!("Too long: {length} characters, but at most {max} are allowed");
        return Some(Fault::blocking(path, message));
    }
    let min = schema.min_length.filter(|min| length < *min)?;
    Some(Fault::new(
        path,
        format!("too short: at least {min} characters"),
    ))
}

fn wrong_count(count: usize, min: Option<i64>, max: Option<i64>, path: &str) -> Option<Fault> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    if let Some(max) = max.filter(|max| count > *max) {
        let message = format!("Too many: {count}: must have at most {max} items");
        return Some(Fault::blocking(path, message));
    }
    let min = min.filter(|min| count < *min)?;
    Some(Fault::new(path, format!("must have at least {min} items")))
}

fn missing(object: &Map<String, Value>, schema: &JSONSchemaProps, path: &str) -> Vec<Fault> {
    let required = schema.required.iter().flatten();
    let missing = required.filter(|name| !object.contains_key(*name));
    let fault = |name: &String| {
        let purpose =
            property(schema, name).and_then(|it| it.description.as_deref()?.lines().next());
        let message = format!("Required value: {}", purpose.unwrap_or_default());
        Fault::blocking(&field(path, name), message.trim_end_matches([':', ' ']))
    };
    missing.map(fault).collect()
}

/// Returns a fault for each duplicate item in a list that is a set or has keys.
fn duplicates(list: &[Value], schema: &JSONSchemaProps, path: &str) -> Vec<Fault> {
    let keys = schema.x_kubernetes_list_map_keys.as_ref();
    let identity = |item: &Value| match (schema.x_kubernetes_list_type.as_deref(), keys) {
        (Some("set"), _) => Some(item.to_string()),
        (Some("map"), Some(keys)) => {
            let keys = keys.iter().map(|key| item.get(key).map(Value::to_string));
            Some(keys.collect::<Option<Vec<String>>>()?.join(", "))
        }
        _ => None,
    };
    let mut seen = BTreeSet::new();
    let mut faults = Vec::new();
    for (index, item) in list.iter().enumerate() {
        if let Some(identity) = identity(item)
            && !seen.insert(identity.clone())
        {
            let message = format!("Duplicate value: {identity}: remove one of them");
            faults.push(Fault::new(&format!("{path}[{index}]"), message));
        }
    }
    faults
}

//! Manifests that violate one constraint of a schema each.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value, json};

/// What is violated, and the manifest.
pub type Violation = (String, Value);

/// A violation of each constraint on the fields of `full`, which has every field.
pub fn violations(full: &Value, schema: &JSONSchemaProps) -> Vec<Violation> {
    let mut found = Vec::new();
    let spec = schema.properties.as_ref().and_then(|all| all.get("spec"));
    visit(full, "/spec", spec.expect("a spec"), &mut found);
    found
}

fn visit(full: &Value, pointer: &str, schema: &JSONSchemaProps, found: &mut Vec<Violation>) {
    let value = full.pointer(pointer).expect(pointer);
    let mut add = |what: &str, wrong: Value| {
        let mut object = full.clone();
        *object.pointer_mut(pointer).expect(pointer) = wrong;
        found.push((format!("{pointer}: {what}"), object));
    };
    let other_type = if value.is_string() {
        json!(7)
    } else {
        json!("x")
    };
    add("type", other_type);
    let long = |length: i64| json!("x".repeat(usize::try_from(length).expect("a length")));
    schema
        .max_length
        .iter()
        .for_each(|max| add("maxLength", long(max + 1)));
    schema
        .min_length
        .iter()
        .for_each(|min| add("minLength", long(min - 1)));
    schema
        .enum_
        .iter()
        .for_each(|_| add("enum", json!("Other")));
    if let Some(max) = schema.max_items {
        let items = (0..=max).map(|_| value[0].clone());
        add("maxItems", items.collect());
    }
    schema
        .min_items
        .iter()
        .for_each(|_| add("minItems", json!([])));
    if let Some(max) = schema.max_properties {
        let fields: Map<_, _> = (0..=max).map(|n| (format!("k{n}"), json!("x"))).collect();
        add("maxProperties", Value::Object(fields));
    }
    for required in schema.required.iter().flatten() {
        let mut fields = value.as_object().expect("an object").clone();
        fields.remove(required);
        add(&format!("required {required}"), Value::Object(fields));
    }
    if schema.properties.is_some() {
        let mut fields = value.as_object().expect("an object").clone();
        fields.insert("unknownField".to_owned(), json!(1));
        add("unknown field", Value::Object(fields));
    }
    for (name, property) in schema.properties.iter().flatten() {
        visit(full, &format!("{pointer}/{name}"), property, found);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        visit(full, &format!("{pointer}/0"), items, found);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        let key = value
            .as_object()
            .and_then(|it| it.keys().next())
            .expect("a key");
        visit(
            full,
            &format!("{pointer}/{}", key.replace('/', "~1")),
            values,
            found,
        );
    }
}

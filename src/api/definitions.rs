//! The CustomResourceDefinitions, as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::{DingTalkApp, DingTalkTokenReference};

/// The definitions of both resources.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [DingTalkApp::crd(), DingTalkTokenReference::crd()].map(|mut definition| {
        for version in &mut definition.spec.versions {
            let schema = version.schema.iter_mut();
            for schema in schema.filter_map(|schema| schema.open_api_v3_schema.as_mut()) {
                forbid_null(schema);
            }
        }
        definition
    })
}

/// An optional field can be absent, not null: a third state that every CEL rule would have to know.
fn forbid_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema
        .properties
        .iter_mut()
        .flatten()
        .for_each(|(_, property)| forbid_null(property));
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        forbid_null(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        forbid_null(values);
    }
}

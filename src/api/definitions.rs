//! Generates the CustomResourceDefinitions.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::{DingTalkApp, DingTalkTokenReference};

/// Returns the definitions of both resources.
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

/// Makes every field non-nullable. Every CEL rule would have to handle null in addition to an absent field.
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

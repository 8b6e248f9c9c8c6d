//! Metadata as the API server sends it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Metadata, without managed fields if they cannot be decoded. Whoever writes an object may put a
/// time past the year 9999 into them, or fields of any depth, and must not end the list of all
/// others.
///
/// In that case none of them are kept: without one writer's fields, what it wrote would seem to be
/// the operator's.
pub(super) struct Metadata(pub ObjectMeta);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    managed_fields: Option<Box<RawValue>>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let others = Value::Object(wire.others);
        let mut metadata = ObjectMeta::deserialize(others).map_err(D::Error::custom)?;
        let managed = wire.managed_fields.as_deref().map(RawValue::get);
        let managed = managed.map(serde_json::from_str::<Option<Vec<ManagedFieldsEntry>>>);
        metadata.managed_fields = managed.and_then(Result::ok).flatten();
        Ok(Self(metadata))
    }
}

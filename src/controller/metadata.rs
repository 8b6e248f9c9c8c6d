//! Metadata as the API server gives it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Metadata, without managed fields that cannot be decoded: whoever writes an object may write into
/// them a time past the year 9999, or fields at any depth, and must not end the list of all others.
///
/// Then none of them are kept: without those of one writer, what it wrote would seem to be ours.
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

//! Objects as earlier releases of the operator left them, made current: times are shifted to now, and recorded UIDs
//! are replaced by those that the cluster assigns.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Time of the recording.
const RECORDED_AT: &str = "2027-01-01T00:00:00Z";
/// Length of a recorded time, which is in whole seconds.
const TIME_LENGTH: usize = RECORDED_AT.len();
/// Namespace of the recorded objects, and its UID.
const NAMESPACE: &str = "golden";
const NAMESPACE_UID: &str = "e0000000-0000-4000-8000-000000000000";
const STATE: &str = "dingtalk-token-operator.github.io/state";

/// Files with version 1 of the annotation `state`: name, and objects as YAML.
const V1: [(&str, &str); 7] = [
    ("single", include_str!("../v1/single.yaml")),
    ("template", include_str!("../v1/template.yaml")),
    ("combined", include_str!("../v1/combined.yaml")),
    ("per-corp", include_str!("../v1/per-corp.yaml")),
    ("copy", include_str!("../v1/copy.yaml")),
    ("status", include_str!("../v1/status.yaml")),
    ("renamed", include_str!("../v1/renamed.yaml")),
];

/// Why golden objects cannot be used.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Returns the names of all files.
pub fn names() -> impl Iterator<Item = &'static str> {
    V1.iter().map(|(name, _)| *name)
}

/// The objects of one file, in the order of their creation.
pub struct Golden {
    shift: SignedDuration,
    objects: std::vec::IntoIter<Value>,
    /// Recorded texts, and their replacements.
    renamed: BTreeMap<String, String>,
    versions: BTreeMap<String, (String, String)>,
}

/// An object to create.
pub struct Recorded {
    /// The object, without UID and status.
    pub object: Value,
    /// Its status, if it has one.
    pub status: Option<Value>,
    uid: Option<String>,
    version: Option<String>,
}

impl Golden {
    /// Loads a file for a namespace, as if it had been recorded `now`.
    ///
    /// # Errors
    /// The file does not exist or is malformed.
    pub fn load(
        name: &str,
        (namespace, namespace_uid): (&str, &str),
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let found = V1.iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or("there is no file with this name")?;
        let documents = serde_yaml_ng::Deserializer::from_str(text);
        let objects: Vec<Value> = documents
            .map(Value::deserialize)
            .collect::<Result<_, _>>()?;
        let recorded_at: Timestamp = RECORDED_AT.parse()?;
        let shift = SignedDuration::from_secs(now.as_second() - recorded_at.as_second());
        let renamed = [
            (quoted(NAMESPACE), quoted(namespace)),
            (NAMESPACE_UID.to_owned(), namespace_uid.to_owned()),
        ];
        Ok(Self {
            shift,
            objects: objects.into_iter(),
            renamed: renamed.into(),
            versions: BTreeMap::new(),
        })
    }

    /// Returns the next object to create.
    ///
    /// # Errors
    /// It is malformed, or the digest in its annotation `state` is wrong.
    pub fn next_object(&mut self) -> Result<Option<Recorded>, Failure> {
        let Some(object) = self.objects.next() else {
            return Ok(None);
        };
        if object["metadata"]["annotations"][STATE].is_string() {
            let (state, data) = (state(&object)?, &object["stringData"]);
            if state["digest"] != digest(&state, data) {
                return Err(format!("wrong digest: {}", object["metadata"]["name"]).into());
            }
        }
        let mut text = object.to_string();
        for (recorded, current) in &self.renamed {
            text = text.replace(recorded, current);
        }
        let mut object: Value = serde_json::from_str(&self.moved(&text)?)?;
        if object["metadata"]["annotations"][STATE].is_string() {
            self.bring_state_up_to_date(&mut object)?;
        }
        let take = |value: &mut Value, field: &str| value.as_object_mut()?.remove(field);
        let text = |value: Value| value.as_str().map(str::to_owned);
        let metadata = &mut object["metadata"];
        Ok(Some(Recorded {
            uid: take(metadata, "uid").and_then(text),
            version: take(metadata, "resourceVersion").and_then(text),
            status: take(&mut object, "status"),
            object,
        }))
    }

    /// Records the UID and resourceVersion of a created object, for objects that refer to it.
    pub fn created(&mut self, recorded: &Recorded, uid: &str, version: &str) {
        let Some(old) = &recorded.uid else { return };
        self.renamed.insert(old.clone(), uid.to_owned());
        if let Some(old) = &recorded.version {
            let versions = (old.clone(), version.to_owned());
            self.versions.insert(uid.to_owned(), versions);
        }
    }

    /// Shifts all times in a text.
    fn moved(&self, text: &str) -> Result<String, Failure> {
        let mut moved = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let time = rest.get(..TIME_LENGTH).filter(|time| is_time(time));
            match time {
                Some(time) => {
                    let time: Timestamp = time.parse()?;
                    moved.push_str(&(time + self.shift).to_string());
                    rest = &rest[TIME_LENGTH..];
                }
                None => {
                    moved.push(next);
                    rest = &rest[next.len_utf8()..];
                }
            }
        }
        Ok(moved)
    }

    fn bring_state_up_to_date(&self, object: &mut Value) -> Result<(), Failure> {
        let mut state = state(object)?;
        let seconds = self.shift.as_secs();
        let moved = |value: &mut Value| {
            if let Some(at) = value.as_i64() {
                *value = json!(at + seconds);
            }
        };
        if let Some(renewal) = state.get_mut("renewal") {
            moved(&mut renewal["since"]);
        }
        let tokens = state["tokens"].as_object_mut().into_iter().flatten();
        for (_, token) in tokens {
            moved(&mut token["at"]);
        }
        let credentials = &mut state["credentials"];
        let versions = credentials["uid"].as_str();
        let versions = versions.and_then(|uid| self.versions.get(uid));
        if let Some((_, current)) =
            versions.filter(|(old, _)| credentials["resourceVersion"] == **old)
        {
            credentials["resourceVersion"] = json!(current);
        }
        let digest = digest(&state, &object["stringData"]);
        state["digest"] = json!(digest);
        object["metadata"]["annotations"][STATE] = json!(state.to_string());
        Ok(())
    }
}

fn state(object: &Value) -> Result<Value, Failure> {
    let state = object["metadata"]["annotations"][STATE].as_str();
    Ok(serde_json::from_str(state.unwrap_or_default())?)
}

/// Returns the SHA-256 of the recorded keys and their values, each preceded by its length.
fn digest(state: &Value, data: &Value) -> String {
    let keys = state["keys"].as_array().into_iter().flatten();
    let corp_ids = || state["tokens"].as_object().into_iter().flatten();
    let keys = keys.filter_map(Value::as_str).flat_map(|key| {
        let each = corp_ids().map(move |(corp_id, _)| key.replace('*', corp_id));
        each.take(if key.contains('*') { usize::MAX } else { 1 })
    });
    let sorted: std::collections::BTreeSet<String> = keys.collect();
    let mut hash = Sha256::new();
    for key in sorted {
        let value = data[&key].as_str().unwrap_or_default();
        for part in [key.as_str(), value] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    let mut digest = String::new();
    for byte in hash.finalize() {
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

fn is_time(text: &str) -> bool {
    let shape = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
    text.bytes().map(shape).eq(*b"0000-00-00T00:00:00Z")
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_uids_and_digests_are_those_of_now() -> Result<(), Failure> {
        let now: Timestamp = "2030-06-01T12:00:00Z".parse()?;
        for name in names() {
            let mut golden = Golden::load(name, ("hr", "ns-uid"), now)?;
            let mut number = 0;
            while let Some(recorded) = golden.next_object()? {
                number += 1;
                let text = recorded.object.to_string();
                assert!(
                    !text.contains("2026-12-31T") && !text.contains("2027-01-01T"),
                    "{text}"
                );
                let is_secret = recorded.object["metadata"]["annotations"][STATE].is_string();
                if is_secret {
                    let state = state(&recorded.object)?;
                    assert_eq!(
                        state["digest"],
                        digest(&state, &recorded.object["stringData"])
                    );
                    let uid = state["credentials"]["uid"].as_str().unwrap_or_default();
                    assert!(uid.starts_with("uid-"), "{state}");
                    let version = format!("version-{}", uid.trim_start_matches("uid-"));
                    assert_eq!(state["credentials"]["resourceVersion"], version.as_str());
                }
                golden.created(
                    &recorded,
                    &format!("uid-{number}"),
                    &format!("version-{number}"),
                );
            }
            assert!(number >= 3, "{name}");
        }
        Ok(())
    }
}

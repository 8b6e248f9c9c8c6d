//! The keys and values of a target Secret.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::target::Recorded;
use super::{Held, TokenRecord};
use crate::api::{KEY_ACCESS_TOKEN, KEY_CORP_ID, KEY_EXPIRES_AT, Layout};
use crate::dingtalk::AccessToken;

/// Which keys a Secret has for its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One token: layouts `Single` and `PerCorp`.
    One,
    /// A token for each of several organisations: layout `Combined`.
    Many,
}

impl Shape {
    /// The shape of a layout's Secrets.
    pub fn of(layout: Layout) -> Self {
        match layout {
            Layout::Single | Layout::PerCorp => Self::One,
            Layout::Combined => Self::Many,
        }
    }

    /// The key of a token's value.
    pub fn access_token_key(self, corp_id: &str) -> String {
        match self {
            Self::One => KEY_ACCESS_TOKEN.to_owned(),
            Self::Many => format!("{corp_id}.{KEY_ACCESS_TOKEN}"),
        }
    }

    /// All keys of a token.
    pub fn keys(self, corp_id: &str) -> Vec<String> {
        match self {
            Self::One => [KEY_ACCESS_TOKEN, KEY_CORP_ID, KEY_EXPIRES_AT]
                .map(str::to_owned)
                .to_vec(),
            Self::Many => [KEY_ACCESS_TOKEN, KEY_EXPIRES_AT]
                .map(|key| format!("{corp_id}.{key}"))
                .to_vec(),
        }
    }

    /// Keys and values of a token.
    fn entries(self, held: &Held) -> Vec<(String, Zeroizing<String>)> {
        let record = &held.record;
        let mut values = vec![held.token.expose().to_owned()];
        if self == Self::One {
            values.push(record.corp_id.clone());
        }
        values.push(record.lifetime.expires_at.to_string());
        let values = values.into_iter().map(Zeroizing::new);
        self.keys(&record.corp_id).into_iter().zip(values).collect()
    }
}

/// See the module.
#[derive(Clone, Default)]
pub struct Data(BTreeMap<String, Zeroizing<String>>);

impl Data {
    /// The keys of these tokens in this shape.
    pub fn of<'a>(shape: Shape, tokens: impl IntoIterator<Item = &'a Held>) -> Self {
        let entries = tokens.into_iter().flat_map(|held| shape.entries(held));
        Self(entries.collect())
    }

    /// These keys, as they were found in a Secret; `None` where one is missing or not text.
    pub fn found(
        keys: impl IntoIterator<Item = String>,
        mut lookup: impl FnMut(&str) -> Option<Zeroizing<Vec<u8>>>,
    ) -> Option<Self> {
        let mut data = BTreeMap::new();
        for key in keys {
            let text = String::from_utf8(lookup(&key)?.to_vec()).ok()?;
            data.insert(key, Zeroizing::new(text));
        }
        Some(Self(data))
    }

    /// Adds a key.
    pub fn insert(&mut self, key: String, value: Zeroizing<String>) {
        self.0.insert(key, value);
    }

    /// SHA-256 over keys and values with their lengths, in hexadecimal.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (key, value) in &self.0 {
            for part in [key.as_bytes(), value.as_bytes()] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        hexadecimal(&hash.finalize())
    }

    /// The size of all values in bytes, as the API server counts it.
    pub fn size(&self) -> usize {
        self.0.values().map(|value| value.len()).sum()
    }

    /// Keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Zeroizing<String>)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The tokens, where these keys are what was recorded of them.
    pub fn tokens_recorded(&self, recorded: &Recorded) -> Option<Vec<Held>> {
        if recorded.digest != self.digest() {
            return None;
        }
        let held = |record: &TokenRecord| {
            let value = self
                .0
                .get(&recorded.shape.access_token_key(&record.corp_id))?;
            let held = Held {
                token: AccessToken::new(value.to_string())?,
                record: record.clone(),
            };
            let entries = recorded.shape.entries(&held);
            let genuine = entries
                .iter()
                .all(|(key, value)| self.0.get(key) == Some(value));
            genuine.then_some(held)
        };
        recorded.tokens.iter().map(held).collect()
    }
}

impl IntoIterator for Data {
    type Item = (String, Zeroizing<String>);
    type IntoIter = std::collections::btree_map::IntoIter<String, Zeroizing<String>>;

    /// Keys and values.
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Lower case, two digits a byte.
pub fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

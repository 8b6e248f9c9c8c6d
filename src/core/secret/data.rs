//! The keys and values of a target Secret.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::core::secret::recorded::Recorded;
use crate::core::secret::shape::{Field, Shape};
use crate::core::token::hexadecimal::hexadecimal;
use crate::core::token::record::{Held, TokenRecord};
use crate::dingtalk::{AccessToken, LIFETIME_MAX};

/// The keys and values of a target Secret.
#[derive(Clone, Default)]
pub struct Data(pub(crate) BTreeMap<String, Zeroizing<String>>);

impl Data {
    /// Returns the keys of these tokens in this shape.
    pub fn of<'a>(shape: Shape, tokens: impl IntoIterator<Item = &'a Held>) -> Self {
        let entries = tokens.into_iter().flat_map(|held| {
            let entry =
                |field: &Field| (shape.key(*field, &held.record.corp_id), field.value(held));
            shape.fields().iter().map(entry)
        });
        Self(entries.collect())
    }

    /// Looks up these keys in a Secret; `None` if one is missing or not text.
    pub fn found(
        keys: impl IntoIterator<Item = String>,
        mut lookup: impl FnMut(&str) -> Option<Zeroizing<Vec<u8>>>,
    ) -> Option<Self> {
        let entries = keys.into_iter().map(|key| {
            let text = String::from_utf8(lookup(&key)?.to_vec()).ok()?;
            Some((key, Zeroizing::new(text)))
        });
        entries.collect::<Option<_>>().map(Self)
    }

    /// Returns the digest that a record has of them.
    pub fn digest(&self) -> String {
        digest(&self.0)
    }

    /// Returns the size of all values in bytes, as the API server counts it.
    pub fn size(&self) -> usize {
        self.0.values().map(|value| value.len()).sum()
    }

    /// Returns the tokens, if the data is as recorded.
    pub fn tokens_recorded(&self, recorded: &Recorded) -> Option<Vec<Held>> {
        let digest = recorded.digest.as_ref();
        if digest.is_some_and(|digest| *digest != self.digest()) {
            return None;
        }
        let tokens = recorded.tokens.iter();
        tokens.map(|record| self.token(recorded, record)).collect()
    }

    fn token(&self, recorded: &Recorded, record: &TokenRecord) -> Option<Held> {
        let value = |field| self.0.get(&recorded.shape.key(field, &record.corp_id));
        let mut held = Held {
            token: AccessToken::new(value(Field::AccessToken)?.to_string())?,
            record: record.clone(),
        };
        if recorded.digest.is_none() {
            // Public metadata only has the earliest expiry.
            let lifetime = &mut held.record.lifetime;
            lifetime.expires_at = value(Field::ExpiresAt)?.parse().ok()?;
            let is_plausible = lifetime.length().unsigned_abs() <= LIFETIME_MAX;
            return is_plausible.then_some(held);
        }
        // A field that another release did not write is missing.
        let is_as_recorded =
            |field: &Field| value(*field).is_none_or(|it| *it == field.value(&held));
        let mut fields = recorded.shape.fields().iter();
        fields.all(is_as_recorded).then_some(held)
    }

    /// Returns a single token's recorded data with the value of `held`; `None` if keys were written
    /// that do not follow from the token.
    pub fn as_recorded(recorded: &Recorded, held: &Held) -> Option<Self> {
        let Self(own) = Self::of(recorded.shape, [held]);
        let entries = recorded.keys().map(|key| {
            let value = own.get(&key)?.clone();
            Some((key, value))
        });
        entries.collect::<Option<_>>().map(Self)
    }
}

/// Returns the SHA-256 of keys and values with their lengths, in hexadecimal.
pub(crate) fn digest(entries: &BTreeMap<String, impl AsRef<str>>) -> String {
    let mut hash = Sha256::new();
    for (key, value) in entries {
        for part in [key.as_str(), value.as_ref()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hexadecimal(&hash.finalize())
}

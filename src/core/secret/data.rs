//! The keys and values of a target Secret.

use std::collections::{BTreeMap, BTreeSet};

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

    /// Looks up these keys in a Secret. Those that are missing or not text are left out.
    pub fn found(
        keys: impl IntoIterator<Item = String>,
        mut lookup: impl FnMut(&str) -> Option<Zeroizing<Vec<u8>>>,
    ) -> Self {
        let entries = keys.into_iter().filter_map(|key| {
            let text = String::from_utf8(lookup(&key)?.to_vec()).ok()?;
            Some((key, Zeroizing::new(text)))
        });
        Self(entries.collect())
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
        let is_complete = recorded.keys().all(|key| self.0.contains_key(&key));
        if !is_complete || digest.is_some_and(|digest| *digest != self.digest()) {
            return None;
        }
        let tokens = recorded.tokens.iter();
        tokens.map(|record| self.token(recorded, record)).collect()
    }

    /// Returns the tokens whose values are among the keys `ours`, which only the operator wrote,
    /// whatever others did to the rest.
    pub fn tokens_untouched(&self, recorded: &Recorded, ours: &BTreeSet<String>) -> Vec<Held> {
        let untouched = recorded.tokens.iter().filter_map(|record| {
            let key = recorded.shape.key(Field::AccessToken, &record.corp_id);
            let value = self.0.get(&key).filter(|_| ours.contains(&key))?;
            Some(Held {
                token: AccessToken::new(value.to_string())?,
                record: record.clone(),
            })
        });
        // Public metadata only has the earliest expiry.
        untouched.filter(|_| recorded.digest.is_some()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::secret::recorded::written_keys;
    use crate::core::secret::state::example;

    #[test]
    fn a_value_that_only_the_operator_wrote_counts_whatever_was_done_to_other_keys() {
        let held = Held {
            token: AccessToken::new("t1".to_owned()).expect("a token"),
            record: example().tokens.remove(0),
        };
        let keys = written_keys(Shape::One, std::iter::empty());
        let mut data = Data::of(Shape::One, [&held]);
        let recorded = Recorded {
            digest: Some(data.digest()),
            ..Recorded::of(keys, vec![held.record.clone()]).expect("a shape")
        };
        data.0.remove("corp_id");
        data.0
            .insert("expires_at".to_owned(), Zeroizing::new("edited".to_owned()));
        assert_eq!(data.tokens_recorded(&recorded), None);
        let untouched = |recorded: &Recorded, ours: &[&str]| {
            let ours = ours.iter().map(|key| (*key).to_owned()).collect();
            data.tokens_untouched(recorded, &ours)
        };
        assert_eq!(untouched(&recorded, &["access_token"]), [held]);
        assert_eq!(untouched(&recorded, &["expires_at"]), []);
        let newer = Recorded {
            digest: None,
            ..recorded
        };
        assert_eq!(untouched(&newer, &["access_token"]), []);
    }
}

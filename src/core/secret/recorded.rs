//! What a target Secret's metadata records about its contents.

use jiff::Timestamp;

use crate::core::secret::shape::{Field, Shape};
use crate::core::token::known_credentials::KnownCredentials;
use crate::core::token::record::{ObjectVersion, TokenRecord};

/// Most tokens that one Secret may record; `spec.corpIds` has no more.
pub(crate) const TOKENS_MAX: usize = 1000;
/// Longest corpId, as in the schema of `spec.corpIds`.
pub(crate) const CORP_ID_MAX: usize = 64;
/// Longest name of an object, site, key or UID that is kept.
pub(crate) const NAME_MAX: usize = 253;
/// Most keys that may be recorded: 16 of templates, and a few for each token.
pub(crate) const KEYS_MAX: usize = 64;
/// Stands for each token's corpId in a recorded key. No key of a Secret can contain it.
pub(in crate::core) const ANY_CORP: &str = "*";

/// The record of a target Secret's contents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recorded {
    pub shape: Shape,
    /// The keys that were written, sorted, with `*` for each token's corpId. Another release may
    /// have written others.
    pub keys: Vec<String>,
    /// The tokens, sorted by corpId.
    pub tokens: Vec<TokenRecord>,
    /// Signature of the templates that made some of the keys; empty without templates.
    pub templates: String,
    /// Digest of all keys and values; `None` if the state is of a newer version, so that only
    /// public metadata is known.
    pub digest: Option<String>,
    /// When a value last changed, first tokens excepted.
    pub value_changed_at: Option<Timestamp>,
}

impl Recorded {
    /// Whether renewing one token rewrites the Secret as a whole.
    pub fn is_whole(&self) -> bool {
        self.shape == Shape::Many || !self.templates.is_empty()
    }

    /// Builds a record of these keys and tokens; `None` if no key holds the tokens.
    pub fn of(keys: Vec<String>, mut tokens: Vec<TokenRecord>) -> Option<Self> {
        let has = |shape: &Shape| keys.contains(&shape.key(Field::AccessToken, ANY_CORP));
        // A template of an app with several tokens may use a single token's key.
        let shape = [Shape::Many, Shape::One].into_iter().find(has)?;
        if shape == Shape::One && tokens.len() != 1 {
            return None;
        }
        sort(&mut tokens);
        Some(Self {
            shape,
            keys,
            tokens,
            templates: String::new(),
            digest: None,
            value_changed_at: None,
        })
    }

    /// Credits the tokens to these credentials if the `client_id` matches or is unknown. For
    /// Secrets that do not record which version of the credentials their tokens were fetched with.
    #[must_use]
    pub fn credited(mut self, known: &KnownCredentials) -> Self {
        for token in &mut self.tokens {
            credit(token, known, self.digest.is_none());
        }
        self
    }

    /// Estimates the memory use in bytes.
    pub fn weight(&self) -> usize {
        let texts = |token: &TokenRecord| {
            token.site.len()
                + token.client_id.len()
                + token.corp_id.len()
                + token.credentials.uid.len()
                + token.credentials.resource_version.len()
        };
        let keys = self.keys.iter();
        let keys = keys.map(|key| size_of::<String>() + key.len());
        let tokens = self.tokens.iter();
        let tokens = tokens.map(|token| size_of::<TokenRecord>() + texts(token));
        size_of::<Self>()
            + self.templates.len()
            + self.digest.as_ref().map_or(0, String::len)
            + keys.sum::<usize>()
            + tokens.sum::<usize>()
    }

    /// Returns every key that was written.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        let shared = self.keys.iter().filter(|key| !is_per_corp(key)).cloned();
        let tokens = self.tokens.iter();
        shared.chain(tokens.flat_map(|token| self.keys_of(&token.corp_id)))
    }

    /// Returns the keys that were written for one of several tokens.
    pub fn keys_of(&self, corp_id: &str) -> impl Iterator<Item = String> {
        let keys = self.keys.iter().filter(|key| is_per_corp(key));
        keys.map(move |key| key.replacen(ANY_CORP, corp_id, 1))
    }

    /// Returns the newest token, preferably one of known credentials.
    pub fn newest(&self) -> Option<&TokenRecord> {
        let tokens = self.tokens.iter();
        let known = tokens.filter(|token| token.credentials != ObjectVersion::default());
        let newest = known.max_by_key(|token| token.lifetime.requested_at);
        newest.or(self.tokens.first())
    }

    /// Returns the credentials that the newest token was fetched with.
    pub fn credentials(&self) -> Option<&ObjectVersion> {
        self.newest().map(|token| &token.credentials)
    }

    /// Returns when its first token expires.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let tokens = self.tokens.iter();
        tokens.map(|token| token.lifetime.expires_at).min()
    }

    /// Returns the record of a corp's token.
    pub fn token(&self, corp_id: &str) -> Option<&TokenRecord> {
        let tokens = &self.tokens;
        let found = tokens.binary_search_by_key(&corp_id, |token| token.corp_id.as_str());
        tokens.get(found.ok()?)
    }
}

/// Returns the keys, in recorded form, that are written for tokens of this shape and by templates.
pub(crate) fn written_keys<'a>(
    shape: Shape,
    templates: impl Iterator<Item = &'a str>,
) -> Vec<String> {
    let fields = shape.fields().iter();
    let fields = fields.map(|field| shape.key(*field, ANY_CORP));
    let mut keys: Vec<String> = fields.chain(templates.map(str::to_owned)).collect();
    keys.sort_unstable();
    keys
}

fn is_per_corp(key: &str) -> bool {
    key.starts_with(ANY_CORP)
}

/// Sorts tokens by corpId, as in [`Recorded::tokens`].
pub(crate) fn sort(tokens: &mut [TokenRecord]) {
    tokens.sort_by(|one, other| one.corp_id.cmp(&other.corp_id));
}

/// Credits a token to these credentials if the `client_id` matches or is unreadable.
pub(crate) fn credit(token: &mut TokenRecord, known: &KnownCredentials, is_unreadable: bool) {
    if is_unreadable {
        token.client_id.clone_from(&known.client_id);
    }
    token.credentials = match token.client_id == known.client_id {
        true => known.version.clone(),
        false => ObjectVersion::default(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::secret::state::example;

    #[test]
    fn a_renewal_rewrites_a_secret_with_several_tokens_or_templates_as_a_whole() {
        let is_whole = |shape: Shape, templates: &str| {
            let recorded = Recorded {
                shape,
                templates: templates.to_owned(),
                ..example()
            };
            recorded.is_whole()
        };
        assert!(!is_whole(Shape::One, ""));
        assert!(is_whole(Shape::One, "0123456789abcdef"));
        assert!(is_whole(Shape::Many, ""));
    }
}

//! The keys of a Secret, depending on its layout.

use zeroize::Zeroizing;

use crate::api::{KEY_ACCESS_TOKEN, KEY_CORP_ID, KEY_EXPIRES_AT, Layout};
use crate::core::token::record::Held;

/// The keys that a Secret has for its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One token: layouts `Single` and `PerCorp`.
    One,
    /// One token for each of several corps: layout `Combined`.
    Many,
}

impl Shape {
    /// Returns the shape of a layout's Secrets.
    pub fn of(layout: Layout) -> Self {
        match layout {
            Layout::Single | Layout::PerCorp => Self::One,
            Layout::Combined => Self::Many,
        }
    }

    /// Returns the fields that are written for a token.
    pub fn fields(self) -> &'static [Field] {
        match self {
            Self::One => &[Field::AccessToken, Field::CorpId, Field::ExpiresAt],
            Self::Many => &[Field::AccessToken, Field::ExpiresAt],
        }
    }

    /// Returns the key of a field.
    pub fn key(self, field: Field, corp_id: &str) -> String {
        match self {
            Self::One => field.name().to_owned(),
            Self::Many => format!("{corp_id}.{}", field.name()),
        }
    }

    /// Returns the corp of a key that holds this field of one of several tokens.
    pub fn corp_id(self, field: Field, key: &str) -> Option<&str> {
        match self {
            Self::One => None,
            Self::Many => key.strip_suffix(field.name())?.strip_suffix('.'),
        }
    }
}

/// A value that is written for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    AccessToken,
    CorpId,
    ExpiresAt,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::AccessToken => KEY_ACCESS_TOKEN,
            Self::CorpId => KEY_CORP_ID,
            Self::ExpiresAt => KEY_EXPIRES_AT,
        }
    }

    pub(in crate::core) fn value(self, held: &Held) -> Zeroizing<String> {
        Zeroizing::new(match self {
            Self::AccessToken => held.token.expose().to_owned(),
            Self::CorpId => held.record.corp_id.clone(),
            Self::ExpiresAt => held.record.lifetime.expires_at.to_string(),
        })
    }
}

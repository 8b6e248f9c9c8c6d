//! A Secret's record in its annotations. The annotation `state` has everything the operator needs
//! to continue after a restart or an upgrade without a fetch.
//!
//! It is JSON that begins with the version of its format, `{"version":1,…}`. A version may gain
//! fields, because a release ignores those that it does not know. What an older release would
//! misread requires a new version, which a release may write only if the previous release reads it,
//! so that a rollback works. For versions that are newer still, the public annotations are read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::{ANNOTATION_CORP_ID, ANNOTATION_EXPIRES_AT, ANNOTATION_SITE, ANNOTATION_STATE};
use crate::core::secret::managed::Managed;
use crate::core::secret::recorded::{
    ANY_CORP, CORP_ID_MAX, KEYS_MAX, NAME_MAX, Recorded, TOKENS_MAX,
};
use crate::core::secret::shape::{Field, Shape};
use crate::core::token::record::{ObjectVersion, TokenRecord};
use crate::core::token::request::RenewRequest;
use crate::core::token::schedule::Lifetime;

/// The version that is written.
const VERSION: u32 = 1;
/// Longest state that is read; a thousand tokens with the longest corpIds take less.
const STATE_MAX: usize = 128 * 1024;

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Version 1. Its field names are a wire format.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    version: u32,
    site: String,
    /// The `client_id` that the newest token was fetched with.
    client_id: String,
    credentials: ObjectVersion,
    /// The keys that were written; `*` stands for each token's corpId.
    keys: Vec<String>,
    /// Signature of the templates that made some of the keys.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    templates: String,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_changed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renewal: Option<Renewal>,
    tokens: BTreeMap<String, Token>,
}

/// The last renewal request that tokens of this Secret answer.
#[derive(Serialize, Deserialize)]
struct Renewal {
    request: String,
    /// Tokens requested at or after this time answer the request.
    since: i64,
}

/// A token. The names are short because there may be a thousand tokens.
#[derive(Serialize, Deserialize)]
struct Token {
    /// When it was requested, in Unix seconds.
    at: i64,
    /// Its lifetime in seconds.
    #[serde(rename = "for")]
    lifetime: i64,
    /// Whether it was fetched with former credentials.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    former: bool,
}

impl Recorded {
    /// Reads the record from annotations; `None` if it is malformed or exceeds a bound.
    pub fn read(annotations: &BTreeMap<String, String>, managed: &Managed<'_>) -> Option<Self> {
        let state = annotations.get(ANNOTATION_STATE)?;
        if state.len() > STATE_MAX {
            return None;
        }
        let Versioned { version } = serde_json::from_str(state).ok()?;
        if version > VERSION {
            return Self::public(annotations, managed);
        }
        let state: State = serde_json::from_str(state).ok()?;
        state.recorded()
    }

    /// Returns the record as it would be read back: less is kept of tokens of former credentials.
    pub fn read_back(&self) -> Option<Self> {
        State::of(self)?.recorded()
    }

    /// Reads the public metadata of a Secret whose state is of a newer version: it shows that a
    /// token is valid at least until a time. `None` unless the operator wrote all of it, because
    /// there is no digest to check it against.
    fn public(annotations: &BTreeMap<String, String>, managed: &Managed<'_>) -> Option<Self> {
        let corp_id = annotations.get(ANNOTATION_CORP_ID);
        let ours = managed.keys("/f:metadata/f:annotations");
        let read = [ANNOTATION_SITE, ANNOTATION_EXPIRES_AT, ANNOTATION_STATE].into_iter();
        let mut read = read.chain(corp_id.map(|_| ANNOTATION_CORP_ID));
        if !read.all(|key| ours.contains(key)) {
            return None;
        }
        let site = annotations.get(ANNOTATION_SITE)?;
        let lifetime = Lifetime {
            requested_at: managed.written_at?,
            expires_at: annotations.get(ANNOTATION_EXPIRES_AT)?.parse().ok()?,
        };
        let written = managed.ours("/f:data");
        let of_several = |key| Shape::Many.corp_id(Field::AccessToken, key);
        let corp_ids: BTreeSet<&str> = match corp_id {
            Some(corp_id) => BTreeSet::from([corp_id.as_str()]),
            None => written.iter().filter_map(|key| of_several(key)).collect(),
        };
        let pattern = |key: &String| match key.split_once('.') {
            Some((start, rest)) if corp_id.is_none() && corp_ids.contains(start) => {
                format!("{ANY_CORP}.{rest}")
            }
            _ => key.clone(),
        };
        let keys: BTreeSet<String> = written.iter().map(pattern).collect();
        if keys.len() > KEYS_MAX || corp_ids.len() > TOKENS_MAX || site.len() > NAME_MAX {
            return None;
        }
        let corp_ids = corp_ids.iter().filter(|id| id.len() <= CORP_ID_MAX);
        let tokens = corp_ids.map(|corp_id| TokenRecord {
            site: site.clone(),
            client_id: String::new(),
            corp_id: (*corp_id).to_owned(),
            lifetime,
            credentials: ObjectVersion::default(),
            answers: None,
        });
        Self::of(keys.into_iter().collect(), tokens.collect())
    }

    /// Returns the annotations of the record. All but the state are public.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let Some(first) = self.tokens.first() else {
            return BTreeMap::new();
        };
        let corp_id = (self.shape == Shape::One).then(|| first.corp_id.clone());
        let expires_at = self.expires_at().map(|at| at.to_string());
        let recorded = [
            (ANNOTATION_SITE, Some(first.site.clone())),
            (ANNOTATION_CORP_ID, corp_id),
            (ANNOTATION_EXPIRES_AT, expires_at),
            (ANNOTATION_STATE, write(self)),
        ];
        let recorded = recorded.into_iter();
        recorded
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect()
    }
}

/// Returns the state of a record; `None` if it has no tokens or no digest.
fn write(recorded: &Recorded) -> Option<String> {
    serde_json::to_string(&State::of(recorded)?).ok()
}

impl State {
    fn of(recorded: &Recorded) -> Option<Self> {
        let tokens = &recorded.tokens;
        let newest = recorded.newest()?;
        let renewal = tokens
            .iter()
            .filter(|token| token.answers.is_some())
            .max_by_key(|token| token.lifetime.requested_at)
            .and_then(|newest| {
                let answering = tokens.iter().filter(|it| it.answers == newest.answers);
                let times = answering.map(|token| token.lifetime.requested_at.as_second());
                Some(Renewal {
                    request: newest.answers?.to_string(),
                    since: times.min()?,
                })
            });
        let token = |token: &TokenRecord| Token {
            at: token.lifetime.requested_at.as_second(),
            lifetime: token.lifetime.length().as_secs(),
            former: token.credentials != newest.credentials,
        };
        Some(Self {
            version: VERSION,
            site: newest.site.clone(),
            client_id: newest.client_id.clone(),
            credentials: newest.credentials.clone(),
            keys: recorded.keys.clone(),
            templates: recorded.templates.clone(),
            digest: recorded.digest.clone()?,
            value_changed_at: recorded.value_changed_at,
            renewal,
            tokens: tokens
                .iter()
                .map(|of| (of.corp_id.clone(), token(of)))
                .collect(),
        })
    }

    fn is_within_bounds(&self) -> bool {
        let names = [
            &self.site,
            &self.client_id,
            &self.credentials.uid,
            &self.credentials.resource_version,
            &self.templates,
            &self.digest,
        ];
        names.iter().all(|name| name.len() <= NAME_MAX)
            && self.keys.len() <= KEYS_MAX
            && self.keys.iter().all(|key| key.len() <= NAME_MAX)
            && !self.tokens.is_empty()
            && self.tokens.len() <= TOKENS_MAX
            && self.tokens.keys().all(|key| key.len() <= CORP_ID_MAX)
    }

    fn recorded(self) -> Option<Recorded> {
        if !self.is_within_bounds() {
            return None;
        }
        let renewal = self.renewal.as_ref();
        let renewal = renewal.and_then(|it| Some((RenewRequest::parse(&it.request)?, it.since)));
        let tokens = self.tokens.into_iter().map(|(corp_id, token)| {
            let answered = renewal.filter(|(_, since)| token.at >= *since);
            let requested_at = Timestamp::from_second(token.at).ok()?;
            let length = SignedDuration::from_secs(token.lifetime);
            Some(TokenRecord {
                site: self.site.clone(),
                client_id: self.client_id.clone(),
                corp_id,
                lifetime: Lifetime {
                    requested_at,
                    expires_at: requested_at.checked_add(length).ok()?,
                },
                credentials: match token.former {
                    true => ObjectVersion::default(),
                    false => self.credentials.clone(),
                },
                answers: answered.map(|(request, _)| request),
            })
        });
        let tokens = tokens.collect::<Option<_>>()?;
        let recorded = Recorded::of(self.keys, tokens)?;
        Some(Recorded {
            templates: self.templates,
            digest: Some(self.digest),
            value_changed_at: self.value_changed_at,
            ..recorded
        })
    }
}

/// Returns a record of one token.
#[cfg(test)]
pub fn example() -> Recorded {
    tests::recorded(
        &["access_token"],
        vec![tests::token("ding1", 100, 7200, "5")],
    )
}

#[cfg(test)]
mod tests;

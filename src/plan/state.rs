//! The annotation `state` of a target Secret: what the operator needs to go on after a restart or an
//! upgrade without a fetch.
//!
//! JSON that begins with the version of its format, `{"version":1,…}`. A version may gain fields: a
//! release skips those that it does not know. What an older release would misread needs a new version,
//! which a release may write only if the one before it reads it, so that a rollback finds what it knows.
//! Of a version that is newer still, [`super::Recorded`] makes do with the public metadata.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::recorded::{CORP_ID_MAX, KEYS_MAX, NAME_MAX, Recorded, TOKENS_MAX};
use super::request::RenewRequest;
use super::{Lifetime, ObjectVersion, TokenRecord};

/// The version that is written.
const VERSION: u32 = 1;
/// Longest state that is read: a thousand tokens with the longest corpIds take less.
const STATE_MAX: usize = 128 * 1024;

/// A state that was read.
pub enum Read {
    /// It is of a version that this release knows.
    Known(Recorded),
    /// It is of a newer version.
    Newer,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Version 1. The names of its fields are a wire format.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    version: u32,
    site: String,
    /// What the newest token was fetched with.
    client_id: String,
    credentials: Credentials,
    /// The keys that were written; `*` stands for the corpId of each token.
    keys: Vec<String>,
    /// Stands for the templates that made some of the keys.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    templates: String,
    /// Of all keys and values.
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_changed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renewal: Option<Renewal>,
    /// By corpId.
    tokens: BTreeMap<String, Token>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    uid: String,
    resource_version: String,
}

/// The last request for a renewal that tokens of this Secret were fetched for.
#[derive(Serialize, Deserialize)]
struct Renewal {
    request: String,
    /// Tokens that were requested at this time or later were fetched after it, so they answer it.
    since: i64,
}

/// A token, in short words: there may be a thousand.
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

/// Reads a state; `None` if it is malformed or past a bound.
pub fn read(text: &str) -> Option<Read> {
    if text.len() > STATE_MAX {
        return None;
    }
    let Versioned { version } = serde_json::from_str(text).ok()?;
    if version > VERSION {
        return Some(Read::Newer);
    }
    let state: State = serde_json::from_str(text).ok()?;
    state.recorded().map(Read::Known)
}

/// The state that says so; `None` of a record without tokens, or of unknown contents.
pub fn write(recorded: &Recorded) -> Option<String> {
    serde_json::to_string(&State::of(recorded)?).ok()
}

impl State {
    fn of(recorded: &Recorded) -> Option<Self> {
        let tokens = &recorded.tokens;
        let newest = tokens
            .iter()
            .filter(|token| token.credentials != ObjectVersion::default())
            .max_by_key(|token| token.lifetime.minted_at)
            .or(tokens.first())?;
        let renewal = tokens
            .iter()
            .filter(|token| token.answers.is_some())
            .max_by_key(|token| token.lifetime.minted_at)
            .and_then(|token| token.answers);
        let answering = |request| tokens.iter().filter(move |it| it.answers == Some(request));
        let renewal = renewal.and_then(|request| {
            let times = answering(request).map(|token| token.lifetime.minted_at.as_second());
            Some(Renewal {
                request: request.to_string(),
                since: times.min()?,
            })
        });
        let token = |token: &TokenRecord| Token {
            at: token.lifetime.minted_at.as_second(),
            lifetime: token.lifetime.length().as_secs(),
            former: token.credentials != newest.credentials,
        };
        Some(Self {
            version: VERSION,
            site: newest.site.clone(),
            client_id: newest.client_id.clone(),
            credentials: Credentials {
                uid: newest.credentials.uid.clone(),
                resource_version: newest.credentials.resource_version.clone(),
            },
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
        let credentials = &self.credentials;
        let names = [
            &self.site,
            &self.client_id,
            &credentials.uid,
            &credentials.resource_version,
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
        let tokens = self.tokens.iter().map(|(corp_id, token)| {
            let answered = renewal.filter(|(_, since)| token.at >= *since);
            Some(TokenRecord {
                site: self.site.clone(),
                client_id: self.client_id.clone(),
                corp_id: corp_id.clone(),
                lifetime: token.lifetime()?,
                credentials: match token.former {
                    true => ObjectVersion::default(),
                    false => ObjectVersion {
                        uid: self.credentials.uid.clone(),
                        resource_version: self.credentials.resource_version.clone(),
                    },
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

impl Token {
    fn lifetime(&self) -> Option<Lifetime> {
        let requested_at = Timestamp::from_second(self.at).ok()?;
        let length = SignedDuration::from_secs(self.lifetime);
        Some(Lifetime {
            minted_at: requested_at,
            expires_at: requested_at.checked_add(length).ok()?,
        })
    }
}

/// A record of one token.
#[cfg(test)]
pub fn example() -> Recorded {
    tests::recorded(
        &["access_token"],
        vec![tests::token("ding1", 100, 7200, "5")],
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{ANNOTATION_EXPIRES_AT, ANNOTATION_STATE, MANAGER};
    use crate::plan::managed::Managed;

    pub fn token(corp_id: &str, minted_at: i64, life: i64, version: &str) -> TokenRecord {
        let minted_at = Timestamp::from_second(minted_at).expect("a time");
        TokenRecord {
            site: "global".into(),
            client_id: "dingapp".into(),
            corp_id: corp_id.into(),
            lifetime: Lifetime {
                minted_at,
                expires_at: minted_at + SignedDuration::from_secs(life),
            },
            credentials: match version {
                "" => ObjectVersion::default(),
                version => ObjectVersion {
                    uid: "c1".into(),
                    resource_version: version.into(),
                },
            },
            answers: None,
        }
    }

    pub fn recorded(keys: &[&str], tokens: Vec<TokenRecord>) -> Recorded {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Recorded {
            templates: "0123456789abcdef".into(),
            digest: Some("d".into()),
            ..Recorded::of(keys, tokens).expect("a shape")
        }
    }

    const MANY: [&str; 4] = ["*.access_token", "*.expires_at", ".env", "access_token"];

    fn of(annotations: &BTreeMap<String, String>) -> Option<Recorded> {
        Recorded::read(annotations, &Managed::of(&[]))
    }

    fn with_state(change: impl FnOnce(&mut Value)) -> BTreeMap<String, String> {
        let mut annotations = example().annotations();
        let mut state = serde_json::from_str(&annotations[ANNOTATION_STATE]).expect("JSON");
        change(&mut state);
        annotations.insert(ANNOTATION_STATE.to_owned(), state.to_string());
        annotations
    }

    /// What version 1 is. A release may add to it; what is here stays.
    #[test]
    fn a_state_is_written_as_version_1() {
        let mut one = example();
        one.tokens[0].answers = RenewRequest::parse("0123456789abcdef");
        one.value_changed_at = Timestamp::from_second(60).ok();
        let expected = concat!(
            r#"{"version":1,"site":"global","clientId":"dingapp","#,
            r#""credentials":{"uid":"c1","resourceVersion":"5"},"keys":["access_token"],"#,
            r#""templates":"0123456789abcdef","digest":"d","valueChangedAt":"1970-01-01T00:01:00Z","#,
            r#""renewal":{"request":"0123456789abcdef","since":100},"#,
            r#""tokens":{"ding1":{"at":100,"for":7200}}}"#,
        );
        assert_eq!(write(&one).as_deref(), Some(expected));
        assert_eq!(of(&one.annotations()), Some(one));
    }

    #[test]
    fn several_tokens_are_read_back_with_their_keys() {
        let tokens = vec![
            token("ding-1_a", 100, 7200, "5"),
            token("ding2", 90, 60, ""),
        ];
        let many = recorded(&MANY, tokens);
        let annotations = many.annotations();
        assert_eq!(annotations[ANNOTATION_EXPIRES_AT], "1970-01-01T00:02:30Z");
        let read = of(&annotations).expect("a record");
        assert_eq!(read, many);
        let keys: Vec<String> = read.keys().collect();
        let expected = [
            ".env",
            "access_token",
            "ding-1_a.access_token",
            "ding-1_a.expires_at",
            "ding2.access_token",
            "ding2.expires_at",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn what_a_later_release_adds_to_version_1_is_skipped() {
        let annotations = with_state(|state| {
            state["later"] = json!({"a": [1]});
            state["tokens"]["ding1"]["later"] = json!(true);
        });
        assert_eq!(of(&annotations), Some(example()));
    }

    #[test]
    fn a_request_is_answered_by_what_was_fetched_at_its_first_answer_or_later() {
        let request = RenewRequest::of("now");
        let mut tokens: Vec<TokenRecord> = [("a", 100), ("b", 200), ("c", 201), ("d", 300)]
            .map(|(corp_id, at)| token(corp_id, at, 7200, "5"))
            .into();
        tokens[0].answers = Some(RenewRequest::of("before"));
        tokens[1].answers = Some(request);
        tokens[2].answers = Some(request);
        let read = of(&recorded(&MANY, tokens).annotations()).expect("a record");
        let answers: Vec<_> = read.tokens.iter().map(|token| token.answers).collect();
        assert_eq!(answers, [None, Some(request), Some(request), Some(request)]);
        assert_eq!(read.read_back(), Some(read.clone()), "and stays so");
    }

    #[test]
    fn a_state_that_was_tampered_with_is_none() {
        for field in ["version", "site", "credentials", "keys", "digest", "tokens"] {
            let annotations = with_state(|state| {
                state.as_object_mut().expect("an object").remove(field);
            });
            assert_eq!(of(&annotations), None, "{field}");
        }
        for (field, value) in [
            ("tokens", json!({})),
            (
                "tokens",
                json!({"a": {"at": 1, "for": 1}, "b": {"at": 1, "for": 1}}),
            ),
            ("tokens", json!({"a": {"at": i64::MAX, "for": 1}})),
            ("tokens", json!({"a": {"at": 1, "for": i64::MAX}})),
            ("keys", json!(["corp_id"])),
        ] {
            let annotations = with_state(|state| state[field] = value.clone());
            assert_eq!(of(&annotations), None, "{field}: {value}");
        }
    }

    #[test]
    fn a_state_past_its_bounds_is_none() {
        let tokens = |count: usize| {
            let tokens = (0..count).map(|n| token(&format!("{n:04}"), 100, 60, ""));
            recorded(&MANY, tokens.collect()).annotations()
        };
        assert!(of(&tokens(TOKENS_MAX)).is_some());
        assert_eq!(of(&tokens(TOKENS_MAX + 1)), None);
        let texts: [(&str, usize, fn(&mut Value, String)); 5] = [
            ("site", NAME_MAX, |state, text| state["site"] = text.into()),
            ("clientId", NAME_MAX, |state, text| {
                state["clientId"] = text.into()
            }),
            ("uid", NAME_MAX, |state, text| {
                state["credentials"]["uid"] = text.into()
            }),
            ("digest", NAME_MAX, |state, text| {
                state["digest"] = text.into()
            }),
            ("corpId", CORP_ID_MAX, |state, text| {
                state["tokens"] = json!({text: {"at": 100, "for": 60}});
            }),
        ];
        for (field, max, set) in texts {
            for (length, is_read) in [(max, true), (max + 1, false)] {
                let annotations = with_state(|state| set(state, "x".repeat(length)));
                assert_eq!(of(&annotations).is_some(), is_read, "{field}: {length}");
            }
        }
        let long = with_state(|state| state["later"] = "x".repeat(STATE_MAX).into());
        assert_eq!(of(&long), None);
    }

    #[test]
    fn a_thousand_tokens_are_recorded_within_the_room_for_annotations() {
        let corp = |n: usize| format!("{n:064}");
        let mut tokens: Vec<_> = (0..1000)
            .map(|n| token(&corp(n), 1_800_000_000, 2_592_000, ""))
            .collect();
        tokens[0].credentials.uid = "c1".into();
        let annotations = recorded(&MANY, tokens).annotations();
        let sizes = annotations
            .iter()
            .map(|(key, value)| key.len() + value.len());
        let size: usize = sizes.sum();
        assert!(size < 128 * 1024, "{size}: the users' own may take as much");
        assert!(of(&annotations).is_some());
    }

    fn managed(manager: &str, keys: &[&str]) -> Vec<ManagedFieldsEntry> {
        let fields = |keys: &mut dyn Iterator<Item = String>| -> Value {
            let fields = keys.map(|key| (format!("f:{key}"), json!({})));
            fields.collect::<serde_json::Map<_, _>>().into()
        };
        let annotations = example().annotations().into_keys();
        vec![ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            time: Timestamp::from_second(110).ok().map(Time),
            fields_v1: Some(FieldsV1(json!({
                "f:data": fields(&mut keys.iter().map(|key| (*key).to_owned())),
                "f:metadata": {"f:annotations": fields(&mut annotations.into_iter())},
            }))),
            ..ManagedFieldsEntry::default()
        }]
    }

    #[test]
    fn of_a_newer_version_public_metadata_tells_until_when_a_token_is_valid() {
        let newer = with_state(|state| *state = json!({"version": 2, "unknown": [1]}));
        let entries = managed(MANAGER, &["access_token", "expires_at", "added"]);
        let read = Recorded::read(&newer, &Managed::of(&entries)).expect("a record");
        assert_eq!(read.keys, ["access_token", "added", "expires_at"]);
        assert_eq!(read.digest, None);
        let lifetime = read.token("ding1").expect("a token").lifetime;
        let seconds = (
            lifetime.minted_at.as_second(),
            lifetime.expires_at.as_second(),
        );
        assert_eq!(seconds, (110, 7300));
        // What others wrote could be anything.
        let entries = managed("other", &["access_token", "expires_at"]);
        assert_eq!(Recorded::read(&newer, &Managed::of(&entries)), None);
        assert_eq!(of(&newer), None);
        let mut many = newer;
        many.remove(crate::api::ANNOTATION_CORP_ID);
        let keys = ["a.access_token", "a.added", "b.access_token", "x.json"];
        let entries = managed(MANAGER, &keys);
        let read = Recorded::read(&many, &Managed::of(&entries)).expect("a record");
        assert_eq!(read.keys, ["*.access_token", "*.added", "x.json"]);
        assert_eq!(read.tokens.len(), 2);
    }
}

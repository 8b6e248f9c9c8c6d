//! What the metadata of a target Secret says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    ManagedFieldsEntry, ObjectMeta, OwnerReference,
};

use super::data::Shape;
use super::{Lifetime, ObjectVersion, TokenRecord};
use crate::api::{
    ANNOTATION_ADOPT_BY, ANNOTATION_CLIENT_ID, ANNOTATION_CORP_ID, ANNOTATION_CREDENTIALS_UID,
    ANNOTATION_CREDENTIALS_VERSION, ANNOTATION_DATA_DIGEST, ANNOTATION_EXPIRES_AT,
    ANNOTATION_MINTED_AT, ANNOTATION_SITE, ANNOTATION_TEMPLATES, ANNOTATION_TOKENS,
    ANNOTATION_VALUE_CHANGED_AT, GROUP, LABEL_APP_UID, LABEL_MANAGED_BY, MANAGER,
};

/// What the annotations record of a Secret's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Which keys there are for each token.
    pub shape: Shape,
    /// The tokens, in the order of their organisations.
    pub tokens: Vec<TokenRecord>,
    /// The keys that templates made, and a digest of their texts; empty without templates.
    pub templates: String,
    /// The digest of all keys and values.
    pub digest: String,
    /// When a value changed last, other than by a token's first issue.
    pub value_changed_at: Option<Timestamp>,
}

impl Recorded {
    fn parse(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let text = |key: &str| annotations.get(key).cloned();
        let time = |key: &str| annotations.get(key)?.parse::<Timestamp>().ok();
        let token = |corp_id: String, lifetime, credentials| {
            Some(TokenRecord {
                site: text(ANNOTATION_SITE)?,
                client_id: text(ANNOTATION_CLIENT_ID)?,
                corp_id,
                lifetime,
                credentials,
            })
        };
        let credentials = ObjectVersion {
            uid: text(ANNOTATION_CREDENTIALS_UID)?,
            resource_version: text(ANNOTATION_CREDENTIALS_VERSION)?,
        };
        let (shape, tokens) = match (text(ANNOTATION_CORP_ID), text(ANNOTATION_TOKENS)) {
            (Some(corp_id), None) => {
                let lifetime = Lifetime {
                    minted_at: time(ANNOTATION_MINTED_AT)?,
                    expires_at: time(ANNOTATION_EXPIRES_AT)?,
                };
                let token = token(corp_id, lifetime, credentials)?;
                (Shape::One, vec![token])
            }
            (None, Some(list)) => {
                let tokens = list.split(',').filter(|entry| !entry.is_empty());
                let tokens = tokens.map(|entry| {
                    let (corp_id, lifetime, is_former) = parse_token(entry)?;
                    let credentials = match is_former {
                        true => ObjectVersion::default(),
                        false => credentials.clone(),
                    };
                    token(corp_id, lifetime, credentials)
                });
                let mut tokens: Vec<TokenRecord> = tokens.collect::<Option<_>>()?;
                sort(&mut tokens);
                (Shape::Many, tokens)
            }
            _ => return None,
        };
        Some(Self {
            shape,
            tokens,
            templates: text(ANNOTATION_TEMPLATES).unwrap_or_default(),
            digest: text(ANNOTATION_DATA_DIGEST)?,
            value_changed_at: time(ANNOTATION_VALUE_CHANGED_AT),
        })
    }

    /// The annotations that say so. The credentials are those of the newest token that has any.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let Some(first) = self.tokens.first() else {
            return BTreeMap::new();
        };
        let current = self
            .tokens
            .iter()
            .filter(|token| token.credentials != ObjectVersion::default())
            .max_by_key(|token| token.lifetime.minted_at)
            .map_or(&first.credentials, |token| &token.credentials);
        let lifetimes = || self.tokens.iter().map(|token| token.lifetime);
        let expires_at = lifetimes().map(|lifetime| lifetime.expires_at).min();
        let minted_at = lifetimes().map(|lifetime| lifetime.minted_at).max();
        let shown = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let list = |shape| {
            let entries = self.tokens.iter();
            let entries = entries.map(|token| show_token(token, token.credentials != *current));
            (self.shape == shape).then(|| entries.collect::<Vec<_>>().join(","))
        };
        let recorded = [
            (ANNOTATION_SITE, Some(first.site.clone())),
            (ANNOTATION_CLIENT_ID, Some(first.client_id.clone())),
            (
                ANNOTATION_CORP_ID,
                (self.shape == Shape::One).then(|| first.corp_id.clone()),
            ),
            (ANNOTATION_TOKENS, list(Shape::Many)),
            (ANNOTATION_EXPIRES_AT, shown(expires_at)),
            (ANNOTATION_MINTED_AT, shown(minted_at)),
            (ANNOTATION_CREDENTIALS_UID, Some(current.uid.clone())),
            (
                ANNOTATION_CREDENTIALS_VERSION,
                Some(current.resource_version.clone()),
            ),
            (
                ANNOTATION_TEMPLATES,
                Some(self.templates.clone()).filter(|templates| !templates.is_empty()),
            ),
            (ANNOTATION_VALUE_CHANGED_AT, shown(self.value_changed_at)),
            (ANNOTATION_DATA_DIGEST, Some(self.digest.clone())),
        ];
        let recorded = recorded.into_iter();
        recorded
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect()
    }

    /// Every key that was written.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        let templates = self.templates.rsplit_once('@').map_or("", |(keys, _)| keys);
        self.tokens
            .iter()
            .flat_map(|token| self.shape.keys(&token.corp_id))
            .chain(
                templates
                    .split(',')
                    .filter(|key| !key.is_empty())
                    .map(str::to_owned),
            )
    }

    /// What is recorded of an organisation's token.
    pub fn token(&self, corp_id: &str) -> Option<&TokenRecord> {
        let found = self
            .tokens
            .binary_search_by(|token| token.corp_id.as_str().cmp(corp_id));
        found.ok().map(|at| &self.tokens[at])
    }
}

/// Puts tokens into the order that [`Recorded::tokens`] has.
pub fn sort(tokens: &mut [TokenRecord]) {
    tokens.sort_by(|one, other| one.corp_id.cmp(&other.corp_id));
}

fn show_token(token: &TokenRecord, is_former: bool) -> String {
    format!(
        "{}={}+{}{}",
        token.corp_id,
        token.lifetime.minted_at.as_second(),
        token.lifetime.length().as_secs(),
        if is_former { "~" } else { "" },
    )
}

fn parse_token(entry: &str) -> Option<(String, Lifetime, bool)> {
    let (entry, is_former) = match entry.strip_suffix('~') {
        Some(entry) => (entry, true),
        None => (entry, false),
    };
    let (corp_id, life) = entry.split_once('=')?;
    let (minted_at, seconds) = life.split_once('+')?;
    let minted_at = Timestamp::from_second(minted_at.parse().ok()?).ok()?;
    let expires_at = minted_at
        .checked_add(SignedDuration::from_secs(seconds.parse().ok()?))
        .ok()?;
    let lifetime = Lifetime {
        minted_at,
        expires_at,
    };
    Some((corp_id.to_owned(), lifetime, is_former))
}

/// What is kept of a Secret's metadata; its contents are not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetMeta {
    /// Which state of which object this is.
    pub version: ObjectVersion,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its owners.
    pub owner_references: Vec<OwnerReference>,
    /// What the annotations record of its keys.
    pub recorded: Option<Recorded>,
    /// Whether the last to write what is recorded were we, by the managed fields.
    pub data_is_ours: bool,
    /// Labels that we set and nobody else.
    pub our_labels: BTreeSet<String>,
    /// Annotations that we set and nobody else.
    pub our_annotations: BTreeSet<String>,
    /// Whether it is on its way out.
    pub deleting: bool,
}

impl TargetMeta {
    /// Keeps what matters of an object's metadata.
    ///
    /// Kubernetes' own annotations are not kept: `last-applied-configuration` may hold a secret.
    pub fn of(mut meta: ObjectMeta) -> Self {
        if let Some(annotations) = &mut meta.annotations {
            annotations.retain(|key, _| !key.contains("kubernetes.io/"));
        }
        let annotations = meta.annotations.take().unwrap_or_default();
        let recorded = Recorded::parse(&annotations);
        let labels = meta.labels.take().unwrap_or_default();
        let is_of_this_project =
            |map: &BTreeMap<String, String>| map.keys().any(|key| key.starts_with(GROUP));
        if !is_of_this_project(&annotations) && !is_of_this_project(&labels) {
            // Somebody else's, such as the credentials: its state is all that matters.
            return Self {
                version: ObjectVersion::of(&meta),
                deleting: meta.deletion_timestamp.is_some(),
                owner_references: meta.owner_references.unwrap_or_default(),
                ..Self::default()
            };
        }
        let managed = Managed::of(meta.managed_fields.as_deref().unwrap_or_default());
        let data_is_ours = recorded.as_ref().is_some_and(|recorded| {
            let recording = recorded.annotations().into_keys();
            recorded.keys().all(|key| managed.is_ours("/f:data", &key))
                && recording
                    .into_iter()
                    .all(|key| managed.is_ours("/f:metadata/f:annotations", &key))
        });
        Self {
            version: ObjectVersion::of(&meta),
            data_is_ours,
            our_labels: managed.ours("/f:metadata/f:labels"),
            our_annotations: managed.ours("/f:metadata/f:annotations"),
            recorded,
            deleting: meta.deletion_timestamp.is_some(),
            labels,
            annotations,
            owner_references: meta.owner_references.unwrap_or_default(),
        }
    }

    /// Whether this operator wrote it.
    pub fn is_managed(&self) -> bool {
        self.labels
            .get(LABEL_MANAGED_BY)
            .is_some_and(|manager| manager == MANAGER)
            && self.labels.contains_key(LABEL_APP_UID)
    }

    /// The UID of the app that it was written for.
    pub fn app_uid(&self) -> Option<&str> {
        self.labels.get(LABEL_APP_UID).map(String::as_str)
    }

    /// The name of the app that its owner hands it to.
    pub fn adopt_by(&self) -> Option<&str> {
        self.annotations
            .get(ANNOTATION_ADOPT_BY)
            .map(String::as_str)
    }

    /// The digest of what was written into it.
    pub fn digest(&self) -> Option<&str> {
        self.annotations
            .get(ANNOTATION_DATA_DIGEST)
            .map(String::as_str)
    }
}

/// Who set which fields.
struct Managed<'a> {
    ours: Vec<&'a serde_json::Value>,
    others: Vec<&'a serde_json::Value>,
}

impl<'a> Managed<'a> {
    fn of(entries: &'a [ManagedFieldsEntry]) -> Self {
        let mut managed = Self {
            ours: Vec::new(),
            others: Vec::new(),
        };
        for entry in entries {
            let Some(fields) = &entry.fields_v1 else {
                continue;
            };
            match entry.manager.as_deref() {
                Some(MANAGER) => managed.ours.push(&fields.0),
                _ => managed.others.push(&fields.0),
            }
        }
        managed
    }

    fn is_ours(&self, map: &str, key: &str) -> bool {
        let field = format!("f:{key}");
        let set = |fields: &&serde_json::Value| {
            fields
                .pointer(map)
                .is_some_and(|map| map.get(&field).is_some())
        };
        self.ours.iter().any(set) && !self.others.iter().any(set)
    }

    /// The keys of a map that are ours alone; those of this project are known anyway.
    fn ours(&self, map: &str) -> BTreeSet<String> {
        self.ours
            .iter()
            .filter_map(|fields| fields.pointer(map)?.as_object())
            .flat_map(|map| map.keys())
            .filter_map(|field| field.strip_prefix("f:"))
            .filter(|key| !key.starts_with(GROUP) && *key != LABEL_MANAGED_BY)
            .filter(|key| self.is_ours(map, key))
            .map(str::to_owned)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(corp_id: &str, minted_at: i64, life: i64, version: &str) -> TokenRecord {
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
        }
    }

    fn recorded(shape: Shape, tokens: Vec<TokenRecord>) -> Recorded {
        Recorded {
            shape,
            tokens,
            templates: "app.json,.env@0123456789abcdef".into(),
            digest: "d".into(),
            value_changed_at: None,
        }
    }

    #[test]
    fn what_is_recorded_is_read_back() {
        let one = recorded(Shape::One, vec![token("ding1", 100, 7200, "5")]);
        assert_eq!(Recorded::parse(&one.annotations()), Some(one.clone()));
        let keys: Vec<String> = one.keys().collect();
        assert_eq!(
            keys,
            ["access_token", "corp_id", "expires_at", "app.json", ".env"]
        );
        let many = recorded(
            Shape::Many,
            vec![
                token("ding-1_a", 100, 7200, "5"),
                token("ding2", 90, 60, ""),
            ],
        );
        let annotations = many.annotations();
        assert_eq!(
            annotations[ANNOTATION_TOKENS],
            "ding-1_a=100+7200,ding2=90+60~"
        );
        assert_eq!(annotations[ANNOTATION_EXPIRES_AT], "1970-01-01T00:02:30Z");
        assert_eq!(Recorded::parse(&annotations), Some(many));
    }

    #[test]
    fn a_record_that_was_tampered_with_is_none() {
        let one = recorded(Shape::One, vec![token("ding1", 100, 7200, "5")]);
        for key in [
            ANNOTATION_SITE,
            ANNOTATION_CORP_ID,
            ANNOTATION_EXPIRES_AT,
            ANNOTATION_DATA_DIGEST,
        ] {
            let mut annotations = one.annotations();
            annotations.remove(key);
            assert_eq!(Recorded::parse(&annotations), None, "{key}");
        }
        let mut annotations = one.annotations();
        annotations.insert(ANNOTATION_TOKENS.into(), "ding1=x".into());
        assert_eq!(Recorded::parse(&annotations), None);
    }

    #[test]
    fn a_thousand_tokens_are_recorded_within_the_room_for_annotations() {
        let corp = |n: usize| format!("{n:064}");
        let tokens: Vec<_> = (0..1000)
            .map(|n| token(&corp(n), 1_800_000_000, 2_592_000, ""))
            .collect();
        let size: usize = recorded(Shape::Many, tokens)
            .annotations()
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        assert!(size < 128 * 1024, "{size}: the users' own may take as much");
    }
}

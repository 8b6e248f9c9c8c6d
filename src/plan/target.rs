//! What the metadata of a target Secret says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::data::Shape;
use super::managed::Managed;
use super::marks::Marks;
use super::{Lifetime, ObjectVersion, TokenRecord};
use crate::api::{
    ANNOTATION_ADOPT_BY, ANNOTATION_APP, ANNOTATION_CLIENT_ID, ANNOTATION_CORP_ID,
    ANNOTATION_CREDENTIALS_UID, ANNOTATION_CREDENTIALS_VERSION, ANNOTATION_DATA_DIGEST,
    ANNOTATION_EXPIRES_AT, ANNOTATION_MINTED_AT, ANNOTATION_SITE, ANNOTATION_TEMPLATES,
    ANNOTATION_TOKENS, ANNOTATION_VALUE_CHANGED_AT, GROUP, LABEL_APP_UID, LABEL_MANAGED_BY,
    MANAGER,
};

/// The most tokens that one Secret may record: `spec.corpIds` has no more.
const TOKENS_MAX: usize = 1000;
/// Longest corpId, as in the schema of `spec.corpIds`.
const CORP_ID_MAX: usize = 64;
/// Longest name of an object, a site or a UID that is kept.
const NAME_MAX: usize = 253;
/// Longest record of templates: 16 keys of 253 characters, and a digest.
const TEMPLATES_MAX: usize = 16 * 254 + 128;

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
        let within = |key: &str, max: usize| {
            let text = annotations.get(key)?;
            (text.len() <= max).then(|| text.clone())
        };
        let text = |key: &str| within(key, NAME_MAX);
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
        let corp_id = annotations.get(ANNOTATION_CORP_ID);
        let (shape, tokens) = match (corp_id, annotations.get(ANNOTATION_TOKENS)) {
            (Some(corp_id), None) if corp_id.len() <= CORP_ID_MAX => {
                let lifetime = Lifetime {
                    minted_at: time(ANNOTATION_MINTED_AT)?,
                    expires_at: time(ANNOTATION_EXPIRES_AT)?,
                };
                let token = token(corp_id.clone(), lifetime, credentials)?;
                (Shape::One, vec![token])
            }
            (None, Some(list)) => {
                let tokens = list.split(',').filter(|entry| !entry.is_empty());
                // One more shows that there are too many.
                let tokens = tokens.take(TOKENS_MAX + 1).map(|entry| {
                    let (corp_id, lifetime, is_former) = parse_token(entry)?;
                    let credentials = match is_former {
                        true => ObjectVersion::default(),
                        false => credentials.clone(),
                    };
                    token(corp_id, lifetime, credentials)
                });
                let mut tokens: Vec<TokenRecord> = tokens.collect::<Option<_>>()?;
                if tokens.len() > TOKENS_MAX {
                    return None;
                }
                sort(&mut tokens);
                (Shape::Many, tokens)
            }
            _ => return None,
        };
        Some(Self {
            shape,
            tokens,
            templates: within(ANNOTATION_TEMPLATES, TEMPLATES_MAX).unwrap_or_default(),
            digest: text(ANNOTATION_DATA_DIGEST)?,
            value_changed_at: time(ANNOTATION_VALUE_CHANGED_AT),
        })
    }

    /// The annotations that say so. Credentials and `client_id` are those of the newest token that
    /// has any.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let Some(first) = self.tokens.first() else {
            return BTreeMap::new();
        };
        let newest = self
            .tokens
            .iter()
            .filter(|token| token.credentials != ObjectVersion::default())
            .max_by_key(|token| token.lifetime.minted_at)
            .unwrap_or(first);
        let current = &newest.credentials;
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
            (ANNOTATION_CLIENT_ID, Some(newest.client_id.clone())),
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

    /// About what it takes in memory, in bytes.
    fn weight(&self) -> usize {
        let texts = |token: &TokenRecord| {
            token.site.len()
                + token.client_id.len()
                + token.corp_id.len()
                + token.credentials.uid.len()
                + token.credentials.resource_version.len()
        };
        let tokens = self.tokens.iter();
        size_of::<Self>()
            + self.templates.len()
            + self.digest.len()
            + tokens
                .map(|token| size_of::<TokenRecord>() + texts(token))
                .sum::<usize>()
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
    if corp_id.len() > CORP_ID_MAX {
        return None;
    }
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

/// The most labels and annotations that a target may carry, the operator's own included. The spec of
/// an app may ask for 64, and the operator sets 14.
pub const MARKS_MAX: usize = 256;
/// The most owners that a target may have.
pub const OWNERS_MAX: usize = 16;
/// The most that is kept of the targets of a namespace, in bytes, beside what small ones take.
pub const TARGETS_MAX: usize = 16 << 20;
/// The most that the keys which are ours alone may take, in bytes.
const OUR_KEYS_MAX: usize = 16 * 1024;
/// The most that one owner reference may take, in bytes.
const OWNER_MAX: usize = 1024;

/// What is kept of a Secret's metadata, which has a bound; its contents are not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetMeta {
    /// Which state of which object this is.
    pub version: ObjectVersion,
    /// Its labels.
    pub labels: Marks,
    /// Its annotations.
    pub annotations: Marks,
    /// The UID in our label, if it carries our `managed-by` label as well.
    pub managed_for: Option<Box<str>>,
    /// The name of the app or reference that our annotations record.
    pub owner_name: Option<Box<str>>,
    /// The name of the app that its owner hands it to.
    pub adopt_by: Option<Box<str>>,
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
    /// Whether its metadata is past a bound, so that nothing else of it is kept.
    pub is_past_bounds: bool,
}

impl TargetMeta {
    /// Keeps what matters of an object's metadata.
    pub fn of(meta: ObjectMeta) -> Self {
        let bare = Self {
            version: ObjectVersion::of(&meta),
            deleting: meta.deletion_timestamp.is_some(),
            ..Self::default()
        };
        let annotations = meta.annotations.unwrap_or_default();
        let labels = meta.labels.unwrap_or_default();
        let is_of_this_project =
            |map: &BTreeMap<String, String>| map.keys().any(|key| key.starts_with(GROUP));
        if !is_of_this_project(&annotations) && !is_of_this_project(&labels) {
            // Somebody else's, such as the credentials: its state is all that matters, and its owners
            // if it is a target that lost all our marks.
            let owners = meta.owner_references.unwrap_or_default();
            return Self {
                owner_references: if are_within_bounds(&owners) {
                    owners
                } else {
                    Vec::new()
                },
                ..bare
            };
        }
        let managed = Managed::of(meta.managed_fields.as_deref().unwrap_or_default());
        let our_labels = managed.ours("/f:metadata/f:labels");
        let our_annotations = managed.ours("/f:metadata/f:annotations");
        let owner_references = meta.owner_references.unwrap_or_default();
        let our_keys = our_labels.iter().chain(&our_annotations);
        let is_past_bounds = labels.len() + annotations.len() > MARKS_MAX
            || !are_within_bounds(&owner_references)
            || our_keys.map(String::len).sum::<usize>() > OUR_KEYS_MAX;
        if is_past_bounds {
            return Self {
                is_past_bounds,
                ..bare
            };
        }
        let recorded = Recorded::parse(&annotations);
        let data_is_ours = recorded.as_ref().is_some_and(|recorded| {
            let recording = recorded.annotations().into_keys();
            recorded.keys().all(|key| managed.is_ours("/f:data", &key))
                && recording
                    .into_iter()
                    .all(|key| managed.is_ours("/f:metadata/f:annotations", &key))
        });
        let is_managed = labels
            .get(LABEL_MANAGED_BY)
            .is_some_and(|manager| manager == MANAGER);
        let name = |key: &str| {
            let name = annotations.get(key)?;
            (name.len() <= NAME_MAX).then(|| Box::from(name.as_str()))
        };
        Self {
            data_is_ours,
            our_labels,
            our_annotations,
            recorded,
            managed_for: labels
                .get(LABEL_APP_UID)
                .filter(|uid| is_managed && !uid.is_empty())
                .map(|uid| Box::from(uid.as_str())),
            owner_name: name(ANNOTATION_APP),
            adopt_by: name(ANNOTATION_ADOPT_BY),
            labels: Marks::of(&labels),
            annotations: Marks::of(&annotations),
            owner_references,
            ..bare
        }
    }

    /// A target past its bounds in the same state: of one that there is no room for, no more is kept.
    #[must_use]
    pub fn past_bounds(&self) -> Self {
        Self {
            version: self.version.clone(),
            deleting: self.deleting,
            is_past_bounds: true,
            ..Self::default()
        }
    }

    /// About what it takes in memory, in bytes.
    pub fn weight(&self) -> usize {
        let our_keys = self.our_labels.iter().chain(&self.our_annotations);
        let owners = self.owner_references.iter().map(owner_size);
        size_of::<Self>()
            + our_keys
                .map(|key| size_of::<String>() + key.len())
                .sum::<usize>()
            + 16 * (self.labels.len() + self.annotations.len())
            + owners.sum::<usize>()
            + self.recorded.as_ref().map_or(0, Recorded::weight)
    }

    /// Whether this operator wrote it.
    pub fn is_managed(&self) -> bool {
        self.managed_for.is_some()
    }

    /// The UID of the app that it was written for.
    pub fn app_uid(&self) -> Option<&str> {
        self.managed_for.as_deref()
    }

    /// The name of the app that its owner hands it to.
    pub fn adopt_by(&self) -> Option<&str> {
        self.adopt_by.as_deref()
    }
}

fn are_within_bounds(owners: &[OwnerReference]) -> bool {
    owners.len() <= OWNERS_MAX && owners.iter().all(|owner| owner_size(owner) <= OWNER_MAX)
}

fn owner_size(owner: &OwnerReference) -> usize {
    let texts = [&owner.api_version, &owner.kind, &owner.name, &owner.uid];
    size_of::<OwnerReference>() + texts.iter().map(|text| text.len()).sum::<usize>()
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
    fn a_record_past_its_bounds_is_none() {
        let tokens = |count: usize| {
            let tokens = (0..count).map(|n| token(&format!("{n:04}"), 100, 60, ""));
            recorded(Shape::Many, tokens.collect()).annotations()
        };
        assert!(Recorded::parse(&tokens(TOKENS_MAX)).is_some());
        assert_eq!(Recorded::parse(&tokens(TOKENS_MAX + 1)), None);
        for (key, max) in [
            (ANNOTATION_SITE, NAME_MAX),
            (ANNOTATION_CLIENT_ID, NAME_MAX),
            (ANNOTATION_CORP_ID, CORP_ID_MAX),
            (ANNOTATION_CREDENTIALS_UID, NAME_MAX),
            (ANNOTATION_DATA_DIGEST, NAME_MAX),
        ] {
            let one = recorded(Shape::One, vec![token("ding1", 100, 7200, "5")]);
            let mut annotations = one.annotations();
            annotations.insert(key.into(), "x".repeat(max));
            assert!(Recorded::parse(&annotations).is_some(), "{key}");
            annotations.insert(key.into(), "x".repeat(max + 1));
            assert_eq!(Recorded::parse(&annotations), None, "{key}");
        }
    }

    /// A target of ours, with this many annotations of others.
    fn meta(others: usize, length: usize) -> ObjectMeta {
        let one = recorded(Shape::One, vec![token("ding1", 100, 7200, "5")]);
        let mut annotations = one.annotations();
        annotations.extend((0..others).map(|n| (format!("other-{n}"), "x".repeat(length))));
        let labels = [(LABEL_MANAGED_BY, MANAGER), (LABEL_APP_UID, "u1")];
        ObjectMeta {
            labels: Some(labels.map(|(key, value)| (key.into(), value.into())).into()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn what_others_write_into_a_target_takes_next_to_no_memory() {
        let plain = TargetMeta::of(meta(0, 0));
        let heavy = TargetMeta::of(meta(100, 2500));
        assert_eq!(heavy.weight() - plain.weight(), 1600);
        assert_eq!(heavy.app_uid(), Some("u1"));
        assert_eq!(heavy.recorded, plain.recorded);
        let value = "x".repeat(2500);
        assert!(heavy.annotations.agrees("other-7", Some(&value)));
        let past = TargetMeta::of(meta(MARKS_MAX, 1));
        assert!(past.is_past_bounds && !past.is_managed());
        assert_eq!(past.weight(), size_of::<TargetMeta>());
    }

    #[test]
    fn owners_past_the_bound_are_not_kept() {
        let owned = |count: usize, name: usize| {
            let owner = OwnerReference {
                name: "n".repeat(name),
                ..OwnerReference::default()
            };
            TargetMeta::of(ObjectMeta {
                owner_references: Some(vec![owner; count]),
                ..meta(0, 0)
            })
        };
        assert_eq!(owned(OWNERS_MAX, 253).owner_references.len(), OWNERS_MAX);
        assert!(owned(OWNERS_MAX + 1, 1).is_past_bounds);
        assert!(owned(1, OWNER_MAX).is_past_bounds);
    }

    /// Regression: an annotation under `mykubernetes.io/`, which the schema accepts, was taken for one
    /// of Kubernetes' own and not seen, so it was written again and again.
    #[test]
    fn an_annotation_that_only_looks_like_one_of_kubernetes_is_seen() {
        let mut meta = meta(0, 0);
        let annotations = meta.annotations.as_mut().expect("annotations");
        annotations.insert("mykubernetes.io/x".into(), "1".into());
        let target = TargetMeta::of(meta);
        assert!(target.annotations.agrees("mykubernetes.io/x", Some("1")));
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

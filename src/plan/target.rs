//! The target Secret: what it is to hold, and what its metadata records.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    ManagedFieldsEntry, ObjectMeta, OwnerReference,
};
use kube::{Resource, ResourceExt};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Held, Lifetime};
use crate::api::{
    ANNOTATION_ADOPT_BY, ANNOTATION_APP, ANNOTATION_CORP_ID, ANNOTATION_CREDENTIALS_UID,
    ANNOTATION_CREDENTIALS_VERSION, ANNOTATION_DATA_DIGEST, ANNOTATION_EXPIRES_AT,
    ANNOTATION_MINTED_AT, ANNOTATION_SITE, DingTalkApp, KEY_ACCESS_TOKEN, KEY_CORP_ID,
    KEY_EXPIRES_AT, LABEL_APP_UID, LABEL_MANAGED_BY, MANAGER,
};
use crate::dingtalk::AccessToken;

/// The keys of layout `Single`.
const KEYS: [&str; 3] = [KEY_ACCESS_TOKEN, KEY_CORP_ID, KEY_EXPIRES_AT];

/// The annotations that say what the keys hold.
const RECORD: [&str; 7] = [
    ANNOTATION_SITE,
    ANNOTATION_CORP_ID,
    ANNOTATION_EXPIRES_AT,
    ANNOTATION_MINTED_AT,
    ANNOTATION_CREDENTIALS_UID,
    ANNOTATION_CREDENTIALS_VERSION,
    ANNOTATION_DATA_DIGEST,
];

/// One state of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

impl ObjectVersion {
    /// The version of an object that came from the API server.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
        }
    }
}

/// What is known of a token without its value; it is in the metadata of the Secret that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// The site that issued it.
    pub site: String,
    /// Its organisation.
    pub corp_id: String,
    /// Its life.
    pub lifetime: Lifetime,
    /// The credentials it was fetched with.
    pub credentials: ObjectVersion,
}

impl TokenRecord {
    fn parse(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let text = |key: &str| annotations.get(key).cloned();
        let time = |key: &str| annotations.get(key)?.parse::<Timestamp>().ok();
        Some(Self {
            site: text(ANNOTATION_SITE)?,
            corp_id: text(ANNOTATION_CORP_ID)?,
            lifetime: Lifetime {
                minted_at: time(ANNOTATION_MINTED_AT)?,
                expires_at: time(ANNOTATION_EXPIRES_AT)?,
            },
            credentials: ObjectVersion {
                uid: text(ANNOTATION_CREDENTIALS_UID)?,
                resource_version: text(ANNOTATION_CREDENTIALS_VERSION)?,
            },
        })
    }
}

/// What is kept of a Secret's metadata; its contents are not.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetMeta {
    /// Which state of which object this is.
    pub version: ObjectVersion,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its owners.
    pub owner_references: Vec<OwnerReference>,
    /// Whether the last to write our keys were we, by the managed fields.
    pub data_is_ours: bool,
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
        Self {
            version: ObjectVersion::of(&meta),
            data_is_ours: owns_data(meta.managed_fields.as_deref().unwrap_or_default()),
            deleting: meta.deletion_timestamp.is_some(),
            labels: meta.labels.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default(),
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

    /// What is recorded of the token in it.
    pub fn record(&self) -> Option<TokenRecord> {
        TokenRecord::parse(&self.annotations)
    }

    /// The digest of what was written into it.
    pub fn digest(&self) -> Option<&str> {
        self.annotations
            .get(ANNOTATION_DATA_DIGEST)
            .map(String::as_str)
    }
}

/// Whether `entries` say that we wrote every key and record of ours, and nobody since.
pub fn owns_data(entries: &[ManagedFieldsEntry]) -> bool {
    let (ours, others): (Vec<_>, Vec<_>) = entries
        .iter()
        .filter_map(|entry| Some((entry.manager.as_deref(), &entry.fields_v1.as_ref()?.0)))
        .partition(|(manager, _)| *manager == Some(MANAGER));
    let only_ours = |map: &str, key: &str| {
        let pointer = format!("{map}/f:{}", key.replace('~', "~0").replace('/', "~1"));
        let owned =
            |(_, fields): &(Option<&str>, &serde_json::Value)| fields.pointer(&pointer).is_some();
        ours.iter().any(owned) && !others.iter().any(owned)
    };
    KEYS.iter().all(|key| only_ours("/f:data", key))
        && RECORD
            .iter()
            .all(|key| only_ours("/f:metadata/f:annotations", key))
}

/// The keys and values of a target Secret.
#[derive(Clone)]
pub struct Data(BTreeMap<&'static str, Zeroizing<String>>);

impl Data {
    /// Layout `Single`.
    pub fn of(token: &AccessToken, record: &TokenRecord) -> Self {
        Self(BTreeMap::from([
            (KEY_ACCESS_TOKEN, Zeroizing::new(token.expose().to_owned())),
            (KEY_CORP_ID, Zeroizing::new(record.corp_id.clone())),
            (
                KEY_EXPIRES_AT,
                Zeroizing::new(record.lifetime.expires_at.to_string()),
            ),
        ]))
    }

    /// Our keys, as they were found in a Secret; `None` where one is missing or not text.
    pub fn found(mut lookup: impl FnMut(&str) -> Option<Zeroizing<Vec<u8>>>) -> Option<Self> {
        let mut data = BTreeMap::new();
        for key in KEYS {
            let text = String::from_utf8(lookup(key)?.to_vec()).ok()?;
            data.insert(key, Zeroizing::new(text));
        }
        Some(Self(data))
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
        hash.finalize()
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                use std::fmt::Write as _;
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }

    /// The token, where these keys are what `target` recorded of them.
    pub fn token_recorded_by(&self, target: &TargetMeta) -> Option<Held> {
        let record = target.record()?;
        let token = AccessToken::new(self.0.get(KEY_ACCESS_TOKEN)?.to_string())?;
        let genuine = target.digest() == Some(self.digest().as_str())
            && Self::of(&token, &record).digest() == self.digest();
        genuine.then_some(Held { token, record })
    }

    /// Keys and values, for the request that writes them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(key, value)| (*key, value.as_str()))
    }
}

/// A Secret as it is to be written.
pub struct Write {
    /// Its name.
    pub name: String,
    /// The state that is replaced; `None` where there is none and it is created.
    pub replaces: Option<ObjectVersion>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations; `None` takes one away.
    pub annotations: BTreeMap<String, Option<String>>,
    /// All its owners.
    pub owner_references: Vec<OwnerReference>,
    /// Its keys; `None` leaves them as they are.
    pub data: Option<Data>,
}

/// The labels of an app's Secret.
fn labels(app: &DingTalkApp) -> BTreeMap<String, String> {
    let mut labels = app.spec.target.labels.clone();
    labels.insert(LABEL_MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.insert(LABEL_APP_UID.to_owned(), app.uid().unwrap_or_default());
    labels
}

/// The annotations of an app's Secret that holds the token of `record`.
fn annotations(app: &DingTalkApp, record: &TokenRecord, digest: &str) -> BTreeMap<String, String> {
    let mut annotations = app.spec.target.annotations.clone();
    let recorded = [
        (ANNOTATION_APP, app.name_any()),
        (ANNOTATION_SITE, record.site.clone()),
        (ANNOTATION_CORP_ID, record.corp_id.clone()),
        (
            ANNOTATION_EXPIRES_AT,
            record.lifetime.expires_at.to_string(),
        ),
        (ANNOTATION_MINTED_AT, record.lifetime.minted_at.to_string()),
        (ANNOTATION_CREDENTIALS_UID, record.credentials.uid.clone()),
        (
            ANNOTATION_CREDENTIALS_VERSION,
            record.credentials.resource_version.clone(),
        ),
        (ANNOTATION_DATA_DIGEST, digest.to_owned()),
    ];
    annotations.extend(recorded.map(|(key, value)| (key.to_owned(), value)));
    annotations
}

/// Without `blockOwnerDeletion`: setting it needs a right over the owner's finalizers where
/// `OwnerReferencesPermissionEnforcement` is on, and it only delays a foreground deletion.
fn owner_reference(app: &DingTalkApp) -> OwnerReference {
    OwnerReference {
        api_version: DingTalkApp::api_version(&()).into_owned(),
        kind: DingTalkApp::kind(&()).into_owned(),
        name: app.name_any(),
        uid: app.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// The owners that the Secret is to have: ours, and those of others except a former app of ours.
fn owners(app: &DingTalkApp, present: &[OwnerReference]) -> Vec<OwnerReference> {
    let kind = DingTalkApp::kind(&());
    present
        .iter()
        .filter(|owner| owner.kind != kind)
        .cloned()
        .chain([owner_reference(app)])
        .collect()
}

/// The write that makes the Secret hold `record`; `None` where it is so already. `held` is the
/// token, where its value is known; `rewrite` sets the keys even if the metadata is as it should be.
pub fn write(
    app: &DingTalkApp,
    record: &TokenRecord,
    held: Option<&Held>,
    rewrite: bool,
    present: Option<&TargetMeta>,
) -> Option<Write> {
    let data = held.map(|held| Data::of(&held.token, record));
    let digest = match (&data, present) {
        (Some(data), _) => data.digest(),
        (None, Some(present)) if !rewrite => present.digest()?.to_owned(),
        _ => return None,
    };
    let labels = labels(app);
    let annotations = annotations(app, record, &digest);
    let present_owners = present.map_or(&[][..], |present| &present.owner_references);
    let owner_references = owners(app, present_owners);
    let rewrite = rewrite || present.is_none_or(|present| present.digest() != Some(&digest));
    if let Some(present) = present.filter(|_| !rewrite) {
        let contains = |all: &BTreeMap<String, String>, some: &BTreeMap<String, String>| {
            some.iter().all(|(key, value)| all.get(key) == Some(value))
        };
        if contains(&present.labels, &labels)
            && contains(&present.annotations, &annotations)
            && present.owner_references == owner_references
        {
            return None;
        }
    }
    let mut annotations: BTreeMap<_, _> = annotations
        .into_iter()
        .map(|(key, value)| (key, Some(value)))
        .collect();
    if present.is_some_and(|present| present.adopt_by().is_some()) {
        annotations.insert(ANNOTATION_ADOPT_BY.to_owned(), None);
    }
    Some(Write {
        name: app.target_name(),
        replaces: present.map(|present| present.version.clone()),
        labels,
        annotations,
        owner_references,
        data: data.filter(|_| rewrite),
    })
}

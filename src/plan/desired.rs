//! The Secrets that an app is to have, and the writes that make them so.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use zeroize::Zeroizing;

use super::assembly::{Answer, Assembled, Assembly, Contents, Offered};
use super::data::Shape;
use super::marks::Marks;
use super::recorded::{Recorded, sort, written_keys};
use super::templates::Templates;
use super::{Held, ObjectVersion, TargetMeta, TokenRecord, owner_name};
use crate::api::{
    ANNOTATION_ADOPT_BY, ANNOTATION_CORP_ID, ANNOTATION_OWNER, ANNOTATION_STATE, DeletionPolicy,
    DingTalkApp, GROUP, LABEL_MANAGED_BY, LABEL_OWNER_UID, Layout, MANAGER,
};

/// The most that the values of a Secret may take, in bytes (`MaxSecretSize` of Kubernetes' API).
pub const SECRET_SIZE_MAX: usize = 1024 * 1024;

/// A Secret that an app is to have, and whose tokens it is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: String,
    /// The organisations.
    pub corp_ids: &'a [String],
}

/// The Secrets that an app is to have.
pub fn wanted(app: &DingTalkApp) -> Vec<Wanted<'_>> {
    let corp_ids = app.spec.corp_ids.as_slice();
    let name = app.target_name();
    match app.spec.target.layout {
        Layout::Single => vec![Wanted {
            name,
            corp_ids: &corp_ids[..corp_ids.len().min(1)],
        }],
        Layout::Combined => vec![Wanted { name, corp_ids }],
        Layout::PerCorp => corp_ids
            .chunks(1)
            .map(|corp_ids| Wanted {
                name: per_corp_name(&name, &corp_ids[0]),
                corp_ids,
            })
            .collect(),
    }
}

/// The name of an organisation's Secret with layout `PerCorp`.
pub fn per_corp_name(target: &str, corp_id: &str) -> String {
    format!("{target}-{corp_id}")
}

/// A token that is to be in a Secret.
#[derive(Clone, Copy)]
pub enum Known<'a> {
    /// Its value is known, and in the Secret if the Secret has this record.
    Held(&'a Held),
    /// Its value is known, and not in the Secret yet.
    Unwritten(&'a Held),
    /// It is in the Secret already, and its value is not known.
    Recorded(&'a TokenRecord),
}

impl Known<'_> {
    /// What is known of it.
    pub fn record(&self) -> &TokenRecord {
        match self {
            Self::Held(held) | Self::Unwritten(held) => &held.record,
            Self::Recorded(record) => record,
        }
    }
}

/// The keys of a Secret that change; `None` takes one away.
pub type Changes = BTreeMap<String, Option<Zeroizing<String>>>;

/// A Secret as it is to be written.
#[derive(Clone)]
pub struct Write {
    /// Its name.
    pub name: String,
    /// The state that is replaced; `None` where there is none and it is created.
    pub replaces: Option<ObjectVersion>,
    /// Its labels; `None` takes one away.
    pub labels: BTreeMap<String, Option<String>>,
    /// Its annotations; `None` takes one away.
    pub annotations: BTreeMap<String, Option<String>>,
    /// All its owners.
    pub owner_references: Vec<OwnerReference>,
    /// The keys that change.
    pub data: Changes,
    /// What it records of its keys.
    pub recorded: Recorded,
}

/// What has to be done about a Secret.
pub enum Need {
    /// Nothing: it is as it should be.
    Nothing,
    /// To read it first: values are needed that are only in it.
    Values,
    /// To write it.
    Write(Box<Write>),
    /// To put its contents together first.
    Assemble(Box<Assembly>),
    /// The contents are larger than a Secret can be.
    TooLarge {
        /// The organisations whose tokens fit.
        fitting: Vec<String>,
    },
}

/// What a write is decided from.
pub struct Inputs<'a> {
    /// The app.
    pub app: &'a DingTalkApp,
    /// The Secret's name.
    pub name: &'a str,
    /// The tokens that are to be in it, at least one.
    pub tokens: &'a [Known<'a>],
    /// The app's templates.
    pub templates: &'a Arc<Templates>,
    /// The Secret as it is.
    pub present: Option<&'a TargetMeta>,
    /// What is known to be in it.
    pub recorded: Option<&'a Recorded>,
    /// When a value changed last, where that is not recorded yet.
    pub value_changed_at: Option<Timestamp>,
}

/// The write that makes the Secret hold these tokens, if one is needed, with contents that were
/// assembled for them.
pub fn need(inputs: &Inputs<'_>, assembled: Option<&mut Assembled>) -> Need {
    let (app, present) = (inputs.app, inputs.present);
    let kept = inputs.kept();
    let (mut recorded, data) = match kept {
        Some(kept) => (kept.clone(), BTreeMap::new()),
        None => match inputs.rewritten(assembled) {
            Ok(rewritten) => rewritten,
            Err(need) => return need,
        },
    };
    let tokens = inputs.tokens.iter();
    recorded.tokens = tokens.map(|known| known.record().clone()).collect();
    sort(&mut recorded.tokens);
    let was_changed_at = inputs.recorded.and_then(|old| old.value_changed_at);
    recorded.value_changed_at = inputs.value_changed_at.max(was_changed_at);
    let reference = match app.spec.target.deletion_policy {
        DeletionPolicy::Delete => Some(owner_reference(app)),
        DeletionPolicy::Retain => None,
    };
    let owner = Owner {
        uid: app.metadata.uid.as_deref().unwrap_or_default(),
        name: owner_name::<DingTalkApp>(app.metadata.name.as_deref().unwrap_or_default()),
        labels: &app.spec.target.labels,
        annotations: &app.spec.target.annotations,
        kind: &DingTalkApp::kind(&()),
        reference,
    };
    let write = owner.write(inputs.name, recorded, data, present);
    match present {
        Some(present) if kept.is_some() && is_in_order(present, &write) => Need::Nothing,
        _ => Need::Write(Box::new(write)),
    }
}

impl Inputs<'_> {
    fn shape(&self) -> Shape {
        Shape::of(self.app.spec.target.layout)
    }

    /// What is recorded of a token that is to stay in the Secret as it is.
    fn in_secret(&self, known: &Known<'_>) -> Option<&TokenRecord> {
        let recorded = self.recorded?;
        let is_written = recorded.shape == self.shape() && !matches!(known, Known::Unwritten(_));
        let record = known.record();
        let old = recorded.token(&record.corp_id).filter(|_| is_written);
        old.filter(|old| old.is_same_token(record))
    }

    /// What is recorded, if the contents stay as they are, whichever release wrote them.
    fn kept(&self) -> Option<&Recorded> {
        let recorded = self.recorded?;
        let is_kept = |known: &Known<'_>| {
            // A template can show with which client_id a token was fetched.
            let is_same_client = |old: &TokenRecord| {
                let ids = old.client_id().zip(known.record().client_id());
                self.templates.is_empty() || ids.is_none_or(|(old, new)| old == new)
            };
            self.in_secret(known).is_some_and(is_same_client)
        };
        let is_kept = recorded.digest.is_some()
            && recorded.templates == self.templates.signature()
            && recorded.tokens.len() == self.tokens.len()
            && self.tokens.iter().all(is_kept);
        is_kept.then_some(recorded)
    }

    /// The contents anew: what is recorded of them, and the keys that change.
    fn rewritten(&self, assembled: Option<&mut Assembled>) -> Result<(Recorded, Changes), Need> {
        let mut held = Vec::with_capacity(self.tokens.len());
        for known in self.tokens {
            match known {
                Known::Held(token) | Known::Unwritten(token) => held.push(*token),
                Known::Recorded(_) => return Err(Need::Values),
            }
        }
        let contents = contents(self, &held, assembled)?;
        let former = self.present.and_then(|present| present.recorded.as_ref());
        let former = former.into_iter().flat_map(Recorded::keys);
        let mut changes: Changes = former.map(|key| (key, None)).collect();
        // What is in the Secret as it is need not be sent: it is a megabyte with a thousand tokens.
        let staying = self.tokens.iter().filter_map(|known| {
            let old = self.in_secret(known)?;
            Some(self.recorded?.keys_of(&old.corp_id))
        });
        let staying: HashSet<String> = staying.flatten().collect();
        for (key, value) in contents.data {
            match staying.contains(&key) {
                true => changes.remove(&key),
                false => changes.insert(key, Some(value)),
            };
        }
        let recorded = Recorded {
            shape: self.shape(),
            keys: written_keys(self.shape(), self.templates.keys()),
            tokens: Vec::new(),
            templates: self.templates.signature().to_owned(),
            digest: Some(contents.digest),
            value_changed_at: None,
        };
        Ok((recorded, changes))
    }
}

/// The contents for these tokens, or what has to be done to have them.
fn contents(
    inputs: &Inputs<'_>,
    held: &[&Held],
    assembled: Option<&mut Assembled>,
) -> Result<Contents, Need> {
    let shape = inputs.shape();
    if !Assembly::is_for(inputs.templates, held.len()) {
        return Ok(Contents::of(shape, inputs.templates, held));
    }
    let generation = inputs.app.metadata.generation;
    let answer = assembled.map(|it| it.answer(generation, inputs.templates, held));
    match answer.unwrap_or(Answer::Unknown) {
        Answer::Contents(contents) => Ok(contents),
        Answer::TooLarge { fitting } => Err(Need::TooLarge { fitting }),
        Answer::Unknown => {
            let in_secret = |held: &Held| inputs.recorded?.token(&held.record.corp_id);
            let offered = |held: &&Held| Offered {
                held: (*held).clone(),
                is_in_secret: in_secret(held).is_some(),
            };
            Err(Need::Assemble(Box::new(Assembly {
                generation,
                templates: Arc::clone(inputs.templates),
                shape,
                tokens: held.iter().map(offered).collect(),
            })))
        }
    }
}

/// Whether metadata is as this write would make it. The state is compared by what it says: another
/// release may say the same in other words.
pub fn is_in_order(present: &TargetMeta, write: &Write) -> bool {
    let agrees = |present: &Marks, wanted: &BTreeMap<String, Option<String>>| {
        let mut wanted = wanted.iter().filter(|(key, _)| *key != ANNOTATION_STATE);
        wanted.all(|(key, value)| present.agrees(key, value.as_deref()))
    };
    agrees(&present.labels, &write.labels)
        && agrees(&present.annotations, &write.annotations)
        && are_same(&present.owner_references, &write.owner_references)
        && has_state(present, write)
}

fn has_state(present: &TargetMeta, write: &Write) -> bool {
    let state = write.annotations.get(ANNOTATION_STATE);
    let state = state.and_then(Option::as_deref);
    let is_same = || present.recorded.is_some() && present.recorded == write.recorded.read_back();
    present.annotations.agrees(ANNOTATION_STATE, state) || is_same()
}

/// Whether owners are the same, under whichever version of their kind.
fn are_same(present: &[OwnerReference], wanted: &[OwnerReference]) -> bool {
    let mut pairs = present.iter().zip(wanted);
    let is_same = |one: &OwnerReference, other: &OwnerReference| {
        (group(one), &one.kind, &one.uid) == (group(other), &other.kind, &other.uid)
    };
    present.len() == wanted.len() && pairs.all(|(one, other)| is_same(one, other))
}

fn group(owner: &OwnerReference) -> &str {
    let api_version = owner.api_version.split_once('/');
    api_version.map_or("", |(group, _)| group)
}

/// Whom a Secret is written for, and what is to be said of that in its metadata.
pub struct Owner<'a> {
    /// The owner's UID.
    pub uid: &'a str,
    /// Its kind and name.
    pub name: String,
    /// Labels that the owner wants.
    pub labels: &'a BTreeMap<String, String>,
    /// Annotations that the owner wants.
    pub annotations: &'a BTreeMap<String, String>,
    /// The kind of owner that is ours.
    pub kind: &'a str,
    /// The owner reference that the Secret is to have.
    pub reference: Option<OwnerReference>,
}

impl Owner<'_> {
    /// The write of these keys over what is present.
    pub fn write(
        &self,
        name: &str,
        recorded: Recorded,
        data: Changes,
        present: Option<&TargetMeta>,
    ) -> Write {
        Write {
            name: name.to_owned(),
            replaces: present.map(|present| present.version.clone()),
            labels: self.labels(present),
            annotations: self.annotations(&recorded, present),
            owner_references: self.owners(present.map_or(&[][..], |at| &at.owner_references)),
            data,
            recorded,
        }
    }

    fn labels(&self, present: Option<&TargetMeta>) -> BTreeMap<String, Option<String>> {
        let former = present.into_iter().flat_map(|present| &present.our_labels);
        let mut labels: BTreeMap<_, _> = former.map(|key| (key.clone(), None)).collect();
        for (key, value) in self.labels {
            labels.insert(key.clone(), Some(value.clone()));
        }
        labels.insert(LABEL_MANAGED_BY.to_owned(), Some(MANAGER.to_owned()));
        labels.insert(LABEL_OWNER_UID.to_owned(), Some(self.uid.to_owned()));
        labels
    }

    fn annotations(
        &self,
        recorded: &Recorded,
        present: Option<&TargetMeta>,
    ) -> BTreeMap<String, Option<String>> {
        let former = present
            .into_iter()
            .flat_map(|present| &present.our_annotations);
        let mut annotations: BTreeMap<_, _> = former.map(|key| (key.clone(), None)).collect();
        for (key, value) in self.annotations {
            annotations.insert(key.clone(), Some(value.clone()));
        }
        // What another shape records goes, and an adoption is done once.
        for key in [ANNOTATION_CORP_ID, ANNOTATION_ADOPT_BY] {
            if present.is_some_and(|present| present.annotations.has(key)) {
                annotations.insert(key.to_owned(), None);
            }
        }
        annotations.insert(ANNOTATION_OWNER.to_owned(), Some(self.name.clone()));
        for (key, value) in recorded.annotations() {
            annotations.insert(key, Some(value));
        }
        annotations
    }

    /// The owners that the Secret is to have: ours unless it is to be retained, and those of others
    /// except a former one of ours.
    fn owners(&self, present: &[OwnerReference]) -> Vec<OwnerReference> {
        present
            .iter()
            .filter(|owner| group(owner) != GROUP || owner.kind != self.kind)
            .cloned()
            .chain(self.reference.clone())
            .collect()
    }
}

/// Without `blockOwnerDeletion`: setting it needs a right over the owner's finalizers where
/// `OwnerReferencesPermissionEnforcement` is on, and it only delays a foreground deletion.
pub fn owner_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

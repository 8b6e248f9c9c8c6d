//! Copies of an app's tokens in another namespace: whether there is to be one, and what it says.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Resource;

use super::data::Data;
use super::desired::Write;
use super::events::{Notice, NoticeType, notice};
use super::metadata::{forbidden_key, forbidden_message};
use super::owner::{Owner, is_in_order, owner_reference};
use super::problem::{shown, write_problem};
use super::recorded::Recorded;
use super::token::whole_seconds;
use super::writing::Writing;
use super::{ObjectVersion, TargetMeta, TokenRecord, owner_name};
use crate::api::{
    ANNOTATION_ADOPT_BY, CONDITION_READY, CONDITION_STALLED, Cause, DingTalkApp,
    DingTalkTokenReference, DingTalkTokenReferenceStatus, GrantedNamespace, Reason,
};

/// What is seen of one copy.
pub struct CopySeen<'a> {
    /// Its name.
    pub name: String,
    /// The name of the app's Secret.
    pub source_name: String,
    /// The app's Secret, where it is there.
    pub source: Option<&'a TargetMeta>,
    /// The Secret under the copy's name, where one is there.
    pub present: Option<&'a TargetMeta>,
}

/// Whether the app allows a reference's namespace the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// There is no app of that name.
    NoApp,
    /// It does not name the namespace.
    Absent,
    /// It names the namespace, whose UID has to be read.
    Unread,
    /// The app's status does not say yet to which namespace of that name the grant was given.
    Unrecorded,
    /// It was given to a former namespace of that name.
    Former,
    /// It was given to this namespace.
    Given,
}

/// The record of the grants that were made use of: what it says of those that are in the spec, and
/// those of `asking`, namespaces with their UIDs, that it does not name.
pub fn granted_namespaces(
    app: &DingTalkApp,
    recorded: &[GrantedNamespace],
    asking: &BTreeMap<String, String>,
) -> Vec<GrantedNamespace> {
    let grants = app.spec.reference_grants.iter();
    let record = |namespace: &str| {
        let old = recorded.iter().find(|old| old.namespace == namespace);
        old.cloned().or_else(|| {
            Some(GrantedNamespace {
                namespace: namespace.to_owned(),
                uid: asking.get(namespace)?.clone(),
            })
        })
    };
    grants
        .filter_map(|grant| record(&grant.namespace))
        .collect()
}

/// What is seen for a reference.
pub struct ReferenceView<'a> {
    /// The reference.
    pub reference: &'a DingTalkTokenReference,
    /// Whether the app allows the copies.
    pub grant: Grant,
    /// The copies that there are to be; `None` where the app is not there or does not grant them.
    pub copies: Option<Vec<CopySeen<'a>>>,
    /// What the keys of the copies' labels and annotations may begin with.
    pub metadata_prefixes: &'a [String],
    /// Secrets that were written for this reference and are no copies any more, by name.
    pub former: BTreeMap<&'a str, &'a TargetMeta>,
}

/// What the operator remembers of a reference.
#[derive(Debug, Default)]
pub struct ReferenceMemory {
    /// The reference's UID.
    pub uid: String,
    /// The status that was written last, and the version of the reference since then.
    pub status: Option<(DingTalkTokenReferenceStatus, Option<String>)>,
    writings: BTreeMap<String, Writing>,
    sources: BTreeMap<String, Writing>,
}

/// What to do next for a reference.
pub enum ReferenceStep {
    /// Read the UID of the reference's namespace.
    ReadNamespace,
    /// Read the app's Secret to see whether it holds what its metadata says.
    ReadSource {
        /// Its name.
        name: String,
    },
    /// Read the app's Secret and write the copy.
    Copy {
        /// The copy's name.
        name: String,
        /// The name of the app's Secret.
        source_name: String,
    },
    /// Delete what is no copy any more.
    Delete {
        /// Its name.
        name: String,
        /// In which state.
        version: ObjectVersion,
    },
    /// Nothing more for now: report, and look again at a time.
    Settle {
        /// The condition's status, reason and message.
        told: (&'static str, Reason, String),
        /// When the first token expires.
        expires_at: Option<Timestamp>,
        /// When to look again.
        wake_at: Option<Timestamp>,
    },
}

impl ReferenceMemory {
    /// What is remembered of a copy.
    pub fn writing(&mut self, name: &str) -> &mut Writing {
        self.writings.entry(name.to_owned()).or_default()
    }

    /// Records whether an app's Secret that was read holds what its metadata says.
    pub fn source_read(&mut self, name: &str, source: &TargetMeta, is_genuine: bool) {
        let read = self.sources.entry(name.to_owned()).or_default();
        read.read(source, is_genuine);
    }
}

/// Decides the next step.
pub fn reference_step(
    view: &ReferenceView<'_>,
    memory: &mut ReferenceMemory,
    now: Timestamp,
) -> ReferenceStep {
    let settle = |told, expires_at, wake_at| ReferenceStep::Settle {
        told,
        expires_at,
        wake_at,
    };
    match view.grant {
        Grant::Unread => return ReferenceStep::ReadNamespace,
        // Copies that are there stay: an earlier version recorded nothing.
        Grant::Unrecorded => {
            let message = "the DingTalkApp has no token yet, or has not recorded this namespace in \
                           its status.grantedNamespaces";
            return settle(("Unknown", Reason::Pending, message.to_owned()), None, None);
        }
        Grant::NoApp | Grant::Absent | Grant::Former | Grant::Given => {}
    }
    let copies = view.copies.as_deref().unwrap_or_default();
    let names: HashSet<&str> = copies.iter().map(|copy| copy.name.as_str()).collect();
    let is_known =
        |name: &str| names.contains(name) || view.former.keys().any(|former| *former == name);
    memory.writings.retain(|name, _| is_known(name));
    let sources: HashSet<&str> = copies
        .iter()
        .map(|copy| copy.source_name.as_str())
        .collect();
    memory
        .sources
        .retain(|name, _| sources.contains(name.as_str()));
    for writing in memory.writings.values_mut() {
        writing.notice_clock(now);
    }
    if view.copies.is_none()
        && let Some(step) = delete_former(view, memory, |_| true)
    {
        return step;
    }
    let Some(copies) = &view.copies else {
        let reference = view.reference;
        let app = &reference.spec.app_ref;
        let namespace = reference.metadata.namespace.as_deref().unwrap_or_default();
        if view.grant == Grant::Former {
            let message = format!(
                "DingTalkApp {}/{} allowed it to a former namespace {namespace}, which was deleted \
                 since: have its owner take {namespace} off spec.referenceGrants, wait until \
                 status.grantedNamespaces does not name it, and add it again",
                app.namespace, app.name
            );
            return settle(("False", Reason::NotGranted, message), None, None);
        }
        if view.grant == Grant::NoApp {
            let message = format!(
                "there is no DingTalkApp {}/{} in the namespaces that this operator watches: check \
                 spec.appRef, or have it created",
                app.namespace, app.name
            );
            return settle(("False", Reason::AppNotFound, message), None, None);
        }
        let message = format!(
            "DingTalkApp {}/{} does not allow it: have its owner add namespace {namespace} to \
             spec.referenceGrants",
            app.namespace, app.name
        );
        return settle(("False", Reason::NotGranted, message), None, None);
    };
    let target = &view.reference.spec.target;
    if let Some(key) = forbidden_key(&target.labels, &target.annotations, view.metadata_prefixes) {
        let message = forbidden_message(key, view.metadata_prefixes);
        return settle(("False", Reason::MetadataNotAllowed, message), None, None);
    }
    let mut expires_at: Option<Timestamp> = None;
    let mut wake_at: Option<Timestamp> = None;
    let mut wake = |at: Timestamp| wake_at = Some(wake_at.map_or(at, |earlier| earlier.min(at)));
    let mut problem = None;
    for copy in copies {
        match look(view.reference, copy, memory, now) {
            Look::ReadSource => {
                return ReferenceStep::ReadSource {
                    name: copy.source_name.clone(),
                };
            }
            Look::Copy => {
                return ReferenceStep::Copy {
                    name: copy.name.clone(),
                    source_name: copy.source_name.clone(),
                };
            }
            Look::InOrder(life) => {
                if life > now {
                    wake(life);
                }
                expires_at = Some(expires_at.map_or(life, |earlier| earlier.min(life)));
            }
            Look::Problem(reason, message, retry_at) => {
                problem.get_or_insert((reason, message));
                if let Some(at) = retry_at {
                    wake(at);
                }
            }
        }
    }
    let step = if view.former.is_empty() {
        None
    } else {
        let shown = Shown::by(copies);
        delete_former(view, memory, |token| {
            let is_unneeded = !shown.lacks(token, now);
            if !is_unneeded {
                wake(token.lifetime.expires_at);
            }
            is_unneeded
        })
    };
    if let Some(step) = step {
        return step;
    }
    let told = match (problem, expires_at) {
        (Some((Reason::Pending, message)), _) => ("Unknown", Reason::Pending, message),
        (Some((reason, message)), _) => ("False", reason, message),
        (None, Some(at)) if at > now => {
            let message = format!("the copy holds valid tokens, the first until {}", shown(at));
            ("True", Reason::TokensValid, message)
        }
        (None, Some(at)) => {
            let message = format!(
                "a token expired at {}: see the status of the DingTalkApp",
                shown(at)
            );
            ("False", Reason::TokenExpired, message)
        }
        (None, None) => (
            "Unknown",
            Reason::Pending,
            "the app has no token yet: see its status".to_owned(),
        ),
    };
    settle(told, expires_at, wake_at)
}

/// A Secret that is no copy any more goes if none of its tokens is needed.
fn delete_former(
    view: &ReferenceView<'_>,
    memory: &mut ReferenceMemory,
    mut is_unneeded: impl FnMut(&TokenRecord) -> bool,
) -> Option<ReferenceStep> {
    let uid = memory.uid.clone();
    let (name, former) = view.former.iter().find(|(name, former)| {
        let is_ours = former.data_is_ours || memory.writing(name).has_written(former, &uid);
        let recorded = former.recorded.iter();
        let mut tokens = recorded.flat_map(|recorded| &recorded.tokens);
        is_ours && !former.deleting && tokens.all(&mut is_unneeded)
    })?;
    Some(ReferenceStep::Delete {
        name: (*name).to_owned(),
        version: former.version.clone(),
    })
}

/// What the copies show, looked up once: a thousand former copies are compared with a thousand others.
struct Shown<'a> {
    /// When the newest token of each organisation in a copy was requested.
    requested_at: HashMap<&'a str, Timestamp>,
    /// The organisations in the app's Secrets; `None` if one of the Secrets is not known.
    wanted: Option<HashSet<&'a str>>,
}

impl<'a> Shown<'a> {
    fn by(copies: &'a [CopySeen<'a>]) -> Self {
        let mut requested_at = HashMap::new();
        let present = copies
            .iter()
            .filter_map(|copy| copy.present?.recorded.as_ref());
        for token in present.flat_map(|recorded| &recorded.tokens) {
            let newest = requested_at
                .entry(token.corp_id.as_str())
                .or_insert(token.lifetime.minted_at);
            *newest = (*newest).max(token.lifetime.minted_at);
        }
        let sources = copies.iter().map(|copy| copy.source?.recorded.as_ref());
        let sources: Option<Vec<&Recorded>> = sources.collect();
        let wanted = sources.map(|sources| {
            let tokens = sources.into_iter().flat_map(|recorded| &recorded.tokens);
            tokens.map(|token| token.corp_id.as_str()).collect()
        });
        Self {
            requested_at,
            wanted,
        }
    }

    /// Whether a former copy's token is valid, may be wanted, and is in no copy.
    fn lacks(&self, token: &TokenRecord, now: Timestamp) -> bool {
        let corp_id = token.corp_id.as_str();
        let is_wanted = self.wanted.as_ref().is_none_or(|all| all.contains(corp_id));
        let newest = self.requested_at.get(corp_id);
        let is_shown = newest.is_some_and(|at| *at >= token.lifetime.minted_at);
        token.lifetime.expires_at > now && is_wanted && !is_shown
    }
}

enum Look {
    InOrder(Timestamp),
    ReadSource,
    Copy,
    Problem(Reason, String, Option<Timestamp>),
}

fn look(
    reference: &DingTalkTokenReference,
    copy: &CopySeen<'_>,
    memory: &mut ReferenceMemory,
    now: Timestamp,
) -> Look {
    let name = copy.name.as_str();
    let uid = memory.uid.clone();
    let my_name = my_name(reference);
    let generation = reference.metadata.generation;
    let writing = memory.writings.entry(name.to_owned()).or_default();
    if let Some(present) = copy.present {
        // A former reference of this name, before a backup was restored, say, was this one.
        let is_predecessors =
            present.is_managed() && present.owner.as_deref() == Some(my_name.as_str());
        let is_ours = is_predecessors
            || present.owner_uid() == Some(&uid)
            || writing.has_written(present, &uid);
        if !is_ours && present.adopt_by() != Some(my_name.as_str()) {
            let message = format!(
                "Secret {name} exists and was not made for this reference, so it is not touched: \
                 delete it, choose another spec.target.name, or hand it over by annotating it \
                 with {ANNOTATION_ADOPT_BY}={my_name}"
            );
            return Look::Problem(Reason::SecretConflict, message, None);
        }
    }
    let source = copy.source.filter(|source| !source.deleting);
    let source = source.and_then(|source| Some((source, source.recorded.as_ref()?)));
    // One that is of a newer release is written anew for its app first.
    let source = source.filter(|(_, recorded)| recorded.digest.is_some());
    let read = memory.sources.get(&copy.source_name);
    let is_trusted = |source: &TargetMeta| match read {
        Some(read) => read.trusts(source),
        None => source.data_is_ours,
    };
    let is_distrusted = |source: &TargetMeta| read.is_some_and(|read| read.distrusts(source));
    let recorded = match source {
        Some((source, _)) if is_distrusted(source) => None,
        Some((source, recorded)) if is_trusted(source) => Some(recorded),
        Some(_) => return Look::ReadSource,
        None => None,
    };
    let Some(recorded) = recorded else {
        let message = format!(
            "the app's Secret {} is not there yet: see its status",
            copy.source_name
        );
        return Look::Problem(Reason::Pending, message, None);
    };
    let write = copy_write(reference, name, recorded.clone(), None, copy.present);
    let is_in_order = copy.present.is_some_and(|present| {
        writing.trusts(present)
            && present.recorded.as_ref() == Some(recorded)
            && is_in_order(present, &write)
    });
    if is_in_order {
        writing.failure = None;
        let lives = recorded.tokens.iter().map(|token| token.lifetime);
        let first = lives.map(|lifetime| lifetime.expires_at).min();
        if writing.contested {
            let message = format!(
                "another writer keeps changing Secret {name}: see its managedFields for who; it is \
                 put right once a minute"
            );
            let later = now + SignedDuration::from_secs(60);
            return Look::Problem(Reason::SecretContested, message, Some(later));
        }
        return Look::InOrder(first.unwrap_or(now));
    }
    if copy.present.is_some_and(|present| present.deleting) {
        return Look::Problem(
            Reason::Pending,
            format!("Secret {name} is being deleted"),
            None,
        );
    }
    let repair_at = match writing.is_repair(recorded, generation) {
        true => writing.repair_at(now),
        false => None,
    };
    match (
        repair_at.max(writing.write_at(generation, now)),
        &writing.failure,
    ) {
        (None, _) => Look::Copy,
        (Some(at), Some(failure)) => {
            let problem = write_problem(name, failure);
            Look::Problem(problem.reason, problem.message, Some(at))
        }
        (Some(at), None) => {
            let message = format!(
                "another writer keeps changing Secret {name}: see its managedFields for who; it is put right once a minute"
            );
            Look::Problem(Reason::SecretContested, message, Some(at))
        }
    }
}

/// A reference as its copies' annotations name it.
fn my_name(reference: &DingTalkTokenReference) -> String {
    let name = reference.metadata.name.as_deref().unwrap_or_default();
    owner_name::<DingTalkTokenReference>(name)
}

/// The write of a copy; without `data`, only what its metadata is to be.
pub fn copy_write(
    reference: &DingTalkTokenReference,
    name: &str,
    recorded: Recorded,
    data: Option<&Data>,
    present: Option<&TargetMeta>,
) -> Write {
    let owner = Owner {
        uid: reference.metadata.uid.as_deref().unwrap_or_default(),
        name: my_name(reference),
        labels: &reference.spec.target.labels,
        annotations: &reference.spec.target.annotations,
        kind: &DingTalkTokenReference::kind(&()),
        reference: Some(owner_reference(reference)),
    };
    let mut changes = BTreeMap::new();
    if let Some(data) = data {
        let former = present.and_then(|present| present.recorded.as_ref());
        for key in former.into_iter().flat_map(Recorded::keys) {
            changes.insert(key, None);
        }
        for (key, value) in data.iter() {
            changes.insert(key.to_owned(), Some(value.clone()));
        }
    }
    owner.write(name, recorded, changes, present)
}

/// Reasons with which nothing but a person's act will help.
const NEED_A_PERSON: [Reason; 4] = [
    Reason::AppNotFound,
    Reason::NotGranted,
    Reason::MetadataNotAllowed,
    Reason::SecretConflict,
];

/// The copy as `kubectl get` shows it.
fn secret_shown(view: &ReferenceView<'_>) -> String {
    let name = view.reference.target_name();
    let copies = view.copies.iter().flatten();
    match copies.into_iter().any(|copy| copy.name != name) {
        true => format!("{name}-*"),
        false => name,
    }
}

/// Why a copy is written.
pub fn copy_cause(
    writing: &Writing,
    present: Option<&TargetMeta>,
    recorded: &Recorded,
    repair: bool,
) -> Cause {
    match present {
        None if repair || writing.has_written_once() => Cause::TargetMissing,
        None => Cause::FirstToken,
        Some(_) if repair => Cause::TargetChanged,
        Some(present) if present.recorded.as_ref() != Some(recorded) => Cause::SourceChanged,
        Some(_) => Cause::SpecChanged,
    }
}

/// The status of a reference at rest.
pub fn reference_status(
    view: &ReferenceView<'_>,
    told: &(&'static str, Reason, String),
    expires_at: Option<Timestamp>,
    previous: &DingTalkTokenReferenceStatus,
    now: Timestamp,
) -> DingTalkTokenReferenceStatus {
    let (status, reason, message) = told;
    let condition = |type_: &str, status: &str| {
        let mut before = previous.conditions.iter();
        let since = before.find(|old| old.type_ == type_ && old.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: message.clone(),
            observed_generation: view.reference.metadata.generation,
            last_transition_time: since.map_or_else(
                || Time(whole_seconds(now)),
                |old| old.last_transition_time.clone(),
            ),
        }
    };
    let mut conditions = vec![condition(CONDITION_READY, status)];
    if NEED_A_PERSON.contains(reason) {
        conditions.push(condition(CONDITION_STALLED, "True"));
    }
    let copies = view.copies.iter().flatten();
    DingTalkTokenReferenceStatus {
        observed_generation: view.reference.metadata.generation,
        conditions,
        expiration_time: expires_at.map(shown),
        secret: Some(secret_shown(view)),
        secret_names: copies.map(|copy| copy.name.clone()).collect(),
    }
}

/// The event of a change of the condition, if it is one.
pub fn reference_notice(
    previous: &DingTalkTokenReferenceStatus,
    current: &DingTalkTokenReferenceStatus,
) -> Option<Notice> {
    let old = previous.conditions.first();
    let new = current.conditions.first()?;
    let is_same = old.is_some_and(|old| (&old.status, &old.reason) == (&new.status, &new.reason));
    if is_same || new.reason == Reason::Pending {
        return None;
    }
    Some(match new.status.as_str() {
        "True" => notice(
            NoticeType::Normal,
            Reason::TokensCopied,
            "Copy",
            &new.message,
        ),
        _ => notice(
            NoticeType::Warning,
            new.reason.parse().ok()?,
            "Copy",
            &new.message,
        ),
    })
}

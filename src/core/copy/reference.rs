//! Copies of an app's tokens in another namespace: whether there is to be one, and what it says.

mod copy;
mod former;
mod status;
mod view;

use std::collections::{BTreeMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use crate::api::{
    ANNOTATION_ADOPT_BY, DingTalkApp, DingTalkTokenReference, GrantedNamespace, Reason,
};
use crate::core::app::view::Deletion;
use crate::core::app::view::TARGET_STEPS_MAX;
use crate::core::report::problem::{contested_message, shown, write_problem};
use crate::core::secret::metadata::{forbidden_key, forbidden_message};
use crate::core::secret::owner::is_in_order;
use crate::core::secret::writing::Turn;
use crate::core::{ObjectVersion, TargetMeta};
pub use copy::copy_now;
pub use copy::copy_write;
use copy::my_name;
use former::{Shown, delete_former};
pub use status::{reference_notice, reference_status};
pub use view::{CopySeen, CopyStep, Grant, ReferenceMemory, ReferenceStep, ReferenceView};

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
    if view.copies.is_none() {
        let steps = delete_former(view, memory, |_| true);
        if !steps.is_empty() {
            return ReferenceStep::Copies(steps);
        }
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
    let mut steps = Vec::new();
    for copy in copies {
        if steps.len() == TARGET_STEPS_MAX {
            break;
        }
        match look(view.reference, copy, memory, now) {
            Look::ReadSource => steps.push(CopyStep::ReadSource {
                name: copy.source_name.clone(),
            }),
            Look::Copy => steps.push(CopyStep::Write {
                name: copy.name.clone(),
                source_name: copy.source_name.clone(),
            }),
            Look::Replace(version) => steps.push(CopyStep::Delete {
                name: copy.name.clone(),
                version,
                why: Deletion::Immutable,
            }),
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
    if steps.is_empty() && !view.former.is_empty() {
        let shown = Shown::by(copies);
        steps = delete_former(view, memory, |token| {
            let is_unneeded = !shown.lacks(token, now);
            if !is_unneeded {
                wake(token.lifetime.expires_at);
            }
            is_unneeded
        });
    }
    if !steps.is_empty() {
        return ReferenceStep::Copies(steps);
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

enum Look {
    InOrder(Timestamp),
    ReadSource,
    Copy,
    Replace(ObjectVersion),
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
            let later = now + SignedDuration::from_secs(60);
            return Look::Problem(
                Reason::SecretContested,
                contested_message(name),
                Some(later),
            );
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
    let replaces = copy.present.map(|present| &present.version);
    match (
        writing.turn(recorded, replaces, generation, now),
        &writing.failure,
    ) {
        (Turn::Now { .. }, _) => Look::Copy,
        (Turn::Replace(version), _) => Look::Replace(version),
        (Turn::Later(at), Some(failure)) => {
            let problem = write_problem(name, failure);
            Look::Problem(problem.reason, problem.message, Some(at))
        }
        (Turn::Later(at), None) => {
            Look::Problem(Reason::SecretContested, contested_message(name), Some(at))
        }
    }
}

//! Looks at one copy.

use jiff::{SignedDuration, Timestamp};

use super::next::CopyStep;
use super::told::Told;
use super::view::{CopySeen, ReferenceMemory};
use super::whose::{is_ours, my_name};
use super::write::copy_write;
use crate::api::{ANNOTATION_ADOPT_BY, DingTalkTokenReference, Reason};
use crate::core::report::problem::{
    contested_message, past_bounds_message, write_problem, writers_command,
};
use crate::core::secret::owner::is_in_order;
use crate::core::secret::recorded::Recorded;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::write::Deletion;
use crate::core::secret::writing::{Turn, Writing};

/// How often a contested copy is looked at.
const CONTESTED_PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// What to do about a copy.
pub(super) enum Look {
    /// Nothing until its first token expires.
    InOrder(Timestamp),
    Act(CopyStep),
    /// Report this problem, and look again at this time, if any.
    Problem(Told, Option<Timestamp>),
}

pub(super) fn look(
    reference: &DingTalkTokenReference,
    copy: &CopySeen<'_>,
    memory: &mut ReferenceMemory,
    now: Timestamp,
) -> Look {
    if let Some(present) = copy.present.filter(|present| present.is_past_bounds()) {
        return past_bounds(&copy.name, present, memory, now);
    }
    if let Some(message) = conflict(reference, copy, memory) {
        return Look::Problem(Told::new(Reason::SecretConflict, message), None);
    }
    let recorded = match source(copy, memory) {
        Source::Trusted(recorded) => recorded,
        Source::Unread => {
            let name = copy.source_name.clone();
            return Look::Act(CopyStep::ReadSource { name });
        }
        Source::Absent => {
            let message = format!(
                "the app's Secret {} is not there yet: see its status",
                copy.source_name
            );
            return Look::Problem(Told::new(Reason::Pending, message), None);
        }
    };
    let writing = memory.writing(&copy.name);
    let write = copy_write(reference, &copy.name, recorded.clone(), copy.present);
    let is_in_order = copy.present.is_some_and(|present| {
        writing.trusts(present)
            && present.recorded.as_ref() == Some(recorded)
            && is_in_order(present, &write)
    });
    if !is_in_order {
        return out_of_order(reference, copy, recorded, writing, now);
    }
    writing.failure = None;
    if writing.contested {
        let message = contested_message(&copy.name, namespace(reference));
        let told = Told::new(Reason::SecretContested, message);
        return Look::Problem(told, Some(now + CONTESTED_PAUSE));
    }
    Look::InOrder(recorded.expires_at().unwrap_or(now))
}

/// Looks at a Secret under the copy's name of which nothing else is known.
fn past_bounds(
    name: &str,
    present: &TargetMeta,
    memory: &mut ReferenceMemory,
    now: Timestamp,
) -> Look {
    let mut room_at = None;
    if present.has_no_room() {
        room_at = memory.writing(name).look_for_room_at(now);
        if room_at.is_none() {
            let name = name.to_owned();
            return Look::Act(CopyStep::Look { name });
        }
    }
    let message = past_bounds_message(name);
    Look::Problem(Told::new(Reason::TargetMetadataTooLarge, message), room_at)
}

/// Returns a message if a foreign Secret has the copy's name.
fn conflict(
    reference: &DingTalkTokenReference,
    copy: &CopySeen<'_>,
    memory: &ReferenceMemory,
) -> Option<String> {
    let (name, present) = (&copy.name, copy.present?);
    let my_name = my_name(reference);
    (!is_ours(reference, name, present, memory)).then(|| {
        format!(
            "Secret {name} exists and was not made for this reference, so it is not touched: \
             delete it, choose another spec.target.name, or hand it over by annotating it \
             with {ANNOTATION_ADOPT_BY}={my_name}; to see who wrote it: {}",
            writers_command(name, namespace(reference))
        )
    })
}

fn namespace(reference: &DingTalkTokenReference) -> &str {
    reference.metadata.namespace.as_deref().unwrap_or_default()
}

enum Source<'a> {
    Trusted(&'a Recorded),
    Unread,
    Absent,
}

fn source<'a>(copy: &CopySeen<'a>, memory: &ReferenceMemory) -> Source<'a> {
    let source = copy.source.filter(|source| !source.deleting);
    let source = source.and_then(|source| Some((source, source.recorded.as_ref()?)));
    // A state written by a newer release is first rewritten for its app.
    let Some((source, recorded)) = source.filter(|(_, it)| it.digest.is_some()) else {
        return Source::Absent;
    };
    let read = memory.sources.get(&copy.source_name);
    if read.is_some_and(|read| read.distrusts(&source.version)) {
        return Source::Absent;
    }
    match source.data_is_ours || read.is_some_and(|read| read.trusts(source)) {
        true => Source::Trusted(recorded),
        false => Source::Unread,
    }
}

fn out_of_order(
    reference: &DingTalkTokenReference,
    copy: &CopySeen<'_>,
    recorded: &Recorded,
    writing: &mut Writing,
    now: Timestamp,
) -> Look {
    let (name, generation) = (&copy.name, reference.metadata.generation);
    if copy.present.is_some_and(|present| present.deleting) {
        let message = format!("Secret {name} is being deleted");
        return Look::Problem(Told::new(Reason::Pending, message), None);
    }
    let replaces = copy.present.map(|present| &present.version);
    if replaces.is_none() {
        writing.is_gone();
    }
    let turn = writing.turn(recorded, replaces, generation, now);
    match (turn, &writing.failure) {
        (Turn::Now { .. }, _) => Look::Act(CopyStep::Write {
            name: name.clone(),
            source_name: copy.source_name.clone(),
        }),
        (Turn::Replace(version), _) => Look::Act(CopyStep::Delete {
            name: name.clone(),
            version,
            why: Deletion::Immutable,
        }),
        (Turn::Later(at), Some(failure)) => {
            let problem = write_problem(name, failure);
            Look::Problem(Told::new(problem.reason, problem.message), Some(at))
        }
        (Turn::Later(at), None) => {
            let message = contested_message(name, namespace(reference));
            Look::Problem(Told::new(Reason::SecretContested, message), Some(at))
        }
    }
}

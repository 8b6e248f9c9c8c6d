//! Puts tokens into the Secrets that should hold them, and deletes the Secrets that should not.

use jiff::{SignedDuration, Timestamp};

use crate::api::Cause;
use crate::core::app::memory::Memory;
use crate::core::app::view::{Blocked, Target, TargetStep, View, Wake};
use crate::core::secret::assembly::Assembled;
use crate::core::secret::desired::{Inputs, Known, Need, need};
use crate::core::secret::former::unneeded;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::write::{Deletion, TARGET_STEPS_MAX, Write};
use crate::core::secret::writing::Turn;
use crate::core::token::record::TokenRecord;

/// How long a write waits for more tokens: what is fetched is in the Secret within 5 s of the first
/// unwritten token, the write itself included.
const BATCH: SignedDuration = SignedDuration::from_millis(4700);

/// Returns the reads of former targets for wanted tokens that are nowhere else.
pub(in crate::core) fn carry_over(
    view: &View<'_>,
    memory: &mut Memory,
    targets: &[Target<'_>],
    now: Timestamp,
) -> Vec<TargetStep> {
    let mut steps = Vec::new();
    for (name, former) in &view.former {
        let Some(recorded) = &former.recorded else {
            continue;
        };
        if steps.len() == TARGET_STEPS_MAX || memory.writing(name).distrusts(&former.version) {
            continue;
        }
        let is_missing = |token: &&TokenRecord| {
            let corp_id = &token.corp_id;
            let target = targets
                .iter()
                .find(|target| target.corp_ids.contains(corp_id));
            token.site == view.app.spec.site
                && token.lifetime.expires_at > now
                && memory.believes(token, now)
                && memory.corps.get(corp_id).is_some_and(|corp| {
                    corp.held.is_none() && !corp.attempts(view.tokens).is_under_way()
                })
                && target.is_some_and(|target| target.token(view, corp_id).is_none())
        };
        let missing = recorded.tokens.iter().filter(is_missing);
        let corp_ids: Vec<String> = missing.map(|token| token.corp_id.clone()).collect();
        if !corp_ids.is_empty() {
            let name = (*name).to_owned();
            steps.push(TargetStep::Read { name, corp_ids });
        }
    }
    steps
}

/// Returns the looks at targets whose metadata there was no room for.
pub(in crate::core) fn look_for_room(
    memory: &mut Memory,
    targets: &[Target<'_>],
    wake: &mut Wake,
    now: Timestamp,
) -> Vec<TargetStep> {
    let mut steps = Vec::new();
    let is_left_out = |target: &&Target<'_>| {
        target.blocked == Some(Blocked::TargetPastBounds)
            && target.present.is_some_and(TargetMeta::has_no_room)
    };
    for target in targets.iter().filter(is_left_out) {
        if steps.len() == TARGET_STEPS_MAX {
            break;
        }
        match memory.writing(&target.name).look_for_room_at(now) {
            Some(later) => wake.at(later),
            None => steps.push(TargetStep::Look {
                name: target.name.clone(),
            }),
        }
    }
    steps
}

/// Returns what to do about a target's contents and metadata.
pub(in crate::core) fn write_target(
    view: &View<'_>,
    memory: &mut Memory,
    target: &mut Target<'_>,
    wake: &mut Wake,
    now: Timestamp,
) -> Option<TargetStep> {
    let is_deleting = target.present.is_some_and(|present| present.deleting);
    if target.blocked.is_some() || is_deleting {
        return None;
    }
    if target.present.is_none() {
        memory.writing(&target.name).is_gone();
    }
    let assembled = memory.writing(&target.name).assembled.take();
    let (need, assembled) = fitting_need(view, memory, target, assembled);
    memory.writing(&target.name).assembled = assembled.and_then(Assembled::noted);
    if matches!(need, Some(Need::Assemble(_) | Need::Write(_)))
        && let Some(later) = batch_until(view, memory, target, now)
    {
        memory.looks.begin_at(later);
        wake.at(later);
        return None;
    }
    let name = target.name.clone();
    let generation = view.app.metadata.generation;
    let writing = memory.writing(&name);
    match need? {
        Need::Nothing => {
            writing.failure = None;
            if writing.contested {
                wake.at(now + SignedDuration::from_secs(60));
            }
            None
        }
        Need::TooLarge(_) => None,
        Need::Values => {
            let corp_ids = target.corp_ids.iter();
            let corp_ids = corp_ids.filter(|id| target.token(view, id).is_some());
            let corp_ids = corp_ids.cloned().collect();
            Some(TargetStep::Read { name, corp_ids })
        }
        Need::Assemble(assembly) => match writing.write_at(generation, now) {
            Some(later) => {
                wake.at(later);
                None
            }
            None => Some(TargetStep::Assemble { name, assembly }),
        },
        Need::Write(write) => write_in_turn(memory, target, write, generation, wake, now),
    }
}

fn write_in_turn(
    memory: &mut Memory,
    target: &Target<'_>,
    write: Box<Write>,
    generation: Option<i64>,
    wake: &mut Wake,
    now: Timestamp,
) -> Option<TargetStep> {
    let writing = memory.writing(&target.name);
    match writing.turn(&write.recorded, write.replaces.as_ref(), generation, now) {
        Turn::Later(later) => {
            wake.at(later);
            None
        }
        Turn::Replace(version) => Some(TargetStep::Delete {
            name: target.name.clone(),
            version,
            why: Deletion::Immutable,
        }),
        Turn::Now { is_repair } => Some(TargetStep::Write {
            cause: write_cause(memory, target, is_repair),
            write,
        }),
    }
}

/// Returns the cause of a write, which is preferably that of an unwritten token.
fn write_cause(memory: &Memory, target: &Target<'_>, repair: bool) -> Cause {
    if repair {
        return match target.present {
            Some(_) => Cause::TargetChanged,
            None => Cause::TargetMissing,
        };
    }
    let corps = target.corp_ids.iter();
    let corps = corps.filter_map(|corp_id| memory.corps.get(corp_id));
    let unwritten = corps.filter(|corp| corp.unwritten_since.is_some());
    match unwritten.filter_map(|corp| corp.renewal_cause).min() {
        Some(cause) => cause,
        None if target.present.is_some() && target.recorded.is_none() => Cause::TargetChanged,
        None => Cause::SpecChanged,
    }
}

/// Returns what to do so that the target holds as many of its tokens as fit.
fn fitting_need(
    view: &View<'_>,
    memory: &Memory,
    target: &mut Target<'_>,
    mut assembled: Option<Box<Assembled>>,
) -> (Option<Need>, Option<Box<Assembled>>) {
    let mut need = needed(
        view,
        memory,
        target,
        target.corp_ids,
        assembled.as_deref_mut(),
    );
    // Until new contents are assembled, what did not fit before still does not.
    if let Some(Need::TooLarge(_) | Need::Assemble(_)) = &need
        && let Some((size, left_out)) = assembled.as_ref().and_then(|it| it.excess())
    {
        target.too_large = Some(size);
        target.left_out.extend(left_out);
    }
    if let Some(Need::TooLarge(fitting)) = &mut need
        && !fitting.is_empty()
    {
        let fitting = std::mem::take(fitting);
        need = needed(view, memory, target, &fitting, assembled.as_deref_mut());
    }
    (need, assembled)
}

fn needed(
    view: &View<'_>,
    memory: &Memory,
    target: &Target<'_>,
    corp_ids: &[String],
    assembled: Option<&mut Assembled>,
) -> Option<Need> {
    let mut tokens = Vec::with_capacity(corp_ids.len());
    let mut value_changed_at = None;
    for corp_id in corp_ids {
        let corp = memory.corps.get(corp_id);
        value_changed_at = value_changed_at.max(corp.and_then(|corp| corp.value_changed_at));
        let is_unwritten = corp.is_some_and(|corp| corp.unwritten_since.is_some());
        let known = match is_unwritten {
            true => Known::Unwritten,
            false => Known::Held,
        };
        let held = corp.and_then(|corp| corp.held.as_ref()).map(known);
        let in_secret = || target.token(view, corp_id).map(Known::Recorded);
        tokens.extend(held.or_else(in_secret));
    }
    if tokens.is_empty() {
        return None;
    }
    let inputs = Inputs {
        app: view.app,
        name: &target.name,
        tokens: &tokens,
        templates: memory.templates(view.app)?.as_ref().ok()?,
        present: target.present,
        recorded: target.recorded.as_ref(),
        value_changed_at,
    };
    Some(need(&inputs, assembled))
}

/// Returns until when a write waits for more tokens in flight; `None` if it does not.
fn batch_until(
    view: &View<'_>,
    memory: &Memory,
    target: &Target<'_>,
    now: Timestamp,
) -> Option<Timestamp> {
    let corps = || {
        let corps = target.corp_ids.iter();
        corps.filter_map(|corp_id| memory.corps.get(corp_id))
    };
    let is_first = !target.corp_ids.iter().any(|corp_id| {
        target
            .token(view, corp_id)
            .is_some_and(|token| token.lifetime.expires_at > now)
    });
    if is_first || view.is_ending || !corps().any(|corp| corp.attempts(view.tokens).is_under_way())
    {
        return None;
    }
    let since = corps().filter_map(|corp| corp.unwritten_since).min()?;
    Some(since + BATCH).filter(|at| *at > now)
}

/// Returns the deletions of former targets whose tokens the current targets hold, or have expired.
pub(in crate::core) fn delete_former(
    view: &View<'_>,
    memory: &Memory,
    targets: &[Target<'_>],
    wake: &mut Wake,
    now: Timestamp,
) -> Vec<TargetStep> {
    let is_needed = |token: &TokenRecord| {
        let target = targets
            .iter()
            .find(|target| target.corp_ids.contains(&token.corp_id));
        let is_needed = target.is_some_and(|target| {
            let is_expired = token.lifetime.expires_at <= now;
            // Any token is the successor of one from another site, or with implausible times.
            let is_comparable = token.site == view.app.spec.site && memory.believes(token, now);
            let is_carried = target.token(view, &token.corp_id).is_some_and(|now| {
                !is_comparable
                    || now.lifetime.expires_at >= token.lifetime.expires_at
                    || now.lifetime.requested_at >= token.lifetime.requested_at
            });
            !(is_carried || is_expired && target.blocked.is_none())
        });
        wake.later(Some(token.lifetime.expires_at).filter(|_| is_needed), now);
        is_needed
    };
    unneeded(
        &view.former,
        &memory.targets,
        (&memory.uid, view.app.metadata.generation),
        now,
        is_needed,
        |name, version, why| TargetStep::Delete { name, version, why },
    )
}

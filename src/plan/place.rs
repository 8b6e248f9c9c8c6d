//! Brings tokens into the Secrets that are to have them, and takes away the Secrets that are not.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::data::{Data, Shape};
use super::desired::{Inputs, Known, Need, SECRET_SIZE_MAX, need};
use super::step::{Deletion, Step, Target, View, Wake};
use super::{Memory, TokenRecord};

/// What is minted is written at most 5 s after the first unwritten mint, the write included.
const BATCH: SignedDuration = SignedDuration::from_millis(4700);

/// A token that is wanted and only in a former target is carried over.
pub(super) fn carry_over(
    view: &View<'_>,
    memory: &mut Memory,
    targets: &[Target<'_>],
    now: Timestamp,
) -> Option<Step> {
    for (name, former) in &view.former {
        let Some(recorded) = &former.recorded else {
            continue;
        };
        if memory.writing(name).distrusts(former) {
            continue;
        }
        let is_missing = |token: &&TokenRecord| {
            let corp_id = &token.corp_id;
            let target = targets
                .iter()
                .find(|target| target.corp_ids.contains(corp_id));
            token.site == view.app.spec.site
                && token.lifetime.expires_at > now
                && memory
                    .corps
                    .get(corp_id)
                    .is_some_and(|corp| corp.held.is_none() && corp.minting.is_none())
                && target.is_some_and(|target| target.token(view, corp_id).is_none())
        };
        let missing = recorded.tokens.iter().filter(is_missing);
        let corp_ids: Vec<String> = missing.map(|token| token.corp_id.clone()).collect();
        if !corp_ids.is_empty() {
            let name = (*name).to_owned();
            return Some(Step::ReadTarget { name, corp_ids });
        }
    }
    None
}

/// What has to be done about a target's contents and metadata.
pub(super) fn write_target(
    view: &View<'_>,
    memory: &mut Memory,
    target: &mut Target<'_>,
    wake: &mut Wake,
    now: Timestamp,
) -> Option<Step> {
    let is_deleting = target.present.is_some_and(|present| present.deleting);
    if target.blocked.is_some() || is_deleting {
        return None;
    }
    let mut candidates = target.corp_ids.to_vec();
    let need = loop {
        let needed = needed(view, memory, target, &candidates)?;
        let Need::TooLarge(size) = needed else {
            break needed;
        };
        target.too_large = Some(size);
        // One token too many does not hold back those that are in the Secret already.
        let fitting = fitting(memory, target, &candidates);
        if fitting.is_empty() || fitting.len() == candidates.len() {
            return None;
        }
        let left_out = candidates.into_iter().filter(|id| !fitting.contains(id));
        target.left_out.extend(left_out);
        candidates = fitting;
    };
    let write = match need {
        Need::Nothing | Need::TooLarge(_) => {
            let writing = memory.writing(&target.name);
            writing.failure = None;
            if writing.contested {
                wake.at(now + SignedDuration::from_secs(60));
            }
            return None;
        }
        Need::Template(error) => {
            target.template = Some(error);
            return None;
        }
        Need::Values => {
            let corp_ids = target.corp_ids.to_vec();
            let name = target.name.clone();
            return Some(Step::ReadTarget { name, corp_ids });
        }
        Need::Write(write) => write,
    };
    if let Some(later) = batch_until(view, memory, target, now) {
        wake.at(later);
        return None;
    }
    let generation = view.app.metadata.generation;
    let writing = memory.writing(&target.name);
    let repair = writing.is_repair(&write.recorded, generation, target.present);
    let later = match repair {
        true => writing
            .repair_at(now)
            .max(writing.write_at(generation, now)),
        false => writing.write_at(generation, now),
    };
    match (later, &writing.immutable) {
        (Some(later), _) => {
            wake.at(later);
            None
        }
        (None, Some(version)) if write.replaces.as_ref() == Some(version) => {
            Some(Step::DeleteTarget {
                name: target.name.clone(),
                version: version.clone(),
                why: Deletion::Immutable,
            })
        }
        (None, _) => Some(Step::Write { write, repair }),
    }
}

fn needed(
    view: &View<'_>,
    memory: &Memory,
    target: &Target<'_>,
    corp_ids: &[String],
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
    Some(need(&Inputs {
        app: view.app,
        name: &target.name,
        tokens: &tokens,
        templates: memory.parsed_templates()?,
        present: target.present,
        recorded: target.recorded.as_ref(),
        value_changed_at,
    }))
}

/// Those that are in the Secret already, and as many of the others as there is room for.
fn fitting(memory: &Memory, target: &Target<'_>, corp_ids: &[String]) -> Vec<String> {
    let size = |corp_id: &String| {
        let corp = memory.corps.get(corp_id);
        let held = corp.and_then(|corp| corp.held.as_ref());
        let shape = target
            .recorded
            .as_ref()
            .map_or(Shape::Many, |recorded| recorded.shape);
        held.map_or(0, |held| Data::of(shape, [held]).size())
    };
    let is_in = |corp_id: &&String| {
        let recorded = target.recorded.as_ref();
        recorded.is_some_and(|recorded| recorded.token(corp_id).is_some())
    };
    let mut room = SECRET_SIZE_MAX;
    let mut kept: HashSet<&String> = HashSet::new();
    let (old, new): (Vec<_>, Vec<_>) = corp_ids.iter().partition(is_in);
    for corp_id in old.into_iter().chain(new) {
        let size = size(corp_id);
        if size <= room {
            room -= size;
            kept.insert(corp_id);
        }
    }
    let in_order = corp_ids.iter().filter(|id| kept.contains(id));
    in_order.cloned().collect()
}

/// Until when a write waits for more tokens that are being fetched, if it does.
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
    if is_first || view.is_ending || !corps().any(|corp| corp.minting.is_some()) {
        return None;
    }
    let since = corps().filter_map(|corp| corp.unwritten_since).min()?;
    Some(since + BATCH).filter(|at| *at > now)
}

/// A Secret that is no target any more goes once the targets have what is in it.
pub(super) fn delete_former(
    view: &View<'_>,
    memory: &mut Memory,
    targets: &[Target<'_>],
    now: Timestamp,
) -> Option<Step> {
    let uid = memory.uid.clone();
    for (name, former) in &view.former {
        let writing = memory.writing(name);
        // A copy that somebody made of a Secret of ours is theirs.
        let is_ours = former.data_is_ours || writing.has_written(former, &uid);
        if former.deleting || !is_ours {
            continue;
        }
        let tokens = former.recorded.iter().flat_map(|recorded| &recorded.tokens);
        let is_carried = |token: &TokenRecord| {
            let target = targets
                .iter()
                .find(|target| target.corp_ids.contains(&token.corp_id));
            let Some(target) = target else { return true };
            let is_dead = token.lifetime.expires_at <= now || token.site != view.app.spec.site;
            is_dead && target.blocked.is_none()
                || target.token(view, &token.corp_id).is_some_and(|now| {
                    now.lifetime.expires_at >= token.lifetime.expires_at
                        || now.lifetime.minted_at >= token.lifetime.minted_at
                })
        };
        if tokens.into_iter().all(is_carried) {
            return Some(Step::DeleteTarget {
                name: (*name).to_owned(),
                version: former.version.clone(),
                why: Deletion::Former,
            });
        }
    }
    None
}

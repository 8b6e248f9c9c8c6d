//! Looks at the Secret under a target's name.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::api::Reason;
use crate::core::app::memory::Memory;
use crate::core::app::view::{Blocked, CredentialsSeen, Target, TargetSeen, TargetStep, View};
use crate::core::secret::desired::Wanted;
use crate::core::secret::ownership::{Claim, Ownership};
use crate::core::secret::recorded::Recorded;
use crate::core::secret::target::TargetMeta;
use crate::core::token::record::TokenRecord;

/// Looks at the Secret under a target's name. The error is the step that reads it.
pub(in crate::core) fn look<'a>(
    view: &View<'a>,
    memory: &mut Memory,
    wanted: Wanted<'a>,
    seen: &TargetSeen<'a>,
    blocked: Option<&Blocked>,
    now: Timestamp,
) -> Result<Target<'a>, TargetStep> {
    let Wanted { name, corp_ids } = wanted;
    let present = seen.present.map(|(target, ownership)| {
        let is_ours = ownership == Ownership::Foreign && has_written(memory, &name, target);
        (target, if is_ours { Ownership::Ours } else { ownership })
    });
    let blocked = blocked
        .cloned()
        .or_else(|| blocked_by(&seen.claim, present));
    let recorded = recorded(view, memory, present, corp_ids);
    let known = memory.credentials_of(view.app);
    let only_client_id = present
        .filter(|(_, ownership)| *ownership == Ownership::Predecessor)
        .map(|_| known.map_or_else(String::new, |known| known.client_id.clone()));
    let mut target = Target {
        name,
        corp_ids,
        present: present.map(|(target, _)| target),
        blocked,
        recorded: None,
        only_client_id,
        disbelieved: HashSet::new(),
        too_large: None,
        left_out: HashSet::new(),
    };
    if let (Some(present), Some(recorded)) = (target.present, recorded) {
        believe(memory, &mut target, present, recorded, now)?;
    }
    Ok(target)
}

/// Whether a Secret without the operator's marks is the very one that this process wrote.
fn has_written(memory: &mut Memory, name: &str, target: &TargetMeta) -> bool {
    let uid = memory.uid.clone();
    !target.is_past_bounds() && memory.writing(name).has_written(target, &uid)
}

/// Returns what blocks this target.
fn blocked_by(claim: &Claim, present: Option<(&TargetMeta, Ownership)>) -> Option<Blocked> {
    match (claim, present) {
        (Claim::Lost { to }, _) => Some(Blocked::TargetOfOlderApp(to.clone())),
        (Claim::Ours, Some((target, _))) if target.is_past_bounds() => {
            Some(Blocked::TargetPastBounds)
        }
        (Claim::Ours, Some((_, Ownership::Foreign))) => Some(Blocked::TargetForeign),
        (Claim::Ours, _) => None,
    }
}

/// Accepts what a target records, as far as it is plausible. The error is the step that reads it.
fn believe<'a>(
    memory: &mut Memory,
    target: &mut Target<'a>,
    present: &'a TargetMeta,
    recorded: Recorded,
    now: Timestamp,
) -> Result<(), TargetStep> {
    let tokens = recorded.tokens.iter();
    let disbelieved = tokens.filter(|token| !memory.believes(token, now));
    target.disbelieved = disbelieved.map(|token| token.corp_id.clone()).collect();
    if memory.writing(&target.name).is_anothers(present) {
        for token in recorded.tokens.iter().filter(|token| target.counts(token)) {
            // Corps that are no longer wanted are not remembered.
            if let Some(corp) = memory.corps.get_mut(&token.corp_id) {
                corp.give_way_to(token);
            }
        }
    }
    let writing = memory.writing(&target.name);
    let distrusts = writing.distrusts(&present.version);
    let trusts = writing.trusts(present) && !distrusts;
    let unknown = |corp_id: &&String| {
        let corp = memory.corps.get(*corp_id);
        recorded
            .token(corp_id)
            .is_some_and(|token| target.counts(token))
            && corp.is_none_or(|corp| corp.held.is_none())
    };
    let unknown: Vec<String> = target.corp_ids.iter().filter(unknown).cloned().collect();
    if !trusts && !distrusts && !unknown.is_empty() && target.blocked.is_none() {
        return Err(TargetStep::Read {
            name: target.name.clone(),
            corp_ids: unknown,
        });
    }
    target.recorded = trusts.then_some(recorded);
    Ok(())
}

/// Returns what the target records about the wanted tokens of this site. A predecessor's tokens are
/// credited with the credentials that were read if the `client_id` matches; those whose state is of
/// a newer version in any case.
fn recorded(
    view: &View<'_>,
    memory: &Memory,
    present: Option<(&TargetMeta, Ownership)>,
    corp_ids: &[String],
) -> Option<Recorded> {
    let (target, ownership) = present?;
    let recorded = target.recorded.as_ref()?;
    let is_wanted = |token: &TokenRecord| token.site == view.app.spec.site;
    if !recorded.tokens.iter().any(is_wanted) || corp_ids.is_empty() {
        return None;
    }
    match ownership {
        Ownership::Ours if recorded.digest.is_some() => Some(recorded.clone()),
        Ownership::Ours | Ownership::Predecessor => {
            let known = memory.credentials_of(view.app)?;
            Some(recorded.clone().credited(known))
        }
        Ownership::Younger | Ownership::Adoptable | Ownership::Foreign => None,
    }
}

/// Whether the app's credentials are known to differ from those that a token was fetched with.
pub(in crate::core) fn is_former(view: &View<'_>, memory: &Memory, token: &TokenRecord) -> bool {
    if let Some(problem) = &memory.credentials_problem {
        // Unreadable credentials may be the same as before.
        let is_same = problem.version.as_ref() == Some(&token.credentials);
        return problem.reason != Reason::CredentialsUnreadable || !is_same;
    }
    if let Some(known) = memory.credentials_of(view.app) {
        let corp = memory.corps.get(&token.corp_id);
        return corp.is_some_and(|corp| !corp.is_proven(token, known));
    }
    match &view.credentials {
        CredentialsSeen::Present(now) => {
            memory.credentials.is_some() || now.uid != token.credentials.uid
        }
        CredentialsSeen::Absent => true,
        CredentialsSeen::Unknown => memory.credentials.is_some(),
    }
}

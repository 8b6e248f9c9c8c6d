//! A look at what is under a target's name.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::api::Reason;
use crate::core::app::view::{Blocked, CredentialsSeen, Target, TargetSeen, TargetStep, View};
use crate::core::secret::recorded::Recorded;
use crate::core::{Claim, Memory, Ownership, TargetMeta, TokenRecord};

/// Looks at what is under a target's name; the step is to read it.
pub(in crate::core) fn look<'a>(
    view: &View<'a>,
    memory: &mut Memory,
    name: String,
    corp_ids: &'a [String],
    seen: &TargetSeen<'a>,
    blocked: Option<&Blocked>,
    now: Timestamp,
) -> Result<Target<'a>, TargetStep> {
    let uid = memory.uid.clone();
    let present = seen.present.map(|(target, ownership)| match ownership {
        Ownership::Foreign
            if !target.is_past_bounds && memory.writing(&name).has_written(target, &uid) =>
        {
            (target, Ownership::Ours)
        }
        _ => (target, ownership),
    });
    let of_target = match (&seen.claim, present) {
        (Claim::Lost { to }, _) => Some(Blocked::TargetOfOlderApp(to.clone())),
        (Claim::Ours, Some((target, _))) if target.is_past_bounds => {
            Some(Blocked::TargetPastBounds)
        }
        (Claim::Ours, Some((_, Ownership::Foreign))) => Some(Blocked::TargetForeign),
        (Claim::Ours, _) => None,
    };
    let blocked = blocked.cloned().or(of_target);
    let recorded = recorded(view, memory, present, corp_ids);
    let known = memory.credentials_of(view.app);
    let only_client_id = present
        .filter(|(_, ownership)| *ownership == Ownership::Predecessor)
        .map(|_| known.map_or_else(String::new, |known| known.client_id.clone()));
    let present = present.map(|(target, _)| target);
    let mut target = Target {
        name,
        corp_ids,
        present,
        blocked,
        recorded: None,
        only_client_id,
        disbelieved: HashSet::new(),
        too_large: None,
        left_out: HashSet::new(),
    };
    if let (Some(present), Some(recorded)) = (present, recorded) {
        let tokens = recorded.tokens.iter();
        let disbelieved = tokens.filter(|token| !memory.believes(token, now));
        target.disbelieved = disbelieved.map(|token| token.corp_id.clone()).collect();
        if memory.writing(&target.name).is_anothers(present) {
            for token in recorded.tokens.iter().filter(|token| target.counts(token)) {
                // One of an organisation that is no longer wanted is not remembered.
                if let Some(corp) = memory.corps.get_mut(&token.corp_id) {
                    corp.give_way_to(token);
                }
            }
        }
        let writing = memory.writing(&target.name);
        let (trusts, distrusts) = (writing.trusts(present), writing.distrusts(present));
        let unknown = |corp_id: &&String| {
            let corp = memory.corps.get(*corp_id);
            recorded
                .token(corp_id)
                .is_some_and(|token| target.counts(token))
                && corp.is_none_or(|corp| corp.held.is_none())
        };
        let unknown: Vec<String> = corp_ids.iter().filter(unknown).cloned().collect();
        if !trusts && !distrusts && !unknown.is_empty() && target.blocked.is_none() {
            return Err(TargetStep::Read {
                name: target.name,
                corp_ids: unknown,
            });
        }
        target.recorded = trusts.then_some(recorded);
    }
    Ok(target)
}

/// What the target records of the tokens that are wanted from this site. What another app's token
/// was fetched with is not known; a predecessor's counts if it is of the `client_id` that was read, and
/// that of an unreadable state in any case.
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

/// Whether the app's credentials are known not to be those that a token was fetched with.
pub(in crate::core) fn is_former(view: &View<'_>, memory: &Memory, token: &TokenRecord) -> bool {
    if let Some(problem) = &memory.credentials_problem {
        // Those that may not be read may be the same as before.
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

//! Looks at the Secret under a target's name.

use std::collections::HashSet;

use crate::api::Reason;
use crate::core::app::decision::Decision;
use crate::core::app::view::{Blocked, CredentialsSeen, Target, TargetSeen, TargetStep};
use crate::core::secret::desired::Wanted;
use crate::core::secret::ownership::{Claim, Ownership};
use crate::core::secret::recorded::Recorded;
use crate::core::secret::target::TargetMeta;
use crate::core::token::record::TokenRecord;

impl<'a> Decision<'_, 'a> {
    /// Looks at the Secret under a target's name. The error is the step that reads it.
    pub(super) fn look(
        &mut self,
        wanted: Wanted<'a>,
        seen: &TargetSeen<'a>,
        blocked: Option<&Blocked>,
    ) -> Result<Target<'a>, TargetStep> {
        let Wanted { name, corp_ids } = wanted;
        let present = seen.present.map(|(target, ownership)| {
            let is_ours = ownership == Ownership::Foreign && self.has_written(&name, target);
            (target, if is_ours { Ownership::Ours } else { ownership })
        });
        let blocked = blocked
            .cloned()
            .or_else(|| blocked_by(&seen.claim, present));
        let recorded = self.recorded(present, corp_ids);
        let only_client_id = present
            .filter(|(_, ownership)| *ownership == Ownership::Predecessor)
            .map(|_| {
                self.known()
                    .map_or_else(String::new, |known| known.client_id.clone())
            });
        let mut target = Target {
            name,
            corp_ids,
            present: present.map(|(target, _)| target),
            blocked,
            recorded: None,
            only_client_id,
            disbelieved: HashSet::new(),
            excess: None,
        };
        if let (Some(present), Some(recorded)) = (target.present, recorded) {
            self.believe(&mut target, present, recorded)?;
        }
        Ok(target)
    }

    /// Whether a Secret without the operator's marks is the very one that this process wrote.
    fn has_written(&self, name: &str, target: &TargetMeta) -> bool {
        let writing = self.memory.writing(name);
        !target.is_past_bounds() && writing.has_written(target, &self.memory.uid)
    }

    /// Accepts what a target records, as far as it is plausible. The error is the step that reads
    /// it.
    fn believe(
        &mut self,
        target: &mut Target<'a>,
        present: &'a TargetMeta,
        recorded: Recorded,
    ) -> Result<(), TargetStep> {
        let tokens = recorded.tokens.iter();
        let disbelieved = tokens.filter(|token| !self.memory.believes(token, self.now));
        target.disbelieved = disbelieved.map(|token| token.corp_id.clone()).collect();
        if self.memory.writing(&target.name).is_anothers(present) {
            for token in recorded.tokens.iter().filter(|token| target.counts(token)) {
                // Corps that are no longer wanted are not remembered.
                if let Some(corp) = self.memory.corps.get_mut(&token.corp_id) {
                    corp.give_way_to(token);
                }
            }
        }
        let writing = self.memory.writing(&target.name);
        let distrusts = writing.distrusts(&present.version);
        let trusts = writing.trusts(present) && !distrusts;
        let unknown = |corp_id: &&String| {
            let token = recorded.token(corp_id);
            token.is_some_and(|token| target.counts(token))
                && self.memory.corp(corp_id).held.is_none()
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

    /// Returns what the target records about the wanted tokens of this site. A predecessor's tokens
    /// are credited with the credentials that were read if the `client_id` matches; those whose
    /// state is of a newer version in any case.
    fn recorded(
        &self,
        present: Option<(&TargetMeta, Ownership)>,
        corp_ids: &[String],
    ) -> Option<Recorded> {
        let (target, ownership) = present?;
        let recorded = target.recorded.as_ref()?;
        let is_wanted = |token: &TokenRecord| token.site == self.view.app.spec.site;
        if !recorded.tokens.iter().any(is_wanted) || corp_ids.is_empty() {
            return None;
        }
        match ownership {
            Ownership::Ours if recorded.digest.is_some() => Some(recorded.clone()),
            Ownership::Ours | Ownership::Predecessor => {
                Some(recorded.clone().credited(self.known()?))
            }
            Ownership::Younger | Ownership::Adoptable | Ownership::Foreign => None,
        }
    }

    /// Whether the app's credentials are known to differ from those that a token was fetched with.
    pub(super) fn is_former(&self, token: &TokenRecord) -> bool {
        let memory = &self.memory;
        if let Some(problem) = &memory.credentials_problem {
            // Unreadable credentials may be the same as before.
            let is_same = problem.version.as_ref() == Some(&token.credentials);
            return problem.reason != Reason::CredentialsUnreadable || !is_same;
        }
        if let Some(known) = self.known() {
            return !memory.corp(&token.corp_id).is_proven(token, known);
        }
        match &self.view.credentials {
            CredentialsSeen::Present(now) => {
                memory.credentials.is_some() || now.uid != token.credentials.uid
            }
            CredentialsSeen::Absent => true,
            CredentialsSeen::Unknown => memory.credentials.is_some(),
        }
    }
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

//! What to do next for one app.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::core::app::corp::Corp;
use crate::core::app::decision::Decision;
use crate::core::app::memory::Memory;
use crate::core::app::view::{
    AppSite, Blocked, CorpSettled, Settled, Step, Target, TargetStep, View,
};
use crate::core::secret::desired::{Wanted, wanted};
use crate::core::secret::former::deletion_retried_at;
use crate::core::secret::listed::listed;
use crate::core::secret::metadata::{forbidden_key, forbidden_message};
use crate::core::secret::write::TARGET_STEPS_MAX;
use crate::core::token::record::TokenRecord;

/// A fetch that takes longer is shown as pending.
const PENDING_SHOWN_AFTER: SignedDuration = SignedDuration::from_secs(3);

/// An app without its target is not woken when another older one gets it, which its status names.
const ANOTHER_HOLDER: SignedDuration = SignedDuration::from_mins(5);
/// Most sites named in a message.
const SITES_NAMED_MAX: usize = 10;

/// Decides the next step. Each step's outcome goes into `memory` or the view, so that repeated
/// calls lead to [`Step::Settle`].
pub(crate) fn next_step(view: &View<'_>, memory: &mut Memory, now: Timestamp) -> Step {
    if view.app.metadata.deletion_timestamp.is_some() {
        // Nobody waits for its tokens to be written.
        let corps = memory.corps.values_mut();
        corps.for_each(|corp| corp.is_stuck = true);
        return Step::Settle(Settled {
            quiet: true,
            ..Settled::default()
        });
    }
    let wanted = wanted(view.app);
    let names = wanted.iter().map(|target| target.name.as_str());
    let names = names.chain(view.former.keys().copied()).collect();
    memory.prepare(view.app, &names, now);
    let mut decision = Decision::new(view, memory, now);
    decision.rest(wanted).map_or_else(|step| step, Step::Settle)
}

fn unavailable_message(site: &str, available: &[&str]) -> String {
    let named = listed(available.iter().copied(), SITES_NAMED_MAX);
    let choice = match named.is_empty() {
        true => String::new(),
        false => format!("use another one ({named}), or "),
    };
    format!(
        "site {site:?} is not available to this namespace: {choice}ask whoever runs the operator to add it \
         with --site, or to open it to this namespace with --site-namespaces"
    )
}

/// Returns the steps as an error, if there are any.
fn some(steps: Vec<TargetStep>) -> Result<(), Step> {
    match steps.is_empty() {
        true => Ok(()),
        false => Err(Step::Targets(steps)),
    }
}

impl<'a> Decision<'_, 'a> {
    /// Returns the app at rest. The error is the step to take before.
    fn rest(&mut self, wanted: Vec<Wanted<'a>>) -> Result<Settled, Step> {
        let blocked = self.blocked()?;
        let mut targets = self.look_at_all(wanted, blocked.as_ref())?;
        let mut next_attempts = BTreeMap::new();
        if blocked.is_none() {
            let retried_at = deletion_retried_at(&self.memory.targets, self.generation(), self.now);
            self.wake.later(retried_at, self.now);
            // During shutdown, nothing may keep a fetched token from being written.
            if !self.view.is_ending {
                some(self.carry_over(&targets))?;
                some(self.look_for_room(&targets))?;
            }
            next_attempts = self.fetch_what_is_due(&targets)?;
            let to_write = targets.iter_mut();
            let to_write = to_write.filter_map(|target| self.write_target(target));
            some(to_write.take(TARGET_STEPS_MAX).collect())?;
            some(self.delete_former(&targets))?;
        }
        self.find_stuck(&targets);
        Ok(self.settle(&targets, &next_attempts))
    }

    /// Returns what blocks all targets.
    fn blocked(&self) -> Result<Option<Blocked>, Step> {
        let spec = &self.view.app.spec;
        if let AppSite::Unavailable(available) = &self.view.site {
            let message = unavailable_message(&spec.site, available);
            return Ok(Some(Blocked::UnknownSite(message)));
        }
        let prefixes = self.view.metadata_prefixes;
        let key = forbidden_key(&spec.target.labels, &spec.target.annotations, prefixes);
        match (key, self.memory.templates(self.view.app)) {
            (Some(key), _) => Ok(Some(Blocked::Metadata(forbidden_message(key, prefixes)))),
            (None, None) => Err(Step::ParseTemplates),
            (None, Some(Err(error))) => Ok(Some(Blocked::Template(error.clone()))),
            (None, Some(Ok(_))) => Ok(None),
        }
    }

    fn look_at_all(
        &mut self,
        wanted: Vec<Wanted<'a>>,
        blocked: Option<&Blocked>,
    ) -> Result<Vec<Target<'a>>, Step> {
        let mut targets = Vec::with_capacity(wanted.len());
        let mut steps = Vec::new();
        for (wanted, seen) in wanted.into_iter().zip(&self.view.targets) {
            match self.look(wanted, seen, blocked) {
                Ok(target) => targets.push(target),
                Err(step) => steps.push(step),
            }
            if steps.len() == TARGET_STEPS_MAX {
                break;
            }
        }
        some(steps)?;
        Ok(targets)
    }

    /// Records which corps' tokens cannot be written.
    fn find_stuck(&mut self, targets: &[Target<'_>]) {
        for target in targets {
            let is_failing = self.memory.writing(&target.name).failure.is_some();
            for corp_id in target.corp_ids {
                self.memory.corp_mut(corp_id).is_stuck = is_failing || target.blocked.is_some();
            }
        }
    }

    /// Returns when the corps' tokens are fetched. The error is the step to take if one is due now.
    fn fetch_what_is_due(
        &mut self,
        targets: &[Target<'a>],
    ) -> Result<BTreeMap<&'a str, Timestamp>, Step> {
        let fetches = self.fetches(targets);
        if !self.view.is_ending && fetches.iter().any(|(.., fetch)| fetch.reads_credentials()) {
            some(self.values_needed(&fetches))?;
            return Err(Step::ReadCredentials);
        }
        let next_attempts = fetches.into_iter();
        Ok(next_attempts
            .filter_map(|(_, corp_id, fetch)| Some((corp_id, fetch.at()?)))
            .collect())
    }

    fn settle(
        &mut self,
        targets: &[Target<'_>],
        next_attempts: &BTreeMap<&str, Timestamp>,
    ) -> Settled {
        let (view, now) = (self.view, self.now);
        let mut settled = Settled {
            host: view.site.host().to_owned(),
            ..Settled::default()
        };
        let mut shown_at: Option<Timestamp> = None;
        let mut is_quiet = self.memory.credentials_problem.is_none();
        for target in targets {
            for corp_id in target.corp_ids {
                let corp = self.memory.corp(corp_id);
                let token = target.token(view, corp_id);
                let in_secret = token.map(|token| token.lifetime);
                let former_client_id = token
                    .filter(|token| self.is_former(token))
                    .map(|token| fetched_as(corp, token));
                let next_attempt = next_attempts.get(corp_id.as_str()).copied();
                self.wake
                    .later(in_secret.map(|lifetime| lifetime.expires_at), now);
                self.wake.later(next_attempt, now);
                if let Some(Blocked::TargetOfOlderApp(_)) = target.blocked {
                    self.wake.at(now + ANOTHER_HOLDER);
                }
                let attempts = corp.attempts(view.tokens);
                let since = attempts.under_way_since();
                settled.is_fetching |= since.is_some();
                let pending = since.map(|since| since + PENDING_SHOWN_AFTER);
                let has_token = in_secret.is_some() || corp.held.is_some();
                is_quiet &= (!has_token || former_client_id.is_some())
                    && target.blocked.is_none()
                    && attempts.failing().is_none()
                    && pending.is_some_and(|at| at > now);
                shown_at = pending.into_iter().chain(shown_at).min();
                settled.corps.push(CorpSettled {
                    secret: target.name.clone(),
                    in_secret,
                    former_client_id,
                    next_attempt,
                    blocked: target.blocked.clone(),
                    too_large: target.too_large_for(corp_id),
                    is_answer_unwritten: token.is_some_and(|it| corp.answers_newly(it)),
                });
            }
            let recorded = target.recorded.as_ref();
            let changed_at = recorded.and_then(|recorded| recorded.value_changed_at);
            settled.value_changed_at = settled.value_changed_at.max(changed_at);
        }
        settled.quiet = is_quiet && !settled.corps.is_empty();
        if let Some(at) = shown_at.filter(|_| settled.quiet) {
            self.wake.at(at);
        }
        settled.wake_at = self.wake.0;
        settled
    }
}

/// Returns the `client_id` that a token was fetched with. A Secret records one for all its tokens.
fn fetched_as(corp: &Corp, token: &TokenRecord) -> String {
    let held = corp.held.as_ref();
    match held.filter(|held| held.record.is_same_token(token)) {
        Some(held) => held.record.client_id.clone(),
        None => token.client_id().unwrap_or_default().to_owned(),
    }
}

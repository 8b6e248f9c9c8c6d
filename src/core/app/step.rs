//! What to do next for one app.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::core::app::corp::Corp;
use crate::core::app::fetch::{Fetch, fetches_of, values_needed};
use crate::core::app::look::{is_former, look};
use crate::core::app::memory::Memory;
use crate::core::app::place::{carry_over, delete_former, look_for_room, write_target};
use crate::core::app::view::{
    AppSite, Blocked, CorpSettled, Settled, Step, Target, TargetStep, View, Wake,
};
use crate::core::secret::desired::{Wanted, wanted};
use crate::core::secret::former::deletion_retried_at;
use crate::core::secret::metadata::{forbidden_key, forbidden_message};
use crate::core::secret::write::TARGET_STEPS_MAX;
use crate::core::token::record::TokenRecord;
use crate::core::token::tokens::Attempts;

/// A fetch that takes longer is shown as pending.
const PENDING_SHOWN_AFTER: SignedDuration = SignedDuration::from_secs(3);

/// An app without its target is not woken when another older one gets it, which its status names.
const ANOTHER_HOLDER: SignedDuration = SignedDuration::from_mins(5);
/// Most sites named in a message.
const SITES_NAMED_MAX: usize = 10;

/// Decides the next step. Each step's outcome goes into `memory` or the view, so that repeated
/// calls lead to [`Step::Settle`].
pub(crate) fn next_step(view: &View<'_>, memory: &mut Memory, now: Timestamp) -> Step {
    let app = view.app;
    if app.metadata.deletion_timestamp.is_some() {
        return Step::Settle(Settled {
            quiet: true,
            ..Settled::default()
        });
    }
    let wanted = wanted(app);
    let names = wanted.iter().map(|target| target.name.as_str());
    let names = names.chain(view.former.keys().copied()).collect();
    memory.prepare(app, &names, now);
    let step = match blocked(view, memory) {
        Err(step) => Err(step),
        Ok(blocked) => act(view, memory, wanted, blocked.as_ref(), now),
    };
    step.unwrap_or_else(|step| step)
}

/// Returns what blocks all targets.
fn blocked(view: &View<'_>, memory: &Memory) -> Result<Option<Blocked>, Step> {
    if let AppSite::Unavailable(available) = &view.site {
        let message = unavailable_message(&view.app.spec.site, available);
        return Ok(Some(Blocked::UnknownSite(message)));
    }
    let target = &view.app.spec.target;
    let prefixes = view.metadata_prefixes;
    let key = forbidden_key(&target.labels, &target.annotations, prefixes);
    match (key, memory.templates(view.app)) {
        (Some(key), _) => Ok(Some(Blocked::Metadata(forbidden_message(key, prefixes)))),
        (None, None) => Err(Step::ParseTemplates),
        (None, Some(Err(error))) => Ok(Some(Blocked::Template(error.clone()))),
        (None, Some(Ok(_))) => Ok(None),
    }
}

fn unavailable_message(site: &str, available: &[&str]) -> String {
    let named: Vec<&str> = available.iter().take(SITES_NAMED_MAX).copied().collect();
    let more = match available.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let choice = match named.is_empty() {
        true => String::new(),
        false => format!("use another one ({}{more}), or ", named.join(", ")),
    };
    format!(
        "site {site:?} is not available to this namespace: {choice}ask whoever runs the operator to add it \
         with --site, or to open it to this namespace with --site-namespaces"
    )
}

/// Returns the step to take as an error, or that the app is at rest.
fn act(
    view: &View<'_>,
    memory: &mut Memory,
    wanted: Vec<Wanted<'_>>,
    blocked: Option<&Blocked>,
    now: Timestamp,
) -> Result<Step, Step> {
    let mut targets = look_at_all(view, memory, wanted, blocked, now)?;
    memory.is_blocked = targets.iter().any(|target| target.blocked.is_some());
    let mut wake = Wake::default();
    let mut fetches: BTreeMap<&str, Fetch> = BTreeMap::new();
    if blocked.is_none() {
        let retried_at = deletion_retried_at(&memory.targets, view.app.metadata.generation, now);
        wake.later(retried_at, now);
        // During shutdown, nothing may keep a fetched token from being written.
        if !view.is_ending {
            some(carry_over(view, memory, &targets, now))?;
            some(look_for_room(memory, &targets, &mut wake, now))?;
        }
        fetches = fetch_what_is_due(view, memory, &targets, now)?;
        let to_write = targets
            .iter_mut()
            .filter_map(|target| write_target(view, memory, target, &mut wake, now));
        some(to_write.take(TARGET_STEPS_MAX).collect())?;
        some(delete_former(view, memory, &targets, &mut wake, now))?;
    }
    Ok(settle(view, memory, &targets, &fetches, wake, now))
}

/// Returns the steps as an error, if there are any.
fn some(steps: Vec<TargetStep>) -> Result<(), Step> {
    match steps.is_empty() {
        true => Ok(()),
        false => Err(Step::Targets(steps)),
    }
}

fn look_at_all<'a>(
    view: &View<'a>,
    memory: &mut Memory,
    wanted: Vec<Wanted<'a>>,
    blocked: Option<&Blocked>,
    now: Timestamp,
) -> Result<Vec<Target<'a>>, Step> {
    let mut targets = Vec::with_capacity(wanted.len());
    let mut steps = Vec::new();
    for (wanted, seen) in wanted.into_iter().zip(&view.targets) {
        match look(view, memory, wanted, seen, blocked, now) {
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

/// Returns when each corp's token is fetched. The error is the step to take if one is due now.
fn fetch_what_is_due<'a>(
    view: &View<'_>,
    memory: &mut Memory,
    targets: &[Target<'a>],
    now: Timestamp,
) -> Result<BTreeMap<&'a str, Fetch>, Step> {
    let decided = fetches_of(view, memory, targets, now);
    let any = |is_wanted: fn(Fetch) -> bool| {
        let mut fetches = decided.iter().map(|(.., fetch)| *fetch);
        !view.is_ending && fetches.any(is_wanted)
    };
    if any(|fetch| fetch.is_now() || fetch == Fetch::Value) {
        some(values_needed(view, memory, &decided))?;
        return Err(Step::ReadCredentials);
    }
    if any(|fetch| fetch == Fetch::Check) {
        return Err(Step::ReadCredentials);
    }
    let fetches = decided.into_iter();
    Ok(fetches
        .map(|(_, corp_id, fetch)| (corp_id, fetch))
        .collect())
}

fn settle(
    view: &View<'_>,
    memory: &Memory,
    targets: &[Target<'_>],
    fetches: &BTreeMap<&str, Fetch>,
    mut wake: Wake,
    now: Timestamp,
) -> Step {
    let corp = |corp_id: &String| memory.corps.get(corp_id);
    let mut settled = Settled::default();
    settled.host.push_str(view.site.host());
    let mut shown_at: Option<Timestamp> = None;
    let mut is_quiet = memory.credentials_problem.is_none();
    for target in targets {
        for corp_id in target.corp_ids {
            let token = target.token(view, corp_id);
            let in_secret = token.map(|token| token.lifetime);
            let former_client_id = token
                .filter(|token| is_former(view, memory, token))
                .map(|token| fetched_as(corp(corp_id).map(Box::as_ref), token));
            let fetch = fetches.get(corp_id.as_str()).copied();
            let next_attempt = fetch.and_then(Fetch::at);
            wake.later(in_secret.map(|lifetime| lifetime.expires_at), now);
            wake.later(next_attempt, now);
            if let Some(Blocked::TargetOfOlderApp(_)) = target.blocked {
                wake.at(now + ANOTHER_HOLDER);
            }
            let is_left_out = target.left_out.contains(corp_id) || target.left_out.is_empty();
            let attempts = corp(corp_id).map(|corp| corp.attempts(view.tokens));
            let since = attempts.and_then(Attempts::under_way_since);
            settled.is_fetching |= since.is_some();
            let pending = since.map(|since| since + PENDING_SHOWN_AFTER);
            let is_new = |corp: &Corp| corp.held.is_none() || former_client_id.is_some();
            let is_first = (in_secret.is_none() || former_client_id.is_some())
                && target.blocked.is_none()
                && attempts.is_some_and(|attempts| attempts.failing().is_none())
                && corp(corp_id).is_some_and(|corp| is_new(corp))
                && pending.is_some_and(|at| at > now);
            is_quiet &= is_first;
            shown_at = pending.into_iter().chain(shown_at).min();
            settled.corps.push(CorpSettled {
                secret: target.name.clone(),
                in_secret,
                former_client_id,
                next_attempt,
                blocked: target.blocked.clone(),
                too_large: target.too_large.filter(|_| is_left_out),
            });
        }
        let recorded = target.recorded.as_ref();
        let changed_at = recorded.and_then(|recorded| recorded.value_changed_at);
        settled.value_changed_at = settled.value_changed_at.max(changed_at);
    }
    settled.quiet = is_quiet && !settled.corps.is_empty();
    if let Some(at) = shown_at.filter(|_| settled.quiet) {
        wake.at(at);
    }
    settled.wake_at = wake.0;
    Step::Settle(settled)
}

/// Returns the `client_id` that a token was fetched with. A Secret records one for all its tokens.
fn fetched_as(corp: Option<&Corp>, token: &TokenRecord) -> String {
    let held = corp.and_then(|corp| corp.held.as_ref());
    match held.filter(|held| held.record.is_same_token(token)) {
        Some(held) => held.record.client_id.clone(),
        None => token.client_id().unwrap_or_default().to_owned(),
    }
}

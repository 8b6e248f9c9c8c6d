//! The status of each corp.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::api::{CorpStatus, DingTalkApp, DingTalkAppStatus};
use crate::core::app::corp::Corp;
use crate::core::app::memory::Memory;
use crate::core::app::view::{CorpSettled, Settled};
use crate::core::report::problem::{Problem, problem, shown};
use crate::core::token::tokens::Tokens;

/// Returns the status of each corp, and the problems of those that have one.
pub(super) fn corps<'a>(
    app: &'a DingTalkApp,
    settled: &Settled,
    memory: &Memory,
    tokens: &Tokens,
    previous: &DingTalkAppStatus,
    now: Timestamp,
) -> (Vec<CorpStatus>, Vec<(&'a str, Problem)>) {
    let before: HashMap<&str, &CorpStatus> = previous
        .corps
        .iter()
        .map(|corp| (corp.corp_id.as_str(), corp))
        .collect();
    let mut corps = Vec::with_capacity(settled.corps.len());
    let mut problems: Vec<(&str, Problem)> = Vec::new();
    for (corp_id, corp) in app.spec.corp_ids.iter().zip(&settled.corps) {
        let remembered = memory.corps.get(corp_id);
        let announced = before.get(corp_id.as_str());
        let announced_next = || {
            // An attempt in flight keeps the time it was announced for.
            remembered?.attempts(tokens).under_way_since()?;
            announced?.next_attempt_time.clone()
        };
        let next = match &corp.blocked {
            Some(_) => None,
            None => corp.next_attempt.map(shown).or_else(announced_next),
        };
        let announced = announced.copied();
        let problem = problem(
            app,
            (memory, tokens, settled.host.as_str()),
            corp_id,
            corp,
            announced,
            next.as_deref(),
            now,
        );
        corps.push(CorpStatus {
            corp_id: corp_id.clone(),
            secret_name: corp.secret.clone(),
            expiration_time: corp.in_secret.map(|lifetime| shown(lifetime.expires_at)),
            last_renewal_time: corp.in_secret.map(|lifetime| shown(lifetime.requested_at)),
            last_renewal_cause: renewal_cause(corp, remembered.map(|it| &**it), announced),
            next_attempt_time: next,
            error: problem.as_ref().map(|problem| problem.error.clone()),
        });
        problems.extend(problem.map(|problem| (corp_id.as_str(), problem)));
    }
    (corps, problems)
}

/// Returns why the token in the Secret was fetched: as this process knows, else as the previous
/// status has it.
fn renewal_cause(
    settled: &CorpSettled,
    remembered: Option<&Corp>,
    announced: Option<&CorpStatus>,
) -> Option<String> {
    let requested_at = shown(settled.in_secret?.requested_at);
    let is_of = |corp: &&Corp| {
        let held = corp.held.as_ref();
        held.is_some_and(|held| shown(held.record.lifetime.requested_at) == requested_at)
    };
    let known = remembered.filter(is_of).and_then(|corp| corp.renewal_cause);
    known.map(|cause| cause.as_str().to_owned()).or_else(|| {
        let announced = announced?;
        let is_same = announced.last_renewal_time.as_deref() == Some(&requested_at);
        announced.last_renewal_cause.clone().filter(|_| is_same)
    })
}

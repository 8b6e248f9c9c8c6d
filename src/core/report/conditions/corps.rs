//! The status of each corp.

use std::collections::HashMap;

use crate::api::CorpStatus;
use crate::core::app::corp::Corp;
use crate::core::app::view::CorpSettled;
use crate::core::report::at_rest::AtRest;
use crate::core::report::problem::{Problem, shown};

impl AtRest<'_> {
    /// Returns the status of each corp, and the problems of those that have one.
    pub(super) fn corps(&self) -> (Vec<CorpStatus>, Vec<(&str, Problem)>) {
        let before = self.previous.corps.iter();
        let before: HashMap<&str, &CorpStatus> =
            before.map(|corp| (corp.corp_id.as_str(), corp)).collect();
        let mut corps = Vec::with_capacity(self.settled.corps.len());
        let mut problems = Vec::new();
        for (corp_id, corp) in self.app.spec.corp_ids.iter().zip(&self.settled.corps) {
            let remembered = self.memory.corp(corp_id);
            let announced = before.get(corp_id.as_str()).copied();
            let announced_next = || {
                // An attempt in flight keeps the time it was announced for.
                remembered.attempts(self.tokens).under_way_since()?;
                announced?.next_attempt_time.clone()
            };
            let next = match &corp.blocked {
                Some(_) => None,
                None => corp.next_attempt.map(shown).or_else(announced_next),
            };
            let problem = self.problem(corp_id, corp, announced, next.as_deref());
            corps.push(CorpStatus {
                corp_id: corp_id.clone(),
                secret_name: corp.secret.clone(),
                expiration_time: corp.in_secret.map(|lifetime| shown(lifetime.expires_at)),
                last_renewal_time: corp.in_secret.map(|lifetime| shown(lifetime.requested_at)),
                last_renewal_cause: renewal_cause(corp, remembered, announced),
                next_attempt_time: next,
                error: problem.as_ref().map(|problem| problem.error.clone()),
            });
            problems.extend(problem.map(|problem| (corp_id.as_str(), problem)));
        }
        (corps, problems)
    }
}

/// Returns why the token in the Secret was fetched: as this process knows, else as the previous
/// status has it.
fn renewal_cause(
    settled: &CorpSettled,
    remembered: &Corp,
    announced: Option<&CorpStatus>,
) -> Option<String> {
    let requested_at = shown(settled.in_secret?.requested_at);
    let held = remembered.held.as_ref();
    let is_held = held.is_some_and(|held| shown(held.record.lifetime.requested_at) == requested_at);
    if let Some(why) = remembered.why.as_ref().filter(|_| is_held) {
        return Some(why.cause.as_str().to_owned());
    }
    let announced = announced?;
    let is_same = announced.last_renewal_time.as_deref() == Some(&requested_at);
    announced.last_renewal_cause.clone().filter(|_| is_same)
}

//! Events for what a person would want to know.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::{CONDITION_READY, CONDITION_RENEWED, CorpStatus, DingTalkAppStatus, Reason};
use crate::core::app::listed::listed;
use crate::core::app::notice::{Happened, Notice};

/// Names in a note.
const NAMED_MAX: usize = 3;

/// Returns the events for the change from one status to the next.
pub(crate) fn notices(
    previous: &DingTalkAppStatus,
    current: &DingTalkAppStatus,
    happened: &Happened,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    if !happened.trimmed_keys.is_empty() {
        notices.push(trimmed(&happened.trimmed_keys));
    }
    let changes = Changes::between(previous, current);
    if happened.value_changed && !changes.written.is_empty() {
        notices.push(written(&changes, previous, current));
    } else {
        notices.extend(recovered(&changes, current));
    }
    let begun = changes.begun.iter();
    notices.extend(begun.filter_map(|(reason, corps)| failed(reason, corps, current)));
    let expired = |status| {
        condition(status, CONDITION_READY).is_some_and(|ready| ready.reason == Reason::TokenExpired)
    };
    if expired(current) && !expired(previous) {
        let message = condition(current, CONDITION_READY).map_or("", |ready| &ready.message);
        let expired = Notice::warning(Reason::TokenExpired, "Renew", message);
        notices.push(expired.about(only_secret(&current.corps)));
    }
    if happened.repaired {
        let note = "another writer had changed or deleted the Secret; it has been restored";
        let restored = Notice::warning(Reason::SecretRestored, "Write", note);
        notices.push(restored.about(only_secret(&current.corps)));
    }
    notices
}

fn trimmed(keys: &[String]) -> Notice {
    let note = format!(
        "ignored white space at the end of {}: write the credentials without it (printf instead of echo)",
        keys.join(" and ")
    );
    Notice::warning(Reason::CredentialsTrimmed, "ReadCredentials", &note)
}

fn recovered(changes: &Changes<'_>, current: &DingTalkAppStatus) -> Option<Notice> {
    let reason = changes.ended.first()?;
    let note = match current.corps.len() {
        1 => format!("recovered from {reason}"),
        _ => format!(
            "{} corpIds recovered from {}",
            changes.ended.len(),
            changes.ended_reasons()
        ),
    };
    let recovered = Notice::normal(Reason::Recovered, "Renew", &note);
    Some(recovered.about(only_secret(&current.corps)))
}

/// Returns `None` if a former process of another version recorded a reason that this version lacks.
fn failed(reason: &str, corps: &[&CorpStatus], current: &DingTalkAppStatus) -> Option<Notice> {
    let reason = reason.parse().ok()?;
    let message = condition(current, CONDITION_RENEWED).map_or("", |renewed| &renewed.message);
    let note = match current.corps.len() {
        1 => message.to_owned(),
        _ => {
            let corp_ids = corps.iter().map(|corp| corp.corp_id.as_str());
            format!("corpId {}: {message}", listed(corp_ids, NAMED_MAX))
        }
    };
    let failed = Notice::warning(reason, "Renew", &note);
    Some(failed.about(only_secret(corps.iter().copied())))
}

fn condition<'a>(status: &'a DingTalkAppStatus, type_: &str) -> Option<&'a Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
}

/// How the corps of two statuses differ.
#[derive(Default)]
struct Changes<'a> {
    /// Corps with another token.
    written: Vec<&'a CorpStatus>,
    /// Whether none of those had a token before.
    are_first: bool,
    /// Corps that have begun to fail or fail for another reason, by reason.
    begun: BTreeMap<&'a str, Vec<&'a CorpStatus>>,
    /// Former reasons of the corps that no longer fail.
    ended: Vec<&'a str>,
}

impl<'a> Changes<'a> {
    fn between(previous: &'a DingTalkAppStatus, current: &'a DingTalkAppStatus) -> Self {
        let before: HashMap<&str, &CorpStatus> = previous
            .corps
            .iter()
            .map(|corp| (corp.corp_id.as_str(), corp))
            .collect();
        let mut changes = Self {
            are_first: true,
            ..Self::default()
        };
        for corp in &current.corps {
            let old = before.get(corp.corp_id.as_str());
            let reason = |corp: &'a CorpStatus| corp.error.as_ref().map(|it| it.reason.as_str());
            let old_reason = old.and_then(|old| reason(old));
            match (old_reason, reason(corp)) {
                (old, Some(new)) if old != Some(new) => {
                    changes.begun.entry(new).or_default().push(corp);
                }
                (Some(old), None) => changes.ended.push(old),
                _ => {}
            }
            let had = old.and_then(|old| old.last_renewal_time.as_ref());
            let has = corp.last_renewal_time.as_ref();
            if has.is_some() && corp.error.is_none() && had != has {
                changes.written.push(corp);
                changes.are_first &= had.is_none();
            }
        }
        changes
    }

    fn ended_reasons(&self) -> String {
        let reasons: BTreeSet<&str> = self.ended.iter().copied().collect();
        reasons.into_iter().collect::<Vec<_>>().join(", ")
    }
}

fn written(
    changes: &Changes<'_>,
    previous: &DingTalkAppStatus,
    current: &DingTalkAppStatus,
) -> Notice {
    let (corps, count) = (changes.written.iter().copied(), changes.written.len());
    let reason = match changes.are_first {
        true => Reason::FirstTokenWritten,
        false => Reason::TokenRenewed,
    };
    let what = match (changes.are_first, current.corps.len()) {
        (true, 1) => "the first token was written".to_owned(),
        (false, 1) => "a new token was written".to_owned(),
        (true, _) => format!("the first tokens of {count} corpIds were written"),
        (false, _) => format!("new tokens of {count} corpIds were written"),
    };
    let secrets: BTreeSet<&str> = corps
        .clone()
        .map(|corp| corp.secret_name.as_str())
        .collect();
    let secrets = listed(secrets, NAMED_MAX);
    let until = corps.clone().filter_map(|it| it.expiration_time.as_deref());
    let until = until.min().unwrap_or_default();
    let after = match changes.ended.is_empty() || previous.corps.is_empty() {
        true => String::new(),
        false => format!(", after {}", changes.ended_reasons()),
    };
    let note = format!("{what} to Secret {secrets}, valid until {until}{after}");
    Notice::normal(reason, "Renew", &note).about(only_secret(corps))
}

/// Returns the Secret of these corps, if they have one in common.
fn only_secret<'a>(corps: impl IntoIterator<Item = &'a CorpStatus>) -> Option<&'a str> {
    let mut names = corps.into_iter().map(|corp| corp.secret_name.as_str());
    let first = names.next()?;
    names.all(|name| name == first).then_some(first)
}

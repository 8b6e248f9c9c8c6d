//! Which events a change of the status has.

use serde_json::{Value, json};

use super::*;

/// Returns a status whose corps have these Secrets, times of their last renewal and reasons of
/// failure.
fn status(corps: &[(&str, Option<&str>, Option<&str>)]) -> DingTalkAppStatus {
    let corps = corps.iter().enumerate().map(|(n, (secret, at, reason))| {
        let error = reason.map(|reason| json!({"reason": reason, "sinceTime": ""}));
        json!({"corpId": format!("ding{n}"), "secretName": secret, "lastRenewalTime": at,
            "expirationTime": at.map(|_| format!("2026-11-24T0{n}:00:00Z")), "error": error})
    });
    let renewed = json!({"type": "Renewed", "status": "False", "reason": "R", "message": "said",
        "lastTransitionTime": "2026-11-24T00:00:00Z"});
    let status = json!({"corps": corps.collect::<Vec<Value>>(), "conditions": [renewed]});
    serde_json::from_value(status).expect("a status")
}

/// Returns the reason, the note without its link and the Secret of each event.
fn events(
    previous: &DingTalkAppStatus,
    current: &DingTalkAppStatus,
    happened: &Happened,
) -> Vec<(Reason, String, Option<String>)> {
    let notices = notices(previous, current, happened).into_iter();
    let events = notices.map(|notice| {
        let note = notice.note.split("; see ").next().unwrap_or_default();
        (notice.reason, note.to_owned(), notice.secret)
    });
    events.collect()
}

fn event(reason: Reason, note: &str, secret: Option<&str>) -> (Reason, String, Option<String>) {
    (reason, note.to_owned(), secret.map(str::to_owned))
}

fn with_new_value() -> Happened {
    Happened {
        value_changed: true,
        ..Happened::default()
    }
}

#[test]
fn a_token_with_a_new_value_is_one_event_that_names_its_secret_and_expiry() {
    let (none, happened) = (DingTalkAppStatus::default(), with_new_value());
    let first = status(&[("token", Some("1"), None)]);
    let note = "the first token was written to Secret token, valid until 2026-11-24T00:00:00Z";
    let expected = event(Reason::FirstTokenWritten, note, Some("token"));
    assert_eq!(events(&none, &first, &happened), [expected]);
    let next = status(&[("token", Some("2"), None)]);
    let note = "a new token was written to Secret token, valid until 2026-11-24T00:00:00Z";
    let expected = event(Reason::TokenRenewed, note, Some("token"));
    assert_eq!(events(&first, &next, &happened), [expected]);
    assert!(events(&first, &next, &Happened::default()).is_empty());
    assert!(events(&next, &next, &happened).is_empty());
    // The token that a failing app shows is no news.
    let failing = status(&[("token", Some("2"), Some("Throttled"))]);
    let expected = event(Reason::Throttled, "said", Some("token"));
    assert_eq!(events(&first, &failing, &happened), [expected]);
}

#[test]
fn the_tokens_of_several_organisations_are_one_event() {
    let happened = with_new_value();
    let none = status(&[("a", None, None), ("b", None, None), ("c", None, None)]);
    let some = status(&[
        ("a", Some("1"), None),
        ("b", Some("1"), None),
        ("c", None, None),
    ]);
    let note = "the first tokens of 2 corpIds were written to Secret a, b, valid until 2026-11-24T00:00:00Z";
    let expected = event(Reason::FirstTokenWritten, note, None);
    assert_eq!(events(&none, &some, &happened), [expected]);
    let all = status(&[
        ("a", Some("1"), None),
        ("b", Some("2"), None),
        ("c", Some("2"), None),
    ]);
    let note =
        "new tokens of 2 corpIds were written to Secret b, c, valid until 2026-11-24T01:00:00Z";
    let expected = event(Reason::TokenRenewed, note, None);
    assert_eq!(events(&some, &all, &happened), [expected]);
}

#[test]
fn a_failure_is_reported_when_it_begins_and_when_it_ends() {
    let ready = status(&[("a", Some("1"), None), ("b", Some("1"), None)]);
    let throttled = status(&[("a", Some("1"), None), ("b", Some("1"), Some("Throttled"))]);
    let begun = event(Reason::Throttled, "corpId ding1: said", Some("b"));
    assert_eq!(events(&ready, &throttled, &Happened::default()), [begun]);
    assert!(events(&throttled, &throttled, &Happened::default()).is_empty());
    let banned = status(&[
        ("a", Some("1"), Some("Banned")),
        ("b", Some("1"), Some("Banned")),
    ]);
    let another = event(Reason::Banned, "corpId ding0, ding1: said", None);
    assert_eq!(events(&throttled, &banned, &Happened::default()), [another]);
    let ended = event(Reason::Recovered, "2 corpIds recovered from Banned", None);
    assert_eq!(events(&banned, &ready, &Happened::default()), [ended]);
    let renewed = status(&[("a", Some("1"), None), ("b", Some("2"), None)]);
    let note = "new tokens of 1 corpIds were written to Secret b, valid until 2026-11-24T01:00:00Z, after Throttled";
    let ended = event(Reason::TokenRenewed, note, Some("b"));
    assert_eq!(events(&throttled, &renewed, &with_new_value()), [ended]);
}

#[test]
fn the_only_organisations_end_of_a_failure_names_its_reason() {
    let failing = status(&[("token", Some("1"), Some("Throttled"))]);
    let well = status(&[("token", Some("1"), None)]);
    let ended = event(Reason::Recovered, "recovered from Throttled", Some("token"));
    assert_eq!(events(&failing, &well, &Happened::default()), [ended]);
}

#[test]
fn an_expired_token_and_a_restored_secret_are_reported_once() {
    let valid = status(&[("token", Some("1"), None)]);
    let mut expired = valid.clone();
    let mut ready = valid.conditions[0].clone();
    ready.type_ = CONDITION_READY.to_owned();
    ready.reason = Reason::TokenExpired.as_str().to_owned();
    ready.message = "it expired".to_owned();
    expired.conditions.push(ready);
    let reported = event(Reason::TokenExpired, "it expired", Some("token"));
    assert_eq!(events(&valid, &expired, &Happened::default()), [reported]);
    assert!(events(&expired, &expired, &Happened::default()).is_empty());
    let repaired = Happened {
        repaired: true,
        ..Happened::default()
    };
    let restored = events(&valid, &valid, &repaired);
    assert_eq!(restored.len(), 1);
    assert_eq!(restored[0].0, Reason::SecretRestored);
    assert_eq!(restored[0].2.as_deref(), Some("token"));
}

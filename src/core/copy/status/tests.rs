//! What the status of a reference and its events tell.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::api::DingTalkTokenReference;
use crate::core::copy::view::{CopySeen, Grant};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

/// Returns the status at the second 100 of a reference with these copies.
fn status(told: &Told, expires_at: Option<i64>, copies: &[&str]) -> DingTalkTokenReferenceStatus {
    let reference: DingTalkTokenReference = serde_json::from_value(json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkTokenReference",
        "metadata": {"name": "copy", "namespace": "web", "generation": 3},
        "spec": {"appRef": {"namespace": "hr", "name": "payroll"}, "target": {"name": "copied"}},
    }))
    .expect("a reference");
    let copies = copies.iter().map(|name| CopySeen {
        name: (*name).to_owned(),
        source_name: String::new(),
        source: None,
        present: None,
    });
    let view = ReferenceView {
        reference: &reference,
        grant: Grant::Given,
        copies: copies.collect(),
        metadata_prefixes: &[],
        former: BTreeMap::new(),
    };
    let previous = DingTalkTokenReferenceStatus::default();
    reference_status(&view, told, expires_at.map(at), &previous, at(100))
}

#[test]
fn a_copy_is_ready_until_the_second_in_which_its_first_token_expires() {
    let ready = |expires_at: Option<i64>| {
        let told = Told::of_copies(expires_at.map(at), at(100));
        let status = status(&told, expires_at, &["copied"]);
        assert_eq!(status.conditions.len(), 1);
        let condition = &status.conditions[0];
        let message = condition.message.split("; see http").next();
        let message = message.unwrap_or_default().to_owned();
        (condition.status.clone(), message, status.expiration_time)
    };
    let is = |status: &str, message: &str, expires_at: Option<&str>| {
        let expires_at = expires_at.map(str::to_owned);
        (status.to_owned(), message.to_owned(), expires_at)
    };
    let pending = "the app has no token yet: see its status";
    assert_eq!(ready(None), is("Unknown", pending, None));
    let time = "1970-01-01T00:01:41Z";
    let valid = format!("the copy holds valid tokens, the first until {time}");
    assert_eq!(ready(Some(101)), is("True", &valid, Some(time)));
    let time = "1970-01-01T00:01:40Z";
    let expired = format!("a token expired at {time}: see the status of the DingTalkApp");
    assert_eq!(ready(Some(100)), is("False", &expired, Some(time)));
}

#[test]
fn the_secrets_of_a_reference_are_named_and_only_what_a_person_must_do_is_stalled() {
    for (reason, is_stalled) in [
        (Reason::NotGranted, true),
        (Reason::SecretConflict, true),
        (Reason::SecretWriteFailed, false),
        (Reason::Pending, false),
    ] {
        let one = status(&Told::new(reason, "said"), None, &["copied"]);
        assert_eq!(one.secret.as_deref(), Some("copied"));
        assert_eq!(one.secret_names, ["copied"]);
        assert_eq!(one.observed_generation, Some(3));
        let types: Vec<&str> = one.conditions.iter().map(|it| it.type_.as_str()).collect();
        let expected = ["Ready", "Stalled"];
        assert_eq!(types, expected[..=usize::from(is_stalled)], "{reason:?}");
    }
    let each = ["copied-ding1", "copied-ding2"];
    let several = status(&Told::new(Reason::Pending, "said"), None, &each);
    assert_eq!(several.secret.as_deref(), Some("copied-*"));
    assert_eq!(several.secret_names, each);
}

#[test]
fn a_status_is_written_at_once_if_it_changed_and_once_a_minute_if_only_its_message_did() {
    let written = |written_at: Option<Timestamp>| Previous {
        status: status(&Told::new(Reason::SecretWriteFailed, "said"), None, &["a"]),
        version: None,
        written_at,
    };
    let other_message = status(&Told::new(Reason::SecretWriteFailed, "else"), None, &["a"]);
    let other_reason = status(&Told::new(Reason::SecretConflict, "said"), None, &["a"]);
    let next = |second: i64, current: &DingTalkTokenReferenceStatus| {
        write_reference_status_at(&written(Some(at(100))), current, at(second))
    };
    assert_eq!(next(100, &other_reason), None);
    assert_eq!(next(100, &other_message), Some(at(160)));
    assert_eq!(next(159, &other_message), Some(at(160)));
    assert_eq!(next(160, &other_message), None);
    // The clock was set back.
    assert_eq!(next(99, &other_message), None);
    let never = written(None);
    assert_eq!(
        write_reference_status_at(&never, &other_message, at(100)),
        None
    );
}

#[test]
fn many_names_are_kept_as_one_fingerprint() {
    let told = Told::new(Reason::Pending, "said");
    let light = |copies: &[&str]| light_status(status(&told, None, copies));
    assert_eq!(light(&["copied"]), status(&told, None, &["copied"]));
    let two = light(&["copied-ding1", "copied-ding2"]);
    assert_eq!(two.secret_names.len(), 1);
    assert_eq!(two, light(&["copied-ding1", "copied-ding2"]));
    assert_ne!(two, light(&["copied-ding1", "copied-ding3"]));
    assert_eq!(two.secret.as_deref(), Some("copied-*"));
}

#[test]
fn a_condition_that_changed_is_one_event_unless_it_is_pending() {
    let none = DingTalkTokenReferenceStatus::default();
    let of = |reason: Reason, message: &str| status(&Told::new(reason, message), None, &["copied"]);
    let notice = |old: &DingTalkTokenReferenceStatus, new: &DingTalkTokenReferenceStatus| {
        let notice = reference_notice(old, new)?;
        let note = notice.note.split("; see http").next();
        Some((notice.reason, note.unwrap_or_default().to_owned()))
    };
    let valid = of(Reason::TokensValid, "it is valid");
    let refused = of(Reason::NotGranted, "it is not allowed");
    let pending = of(Reason::Pending, "it is awaited");
    let copied = Some((Reason::TokensCopied, "it is valid".to_owned()));
    assert_eq!(notice(&none, &valid), copied);
    assert_eq!(notice(&pending, &valid), copied);
    assert_eq!(
        notice(&valid, &of(Reason::TokensValid, "it is renewed")),
        None
    );
    let denied = Some((Reason::NotGranted, "it is not allowed".to_owned()));
    assert_eq!(notice(&valid, &refused), denied);
    assert_eq!(notice(&refused, &refused), None);
    assert_eq!(notice(&valid, &pending), None);
    assert_eq!(notice(&valid, &none), None);
}

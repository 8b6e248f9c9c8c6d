//! What one app knows, changes or drops, and how that affects the others.

use super::*;
use crate::core::app::corp::Resumed;
use crate::core::token::record::Held;
use crate::core::token::renewals::Renewals;
use crate::core::token::request::RenewRequest;
use crate::dingtalk::{Class, Failure, look_up};

/// Regression: two apps whose specs had different generations made the failing call in turn, every
/// 5 s.
#[test]
fn an_apps_changed_spec_repeats_a_failed_attempt_and_another_apps_generation_does_not() {
    let (mut tokens, mut one, mut two) = two();
    let pending = one.begin(&mut tokens).expect("due");
    let attempt = FailedAttempt {
        failure: Failure::of(&crate::dingtalk::TABLE[0]),
        life_left: None,
        is_site_down: false,
        random: 0.5,
    };
    tokens.failed(&pending, attempt, at(0));
    let retry_at =
        |app: &mut App, generation| app.corp.spec_retry_at(app.name, Some(generation), &tokens);
    for _ in 0..2 {
        assert_eq!(retry_at(&mut two, 7), None);
    }
    assert_eq!(retry_at(&mut two, 8), Some(at(5)), "its own has changed");
    assert_eq!(retry_at(&mut one, 1), Some(at(5)));
}

/// Regression: what one app had planned in a former process held back another app without a token.
#[test]
fn a_resumed_plan_holds_back_no_app_without_a_token_and_a_resumed_limit_holds_back_all() {
    let resumed = |failure: Option<(Failure, Timestamp)>| {
        let mut attempts = Attempts::default();
        if let Some((failure, since)) = failure {
            attempts.resume_failure(&failure, since);
        }
        attempts.resume(
            at(6000),
            crate::core::token::renewals::Renewals::Usual,
            at(0),
        );
        let (renewed_at, failing_since) = (None, None);
        Some(Box::new(Resumed {
            attempts,
            renewed_at,
            failing_since,
        }))
    };
    let next = |failure: Option<(Failure, Timestamp)>, is_first: bool| {
        let mut tokens = Tokens::default();
        let mut other = App {
            name: "other",
            corp: Corp::default(),
        };
        if is_first {
            other.wants(Interest::Active, &mut tokens);
        }
        let mut resuming = App {
            name: "resuming",
            corp: Corp::default(),
        };
        resuming.corp.resumed = resumed(failure);
        resuming.wants(Interest::Active, &mut tokens);
        other.wants(Interest::Active, &mut tokens);
        other.next(&tokens, at(0))
    };
    for is_first in [true, false] {
        assert_eq!(next(None, is_first), None, "it is due");
        let (banned, _) = look_up(&["1111"], 200);
        let banned = Some((Failure::of(banned), at(-10)));
        assert_eq!(next(banned, is_first), Some(at(6000)));
    }
}

/// Regression: one namespace's dropped request cleared everybody's fetch, even one in flight.
#[test]
fn a_fetch_ends_with_its_last_turn_and_never_while_it_is_in_flight() {
    let (mut tokens, one, two) = two();
    let pending = one.begin_in("hr", &mut tokens).expect("due");
    two.begin_in("payroll", &mut tokens).expect("due");
    assert!(tokens.dropped(&pending, "payroll").is_empty());
    assert!(tokens.wants(&pending));
    assert!(one.begin_in("hr", &mut tokens).is_none());
    assert_eq!(tokens.dropped(&pending, "hr").len(), 2);
    assert!(tokens.dropped(&pending, "hr").is_empty(), "it is known");

    let pending = one.begin_in("hr", &mut tokens).expect("due");
    tokens.started(&pending);
    assert!(tokens.dropped(&pending, "hr").is_empty());
    assert!(one.begin_in("hr", &mut tokens).is_none(), "it is in flight");
}

/// Regression: an expired token from another app's Secret replaced a valid one, and one with the
/// same value was found again and again.
#[test]
fn a_token_that_was_found_is_valid_and_taken_over_once() {
    let mut tokens = Tokens::default();
    let mut app = App::new("one", &mut tokens);
    let held = |second: i64, value: &str| crate::core::Held {
        token: AccessToken::new(value.to_owned()).expect("a token"),
        record: TokenRecord {
            site: "global".into(),
            client_id: "a".into(),
            corp_id: "ding1".into(),
            lifetime: lifetime(at(second), Duration::from_secs(7200)),
            credentials: ObjectVersion::default(),
            answers: None,
        },
    };
    app.corp.found(held(-7200, "expired"), "hr/other".into());
    assert_eq!(app.look(false, &tokens, at(0)), None);
    app.corp.found(held(0, "t1"), "hr/other".into());
    assert_eq!(app.look(false, &tokens, at(1)), Some("t1"));
    app.corp.found(held(2, "t1"), "hr/other".into());
    app.look(false, &tokens, at(3));
    let shown = app.corp.held.expect("t1").record.lifetime.requested_at;
    assert_eq!(shown, at(2), "else it would be found again");
}

/// Regression: each stop took its full time if a suspended app shared a token that was renewed.
#[test]
fn a_stop_waits_for_no_token_that_nobody_will_take_over() {
    let (mut tokens, one, mut two) = two();
    two.wants(Interest::Suspended, &mut tokens);
    let pending = one.begin(&mut tokens).expect("due");
    succeed(&pending, "t1", 0, &mut tokens);
    assert!(one.corp.has_untaken(one.name, &tokens, at(0)));
    assert!(!two.corp.has_untaken(two.name, &tokens, at(0)));
}

/// What is in flight belongs to the app, however often its spec changes meanwhile.
#[test]
fn a_stop_waits_for_a_token_that_was_in_flight_when_a_spec_changed() {
    let (mut tokens, mut one, _two) = two();
    let pending = one.begin(&mut tokens).expect("due");
    one.wants(Interest::Active, &mut tokens);
    succeed(&pending, "t1", 0, &mut tokens);
    let later = App::new("later", &mut tokens);
    assert!(one.corp.has_untaken(one.name, &tokens, at(0)));
    assert!(!later.corp.has_untaken(later.name, &tokens, at(0)));
}

/// The most urgent of the requesting apps determines how patiently a failed fetch is retried.
#[test]
fn the_life_that_is_left_is_that_of_the_earliest_token_that_is_still_valid() {
    let (mut tokens, one, two) = two();
    let record = |expires_at: i64| TokenRecord {
        site: "global".into(),
        client_id: "a".into(),
        corp_id: "ding1".into(),
        lifetime: lifetime(at(expires_at - 7200), Duration::from_secs(7200)),
        credentials: ObjectVersion::default(),
        answers: None,
    };
    let asked = |app: &App, namespace: &str, expires_at: Option<i64>, tokens: &mut Tokens| {
        let token = app.corp.token().expect("wanted");
        let ended = app.corp.attempts(tokens).ended();
        let pending = |id| PendingFetch {
            former: expires_at.map(record),
            ..app.pending(id)
        };
        tokens.begin(token, ended, namespace, pending).expect("due");
        app.corp.attempts(tokens).expires_at()
    };
    assert_eq!(asked(&one, "hr", None, &mut tokens), None);
    assert_eq!(asked(&two, "payroll", Some(-1), &mut tokens), None);
    assert_eq!(asked(&two, "web", Some(500), &mut tokens), Some(at(500)));
    assert_eq!(asked(&one, "it", Some(300), &mut tokens), Some(at(300)));
    assert_eq!(asked(&one, "legal", Some(900), &mut tokens), Some(at(300)));
}

/// An app that is looked at after a fetch may show a token that the fetch has revoked, whichever
/// apps have gone since.
#[test]
fn what_was_fetched_is_known_until_it_expires_though_nobody_wants_it_any_more() {
    let (mut tokens, mut one, mut two) = two();
    let seat = ("global".to_owned(), "a".to_owned(), "ding1".to_owned());
    let pending = one.begin(&mut tokens).expect("due");
    assert!(!tokens.has_fetched(&seat, at(0)));
    succeed(&pending, "t1", 0, &mut tokens);
    one.leaves(&mut tokens);
    two.leaves(&mut tokens);
    assert!(tokens.has_fetched(&seat, at(7199)));
    assert!(!tokens.has_fetched(&seat, at(7200)));
}

#[test]
fn a_token_is_credited_to_the_credentials_that_fetched_it_or_to_those_of_its_predecessor() {
    let record = |client_id: &str, resource_version: &str| TokenRecord {
        site: "global".into(),
        client_id: client_id.into(),
        corp_id: "ding1".into(),
        lifetime: lifetime(at(0), Duration::from_secs(7200)),
        credentials: ObjectVersion {
            uid: "c1".into(),
            resource_version: resource_version.into(),
        },
        answers: None,
    };
    let known = KnownCredentials {
        version: record("a", "5").credentials,
        ..known()
    };
    for (client_id, resource_version, is_predecessors, is_credited) in [
        ("a", "5", false, true),
        ("a", "4", false, false),
        ("b", "5", false, false),
        ("a", "4", true, true),
        ("b", "4", true, false),
    ] {
        let mut corp = Corp::default();
        let record = record(client_id, resource_version);
        corp.credit(Some(&record), &known, is_predecessors);
        let case = (client_id, resource_version, is_predecessors);
        assert_eq!(corp.fetched_with.is_some(), is_credited, "{case:?}");
    }
}

/// Two replicas' clocks may differ by a minute, so an unwritten token is not given up for one that
/// merely seems later.
#[test]
fn a_token_gives_way_to_one_that_another_replica_requested_later() {
    let record = |requested_at: i64| TokenRecord {
        site: "global".into(),
        client_id: "a".into(),
        corp_id: "ding1".into(),
        lifetime: lifetime(at(requested_at), Duration::from_secs(7200)),
        credentials: ObjectVersion::default(),
        answers: None,
    };
    let gives_way = |requested_at: i64, is_unwritten: bool| {
        let mut corp = Corp::default();
        corp.held = Some(Held {
            token: AccessToken::new("t1".into()).expect("a token"),
            record: record(0),
        });
        corp.fetched_with = Some(Fingerprint::default());
        corp.unwritten_since = is_unwritten.then(|| at(0));
        corp.give_way_to(&record(requested_at));
        assert_eq!(corp.held.is_none(), corp.fetched_with.is_none());
        assert!(corp.held.is_some() || corp.unwritten_since.is_none());
        corp.held.is_none()
    };
    assert!(!gives_way(0, false));
    assert!(gives_way(1, false));
    assert!(!gives_way(60, true));
    assert!(gives_way(61, true));
}

/// What a person must fix is tried again when the spec changes; what only time ends is not.
#[test]
fn a_changed_spec_repeats_what_a_person_can_fix() {
    for row in crate::dingtalk::TABLE {
        let (mut tokens, mut one, _two) = two();
        let pending = one.begin(&mut tokens).expect("due");
        let attempt = FailedAttempt {
            failure: Failure::of(row),
            life_left: None,
            is_site_down: false,
            random: 0.5,
        };
        tokens.failed(&pending, attempt, at(0));
        let is_fixable = matches!(row.class, Class::User | Class::Configuration | Class::Quota);
        let retry_at = one.corp.spec_retry_at(one.name, Some(2), &tokens);
        assert_eq!(retry_at, is_fixable.then(|| at(5)), "{:?}", row.reason);
    }
}

/// Expiries that differ by five seconds at most are the same one, seen through two round trips.
#[test]
fn a_renewal_extends_a_token_by_more_than_its_round_trips() {
    let learned = |life: u64, requested_at: i64, client_id: &str| {
        let (mut tokens, one, _two) = two();
        let token = one.corp.token().expect("wanted");
        let former = TokenRecord {
            site: "global".into(),
            client_id: client_id.into(),
            corp_id: "ding1".into(),
            lifetime: lifetime(at(0), Duration::from_secs(7200)),
            credentials: ObjectVersion::default(),
            answers: None,
        };
        let pending = |id| PendingFetch {
            former: Some(former),
            ..one.pending(id)
        };
        let ended = one.corp.attempts(&tokens).ended();
        let pending = tokens.begin(token, ended, "hr", pending).expect("due");
        let now = at(requested_at);
        tokens.succeeded(&pending, response("t1", life), now, now);
        one.corp.attempts(&tokens).renewals()
    };
    let half = Renewals::Late {
        left: jiff::SignedDuration::from_secs(1200),
        lifetimes: 0,
    };
    assert_eq!(learned(2405, 4800, "a"), half);
    assert_eq!(learned(2406, 4800, "a"), Renewals::Usual);
    assert_eq!(learned(2405, 4800, "b"), Renewals::Usual, "another client");
}

#[test]
fn a_token_answers_the_request_that_was_seen_before_its_fetch_was_queued() {
    let answers = |is_seen_first: bool| {
        let (mut tokens, mut one, _two) = two();
        if is_seen_first {
            one.corp.follow_request(Some("now"), &tokens);
        }
        let pending = one.begin(&mut tokens).expect("due");
        one.corp.follow_request(Some("now"), &tokens);
        succeed(&pending, "t1", 0, &mut tokens);
        one.look(false, &tokens, at(0));
        one.corp.held.as_ref().expect("a token").record.answers
    };
    assert_eq!(answers(true), Some(RenewRequest::of("now")));
    assert_eq!(answers(false), None);
}

/// Of a token that a newer unwritten one replaces, only the recorded `client_id` tells whose it was.
#[test]
fn a_former_token_is_not_taken_for_the_unwritten_one() {
    let record = |client_id: &str, requested_at: i64| TokenRecord {
        site: "global".into(),
        client_id: client_id.into(),
        corp_id: "ding1".into(),
        lifetime: lifetime(at(requested_at), Duration::from_secs(7200)),
        credentials: ObjectVersion {
            uid: "c1".into(),
            resource_version: "1".into(),
        },
        answers: None,
    };
    let mut corp = Corp::default();
    corp.held = Some(Held {
        token: AccessToken::new("t2".into()).expect("a token"),
        record: record("a", 100),
    });
    corp.fetched_with = Some(Fingerprint::default());
    assert!(corp.is_proven(&record("b", 100), &known()), "the same one");
    assert!(corp.is_proven(&record("a", 0), &known()));
    assert!(!corp.is_proven(&record("b", 0), &known()));
}

#[test]
fn what_a_status_tells_of_a_token_is_outdated_by_a_later_one() {
    let is_outdated = |renewed_at: Option<i64>, failing_since: Option<i64>| {
        let mut corp = Corp::default();
        corp.resumed = Some(Box::new(Resumed {
            attempts: Attempts::default(),
            renewed_at: renewed_at.map(at),
            failing_since: failing_since.map(at),
        }));
        corp.outdate_resumed(lifetime(at(100), Duration::from_secs(7200)));
        corp.resumed.is_none()
    };
    assert!(!is_outdated(Some(100), None), "it is this token");
    assert!(is_outdated(Some(99), None));
    assert!(is_outdated(None, None));
    assert!(is_outdated(Some(99), Some(100)), "it ended the failures");
    assert!(!is_outdated(Some(99), Some(101)), "it has failed since");
}

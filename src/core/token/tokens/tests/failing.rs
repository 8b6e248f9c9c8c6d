//! Attempts that fail, and what they change about the next ones.

use super::*;
use crate::core::app::corp::Resumed;
use crate::dingtalk::{Rank, TABLE};

fn fail_in(is_site_down: bool, pending: &PendingFetch, second: i64, tokens: &mut Tokens) {
    let attempt = FailedAttempt {
        failure: Failure::of(&UNREACHABLE),
        life_left: None,
        is_site_down,
        random: 0.5,
    };
    tokens.failed(pending, attempt, at(second));
}

fn attempts<'a>(app: &'a App, tokens: &'a Tokens) -> &'a Attempts {
    app.corp.attempts(tokens)
}

#[test]
fn an_outage_of_the_site_is_not_counted_against_a_token() {
    for (is_site_down, expected) in [(true, 1), (false, 3)] {
        let mut tokens = Tokens::default();
        let app = App::new("one", &mut tokens);
        for second in [0, 100, 200] {
            let pending = app.begin(&mut tokens).expect("due");
            fail_in(is_site_down, &pending, second, &mut tokens);
        }
        let failing = attempts(&app, &tokens).failing().expect("failing");
        assert_eq!(failing.streak, expected, "{is_site_down}");
    }
}

#[test]
fn the_end_of_an_outage_ends_the_wait_of_what_failed_in_it_and_no_other() {
    let mut tokens = Tokens::default();
    let app = App::new("one", &mut tokens);
    let pending = app.begin(&mut tokens).expect("due");
    fail(&pending, 100, &mut tokens);
    let waits_until = attempts(&app, &tokens).retry_at().expect("it waits");
    assert!(waits_until > at(100));
    let all = |_: &str, _: &str| true;
    let hurried = tokens.hurry("global", all, at(101), at(101));
    assert!(hurried.is_empty(), "it has failed for longer than that");
    assert_eq!(attempts(&app, &tokens).retry_at(), Some(waits_until));
    let hurried = tokens.hurry("global", all, waits_until, waits_until);
    assert!(hurried.is_empty(), "its wait is over anyway");
    let hurried = tokens.hurry("global", all, at(100), at(100));
    assert_eq!(hurried, [AppRef::new("one")]);
    assert_eq!(attempts(&app, &tokens).retry_at(), Some(at(100)));
    assert!(tokens.hurry("global", all, at(100), at(100)).is_empty());
}

#[test]
fn a_token_that_is_still_valid_goes_before_one_that_has_expired() {
    let mut tokens = Tokens::default();
    let app = App::new("one", &mut tokens);
    let rank = |tokens: &Tokens, expires_at| attempts(&app, tokens).rank(expires_at, at(0));
    assert_eq!(rank(&tokens, None), Rank::First);
    let pending = app.begin(&mut tokens).expect("due");
    fail(&pending, 0, &mut tokens);
    assert_eq!(rank(&tokens, Some(at(9))), Rank::Renewal(at(9)));
    assert_eq!(rank(&tokens, Some(at(0))), Rank::Retry);
    assert_eq!(rank(&tokens, Some(at(-9))), Rank::Retry);
    assert_eq!(rank(&tokens, None), Rank::Retry);
}

#[test]
fn an_outcome_counts_once() {
    let (mut tokens, mut one, _) = two();
    let pending = one.begin(&mut tokens).expect("due");
    assert_eq!(succeed(&pending, "t1", 0, &mut tokens), ["one", "two"]);
    assert!(succeed(&pending, "t2", 1, &mut tokens).is_empty());
    assert_eq!(one.look(false, &tokens, at(1)), Some("t1"));
}

#[test]
fn what_is_known_of_former_tokens_does_not_grow() {
    let mut tokens = Tokens::default();
    for round in 0..50 {
        let second = round * 10_000;
        let name = TokenName {
            site: "global".into(),
            client_id: format!("client{round}"),
            corp_id: "ding1".into(),
            fingerprint: Fingerprint::default(),
        };
        let mut app = App {
            name: "one",
            corp: Corp::default(),
        };
        let key = AppRef::new("one");
        app.corp
            .want(Some(name), &key, Interest::Active, &mut tokens);
        let pending = app.begin(&mut tokens).expect("due");
        succeed(&pending, "t1", second, &mut tokens);
        app.leaves(&mut tokens);
        assert!(tokens.seats.len() <= 3, "{} seats", tokens.seats.len());
    }
}

#[test]
fn what_was_fetched_is_known_while_it_is_valid_however_many_tokens_are_forgotten() {
    let mut tokens = Tokens::default();
    for number in 0..10 {
        let name = TokenName {
            site: "global".into(),
            client_id: "a".into(),
            corp_id: format!("ding{number}"),
            fingerprint: Fingerprint::default(),
        };
        let mut app = App {
            name: "one",
            corp: Corp::default(),
        };
        let key = AppRef::new("one");
        app.corp
            .want(Some(name), &key, Interest::Active, &mut tokens);
        let pending = app.begin(&mut tokens).expect("due");
        succeed(&pending, "t1", number, &mut tokens);
        app.look(false, &tokens, at(number));
        app.corp.unwritten_since = None;
        app.leaves(&mut tokens);
    }
    assert!(tokens.all.is_empty(), "all are forgotten");
    for number in 0..10 {
        let seat = ("global".to_owned(), "a".to_owned(), format!("ding{number}"));
        assert!(tokens.has_fetched(&seat, at(10)), "{number}");
    }
}

#[test]
fn a_failure_that_goes_on_after_a_restart_began_when_the_status_says() {
    let since = |failure: Failure| {
        let mut tokens = Tokens::default();
        let mut resumed = Attempts::default();
        resumed.resume_failure(&Failure::of(&UNREACHABLE), at(-100));
        let mut app = App {
            name: "one",
            corp: Corp::default(),
        };
        app.corp.resumed = Some(Box::new(Resumed {
            attempts: resumed,
            renewed_at: None,
            failing_since: Some(at(-100)),
        }));
        app.wants(Interest::Active, &mut tokens);
        let pending = app.begin(&mut tokens).expect("due");
        let attempt = FailedAttempt {
            failure,
            life_left: None,
            is_site_down: false,
            random: 0.5,
        };
        tokens.failed(&pending, attempt, at(0));
        attempts(&app, &tokens).failing().expect("failing").since
    };
    assert_eq!(since(Failure::of(&UNREACHABLE)), at(-100));
    assert_eq!(since(Failure::of(&TABLE[0])), at(0), "it is another one");
}

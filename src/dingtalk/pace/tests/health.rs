//! What failures tell about a site, by themselves.

use super::*;
use crate::dingtalk::pace::health::{Busyness, Health};

fn unanswered() -> Failure {
    Failure::of(&UNREACHABLE)
}

fn answered() -> Failure {
    failure("server.error", 500)
}

#[test]
fn three_corps_that_begin_to_fail_are_an_outage_since_the_first() {
    let now = Instant::now();
    let mut health = Health::default();
    for (second, corp_id) in [(0, "1"), (1, "2"), (2, "2")] {
        let call = call("x", "one", corp_id);
        health.transient(&call, &unanswered(), None, None, now + second * SECOND);
        assert_eq!(health.outage(), None);
    }
    health.transient(&call("x", "one", "3"), &unanswered(), None, None, now);
    let reach = Reach::Client("one".into());
    assert_eq!(health.outage(), Some((reach, now)));
    assert!(health.is_down_for("y", "one"));
    assert!(!health.is_down_for("x", "two"));
    // The app itself may be the cause of what the site answers.
    health.transient(&call("x", "one", "4"), &answered(), None, None, now);
    assert_eq!(health.outage(), None);
    assert!(!health.is_down_for("x", "one"));
    health.transient(&call("x", "two", "1"), &answered(), None, None, now);
    let reach = Reach::Namespace("x".into());
    assert_eq!(health.outage(), Some((reach, now)));
}

#[test]
fn a_corp_that_was_failing_before_the_last_success_tells_nothing() {
    let now = Instant::now();
    let is_outage = |failing_since: Option<Instant>, succeeded_at: Option<Instant>| {
        let mut health = Health::default();
        for corp_id in ["1", "2", "3"] {
            let call = call("x", "one", corp_id);
            health.transient(&call, &unanswered(), failing_since, succeeded_at, now);
        }
        health.outage().is_some()
    };
    let later = now + SECOND;
    assert!(is_outage(None, None));
    assert!(is_outage(None, Some(now)));
    assert!(is_outage(Some(now), None));
    assert!(is_outage(Some(later), Some(now)));
    assert!(!is_outage(Some(now), Some(now)));
    assert!(!is_outage(Some(now), Some(later)));
}

#[test]
fn an_outage_of_the_site_or_of_a_namespace_that_nobody_answers_is_not_a_corps_own() {
    let now = Instant::now();
    let is_site_outage = |calls: &[(&str, &str)], failure: &Failure| {
        let mut health = Health::default();
        for (namespace, client_id) in calls {
            let call = call(namespace, client_id, "1");
            health.transient(&call, failure, None, None, now);
        }
        let (namespace, client_id) = calls[0];
        health.is_site_outage(&call(namespace, client_id, "1"), failure)
    };
    let of_site = [("x", "a"), ("y", "b"), ("y", "c")];
    assert!(is_site_outage(&of_site, &answered()));
    assert!(is_site_outage(&of_site, &unanswered()));
    let of_namespace = [("x", "a"), ("x", "b"), ("x", "c")];
    assert!(!is_site_outage(&of_namespace, &answered()));
    assert!(is_site_outage(&of_namespace, &unanswered()));
    assert!(!is_site_outage(&of_site[..2], &unanswered()));
    assert!(!is_site_outage(&of_site, &failure("invalid.client", 401)));
}

#[test]
fn the_third_html_answer_in_a_row_is_a_ban_of_those_who_got_them() {
    let now = Instant::now();
    let mut health = Health::default();
    let mut hears = |corp_id: &str, failure: Failure| {
        let call = call("x", "one", corp_id);
        let is_ban = health.html(&call, failure, now).class == Class::Banned;
        is_ban.then(|| health.ban(&call, true, None, now))
    };
    assert_eq!(hears("1", html()), None);
    assert_eq!(hears("1", answered()), None);
    assert_eq!(hears("1", html()), None);
    assert_eq!(hears("1", unanswered()), None, "it counts neither way");
    assert_eq!(hears("1", html()), None);
    let corp = Reach::of_corp(&call("x", "one", "1"));
    assert_eq!(hears("1", html()), Some(corp));
    assert_eq!(hears("2", html()), Some(Reach::Client("one".into())));
}

#[test]
fn a_site_that_served_somebody_two_seconds_ago_is_not_banned_as_a_whole() {
    let now = Instant::now();
    let reach = |ago: Duration| {
        let mut health = Health::default();
        health.ban(&call("x", "a", "1"), false, Some(now), now + ago);
        health.ban(&call("y", "b", "1"), false, Some(now), now + ago)
    };
    assert_eq!(
        reach(Duration::from_millis(1999)),
        Reach::Namespace("y".into())
    );
    assert_eq!(reach(2 * SECOND), Reach::Site);
}

#[test]
fn a_site_is_busy_if_it_says_so_to_a_quarter_of_several_in_several_namespaces() {
    let now = Instant::now();
    let is_busy = |served: usize, busy: &[(&str, &str)]| {
        let mut busyness = Busyness::default();
        for number in 0..served {
            busyness.served(&call("x", &format!("served{number}"), "1"), now);
        }
        let heard = busy.iter();
        heard.fold(false, |_, (namespace, client_id)| {
            busyness.is_busy(&call(namespace, client_id, "1"), now)
        })
    };
    let two = [("x", "a"), ("y", "b")];
    assert!(is_busy(0, &two));
    assert!(is_busy(6, &two));
    assert!(!is_busy(7, &two), "less than a quarter");
    assert!(!is_busy(0, &two[..1]));
    assert!(!is_busy(0, &[("x", "a"), ("x", "b")]), "one namespace");
    assert!(!is_busy(0, &[("x", "a"), ("y", "a")]), "one client_id");
    assert!(is_busy(0, &[("x", "a"), ("y", "b"), ("x", "c")]));
    // Whoever was served first and then not is busy.
    assert!(is_busy(7, &[("x", "served0"), ("y", "served1")]));
}

#[test]
fn who_is_busy_and_who_is_served_is_counted_anew_every_ten_seconds() {
    let now = Instant::now();
    let (a, b) = (call("x", "a", "1"), call("y", "b", "1"));
    for (later, is_busy) in [(9999, true), (10_000, false)] {
        let mut busyness = Busyness::default();
        assert!(!busyness.is_busy(&a, now));
        // Being served does not undo it.
        busyness.served(&a, now);
        let later = now + Duration::from_millis(later);
        assert_eq!(busyness.is_busy(&b, later), is_busy);
    }
}

//! What holds back requests after one answer, by themselves.

use super::*;
use crate::dingtalk::Scope;
use crate::dingtalk::pace::limits::Limits;
use crate::dingtalk::pace::rates::Gate;
use crate::dingtalk::pace::waiting::LineKey;

/// Limits that hear answers.
struct Heard {
    limits: Limits,
    rates: Rates,
    now: Instant,
}

impl Heard {
    fn new() -> Self {
        Self {
            limits: Limits::default(),
            rates: Rates::default(),
            now: Instant::now(),
        }
    }

    fn fails(&mut self, call: &Call, failure: Failure, is_proven: bool) {
        self.limits.begin(call, is_proven, &self.rates, self.now);
        self.limits.end(call, is_proven);
        self.limits.failed(call, failure, None, is_proven, self.now);
    }

    /// Returns how long a request must wait because of what was heard.
    fn wait(&self, call: &Call, is_proven: bool) -> Duration {
        let line = LineKey::of(call);
        let at = self.now;
        let gate = self
            .limits
            .gate_of_line(&line, is_proven, false, &self.rates, at);
        let paused = self.limits.pause_of_corp(call, is_proven);
        match gate {
            Gate::Until(until) => paused.unwrap_or(until).max(until) - at,
            Gate::Open => {
                paused.map_or(Duration::ZERO, |until| until.saturating_duration_since(at))
            }
            closed => panic!("{closed:?}"),
        }
    }
}

fn throttled(per_minute: bool, scope: Scope, wait: Option<Duration>) -> Failure {
    Failure {
        class: Class::Throttled { per_minute },
        scope,
        wait,
        ..failure("server.error", 429)
    }
}

fn banned(scope: Scope, wait: Option<Duration>) -> Failure {
    Failure {
        class: Class::Banned,
        scope,
        wait,
        ..failure("server.error", 403)
    }
}

#[test]
fn a_pause_of_a_throttled_client_doubles_up_to_a_minute_and_begins_anew_after_a_success() {
    let mut heard = Heard::new();
    let call = call("x", "one", "1");
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        heard.fails(&call, throttled(false, Scope::ClientId, None), true);
        // What was in flight at the same time counts once.
        heard.fails(&call, throttled(false, Scope::ClientId, None), true);
        assert_eq!(heard.wait(&call, true), seconds * SECOND);
        heard.now += seconds * SECOND;
        assert_eq!(heard.wait(&call, true), Duration::ZERO);
    }
    heard.limits.succeeded(&call, heard.now);
    heard.fails(&call, throttled(false, Scope::ClientId, None), true);
    assert_eq!(heard.wait(&call, true), SECOND);
}

#[test]
fn a_pause_is_as_long_as_its_kind_and_at_least_as_long_as_was_asked_for() {
    let wait = |failure: Failure| {
        let mut heard = Heard::new();
        let call = call("x", "one", "1");
        heard.fails(&call, failure, true);
        heard.wait(&call, true)
    };
    assert_eq!(wait(throttled(true, Scope::ClientId, None)), MINUTE);
    for scope in [Scope::Corp, Scope::ClientId] {
        assert_eq!(wait(throttled(false, scope, None)), SECOND);
        let asked = Some(7 * SECOND);
        assert_eq!(wait(throttled(false, scope, asked)), 7 * SECOND);
        assert_eq!(wait(banned(scope, asked)), 5 * MINUTE);
        assert_eq!(wait(banned(scope, None)), 5 * MINUTE);
        assert_eq!(wait(banned(scope, Some(6 * MINUTE))), 6 * MINUTE);
    }
}

#[test]
fn a_pause_holds_what_it_names_and_nothing_else() {
    let (own, sibling) = (call("x", "one", "1"), call("x", "one", "2"));
    let others = [call("x", "two", "1"), call("y", "two", "2")];
    let held = |failure: Failure| {
        let mut heard = Heard::new();
        heard.fails(&own, failure, true);
        // The spacing of the client's requests is over.
        heard.now += SECOND / 2;
        let calls = [&own, &sibling, &others[0], &others[1]];
        calls.map(|call| heard.wait(call, true) > Duration::ZERO)
    };
    let kinds: [fn(Scope) -> Failure; 2] = [
        |scope| throttled(false, scope, None),
        |scope| banned(scope, None),
    ];
    for of in kinds {
        assert_eq!(held(of(Scope::Corp)), [true, false, false, false]);
        assert_eq!(held(of(Scope::ClientId)), [true, true, false, false]);
    }
    // A single corp's answer is no ban of its site.
    assert_eq!(held(banned(Scope::Site, None)), [true, false, false, false]);
    assert_eq!(held(throttled(false, Scope::Site, None)), [false; 4]);
}

#[test]
fn forty_failures_with_unproven_credentials_use_up_a_namespaces_budget_in_flight_or_not() {
    let mut heard = Heard::new();
    let number = |number: usize| with_secret("x", &format!("c{number}"), "1", "wrong");
    for n in 0..39 {
        heard.fails(&number(n), failure("invalidCorpId", 400), false);
    }
    assert_eq!(heard.wait(&number(100), false), Duration::ZERO);
    heard.fails(&number(39), failure("invalidCorpId", 400), false);
    assert_eq!(heard.wait(&number(100), false), Duration::ZERO);
    heard.fails(&number(40), failure("invalidCorpId", 400), false);
    assert_eq!(heard.wait(&number(100), false), SECOND / 2);
    assert_eq!(heard.wait(&number(100), true), Duration::ZERO);
    let other = with_secret("y", "c", "1", "wrong");
    assert_eq!(heard.wait(&other, false), Duration::ZERO);
    // Each that is in flight may fail, too.
    heard.now += 10 * SECOND;
    assert_eq!(heard.wait(&number(100), false), Duration::ZERO);
    for n in 200..220 {
        heard
            .limits
            .begin(&number(n), false, &heard.rates, heard.now);
    }
    assert_eq!(heard.wait(&number(100), false), SECOND / 2);
}

#[test]
fn a_failure_with_proven_credentials_or_in_an_outage_uses_up_no_budget() {
    let number = |number: usize| with_secret("x", &format!("c{number}"), "1", "wrong");
    let wait_after = |failure: Failure, is_proven: bool| {
        let mut heard = Heard::new();
        for n in 0..100 {
            heard.fails(&number(n), failure.clone(), is_proven);
        }
        heard.limits.succeeded(&number(0), heard.now);
        heard.wait(&number(100), false)
    };
    assert!(wait_after(failure("invalidCorpId", 400), false) > 20 * SECOND);
    assert_eq!(
        wait_after(failure("invalidCorpId", 400), true),
        Duration::ZERO
    );
    assert_eq!(wait_after(Failure::of(&UNREACHABLE), false), Duration::ZERO);
}

#[test]
fn a_namespace_has_forty_requests_with_unproven_credentials_in_flight() {
    let mut heard = Heard::new();
    let rates = Rates {
        in_flight_per_site: 1000,
        ..heard.rates
    };
    let number = |number: usize| with_secret("x", &format!("c{number}"), "1", "wrong");
    // The site has answered often enough to be asked by many at once.
    for _ in 0..1000 {
        heard.limits.succeeded(&number(0), heard.now);
    }
    for n in 0..40 {
        assert!(heard.limits.has_room("x", false, &rates), "{n}");
        heard.limits.begin(&number(n), false, &rates, heard.now);
    }
    assert!(!heard.limits.has_room("x", false, &rates));
    assert!(heard.limits.has_room("x", true, &rates));
    assert!(heard.limits.has_room("y", false, &rates));
    heard.limits.end(&number(0), false);
    assert!(heard.limits.has_room("x", false, &rates));
}

#[test]
fn what_still_limits_something_is_not_forgotten() {
    let mut heard = Heard::new();
    let (busy, paused) = (call("x", "busy", "1"), call("x", "paused", "1"));
    for _ in 0..4 {
        heard.limits.begin(&busy, true, &heard.rates, heard.now);
    }
    heard.fails(&paused, banned(Scope::ClientId, None), true);
    let wrong = with_secret("y", "one", "1", "wrong");
    heard.fails(&wrong, banned(Scope::ClientId, None), false);
    for _ in 0..3 {
        heard.now += MINUTE;
        heard.limits.prune(heard.now);
    }
    let line = LineKey::of(&busy);
    let gate = |heard: &Heard| {
        heard
            .limits
            .gate_of_line(&line, true, false, &heard.rates, heard.now)
    };
    assert_eq!(gate(&heard), Gate::Busy);
    assert_eq!(heard.wait(&paused, true), 2 * MINUTE);
    assert_eq!(heard.wait(&wrong, false), 2 * MINUTE);
    heard.limits.end(&busy, true);
    heard.now += MINUTE;
    heard.limits.prune(heard.now);
    assert_eq!(gate(&heard), Gate::Open);
}

#[test]
fn throttles_are_counted_as_in_a_row_for_two_minutes_after_the_pause() {
    let pause_after = |silence: Duration| {
        let mut heard = Heard::new();
        let call = call("x", "one", "1");
        heard.fails(&call, throttled(false, Scope::ClientId, None), true);
        heard.now += SECOND + silence;
        heard.limits.prune(heard.now);
        heard.fails(&call, throttled(false, Scope::ClientId, None), true);
        heard.wait(&call, true)
    };
    assert_eq!(pause_after(119 * SECOND), 2 * SECOND);
    assert_eq!(pause_after(2 * MINUTE), SECOND);
}

#[test]
fn a_namespaces_requests_in_flight_are_not_forgotten() {
    let mut heard = Heard::new();
    let number = |number: usize| with_secret("x", &format!("c{number}"), "1", "wrong");
    for n in 0..40 {
        heard
            .limits
            .begin(&number(n), false, &heard.rates, heard.now);
    }
    heard.now += 10 * MINUTE;
    heard.limits.prune(heard.now);
    assert!(!heard.limits.has_room("x", false, &heard.rates));
}

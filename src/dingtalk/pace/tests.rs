//! Simulates requests and responses in steps of a millisecond.

mod health;
mod limits;
mod outages;
mod pauses;
mod rates;
mod unproven;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::*;
use crate::dingtalk::{Class, Credentials, Failure, Fingerprint, UNREACHABLE, look_up};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn fingerprint(client_id: &str, secret: &str) -> Fingerprint {
    let value = |key: &str| {
        Some(Zeroizing::new(
            if key == "id" { client_id } else { secret }.into(),
        ))
    };
    Credentials::read("id", "secret", value)
        .expect("credentials")
        .fingerprint(&[0; 32])
}

/// Returns a call with the correct secret of `client_id`.
pub(super) fn call(namespace: &str, client_id: &str, corp_id: &str) -> Call {
    with_secret(namespace, client_id, corp_id, "right")
}

fn with_secret(namespace: &str, client_id: &str, corp_id: &str, secret: &str) -> Call {
    Call {
        site: "global".into(),
        namespace: namespace.into(),
        client_id: client_id.into(),
        corp_id: corp_id.into(),
        credentials: CredentialsId {
            uid: format!("{namespace}-{client_id}-{secret}").into(),
            fingerprint: fingerprint(client_id, secret),
        },
    }
}

fn failure(code: &str, status: u16) -> Failure {
    Failure {
        http_status: Some(status),
        ..Failure::of(look_up(&[code], status).0)
    }
}

fn html() -> Failure {
    Failure {
        http_status: Some(403),
        html: true,
        ..Failure::of(look_up(&[], 403).0)
    }
}

fn expiry(second: i64) -> Rank {
    Rank::Renewal(Timestamp::from_second(second).expect("a time"))
}

type Answer<'a> = Box<dyn FnMut(&Call) -> Result<(), Failure> + 'a>;

/// Responds to each call after a latency. Starts requests only after events and at the times that the
/// scheduler asks for.
struct World<'a> {
    scheduler: Scheduler<Call>,
    now: Instant,
    next: Option<Instant>,
    start: Instant,
    latency: Duration,
    answer: Answer<'a>,
    flying: Vec<(Instant, Call)>,
    /// Start of each call, since the start of the test.
    calls: Vec<(Duration, Call)>,
    recovered: Vec<Recovery>,
    heard: Vec<(Failure, bool)>,
    rejected_too: usize,
    failing_since: HashMap<Call, Instant>,
}

impl<'a> World<'a> {
    fn new(answer: impl FnMut(&Call) -> Result<(), Failure> + 'a) -> Self {
        let now = Instant::now();
        Self {
            scheduler: Scheduler::new(Rates::default()),
            now,
            next: None,
            start: now,
            latency: Duration::from_millis(5),
            answer: Box::new(answer),
            flying: Vec::new(),
            calls: Vec::new(),
            recovered: Vec::new(),
            heard: Vec::new(),
            rejected_too: 0,
            failing_since: HashMap::new(),
        }
    }

    fn push(&mut self, call: Call, rank: Rank) {
        self.scheduler.push(call.clone(), rank, call);
        self.next = Some(self.now);
    }

    /// Makes the credentials of these calls proven.
    fn prove(&mut self, calls: &[Call]) {
        for call in calls {
            let site = self.scheduler.succeeded(call, self.now);
            assert!(site.is_empty());
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.tick();
            self.now += Duration::from_millis(1);
        }
    }

    fn tick(&mut self) {
        let (done, flying) = std::mem::take(&mut self.flying)
            .into_iter()
            .partition(|(end, _)| *end <= self.now);
        self.flying = flying;
        let done: Vec<(Instant, Call)> = done;
        if done.is_empty() && self.next.is_none_or(|at| at > self.now) {
            return;
        }
        for (_, call) in done {
            match (self.answer)(&call) {
                Ok(()) => {
                    self.failing_since.remove(&call);
                    let recovered = self.scheduler.succeeded(&call, self.now);
                    self.recovered.extend(recovered);
                }
                Err(failure) => {
                    let since = self.failing_since.get(&call).copied();
                    let heard = self.scheduler.failed(&call, failure, since, self.now);
                    self.failing_since.entry(call).or_insert(self.now);
                    self.heard.push((heard.failure, heard.is_site_down));
                    self.rejected_too += heard.rejected_too.len();
                }
            }
        }
        let started = self.scheduler.start(|_| true, self.now);
        self.next = started.next;
        assert!(self.next.is_none_or(|at| at > self.now), "it would spin");
        for (call, _) in started.starting {
            self.calls.push((self.now - self.start, call.clone()));
            self.flying.push((self.now + self.latency, call));
        }
    }

    fn begun(&self, which: impl Fn(&Call) -> bool) -> usize {
        self.calls.iter().filter(|(_, call)| which(call)).count()
    }

    fn at(&self, which: impl Fn(&Call) -> bool) -> Option<Duration> {
        let (at, _) = self.calls.iter().find(|(_, call)| which(call))?;
        Some(*at)
    }
}

fn numbered(namespace: &str, client_id: &str, count: usize) -> Vec<Call> {
    (0..count)
        .map(|number| call(namespace, client_id, &number.to_string()))
        .collect()
}

#[test]
fn a_client_and_a_site_keep_their_rates() {
    let mut world = World::new(|_| Ok(()));
    world.prove(&[call("x", "one", "0")]);
    for call in numbered("x", "one", 50) {
        world.push(call, Rank::First);
    }
    world.run(SECOND);
    assert_eq!(world.calls.len(), 10);
    let mut world = World::new(|_| Ok(()));
    for client in 0..1000 {
        world.push(call("x", &client.to_string(), "corp"), Rank::First);
    }
    world.run(2 * SECOND);
    assert!(
        (400..=500).contains(&world.calls.len()),
        "{}",
        world.calls.len()
    );
}

#[test]
fn four_are_in_flight_for_a_client_and_one_for_a_token() {
    let mut world = World::new(|_| Ok(()));
    world.latency = MINUTE;
    world.prove(&[call("x", "one", "0")]);
    for call in numbered("x", "one", 50) {
        world.push(call.clone(), Rank::First);
        // Another app of another namespace wants the same token.
        world.push(
            Call {
                namespace: "y".into(),
                ..call
            },
            Rank::First,
        );
    }
    world.run(10 * SECOND);
    assert_eq!(world.calls.len(), 4);
    let corps: std::collections::HashSet<_> =
        world.calls.iter().map(|(_, call)| &call.corp_id).collect();
    assert_eq!(corps.len(), 4);
    world.run(MINUTE);
    assert_eq!(world.calls.len(), 8, "the next begin when these end");
    let mut world = World::new(|_| Ok(()));
    world.prove(&[call("x", "one", "0")]);
    world.push(call("x", "one", "0"), Rank::First);
    world.push(call("x", "one", "0"), Rank::First);
    world.push(call("x", "one", "1"), Rank::Retry);
    world.latency = 10 * SECOND;
    world.run(SECOND);
    assert_eq!(world.begun(|call| *call.corp_id == *"0"), 1);
    assert_eq!(
        world.begun(|call| *call.corp_id == *"1"),
        1,
        "behind nobody"
    );
    world.run(10 * SECOND);
    assert_eq!(world.begun(|call| *call.corp_id == *"0"), 2);
}

#[test]
fn credentials_that_have_fetched_a_token_are_called_at_the_usual_rate_at_once() {
    let mut world = World::new(|_| Ok(()));
    for call in numbered("x", "one", 50) {
        world.push(call, Rank::First);
    }
    world.run(SECOND * 3 / 2);
    let begun = world.calls.len();
    assert!((10..=17).contains(&begun), "{begun}");
    assert_eq!(world.scheduler.len(), 50 - begun);
    world.run(10 * SECOND);
    assert!(world.scheduler.is_empty());
    // Of the same token, each waits for the one before it.
    for _ in 0..3 {
        world.push(call("x", "one", "0"), Rank::Retry);
    }
    world.run(SECOND / 2);
    assert!(world.scheduler.is_empty(), "{}", world.scheduler.len());
    let bad = call("x", "two", "bad");
    world.prove(&[call("x", "two", "1")]);
    let pause = Failure {
        class: Class::Throttled { per_minute: false },
        scope: crate::dingtalk::Scope::Corp,
        ..failure("server.error", 429)
    };
    world.scheduler.failed(&bad, pause, None, world.now);
    world.push(bad, Rank::Retry);
    world.run(SECOND / 2);
    assert_eq!(world.scheduler.len(), 1, "its corp is paused");
    world.run(SECOND);
    assert!(world.scheduler.is_empty(), "{}", world.scheduler.len());
}

#[test]
fn a_first_attempt_comes_first_then_the_nearest_expiry_then_what_has_none() {
    let mut world = World::new(|_| Ok(()));
    world.push(call("x", "a", "1"), Rank::Retry);
    world.push(call("x", "b", "1"), expiry(20));
    world.push(call("x", "c", "1"), expiry(10));
    world.push(call("x", "d", "1"), Rank::First);
    world.run(SECOND);
    let order: Vec<&str> = world
        .calls
        .iter()
        .map(|(_, call)| &*call.client_id)
        .collect();
    assert_eq!(order, ["d", "c", "b", "a"]);
}

#[test]
fn first_attempts_leave_every_second_call_to_renewals() {
    let mut world = World::new(|_| Ok(()));
    for number in 0..500 {
        world.push(call("flood", &format!("f{number}"), "1"), Rank::First);
        world.push(call("calm", &format!("c{number}"), "1"), expiry(number));
    }
    world.run(SECOND);
    let renewed = world.begun(|call| *call.namespace == *"calm");
    assert!(
        renewed * 2 >= world.calls.len() - 1,
        "{renewed} of {}",
        world.calls.len()
    );
}

#[test]
fn namespaces_take_turns_within_a_rank() {
    let mut world = World::new(|_| Ok(()));
    for number in 0..1000 {
        world.push(call("flood", &format!("f{number}"), "1"), expiry(0));
    }
    for namespace in ["one", "two", "three"] {
        for number in 0..10 {
            let client_id = format!("{namespace}{number}");
            world.push(call(namespace, &client_id, "1"), expiry(100));
        }
    }
    world.run(SECOND);
    let others = world.calls.iter().take(44);
    let others = others.filter(|(_, call)| *call.namespace != *"flood");
    assert_eq!(others.count(), 30, "three of four turns");
}

#[test]
fn hanging_calls_of_one_namespace_leave_room_for_others() {
    let mut world = World::new(|_| Ok(()));
    world.latency = 10 * SECOND;
    for number in 0..500 {
        world.push(call("hostile", &format!("h{number}"), "1"), Rank::First);
    }
    world.run(2 * SECOND);
    world.latency = Duration::from_millis(5);
    let before = world.now - world.start;
    for number in 0..20 {
        world.push(call("calm", &format!("c{number}"), "1"), expiry(0));
    }
    world.run(SECOND);
    assert_eq!(world.begun(|call| *call.namespace == *"calm"), 20);
    let served = world.at(|call| *call.namespace == *"calm");
    let waited = served.expect("served").saturating_sub(before);
    assert!(waited <= SECOND / 10, "{waited:?}");
}

#[test]
fn a_site_is_never_called_more_at_once_than_its_limit() {
    let mut world = World::new(|_| Ok(()));
    world.latency = 2 * SECOND;
    for namespace in 0..40 {
        for number in 0..100 {
            let client_id = format!("n{namespace}c{number}");
            world.push(call(&format!("n{namespace}"), &client_id, "1"), Rank::First);
        }
    }
    let mut most = 0;
    for _ in 0..300 {
        world.run(SECOND / 10);
        most = most.max(world.flying.len());
    }
    assert!((200..=256).contains(&most), "{most}");
}

#[test]
fn abandoned_requests_are_swept_out_even_where_nothing_starts() {
    let mut scheduler: Scheduler<bool> = Scheduler::new(Rates::default());
    let now = Instant::now();
    let hanging = call("x", "one", "0");
    scheduler.push(hanging.clone(), Rank::First, true);
    assert_eq!(scheduler.start(|wanted| *wanted, now).starting.len(), 1);
    scheduler.failed(&hanging, failure("90010", 200), None, now);
    let mut unwanted = 0;
    for number in 0..100_000 {
        scheduler.push(call("x", "one", &number.to_string()), Rank::First, false);
        unwanted += scheduler.start(|wanted| *wanted, now).unwanted.len();
    }
    assert!(scheduler.len() <= 2048, "{}", scheduler.len());
    assert_eq!(unwanted + scheduler.len(), 100_000);
}

#[test]
fn an_abandoned_request_holds_nothing_back() {
    let mut scheduler = Scheduler::new(Rates::default());
    for _ in 0..3 {
        scheduler.push(call("x", "a", "1"), Rank::First, "stale");
    }
    scheduler.push(call("x", "a", "1"), Rank::First, "wanted");
    let started = scheduler.start(|job| *job == "wanted", Instant::now());
    assert_eq!(started.unwanted.len(), 3);
    assert_eq!(started.starting.len(), 1, "at once");
    assert!(scheduler.is_empty());
}

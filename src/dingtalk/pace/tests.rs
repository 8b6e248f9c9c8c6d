//! Sequences of requests and answers, a millisecond at a time.

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

/// A call for this namespace, with the right secret of this `client_id`.
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

/// Answers each call after a latency.
struct World<'a> {
    scheduler: Scheduler<Call>,
    now: Instant,
    start: Instant,
    latency: Duration,
    answer: Answer<'a>,
    flying: Vec<(Instant, Call)>,
    /// When each call began.
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
    }

    /// Each of these has succeeded before.
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
fn a_paused_corp_holds_back_neither_its_client_nor_its_namesake() {
    let mut world = World::new(|call| match (&*call.client_id, &*call.corp_id) {
        ("one", "0") => Err(failure("90005", 200)),
        _ => Ok(()),
    });
    world.prove(&[call("x", "one", "1"), call("y", "two", "1")]);
    world.push(call("x", "one", "0"), Rank::First);
    world.run(SECOND / 10);
    for call in numbered("x", "one", 3) {
        world.push(call, Rank::First);
    }
    world.push(call("y", "two", "0"), Rank::First);
    world.run(SECOND);
    assert_eq!(
        world.begun(|call| *call.client_id == *"one" && *call.corp_id != *"0"),
        2
    );
    assert_eq!(world.begun(|call| *call.client_id == *"two"), 1);
    assert_eq!(
        world.begun(|call| *call.client_id == *"one" && *call.corp_id == *"0"),
        1
    );
    world.run(5 * MINUTE);
    assert_eq!(
        world.begun(|call| *call.client_id == *"one" && *call.corp_id == *"0"),
        2
    );
}

#[test]
fn a_banned_site_holds_back_no_other_site() {
    let elsewhere = |mut call: Call| {
        call.site = "china".into();
        call
    };
    let mut world = World::new(|call| match &*call.site {
        "global" => Err(failure("90001", 200)),
        _ => Ok(()),
    });
    for (namespace, client_id) in [("x", "a"), ("y", "b"), ("y", "c")] {
        world.prove(&[call(namespace, client_id, "1")]);
    }
    world.run(5 * SECOND);
    for (namespace, client_id) in [("x", "a"), ("y", "b")] {
        world.push(call(namespace, client_id, "1"), expiry(0));
    }
    world.run(SECOND);
    assert_eq!(world.calls.len(), 2, "two namespaces have heard of it");
    world.push(call("y", "c", "1"), expiry(0));
    for number in 0..20 {
        world.push(elsewhere(call("x", &format!("e{number}"), "1")), expiry(9));
    }
    world.run(SECOND);
    assert_eq!(world.begun(|call| *call.site == *"global"), 2);
    assert_eq!(world.begun(|call| *call.site == *"china"), 20);
    world.run(5 * MINUTE);
    assert_eq!(
        world.begun(|call| *call.site == *"global"),
        3,
        "the ban has ended"
    );
}

#[test]
fn one_namespace_cannot_have_a_site_counted_as_banned() {
    for code in ["90001", "html"] {
        let mut world = World::new(|call| match &*call.namespace {
            "hostile" if code == "html" => Err(html()),
            "hostile" => Err(failure(code, 200)),
            _ => Ok(()),
        });
        for number in 0..20 {
            let hostile = call("hostile", &format!("h{number}"), "1");
            world.prove(std::slice::from_ref(&hostile));
            world.push(hostile, Rank::First);
        }
        world.run(SECOND);
        for number in 0..20 {
            world.push(call("calm", &format!("c{number}"), "1"), expiry(0));
        }
        world.run(SECOND);
        assert_eq!(world.begun(|call| *call.namespace == *"calm"), 20, "{code}");
        let tried = world.begun(|call| *call.namespace == *"hostile");
        assert!(tried <= 4, "{code}: {tried} calls while banned");
    }
}

#[test]
fn three_html_answers_in_a_row_are_a_ban_of_those_who_got_them() {
    let mut world = World::new(|_| Err(html()));
    world.prove(&[call("x", "one", "0")]);
    for _ in 0..3 {
        world.push(call("x", "one", "0"), Rank::Retry);
        world.run(SECOND);
    }
    let classes: Vec<Class> = world.heard.iter().map(|(heard, _)| heard.class).collect();
    assert_eq!(classes, [Class::User, Class::User, Class::Banned]);
    world.answer = Box::new(|_| Ok(()));
    world.push(call("x", "one", "1"), Rank::Retry);
    world.run(SECOND);
    assert_eq!(world.calls.len(), 4, "another corp goes on");
}

#[test]
fn wrong_secrets_use_up_no_rate_of_the_client_that_they_name() {
    let mut world = World::new(|call| match call.credentials.fingerprint {
        right if right == fingerprint(&call.client_id, "right") => Ok(()),
        _ => Err(failure("invalid.client", 400)),
    });
    for client in 0..25 {
        let victim = call("calm", &format!("client{client}"), "v");
        world.prove(std::slice::from_ref(&victim));
        for corp in 0..1000 {
            let client_id = format!("client{client}");
            let corp_id = corp.to_string();
            world.push(
                with_secret("hostile", &client_id, &corp_id, "wrong"),
                Rank::First,
            );
        }
        for corp in 0..10 {
            world.push(
                call("calm", &format!("client{client}"), &corp.to_string()),
                expiry(0),
            );
        }
    }
    world.run(2 * SECOND);
    assert_eq!(
        world.begun(|call| *call.namespace == *"calm"),
        250,
        "at the site's own pace"
    );
    let tried = world.begun(|call| *call.namespace == *"hostile");
    assert!(tried <= 25, "{tried}");
    assert_eq!(
        tried + world.rejected_too,
        25 * 1000,
        "told at once what is wrong"
    );
    assert!(world.scheduler.is_empty());
}

#[test]
fn unproven_credentials_that_fail_have_a_small_budget() {
    let mut world = World::new(|call| match &*call.namespace {
        "hostile" => Err(failure("invalidCorpId", 400)),
        _ => Ok(()),
    });
    for number in 0..2000 {
        let client_id = format!("client{number}");
        world.push(
            with_secret("hostile", &client_id, "1", "wrong"),
            Rank::First,
        );
    }
    world.run(10 * SECOND);
    let tried = world.calls.len();
    assert!(
        (40..=61).contains(&tried),
        "{tried}: 40 at once, then two a second"
    );
    // Another namespace's budget is its own.
    let before = world.now - world.start;
    world.push(call("calm", "new", "1"), Rank::First);
    world.run(SECOND);
    let served = world.at(|call| *call.namespace == *"calm");
    let waited = served.expect("served").saturating_sub(before);
    assert!(waited <= SECOND / 10, "{waited:?}");
}

#[test]
fn what_unproven_credentials_are_told_holds_back_unproven_ones_only() {
    let mut world = World::new(|call| match &*call.namespace {
        "hostile" => Err(failure("90010", 200)),
        _ => Ok(()),
    });
    world.prove(&[call("calm", "one", "0")]);
    world.push(with_secret("hostile", "one", "0", "wrong"), Rank::First);
    world.run(SECOND);
    for call in numbered("calm", "one", 3) {
        world.push(call, expiry(0));
    }
    world.push(with_secret("hostile", "one", "1", "wrong"), Rank::First);
    world.run(SECOND);
    assert_eq!(world.begun(|call| *call.namespace == *"calm"), 3);
    assert_eq!(world.begun(|call| *call.namespace == *"hostile"), 1);
}

/// After a start nobody has proven anything.
#[test]
fn what_unproven_credentials_are_told_holds_back_no_other_namespace() {
    for code in ["90010", "90005", "90017"] {
        let mut world = World::new(|call| match &*call.namespace {
            "hostile" => Err(failure(code, 200)),
            _ => Ok(()),
        });
        world.push(with_secret("hostile", "one", "0", "wrong"), Rank::First);
        world.run(SECOND);
        for call in numbered("calm", "one", 3) {
            world.push(call, expiry(0));
        }
        world.run(5 * SECOND);
        assert_eq!(world.begun(|call| *call.namespace == *"calm"), 3, "{code}");
    }
}

#[test]
fn a_rotated_secret_is_proven_by_its_former_contents() {
    let mut scheduler: Scheduler<()> = Scheduler::new(Rates::default());
    let old = call("x", "one", "0");
    let new = Call {
        credentials: CredentialsId {
            fingerprint: fingerprint("one", "rotated"),
            ..old.credentials.clone()
        },
        ..old.clone()
    };
    assert!(!scheduler.is_proven(&old));
    scheduler.succeeded(&old, Instant::now());
    assert!(scheduler.is_proven(&old) && scheduler.is_proven(&new));
    let elsewhere = Call {
        site: "china".into(),
        ..old
    };
    assert!(!scheduler.is_proven(&elsewhere));
    assert!(!scheduler.is_proven(&with_secret("y", "one", "0", "guessed")));
}

#[test]
fn a_corp_that_is_always_throttled_slows_nobody() {
    let mut world = World::new(|call| match &*call.corp_id {
        "bad" => Err(failure("systemBusy", 429)),
        _ => Ok(()),
    });
    world.prove(&[call("x", "one", "bad"), call("y", "two", "bad")]);
    for round in 0..20 {
        world.push(call("x", "one", "bad"), Rank::Retry);
        world.push(call("y", "two", "bad"), Rank::Retry);
        for number in 0..50 {
            world.push(call("x", &format!("r{round}n{number}"), "1"), expiry(0));
        }
        world.run(SECOND);
    }
    assert_eq!(
        world.begun(|call| *call.corp_id != *"bad"),
        1000,
        "none waits for a second"
    );
}

#[test]
fn a_site_that_is_busy_for_several_namespaces_is_called_less_and_then_more_again() {
    let is_busy = std::cell::Cell::new(true);
    let mut world = World::new(|_| match is_busy.get() {
        true => Err(failure("systemBusy", 429)),
        false => Ok(()),
    });
    let mut next = 0;
    let mut second = |world: &mut World<'_>| {
        let before = world.calls.len();
        for _ in 0..300 {
            next += 1;
            let namespace = ["x", "y"][next % 2];
            let call = call(namespace, &format!("c{next}"), "1");
            world.scheduler.push(call.clone(), Rank::Retry, call);
        }
        world.run(SECOND);
        world.calls.len() - before
    };
    is_busy.set(false);
    second(&mut world);
    assert!(second(&mut world) > 100);
    let all: Vec<Call> = world.calls.iter().map(|(_, call)| call.clone()).collect();
    // Those that are proven hear it.
    is_busy.set(true);
    for call in all {
        world.push(call, expiry(0));
    }
    for _ in 0..8 {
        world.run(SECOND);
    }
    let slow = second(&mut world);
    assert!(slow <= 10, "{slow}");
    is_busy.set(false);
    for _ in 0..120 {
        second(&mut world);
    }
    assert!(second(&mut world) >= 200);
}

#[test]
fn an_outage_is_probed_twice_a_second_at_most_and_its_end_wakes_all() {
    for namespaces in [1, 3] {
        let is_down = std::cell::Cell::new(true);
        let mut world = World::new(|_| match is_down.get() {
            true => Err(failure("server.error", 500)),
            false => Ok(()),
        });
        let apps: Vec<Call> = (0..1000)
            .map(|number| {
                call(
                    &format!("n{}", number % namespaces),
                    &format!("c{number}"),
                    "1",
                )
            })
            .collect();
        world.prove(&apps);
        world.run(3 * SECOND);
        for app in &apps {
            world.push(app.clone(), expiry(0));
        }
        world.run(MINUTE);
        let probes = world.calls.len();
        assert!(
            probes <= 120,
            "{probes} calls in a minute, for {namespaces} namespaces"
        );
        is_down.set(false);
        world.run(5 * SECOND);
        let served = world.calls.len() - probes;
        assert_eq!(served + probes, 1000, "{namespaces} namespaces");
        let Some(recovery) = world.recovered.first() else {
            panic!("it is told");
        };
        assert_eq!(recovery.reach == Reach::Site, namespaces > 1);
    }
}

#[test]
fn few_that_wait_for_a_site_that_is_down_are_tried_as_often_as_it_is_probed() {
    let unreachable = || Failure::of(&UNREACHABLE);
    let mut world = World::new(|_| Err(unreachable()));
    for number in 0..5 {
        world.push(call("x", &format!("c{number}"), "1"), Rank::First);
    }
    world.run(5 * SECOND);
    let told: Vec<bool> = world
        .heard
        .iter()
        .map(|(_, is_site_down)| *is_site_down)
        .collect();
    assert_eq!(told, [false, false, true, true, true]);
    // Where one namespace's corps get an answer, it may be about them.
    let mut world = World::new(|_| Err(failure("server.error", 500)));
    for number in 0..5 {
        world.push(call("x", &format!("c{number}"), "1"), Rank::First);
    }
    world.run(5 * SECOND);
    assert!(world.heard.iter().all(|(_, is_site_down)| !is_site_down));
}

#[test]
fn corps_that_fail_while_others_do_not_are_no_outage() {
    let mut world = World::new(|call| match call.corp_id.starts_with("bad") {
        true => Err(failure("server.error", 500)),
        false => Ok(()),
    });
    world.prove(&[call("x", "one", "good0")]);
    let bad = |number: usize| call("x", "one", &format!("bad{number}"));
    for number in 0..10 {
        world.push(bad(number), Rank::First);
        world.push(call("x", "one", &format!("good{number}")), Rank::First);
    }
    world.run(3 * SECOND);
    assert!(world.recovered.is_empty());
    // They have failed since before the last success: whatever they get now says nothing new.
    for number in 0..10 {
        world.push(bad(number), Rank::Retry);
    }
    world.run(SECOND);
    world.push(call("x", "one", "good10"), expiry(0));
    world.run(SECOND);
    assert!(world.recovered.is_empty(), "{:?}", world.recovered);
    assert_eq!(world.calls.len(), 31, "none was held back");
}

#[test]
fn a_throttled_client_waits_and_the_wait_is_its_own() {
    let code = "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi";
    let mut world = World::new(|call| match &*call.corp_id {
        "bad" => Err(failure(code, 403)),
        _ => Ok(()),
    });
    world.prove(&[call("x", "one", "0")]);
    for round in 0..30 {
        world.push(call("x", "one", "bad"), Rank::Retry);
        world.run(SECOND / 4);
        world.push(call("x", "one", &format!("good{round}")), expiry(0));
        world.run(SECOND * 7 / 4);
        let served = world.begun(|call| call.corp_id.starts_with("good"));
        assert_eq!(
            served,
            round + 1,
            "the pause does not grow while others succeed"
        );
    }
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

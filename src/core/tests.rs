//! Sequences of outcomes, clock changes and spec changes, over the pure plan.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::token::schedule::{FETCH_FLOOR, Lifetime, is_clamped, jitter, renewal_at};
use super::*;
use crate::api::{CONDITION_STALLED, Cause, DingTalkApp, Reason};
use crate::dingtalk::{AccessToken, Class, Credentials, Failure, Fingerprint, Row, TABLE};

mod assembly;
mod believed;
mod causes;
mod corps;
mod credentials;
mod messages;
mod recorded;
mod renewals;
mod room;
mod schedule;
mod status;
mod unusable;
mod unwritten;
mod world;

use world::{HOUR, World, app, at};

/// Returns the only corp of an app at rest.
fn only(settled: &Settled) -> &crate::core::app::view::CorpSettled {
    assert_eq!(settled.corps.len(), 1);
    &settled.corps[0]
}

#[derive(Clone, Debug)]
enum Outcome {
    Token {
        life: u64,
        fresh: bool,
    },
    Failure {
        row: usize,
        wait: Option<Duration>,
        random: f64,
    },
}

const FRESH: Outcome = Outcome::Token {
    life: 7200,
    fresh: true,
};

/// Returns a failure of a class.
fn failure(is_it: impl Fn(Class) -> bool) -> Outcome {
    let row = TABLE.iter().position(|row| is_it(row.class));
    Outcome::Failure {
        row: row.expect("a row"),
        wait: None,
        random: 0.0,
    }
}

#[derive(Clone, Debug)]
struct Turn {
    /// How long nothing happens, in seconds.
    rest: i64,
    /// How far the clock is set, in seconds.
    jump: i64,
    /// Whether the credentials change.
    rotate: bool,
    outcome: Outcome,
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        (
            prop_oneof![1u64..30, 30u64..8000, 8000u64..2_592_000],
            any::<bool>()
        )
            .prop_map(|(life, fresh)| Outcome::Token { life, fresh }),
        (0..TABLE.len(), proptest::option::of(0u64..600), 0.0..1.0).prop_map(
            |(row, wait, random)| {
                Outcome::Failure {
                    row,
                    wait: wait.map(Duration::from_secs),
                    random,
                }
            }
        ),
    ]
}

fn turns() -> impl Strategy<Value = Turn> {
    let jump = prop_oneof![8 => Just(0i64), 1 => -1_000_000i64..0, 1 => 0i64..1_000_000];
    let rest = prop_oneof![0i64..10, 0i64..10_000];
    (rest, jump, prop::bool::weighted(0.1), outcomes()).prop_map(|(rest, jump, rotate, outcome)| {
        Turn {
            rest,
            jump,
            rotate,
            outcome,
        }
    })
}

/// Regression: a write that did not stick was repeated at once, without end and without a status.
#[test]
fn a_write_that_does_not_stick_is_paced_and_shown() {
    let mut world = World::new();
    world.app.spec.target.annotations = [("team".to_owned(), "hr".to_owned())].into();
    world.metadata_prefixes = vec!["team".into()];
    world.taken_off = Some("team");
    let token = Outcome::Token {
        life: 7200,
        fresh: true,
    };
    let start = world.now;
    let mut settled = world.settle(&token);
    while let Some(at) = settled
        .wake_at
        .filter(|at| *at < start + SignedDuration::from_mins(10))
    {
        world.now = at;
        settled = world.settle(&token);
    }
    let status = world.status(&settled);
    let error = status.corps[0].error.as_ref().expect("it is shown");
    assert_eq!(error.reason, "SecretContested");
    assert_eq!(world.attempts.len(), 1);
    assert!((8..=14).contains(&world.writes.len()), "{:?}", world.writes);
}

proptest! {
    #[test]
    fn for_any_sequence_the_next_attempt_is_ahead_within_its_pace_and_a_valid_token_is_kept(
        turns in prop::collection::vec(turns(), 1..40)
    ) {
        let mut world = World::new();
        let mut earliest: Option<Timestamp> = None;
        for turn in turns {
            world.now += SignedDuration::from_secs(turn.rest + turn.jump);
            if turn.rotate {
                world.credentials += 1;
            }
            let attempts = world.attempts.len();
            let held = world.token();
            let settled = world.settle(&turn.outcome);
            let now = world.now;

            // One look makes at most one attempt, and never before its floor.
            prop_assert!(world.attempts.len() <= attempts + 1);
            if world.attempts.len() > attempts && turn.jump == 0 && !turn.rotate
                && let Some(earliest) = earliest
            {
                prop_assert!(now >= earliest, "{now} is before {earliest}");
            }

            // The next attempt is in the future, and no later than its pace allows.
            let next = only(&settled).next_attempt.expect("there is always a next attempt");
            prop_assert!(next > now);
            let latest = match world.failing() {
                Some(failing) => {
                    let pace = failing.failure.class.pace(failing.streak);
                    pace.ceiling.max(failing.failure.wait.unwrap_or_default())
                }
                None => {
                    let life = world.held().expect("a success holds a token").record.lifetime.length();
                    Duration::try_from(life).expect("not negative") + Duration::from_secs(6)
                }
            };
            prop_assert!(next.duration_since(now) <= SignedDuration::try_from(latest).expect("short"),
                "{next} is more than {latest:?} after {now}");

            // A failure takes nothing away: a held token that is still valid is in the Secret.
            if let (Some(held), Outcome::Failure { .. }) = (&held, &turn.outcome) {
                prop_assert_eq!(world.held(), Some(held.clone()));
                prop_assert_eq!(only(&settled).in_secret, Some(held.record.lifetime));
            }
            // The held token is in the Secret.
            prop_assert_eq!(only(&settled).in_secret, world.held().as_ref().map(|held| held.record.lifetime));

            if world.attempts.len() > attempts {
                let floor = match world.failing() {
                    Some(failing) => {
                        let pace = failing.failure.class.pace(failing.streak);
                        let hurried = failing.failure.class.traits().is_hurried;
                        if hurried { SignedDuration::from_secs(1) } else { SignedDuration::try_from(pace.floor).expect("short") }
                    }
                    None => FETCH_FLOOR,
                };
                earliest = Some(now + floor);
            } else if turn.jump != 0 {
                earliest = None;
            }
        }
    }

    #[test]
    fn every_delay_keeps_its_class_pace(
        row in 0..TABLE.len(), streak in 1u32..100, random in 0.0f64..1.0,
        wait in proptest::option::of(0u64..600), left in proptest::option::of(1u64..7200),
    ) {
        let class = TABLE[row].class;
        let wait = wait.map(Duration::from_secs);
        let delayed = delay(class, streak, random, wait, left.map(Duration::from_secs));
        let pace = class.pace(streak);
        prop_assert!(delayed >= wait.unwrap_or_default(), "what the endpoint asks for is kept");
        prop_assert!(delayed <= pace.ceiling.max(wait.unwrap_or_default()));
        prop_assert!(delayed >= Duration::from_secs(1));
        let hurried = class.traits().is_hurried;
        match left.filter(|_| hurried && wait.is_none()) {
            Some(left) => prop_assert!(delayed <= (Duration::from_secs(left) / 8).max(Duration::from_secs(1))),
            None => {
                let floor = if hurried { Duration::from_secs(1) } else { pace.floor };
                prop_assert!(delayed >= floor);
            }
        }
    }

    #[test]
    fn a_renewal_lies_within_the_life_and_ahead_of_expiry(
        life in 1i64..2_592_000, before in proptest::option::of(1u64..10_000_000), jitter in 0.0f64..1.0,
    ) {
        let lifetime = Lifetime { requested_at: at(0), expires_at: at(life) };
        let renewal = renewal_at(lifetime, before.map(Duration::from_secs), jitter);
        prop_assert!(renewal >= lifetime.requested_at && renewal < lifetime.expires_at);
        let latest = before.map_or(life, |before| life.min(i64::try_from(before).unwrap_or(life) * 3));
        prop_assert!(lifetime.expires_at.duration_since(renewal).as_secs() >= latest / 3 - 1);
    }
}

#[test]
fn a_token_of_the_same_second_is_written_all_the_same() {
    let mut world = World::new();
    let fresh = Outcome::Token {
        life: 7200,
        fresh: true,
    };
    world.settle(&fresh);
    let first = world.target.clone().expect("written").recorded;
    world.credentials += 1;
    world.settle(&fresh);
    let second = world.target.clone().expect("written").recorded;
    assert_eq!(world.attempts[0], world.attempts[1]);
    let digest = |recorded: Option<Recorded>| recorded.expect("recorded").digest;
    assert_ne!(digest(first), digest(second));
    let requested_at = world.held().expect("a token").record.lifetime.requested_at;
    let later = world.now + SignedDuration::from_secs(1);
    assert_eq!(requested_at, later, "nothing takes it for the former one");
    assert_eq!(world.memory.corp("ding1").unwritten_since, None);
}

#[test]
fn a_token_that_is_fetched_again_at_once_says_nothing_of_whether_renewals_extend() {
    let mut world = World::new();
    let fresh = Outcome::Token {
        life: 7200,
        fresh: true,
    };
    world.settle(&fresh);
    for _ in 0..3 {
        world.now += SignedDuration::from_secs(2);
        world.credentials += 1;
        world.settle(&fresh);
    }
    assert_eq!(world.attempts.len(), 4);
    let settled = world.settle(&fresh);
    let next = only(&settled).next_attempt.expect("planned");
    let wait = next.duration_since(world.now).as_secs();
    assert!((4440..=4800).contains(&wait), "an ordinary renewal: {wait}");
}

#[test]
fn a_token_of_former_credentials_proves_nothing_for_the_new_ones() {
    let mut world = World::new();
    let fresh = Outcome::Token {
        life: 7200,
        fresh: true,
    };
    world.settle(&fresh);
    let known = |world: &World| world.memory.credentials.clone().expect("read");
    let former = known(&world);
    let is_proven = |world: &World| {
        let held = world.held().expect("held").record;
        world.memory.corps["ding1"].is_proven(&held, &known(world))
    };
    assert!(is_proven(&world));
    // The credentials have changed and been read, and the attempt with them failed.
    world.credentials += 1;
    world.now += SignedDuration::from_secs(10);
    world.settle(&Outcome::Failure {
        row: 0,
        wait: None,
        random: 0.0,
    });
    assert_ne!(known(&world), former);
    assert!(!is_proven(&world));
}

#[test]
fn a_status_says_when_and_why_and_keeps_its_transition_times() {
    let mut world = World::new();
    let empty = crate::api::DingTalkAppStatus::default();
    let settled = world.settle(&Outcome::Token {
        life: 7200,
        fresh: true,
    });
    let first = world.status_after(&settled, &empty);
    let cause = |status: &crate::api::DingTalkAppStatus| status.corps[0].last_renewal_cause.clone();
    assert_eq!(cause(&first).as_deref(), Some("FirstToken"));
    let after_a_restart = AtRest {
        app: &world.app,
        settled: &settled,
        memory: &Memory::new(&world.app, world.now),
        tokens: &Tokens::default(),
        previous: &first,
        now: world.now,
    };
    let again = after_a_restart.status();
    assert_eq!(cause(&again), cause(&first), "as the status told");
    world.now += SignedDuration::from_secs(60);
    let settled = world.settle(&Outcome::Token {
        life: 7200,
        fresh: true,
    });
    assert_eq!(
        world.status_after(&settled, &first),
        first,
        "no write without a change"
    );
    world.now += SignedDuration::from_secs(5000);
    let settled = world.settle(&Outcome::Failure {
        row: 0,
        wait: None,
        random: 0.0,
    });
    let failing = world.status_after(&settled, &first);
    let (ready, before) = (&failing.conditions[0], &first.conditions[0]);
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("True", "RenewalFailing")
    );
    assert_eq!(ready.last_transition_time, before.last_transition_time);
    let renewed = &failing.conditions[1];
    assert_eq!(
        (renewed.status.as_str(), renewed.reason.as_str()),
        ("False", "InvalidCredentials")
    );
    let news = StatusNews {
        written_at: Some(world.now),
        since: world.now,
        is_fetching: false,
    };
    assert_eq!(write_status_at(&first, &failing, news, world.now), None);
    world.now += SignedDuration::from_secs(301);
    let settled = world.settle(&Outcome::Failure {
        row: 0,
        wait: None,
        random: 0.0,
    });
    let again = world.status_after(&settled, &failing);
    assert_ne!(failing, again);
    let news = StatusNews {
        written_at: Some(world.now),
        ..news
    };
    assert!(
        write_status_at(&failing, &again, news, world.now).is_some(),
        "only the next attempt has moved"
    );
}

#[test]
fn a_label_that_is_not_allowed_blocks_the_app_and_leaves_what_is_there() {
    let mut world = World::new();
    let fresh = Outcome::Token {
        life: 7200,
        fresh: true,
    };
    world.settle(&fresh);
    let before = world.target.clone();
    let key = "replicator.v1.mittwald.de/replicate-to".to_owned();
    let annotations = &mut world.app.spec.target.annotations;
    annotations.insert(key.clone(), "*".into());
    world.now += SignedDuration::from_hours(1);
    let settled = world.settle(&fresh);
    assert_eq!((world.attempts.len(), &world.target), (1, &before));
    let conditions = world.status(&settled).conditions;
    assert_eq!(conditions[1].reason, "MetadataNotAllowed");
    assert!(conditions[1].message.contains(&key));
    assert_eq!(conditions[2].type_, "Stalled");
    world.metadata_prefixes = vec!["replicator.".into()];
    world.settle(&fresh);
    let annotations = world.target.expect("written").annotations;
    assert!(annotations.agrees(&key, Some("*")));
}

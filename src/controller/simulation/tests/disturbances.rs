//! What the world does to the operator.

use jiff::SignedDuration;

use super::*;
use crate::controller::simulation::replica::Kind;
use crate::controller::simulation::site::Repeat;

const KINDS: [Kind; 3] = [Kind::App, Kind::Reference, Kind::Secret];

/// Asserts that from now on every token works at any time, except between a fetch and its write.
fn without_gap(world: &mut World, minutes: u32) {
    for _ in 0..minutes {
        world.run(MINUTE);
        if world.without_token().is_empty() {
            continue;
        }
        world.run(Duration::from_secs(15));
        let missing = world.without_token();
        holds(world, missing.is_empty(), &format!("a gap: {missing:?}"));
    }
}

/// The lists that follow a broken watch show the state before a write, or lack what was deleted.
#[test]
fn watches_that_break_lose_nothing() {
    play(seeds(1500), |seed| {
        let mut world = with_credentials(seed, None);
        let mut specs = specs();
        // A retained Secret stays behind when its app goes.
        specs.retain(|spec| spec["target"]["deletionPolicy"].is_null());
        let mut deleted = 0;
        world.apply("payroll", &json!({}));
        for _ in 0..10 {
            match world.roll(8) {
                0 => world.tamper(),
                1 => {
                    world.delete_app("payroll");
                    let wait = world.dice.random_range(0..100);
                    world.run(Duration::from_millis(wait));
                    world.apply("payroll", &json!({}));
                    deleted += 1;
                }
                2..5 => {
                    let mut spec = specs[world.roll(specs.len())].clone();
                    spec["referenceGrants"] = json!([{"namespace": NAMESPACE}]);
                    world.apply("payroll", &spec);
                }
                5 => world.refer("one", "payroll", "copied"),
                _ => {
                    let kind = KINDS[world.roll(3)];
                    world.drop_watch(0, kind);
                }
            }
            let wait = world.dice.random_range(0..400);
            world.run(Duration::from_millis(wait));
        }
        at_rest(&mut world);
        let count = world.site.fetched.get("ding1").copied().unwrap_or_default();
        let is_right = (1..=1 + deleted).contains(&count);
        holds(
            &world,
            is_right,
            &format!("ding1 was fetched {count} times"),
        );
    });
}

#[test]
fn a_clock_that_is_set_moves_every_deadline_with_it() {
    play(seeds(300), |seed| {
        let mut world = with_credentials(seed, None);
        let spec = json!({"corpIds": ["ding1", "ding2"], "target": {"layout": "Combined"}});
        world.apply("payroll", &spec);
        world.run(2 * MINUTE);
        for _ in 0..4 {
            let ahead = world.dice.random_range(-3 * 60 * 60..3 * 60 * 60_i64);
            world.note(&format!("the clock is set {ahead} s ahead"));
            world.replicas[0].set_clock(SignedDuration::from_secs(ahead));
            let minutes = world.dice.random_range(10..200);
            without_gap(&mut world, minutes);
        }
        let fetched: usize = world.site.fetched.values().sum();
        holds(&world, fetched < 60, &format!("{fetched} fetches"));
    });
}

/// Regression: a fetch which showed that a token ends when its record says, as the clock had been set
/// right again, was followed by another one every five seconds.
#[test]
fn a_clock_that_is_set_back_and_right_again_makes_no_hot_loop() {
    let mut world = with_credentials(1, None);
    world.site.repeat = Repeat::Remaining;
    world.apply("payroll", &json!({}));
    world.run(2 * MINUTE);
    let hour = SignedDuration::from_hours(1);
    for ahead in [-hour, SignedDuration::ZERO] {
        world.note(&format!("the clock is set {ahead:?} ahead"));
        world.replicas[0].set_clock(ahead);
        world.run(10 * MINUTE);
    }
    world.run(30 * MINUTE);
    let count = world.site.fetched["ding1"];
    holds(&world, count == 2, &format!("{count} fetches"));
}

#[test]
fn no_restart_shortens_a_limit() {
    play(seeds(300), |seed| {
        let mut world = with_credentials(seed, None);
        let limits = ["90020", "90003", "90009", "1111"];
        let limit = (limits[world.roll(limits.len())], 403);
        let until = world.now() + SignedDuration::from_hours(1);
        world.site.answer = Some((limit, until));
        world.apply("payroll", &json!({"corpIds": ["ding1", "ding2"]}));
        world.run(Duration::from_secs(30));
        let calls = world.site.calls;
        // Together less than the shortest wait, which is that after a ban.
        for _ in 0..6 {
            world.die();
            let seconds = world.dice.random_range(1..40);
            world.run(Duration::from_secs(seconds));
        }
        let more = world.site.calls - calls;
        holds(&world, more == 0, &format!("{more} more calls"));
    });
}

#[test]
fn whatever_the_endpoint_answers_every_token_is_there_in_the_end() {
    let answers = [
        ("server.error", 500),
        ("invalid.client", 400),
        ("unauthorized.client", 401),
        ("Forbidden.AccessDenied.QpsLimitForApi", 403),
        ("Forbidden.AccessDenied.IpNotInWhiteList", 403),
        ("90018", 403),
        ("never.heard.of.it", 418),
    ];
    play(seeds(400), |seed| {
        let mut world = with_credentials(seed, None);
        for name in ["payroll", "other"] {
            let target = json!({"name": format!("{name}-token")});
            world.apply(name, &json!({"target": target}));
        }
        for _ in 0..5 {
            let until = world.now() + SignedDuration::from_secs(world.dice.random_range(1..8000));
            world.site.answer = Some((answers[world.roll(answers.len())], until));
            let minutes = world.dice.random_range(1..200);
            world.run(minutes * MINUTE);
        }
        world.site.answer = None;
        world.run(70 * MINUTE);
        at_rest(&mut world);
        without_gap(&mut world, 300);
    });
}

/// Regression: a new process that found one token edited fetched all of the Secret, and took them
/// away until it had them.
#[test]
fn an_edit_of_one_token_costs_a_new_process_no_other_one() {
    play(seeds(100), |seed| {
        let mut world = with_credentials(seed, None);
        let spec = json!({"corpIds": ["ding1", "ding2"], "target": {"layout": "Combined"}});
        world.apply("payroll", &spec);
        world.run(10 * MINUTE);
        let fetched = world.site.fetched.clone();
        world.die();
        world.note("user: edit the token of ding1");
        world.store.tamper("payroll-token");
        for _ in 0..200 {
            world.run(Duration::from_millis(50));
            let missing = world.without_token();
            let has_other = missing.iter().all(|it| it.starts_with("ding1"));
            holds(&world, has_other, "the other token was taken away");
        }
        at_rest(&mut world);
        let count = world.site.fetched.get("ding2");
        holds(
            &world,
            count == fetched.get("ding2"),
            "the other token was fetched again",
        );
    });
}

//! When tokens are fetched: each request of these histories is judged.

use jiff::SignedDuration;

use super::*;
use crate::controller::simulation::site::Repeat;

/// Apps of one client: two corps in one Secret, another app that shares a token, and one with other
/// credentials.
fn with_three_apps(world: &mut World) {
    let clients = &mut world.site.clients;
    clients.insert("other".to_owned(), "right".to_owned());
    world.store.put_credentials("copy", "other", "right");
    let target = json!({"layout": "Combined"});
    world.apply(
        "first",
        &json!({"corpIds": ["ding1", "ding2"], "target": target}),
    );
    world.apply("second", &json!({}));
    world.apply("third", &json!({"credentialsSecretRef": {"name": "copy"}}));
}

fn any_app(world: &mut World) -> &'static str {
    ["first", "second", "third"][world.roll(3)]
}

/// A leader that cannot renew its Lease, but reaches everything else, fetches nothing that the next
/// leader might fetch, too.
#[test]
fn nothing_is_fetched_that_the_lease_may_not_outlast() {
    play(seeds(100), |seed| {
        let mut world = World::with_replicas(2, seed, None);
        world
            .store
            .put_credentials("credentials", "client", "right");
        world.site.repeat = Repeat::Beside;
        with_three_apps(&mut world);
        world.run(2 * MINUTE);
        for _ in 0..4 {
            for index in 0..2 {
                let seconds = world.dice.random_range(1..40);
                world.lose_lease_calls(index, Duration::from_secs(seconds));
            }
            for _ in 0..8 {
                let app = any_app(&mut world);
                world.renew(app);
                let millis = world.dice.random_range(0..8000);
                world.run(Duration::from_millis(millis));
            }
            world.run(2 * MINUTE);
        }
        at_rest(&mut world);
    });
}

/// Every limit, for every scope, is waited out by all whom it names, whatever is asked for meanwhile
/// and whether or not the process is restarted.
#[test]
fn a_limit_holds_all_whom_it_names() {
    let limits = [
        ("90020", 403),
        ("90003", 403),
        ("90009", 403),
        ("90018", 403),
        ("1111", 403),
        (
            "Forbidden.AccessDenied.QpsLimitForSuitekeyAndOrgAndApi",
            403,
        ),
        ("Forbidden.AccessDenied.QpmLimitForAppkey", 403),
        ("Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", 403),
    ];
    play(seeds(50), |seed| {
        let mut world = with_credentials(seed, None);
        with_three_apps(&mut world);
        if world.rolls(2) {
            world.run(2 * MINUTE);
        }
        for _ in 0..3 {
            let limit = limits[world.roll(limits.len())];
            world.note(&format!("site: {}", limit.0));
            let until = world.now() + SignedDuration::from_secs(world.dice.random_range(1..900));
            world.site.answer = Some((limit, until));
            for _ in 0..6 {
                match world.roll(6) {
                    0 => world.die(),
                    1 => {
                        let seconds = world.dice.random_range(0..400);
                        world.run(Duration::from_secs(seconds));
                    }
                    _ => {
                        let app = any_app(&mut world);
                        world.renew(app);
                    }
                }
                let seconds = world.dice.random_range(0..90);
                world.run(Duration::from_secs(seconds));
            }
        }
        world.site.answer = None;
        world.run(130 * MINUTE);
        at_rest(&mut world);
    });
}

/// Renewals are requested over and over, apps are suspended and resumed, and the process dies.
#[test]
fn a_request_is_answered_once_and_a_suspended_app_fetches_nothing() {
    play(seeds(150), |seed| {
        let mut world = with_credentials(seed, None);
        let mut suspended = [false; 3];
        with_three_apps(&mut world);
        for _ in 0..12 {
            let number = world.roll(3);
            let name = ["first", "second", "third"][number];
            match world.roll(6) {
                0 => world.die(),
                1 | 2 => {
                    let spec = serde_json::to_value(&world.store.apps[name].spec);
                    let mut spec = spec.expect("JSON");
                    suspended[number] = !suspended[number];
                    spec["suspend"] = json!(suspended[number]);
                    world.apply(name, &spec);
                }
                _ => world.renew(name),
            }
            let seconds = match world.roll(3) {
                0 => world.dice.random_range(0..3),
                1 => world.dice.random_range(0..100),
                _ => world.dice.random_range(0..8000),
            };
            world.run(Duration::from_secs(seconds));
        }
    });
}

/// Tokens of a short life are renewed when they are due, and no faster than every five seconds.
#[test]
fn tokens_of_any_life_are_renewed_in_time_and_not_too_often() {
    play(seeds(80), |seed| {
        let mut world = with_credentials(seed, None);
        let lives = [1, 4, 6, 11, 30, 100, 600, 7200];
        world.site.life = SignedDuration::from_secs(lives[world.roll(lives.len())]);
        let before = ["1s", "10s", "5m", "40m", "10h"][world.roll(5)];
        world.apply("payroll", &json!({"renewBefore": before}));
        if world.rolls(2) {
            world.apply("other", &json!({"renewBefore": "20m"}));
        }
        for _ in 0..6 {
            match world.roll(4) {
                0 => world.die(),
                1 => world.renew("payroll"),
                _ => {}
            }
            let length = world.site.life.as_secs().unsigned_abs();
            let seconds = world.dice.random_range(0..3 * length);
            world.run(Duration::from_secs(seconds));
        }
    });
}

/// Regression: each app that shared a token took turns to fetch it, because it had expired when it
/// arrived, so that only the app that had fetched it took it over.
#[test]
fn a_token_without_a_life_is_fetched_no_faster_for_several_apps_than_for_one() {
    for repeat in [Repeat::Beside, Repeat::Remaining] {
        let mut world = with_credentials(1, None);
        world.site.repeat = repeat;
        world.site.life = SignedDuration::ZERO;
        for name in ["first", "second", "third"] {
            world.apply(name, &json!({}));
        }
        world.run(2 * MINUTE);
        let count = world.site.fetched.get("ding1").copied().unwrap_or_default();
        let is_right = (15..=25).contains(&count);
        holds(&world, is_right, &format!("{count} fetches in two minutes"));
    }
}

/// Regression: what waited in the queue was fetched for an app that had been suspended, or had lost
/// the corp, while it waited for a call.
#[test]
fn what_waits_in_the_queue_is_not_fetched_once_its_app_no_longer_wants_it() {
    play(seeds(300), |seed| {
        let mut world = with_credentials(seed, None);
        let target = json!({"layout": "PerCorp"});
        let spec = |corps: &[&str], suspend: bool| json!({"corpIds": corps, "target": target, "suspend": suspend});
        let corps = ["ding1", "ding2", "ding3", "ding4", "ding5"];
        world.apply("payroll", &spec(&corps, false));
        let millis = world.dice.random_range(100..3000);
        world.run(Duration::from_millis(millis));
        match world.rolls(2) {
            true => world.apply("payroll", &spec(&corps, true)),
            false => world.apply("payroll", &spec(&corps[..1], false)),
        }
        world.run(MINUTE);
    });
}

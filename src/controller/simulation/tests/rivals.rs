//! Apps that want the same Secret.

use super::*;

/// Two apps come, change, go and come again, and want one Secret more often than not.
fn rivals(seed: u64, death: Option<Death>, changes: usize) -> World {
    let mut world = with_credentials(seed, death);
    for _ in 0..changes {
        let name = ["first", "second"][world.roll(2)];
        let own = format!("{name}-token");
        let target = [own.as_str(), "shared", "shared"][world.roll(3)];
        match world.roll(5) {
            0 => world.delete_app(name),
            1 => world.tamper(),
            _ => world.apply(name, &json!({"target": {"name": target}})),
        }
        let wait = world.dice.random_range(0..20_000);
        world.run(Duration::from_millis(wait));
    }
    world
}

/// Asserts that each status is true, and that all is right once each app has a Secret of its own.
fn at_rest_apart(world: &mut World) {
    // A Secret that was changed several times counts as contested for a while.
    world.run(5 * MINUTE);
    let wrong = world.with_false_status();
    holds(world, wrong.is_empty(), &format!("false: {wrong:?}"));
    for name in ["first", "second"] {
        let target = json!({"name": format!("{name}-token")});
        world.apply(name, &json!({"target": target}));
    }
    at_rest(world);
}

#[test]
fn a_secret_that_two_apps_want_is_that_of_the_older_one() {
    play(seeds(1000), |seed| {
        let mut world = rivals(seed, None, 8);
        at_rest_apart(&mut world);
    });
}

#[test]
fn a_process_of_rivals_dies_at_any_write_or_fetch() {
    play(seeds(150), |seed| {
        let mut undisturbed = rivals(seed, None, 4);
        at_rest_apart(&mut undisturbed);
        for at in 0..undisturbed.effects {
            for is_before in [true, false] {
                let mut world = rivals(seed, Some(Death { at, is_before }), 4);
                at_rest_apart(&mut world);
            }
        }
    });
}

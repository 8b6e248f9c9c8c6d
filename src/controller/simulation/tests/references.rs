//! Copies of an app's tokens.

use super::*;

/// References come, change and go, and so do the app, its layout and its grants.
fn references(seed: u64, death: Option<Death>, changes: usize) -> World {
    let mut world = with_credentials(seed, death);
    let mut specs = specs();
    // A retained Secret stays behind when its app goes.
    specs.retain(|spec| spec["target"]["deletionPolicy"].is_null());
    for _ in 0..changes {
        let name = ["one", "two"][world.dice.random_range(0..2)];
        match world.dice.random_range(0..4) {
            0 | 1 => {
                let target = ["copied", "copied-anew"][world.dice.random_range(0..2)];
                world.refer(name, "payroll", &format!("{name}-{target}"));
            }
            2 => {
                world.delete_reference(name);
            }
            _ => {
                let mut spec = specs[world.dice.random_range(0..specs.len())].clone();
                if world.dice.random_range(0..4) > 0 {
                    spec["referenceGrants"] = json!([{"namespace": NAMESPACE}]);
                }
                world.apply("payroll", &spec);
            }
        }
        let wait = world.dice.random_range(0..600);
        world.run(Duration::from_millis(wait));
    }
    let grants = json!([{"namespace": NAMESPACE}]);
    world.apply("payroll", &json!({"referenceGrants": grants}));
    world.refer("one", "payroll", "one-copied");
    world
}

#[test]
fn copies_follow_their_app_whatever_changes() {
    play(seeds(1500), |seed| {
        let mut world = references(seed, None, 10);
        at_rest(&mut world);
        world.renew("payroll");
        at_rest(&mut world);
    });
}

#[test]
fn a_process_of_copies_dies_at_any_write_or_fetch() {
    play(seeds(250), |seed| {
        dies_everywhere(|death| references(seed, death, 5));
    });
}

#[test]
fn lost_calls_and_tampering_with_copies_are_put_right() {
    play(seeds(500), |seed| {
        let mut world = references(seed, None, 4);
        world.loses_calls = true;
        for _ in 0..3 {
            match world.roll(3) {
                0 | 1 => world.tamper(),
                _ => world.die(),
            }
            world.run(20 * MINUTE);
        }
        world.loses_calls = false;
        at_rest(&mut world);
    });
}

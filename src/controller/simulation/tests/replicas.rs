//! Two replicas, one of which leads.

use super::*;
use crate::controller::simulation::replica::Kind;
use crate::controller::simulation::site::Repeat;

/// Users change specs while replicas die, stop, and are cut off from the API server.
fn disturbed(seed: u64, changes: usize) -> World {
    let mut world = World::with_replicas(2, seed, None);
    world
        .store
        .put_credentials("credentials", "client", "right");
    let specs = specs();
    let is_revoking = matches!(world.site.repeat, Repeat::Revoking);
    world.apply("payroll", &json!({}));
    let seconds = world.dice.random_range(0..40);
    world.run(Duration::from_secs(seconds));
    for _ in 0..changes {
        let index = world.roll(2);
        let millis = match world.roll(2) {
            0 => world.dice.random_range(0..500),
            _ => world.dice.random_range(0..40_000),
        };
        match world.roll(7) {
            0 => world.replica_dies(index),
            1 => world.stop(index),
            2 => {
                let seconds = world.dice.random_range(1..25);
                world.cut_off(index, Duration::from_secs(seconds));
            }
            // A token that is fetched and lost when the process dies has revoked the previous one.
            // The request for it is made again, except for one that came right before the fetch for
            // another one.
            3 if !is_revoking => world.renew("payroll"),
            4 => world.drop_watch(
                index,
                [Kind::App, Kind::Secret][usize::from(millis % 2 == 0)],
            ),
            _ => {
                let spec = specs[world.roll(specs.len())].clone();
                world.apply("payroll", &spec);
            }
        }
        world.run(Duration::from_millis(millis));
    }
    world
}

#[test]
fn of_two_replicas_one_acts_and_nothing_is_lost_between_them() {
    play(seeds(1000), |seed| {
        let mut world = disturbed(seed, 12);
        world.run(MINUTE);
        at_rest(&mut world);
    });
}

//! How often statuses are written.

use super::*;

fn attempts(world: &mut World, minutes: u32) -> usize {
    let before = world.store.status_attempts;
    world.run(minutes * MINUTE);
    world.store.status_attempts - before
}

/// Regression: a write that a webhook refused was repeated every five seconds.
#[test]
fn a_status_that_is_refused_is_written_less_and_less_often_and_soon_once_it_can_be() {
    for seed in seeds(20) {
        let mut world = with_credentials(seed, None);
        world.store.status_refusal = Some([403, 422, 500][world.roll(3)]);
        world.apply(
            "payroll",
            &json!({"referenceGrants": [{"namespace": NAMESPACE}]}),
        );
        world.refer("one", "payroll", "copied");
        world.run(5 * MINUTE);
        // Two objects, each half a minute on average.
        let count = attempts(&mut world, 60);
        holds(
            &world,
            (120..400).contains(&count),
            &format!("{count} attempts"),
        );
        world.store.status_refusal = None;
        // The app's status records the grant, and the copy needs that.
        world.run(3 * MINUTE);
        at_rest(&mut world);
    }
}

/// Regression: each attempt wrote the status, because its message has the time of the next one.
#[test]
fn a_copy_that_cannot_be_written_is_reported_once_a_minute_at_most() {
    for seed in seeds(20) {
        let mut world = with_credentials(seed, None);
        world.apply(
            "payroll",
            &json!({"referenceGrants": [{"namespace": NAMESPACE}]}),
        );
        world.run(2 * MINUTE);
        world.store.refusal = Some("denied the request");
        world.refer("one", "payroll", "copied");
        world.run(5 * MINUTE);
        let writes = world.store.writes.len();
        world.run(30 * MINUTE);
        let writes = world.store.writes[writes..].iter();
        let statuses = writes.filter(|write| *write == "status one").count();
        holds(
            &world,
            (10..=30).contains(&statuses),
            &format!("{statuses} statuses"),
        );
        world.store.refusal = None;
        at_rest(&mut world);
    }
}

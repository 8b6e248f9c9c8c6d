//! Targets whose metadata there is no room for.

use super::*;
use crate::core::secret::target::Excess;

/// Returns when the app is looked at again, or that its target is read first.
fn next_look(world: &mut World) -> Result<Option<Timestamp>, &'static str> {
    match world.decide(next_step) {
        Step::Settle(settled) => Ok(settled.wake_at),
        Step::Targets(steps) => match &steps[..] {
            [TargetStep::Look { name }] if name == "payroll-token" => Err("looks"),
            _ => panic!("another step"),
        },
        Step::ParseTemplates | Step::ReadCredentials => panic!("both are known"),
    }
}

/// Regression: it stayed blocked for ever, because nothing reports that there is room.
#[test]
fn a_target_that_there_was_no_room_for_is_looked_at_once_a_minute() {
    let mut world = World::new();
    world.settle(&FRESH);
    let kept = world.target.clone().expect("written");
    world.target = Some(kept.past_bounds());
    for _ in 0..3 {
        let at = world.now + SignedDuration::from_secs(60);
        assert_eq!(next_look(&mut world), Ok(Some(at)));
        world.now = at;
        assert_eq!(next_look(&mut world), Err("looks"));
    }
    world.target = Some(kept);
    world.settle(&FRESH);
    assert_eq!((world.attempts.len(), world.writes.len()), (1, 1));
}

/// Regression: the look came first, and nothing is looked at any more by a process that ends.
#[test]
fn a_process_that_ends_does_not_look_for_room() {
    let mut world = World::new();
    world.settle(&FRESH);
    let kept = world.target.clone().expect("written");
    world.target = Some(kept.past_bounds());
    next_look(&mut world).expect("it waits");
    world.now += SignedDuration::from_secs(60);
    world.is_ending = true;
    next_look(&mut world).expect("no look");
}

#[test]
fn a_target_with_too_much_metadata_is_left_alone_until_the_watch_reports_a_change() {
    let mut world = World::new();
    world.settle(&FRESH);
    let kept = world.target.clone().expect("written");
    world.target = Some(TargetMeta {
        excess: Some(Excess::Metadata),
        ..kept.past_bounds()
    });
    assert_eq!(next_look(&mut world), Ok(None));
}

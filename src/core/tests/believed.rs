//! Which recorded times are believed.

use super::*;

fn with_token() -> World {
    let mut world = World::new();
    world.settle(&FRESH);
    world
}

/// Returns a world whose operator was restarted after its token's record had been changed, and what
/// it then settled on.
fn restarted(change: impl Fn(&mut Lifetime)) -> (World, Settled) {
    let mut world = with_token();
    let target = world.target.as_mut().expect("written");
    let recorded = target.recorded.as_mut().expect("recorded");
    change(&mut recorded.tokens[0].lifetime);
    world.restart();
    let settled = world.settle(&FRESH);
    (world, settled)
}

#[test]
fn a_recorded_time_in_the_future_is_not_believed_after_a_restart() {
    let attempts = |later: i64| {
        let (world, settled) = restarted(|lifetime| {
            lifetime.requested_at += SignedDuration::from_secs(later);
            lifetime.expires_at += SignedDuration::from_secs(later);
        });
        let requested_at = only(&settled).in_secret.expect("a token").requested_at;
        assert!(requested_at.duration_since(world.now).as_secs() <= 60);
        world.attempts.len()
    };
    assert_eq!(attempts(60), 1, "within the tolerance");
    assert_eq!(attempts(61), 2);
    assert_eq!(attempts(3_000_000_000), 2);
}

#[test]
fn a_recorded_life_that_is_longer_than_any_is_not_believed() {
    let attempts = |life: Duration| {
        let (world, _) = restarted(|lifetime| lifetime.expires_at = lifetime.requested_at + life);
        world.attempts.len()
    };
    assert_eq!(attempts(crate::dingtalk::LIFETIME_MAX), 1);
    let longer = crate::dingtalk::LIFETIME_MAX + Duration::from_secs(1);
    assert_eq!(attempts(longer), 2);
}

#[test]
fn a_clock_that_is_set_back_takes_no_token_away_that_was_believed() {
    let mut world = with_token();
    world.restart();
    world.settle(&FRESH);
    assert_eq!(world.held(), None, "only its record is known");
    world.now -= SignedDuration::from_hours(24);
    let settled = world.settle(&FRESH);
    assert_eq!(world.attempts.len(), 1);
    assert!(only(&settled).in_secret.is_some());
}

//! Restarts of workloads.

use super::*;

/// Returns a world whose workloads are restarted, with its first token.
fn restarting() -> World {
    restarting_with("Combined", 1)
}

/// Returns a world of this many corps whose workloads are restarted, with their first tokens.
fn restarting_with(layout: &str, count: usize) -> World {
    let mut world = World::new(layout, &corps(count));
    world.app.spec.rollout_restart_targets = vec![crate::api::RolloutRestartTarget {
        kind: crate::api::WorkloadKind::Deployment,
        name: "web".into(),
    }];
    assert_eq!(restart(&mut world), Restart::Nothing);
    for _ in 0..count {
        world.answer(60);
    }
    assert_eq!(restart(&mut world), Restart::Nothing, "the first issue");
    world
}

fn restart(world: &mut World) -> Restart {
    let settled = world.settle();
    let app = world.app.clone();
    let step = world.memory.restarts.step(&app, &settled, world.now);
    if step == Restart::Now {
        world
            .memory
            .restarts
            .done(settled.value_changed_at, world.now);
    }
    step
}

fn renew_after(world: &mut World, seconds: i64) {
    world.now += SignedDuration::from_secs(seconds);
    world.settle();
    world.answer(60);
}

#[test]
fn workloads_are_restarted_for_a_new_value_once_and_paced() {
    let mut world = restarting();
    renew_after(&mut world, 45);
    assert_eq!(restart(&mut world), Restart::Now);
    assert_eq!(restart(&mut world), Restart::Nothing, "once");
    let restarted_at = world.now;
    renew_after(&mut world, 45);
    let later = restarted_at + SignedDuration::from_secs(60);
    assert_eq!(restart(&mut world), Restart::Later(later));
    world.now = later;
    assert_eq!(restart(&mut world), Restart::Now);
}

/// Regression: of two tokens requested in the same second, the one that was written after the
/// restart caused no other, so programs kept its former value.
#[test]
fn a_value_that_is_written_after_a_restart_causes_another() {
    let mut world = restarting_with("PerCorp", 2);
    renew_after(&mut world, 45);
    assert_eq!(restart(&mut world), Restart::Now);
    world.answer(60);
    let later = world.now + SignedDuration::from_secs(60);
    assert_eq!(restart(&mut world), Restart::Later(later));
    world.now = later;
    assert_eq!(restart(&mut world), Restart::Now);
    assert_eq!(restart(&mut world), Restart::Nothing, "once");
}

/// Regression: no workload was restarted before the time that a clock which was ahead had shown.
#[test]
fn a_clock_that_is_set_back_puts_off_no_restart() {
    let day = SignedDuration::from_hours(24);
    let mut world = restarting();
    renew_after(&mut world, day.as_secs());
    assert_eq!(restart(&mut world), Restart::Now);
    world.now -= day;
    assert_eq!(restart(&mut world), Restart::Nothing, "nothing has changed");
    let later = world.now + SignedDuration::from_secs(60);
    renew_after(&mut world, 45);
    assert_eq!(restart(&mut world), Restart::Later(later));
    world.now = later;
    assert_eq!(restart(&mut world), Restart::Now);
    assert_eq!(restart(&mut world), Restart::Nothing, "once");
}

/// Regression: a workload that could not be restarted caused all others to be restarted every five
/// minutes.
#[test]
fn what_was_restarted_for_a_value_is_not_restarted_again_when_another_could_not_be() {
    let mut world = restarting();
    let broken = crate::api::RolloutRestartTarget {
        name: "broken".into(),
        ..world.app.spec.rollout_restart_targets[0].clone()
    };
    world.app.spec.rollout_restart_targets.push(broken);
    let app = world.app.clone();
    let mut left = |changed_at: i64, restarted: &[&str]| {
        let changed_at = Timestamp::from_second(changed_at).ok();
        let restarts = &mut world.memory.restarts;
        let left = restarts.left(&app, changed_at);
        let names: Vec<&str> = left.iter().map(|target| target.name.as_str()).collect();
        let done = left
            .iter()
            .filter(|it| restarted.contains(&it.name.as_str()));
        done.for_each(|target| restarts.restarted(target, changed_at));
        names
    };
    assert_eq!(left(10, &["web"]), ["web", "broken"]);
    assert_eq!(left(10, &[]), ["broken"]);
    assert_eq!(left(10, &[]), ["broken"]);
    assert_eq!(left(20, &[]), ["web", "broken"], "another value");
}

/// The organisation whose value changed last may leave the spec.
#[test]
fn an_earlier_change_than_the_one_that_was_restarted_for_restarts_nothing() {
    let mut world = restarting();
    let (app, now) = (world.app.clone(), world.now);
    let restarts = &mut world.memory.restarts;
    let mut step = |changed_at: Timestamp| {
        restarts.done(Some(now), now);
        let settled = Settled {
            value_changed_at: Some(changed_at),
            ..Settled::default()
        };
        restarts.step(&app, &settled, now)
    };
    let second = SignedDuration::from_secs(1);
    assert_eq!(step(now - second), Restart::Nothing);
    assert_eq!(step(now), Restart::Nothing);
    let paced = now + SignedDuration::from_secs(60);
    assert_eq!(step(now + second), Restart::Later(paced));
}

//! What a process that ends writes, and what its end waits for.

use super::*;

#[test]
fn a_process_that_ends_writes_what_it_has_and_fetches_nothing() {
    let mut world = World::new("Combined", &corps(10));
    world.settle();
    world.answer(7200);
    world.settle();
    world.now += SignedDuration::from_millis(100);
    world.answer(7200);
    world.settle();
    assert_eq!(world.tokens_in("token"), 1, "it waits for more");
    assert!(world.memory.is_to_be_written());
    world.is_ending = true;
    world.settle();
    assert_eq!(world.tokens_in("token"), 2);
    assert!(!world.memory.is_to_be_written());
    // What becomes due is left to the next process.
    let reads = world.reads;
    world.now += SignedDuration::from_hours(1);
    world.settle();
    assert_eq!(world.reads, reads);
}

/// Regression: a stop did not wait for a token that had just been fetched if the Secret of another
/// organisation could not be written.
#[test]
fn a_stop_waits_for_each_token_that_can_be_written() {
    let mut world = World::new("PerCorp", &corps(2));
    world.settle();
    world.answer(7200);
    world.settle();
    world.is_contended = true;
    world.settle();
    let is_waited_for = |world: &World| world.memory.has_untaken(&world.tokens, world.now);
    world.answer(7200);
    assert!(!is_waited_for(&world), "an older app has its Secret");
    world.now += SignedDuration::from_mins(80);
    world.settle();
    world.answer(7200);
    assert!(is_waited_for(&world));
    world.settle();
    assert!(!is_waited_for(&world));
}

/// Returns a world with a token that waits for another one, with which it will be written.
fn with_unwritten() -> World {
    let mut world = World::new("Combined", &corps(3));
    for _ in 0..2 {
        world.settle();
        world.answer(7200);
    }
    world.settle();
    assert!(world.memory.is_to_be_written());
    world.app.metadata.generation = Some(2);
    world
}

/// Regression: each stop took its full time, because a token of a former site was waited for.
#[test]
fn a_token_of_a_former_site_does_not_wait_to_be_written() {
    let mut world = with_unwritten();
    world.app.spec.site = "china".into();
    world.settle();
    assert!(!world.memory.is_to_be_written());
}

/// Regression: each stop took its full time, because a token that nothing can be done about was
/// waited for.
#[test]
fn a_token_whose_secret_is_blocked_does_not_wait_to_be_written() {
    let mut world = with_unwritten();
    let template = ("key".to_owned(), "{{ nothing }}".to_owned());
    world.app.spec.target.template.data = [template].into();
    world.settle();
    assert!(!world.memory.is_to_be_written());
}

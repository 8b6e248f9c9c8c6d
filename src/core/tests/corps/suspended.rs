//! Suspended apps with several organisations.

use super::*;
use crate::api::AppRef;

/// Regression: a suspended app took a token that it had left, because it had requested it, and wrote
/// it into a new Secret.
#[test]
fn a_suspended_app_does_not_take_a_token_again_that_it_left() {
    let all = corps(2);
    let mut world = World::new("PerCorp", &all);
    world.settle();
    world.answer(7200);
    world.answer(7200);
    world.settle();
    for corp_id in &all {
        let token = world.memory.corp(corp_id).token().expect("it is wanted");
        let another = AppRef::new("another");
        world.tokens.interested(token, &another, Interest::Active);
    }
    world.change("PerCorp", &all[..1], "token");
    world.settle();
    world.change("PerCorp", &all, "each");
    world.app.spec.suspend = true;
    let writes = world.writes.len();
    world.settle();
    assert_eq!(world.writes.len(), writes);
}

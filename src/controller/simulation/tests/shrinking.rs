//! Failing histories are shortened.

use std::collections::BTreeSet;

use super::*;
use crate::controller::simulation::shrink::{attempt, shortest};

#[test]
fn a_history_that_fails_is_shortened_to_what_makes_it_fail() {
    let history = || {
        let world = changes(1, None, 8);
        let index_of = |what: &str| world.history.iter().position(|line| line.contains(what));
        let renamed = index_of("renamed");
        let is_followed = renamed.is_some_and(|renamed| {
            let mut later = world.history[renamed..].iter();
            later.any(|line| line.contains("PerCorp"))
        });
        holds(&world, !is_followed, "renamed, then PerCorp");
    };
    let failure = attempt(&BTreeSet::new(), history).expect("it fails");
    assert_eq!(failure.acts, 8, "{}", failure.message);
    let shortest = shortest(failure, &history);
    assert_eq!(shortest.left_out.len(), 6, "{}", shortest.message);
    let acts = shortest.message.matches("user: apply payroll").count();
    assert_eq!(acts, 2, "{}", shortest.message);
    // Plays the same history again.
    let again = attempt(&shortest.left_out, history).expect("it fails");
    assert_eq!(again.message, shortest.message);
}

//! Requests for renewal of an app with several organisations.

use jiff::SignedDuration;

use super::{World, corps};
use crate::api::{ANNOTATION_RENEW_REQUESTED_AT, Cause};
use crate::core::PendingFetch;

/// Regression: what was to be renewed a minute after its last fetch was renewed with what was due.
#[test]
fn a_request_hurries_no_organisation_that_was_fetched_a_moment_ago() {
    let all = corps(2);
    let mut world = World::new("Combined", &all);
    world.settle();
    world.answer(7200);
    world.now += SignedDuration::from_secs(40);
    world.answer(7200);
    let later = world.now + SignedDuration::from_secs(60);
    world.settle();
    world.now += SignedDuration::from_secs(30);
    let key = ANNOTATION_RENEW_REQUESTED_AT.to_owned();
    let annotations = world.app.metadata.annotations.get_or_insert_default();
    annotations.insert(key, "now".to_owned());
    let settled = world.settle();
    assert_eq!(settled.corps[1].next_attempt, Some(later));
    let causes = |world: &World| -> Vec<(String, Cause)> {
        let queued = world.queued.iter();
        let cause =
            |(corp_id, pending): &(String, PendingFetch)| (corp_id.clone(), pending.why.cause);
        queued.map(cause).collect()
    };
    let requested = |corp_id: &String| [(corp_id.clone(), Cause::RenewalRequested)];
    assert_eq!(causes(&world), requested(&all[0]));
    world.answer(7200);
    world.now = later;
    world.settle();
    assert_eq!(causes(&world), requested(&all[1]));
}

//! Secrets that are no longer wanted.

use super::*;

#[test]
fn the_old_secrets_go_after_the_new_one_is_complete() {
    let all = corps(3);
    let mut world = World::new("PerCorp", &all);
    world.settle();
    while !world.queued.is_empty() {
        world.answer(7200);
        world.settle();
    }
    // An additional corp that is never answered does not keep the old Secrets.
    let more = corps(4);
    world.change("Combined", &more, "other");
    world.settle();
    assert_eq!(world.tokens_in("other"), 3);
    assert_eq!(world.deletions.len(), 3);
    let queued: Vec<&str> = world
        .queued
        .iter()
        .map(|(corp_id, _)| corp_id.as_str())
        .collect();
    assert_eq!(queued, ["ding0003"], "nothing else is fetched");
    assert_eq!(world.secrets.keys().collect::<Vec<_>>(), ["other"]);
    // A corp that is removed from the spec is removed from the Secret.
    world.change("Combined", &all[..2], "other");
    world.app.metadata.generation = Some(3);
    world.settle();
    assert_eq!(world.tokens_in("other"), 2);
}

#[test]
fn the_old_secret_stays_while_the_new_one_cannot_be() {
    let all = corps(2);
    let mut world = World::new("Combined", &all);
    world.settle();
    while !world.queued.is_empty() {
        world.answer(7200);
        world.settle();
    }
    world.is_contended = true;
    world.change("Combined", &all, "other");
    world.settle();
    assert_eq!(world.deletions, [] as [&str; 0]);
    assert_eq!(world.tokens_in("token"), 2);
    world.is_contended = false;
    world.settle();
    assert_eq!(world.deletions, ["token"]);
    assert_eq!(world.tokens_in("other"), 2);
}

/// Regression: a token of another site counted as one that nobody needs.
#[test]
fn the_old_secret_stays_until_the_new_one_has_the_tokens_of_the_new_site() {
    let all = corps(1);
    let mut world = World::new("Combined", &all);
    world.settle();
    world.answer(7200);
    world.settle();
    world.change("Combined", &all, "other");
    world.app.spec.site = "china".to_owned();
    world.settle();
    assert_eq!(world.deletions, [] as [&str; 0]);
    world.answer(7200);
    world.settle();
    assert_eq!(world.deletions, ["token"]);
    assert_eq!(world.tokens_in("other"), 1);
}

#[test]
fn the_old_secret_goes_when_its_tokens_have_expired() {
    let all = corps(1);
    let mut world = World::new("Combined", &all);
    world.settle();
    world.answer(7200);
    world.settle();
    world.change("Combined", &all, "other");
    world.app.spec.site = "china".to_owned();
    world.app.spec.suspend = true;
    let expires_at = world.now + SignedDuration::from_secs(7200);
    world.now += SignedDuration::from_secs(7000);
    assert_eq!(world.settle().wake_at, Some(expires_at));
    assert_eq!(world.deletions, [] as [&str; 0]);
    world.now = expires_at;
    world.settle();
    assert_eq!(world.deletions, ["token"]);
}

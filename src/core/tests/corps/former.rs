//! Secrets that are no longer wanted.

use super::*;
use crate::api::DeletionPolicy;

/// Returns a world with all tokens in their Secrets.
fn complete(layout: &str, count: usize) -> World {
    let mut world = World::new(layout, &corps(count));
    world.settle();
    while !world.queued.is_empty() {
        world.answer(7200);
        world.settle();
    }
    world
}

/// Changes site and target, so that nothing of the old Secret can be used for the new one.
fn move_to_another_site(world: &mut World) {
    world.change("Combined", &corps(1), "other");
    world.app.spec.site = "china".to_owned();
}

#[test]
fn the_old_secrets_go_after_the_new_one_is_complete() {
    let all = corps(3);
    let mut world = complete("PerCorp", all.len());
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
fn a_new_process_reads_the_tokens_of_a_former_secret_that_it_does_not_fetch() {
    let all = corps(2);
    let reads = |world: &mut World| {
        world.change("Combined", &all, "other");
        match world.decide(next_step) {
            Step::Targets(steps) => {
                let reads = steps.into_iter().map(|step| match step {
                    TargetStep::Read { name, corp_ids } => (name, corp_ids),
                    _ => panic!("there is nothing to write"),
                });
                reads.collect()
            }
            _ => Vec::new(),
        }
    };
    let mut world = complete("Combined", all.len());
    world.memory = Memory::new(&world.app, world.now);
    world.tokens = Tokens::default();
    assert_eq!(reads(&mut world), [("token".to_owned(), all.clone())]);
    let mut world = complete("Combined", all.len());
    world.now += SignedDuration::from_secs(5000);
    world.settle();
    assert_eq!(world.queued.len(), all.len(), "both are due");
    for corp_id in &all {
        world.memory.corp_mut(corp_id).held = None;
    }
    assert!(reads(&mut world).is_empty(), "others are on their way");
}

#[test]
fn the_old_secret_stays_while_the_new_one_cannot_be() {
    let all = corps(2);
    let mut world = complete("Combined", all.len());
    world.is_contended = true;
    world.change("Combined", &all, "other");
    let next_look = world.now + SignedDuration::from_mins(5);
    assert_eq!(world.settle().wake_at, Some(next_look));
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
    let mut world = complete("Combined", 1);
    move_to_another_site(&mut world);
    world.settle();
    assert_eq!(world.deletions, [] as [&str; 0]);
    world.answer(7200);
    world.settle();
    assert_eq!(world.deletions, ["token"]);
    assert_eq!(world.tokens_in("other"), 1);
}

#[test]
fn the_old_secret_goes_when_its_tokens_have_expired() {
    let mut world = complete("Combined", 1);
    move_to_another_site(&mut world);
    let expires_at = world.now + SignedDuration::from_secs(7200);
    world.now += SignedDuration::from_secs(7000);
    assert!(world.settle().wake_at <= Some(expires_at));
    assert_eq!(world.deletions, [] as [&str; 0]);
    world.now = expires_at;
    world.settle();
    assert_eq!(world.deletions, ["token"]);
}

/// Regression: the Secret of a suspended app was renamed, and restored after a change.
#[test]
fn the_secrets_of_a_suspended_app_stay_as_they_are() {
    let all = corps(2);
    let mut world = complete("Combined", all.len());
    let writes = world.writes.len();
    world.change("PerCorp", &all, "other");
    world.app.spec.suspend = true;
    world.settle();
    world.change("Combined", &all, "token");
    world.app.spec.suspend = true;
    let target = world.secrets.remove("token");
    world.settle();
    assert_eq!(world.writes.len(), writes);
    assert_eq!(world.deletions, [] as [&str; 0]);
    world
        .secrets
        .extend(target.map(|it| ("token".to_owned(), it)));
    world.change("PerCorp", &all, "other");
    world.settle();
    assert_eq!(world.deletions, ["token"]);
}

/// Regression: a deletion that was refused was decided at once again, and nothing else was.
#[test]
fn a_deletion_that_is_refused_is_made_again_later_and_holds_up_nothing() {
    let all = corps(2);
    let mut world = complete("PerCorp", all.len());
    world.refuses_deletions = true;
    world.change("PerCorp", &all, "other");
    let settled = world.settle();
    assert_eq!(world.refused, ["token-ding0000", "token-ding0001"]);
    let retry = world.now + SignedDuration::from_secs(1);
    assert_eq!(settled.wake_at, Some(retry));
    // A process that ends still writes what it has.
    world.memory.corp_mut("ding0000").unwritten_since = Some(world.now);
    assert!(world.memory.is_to_be_written());
    world.memory.corp_mut("ding0000").unwritten_since = None;
    world.now = retry;
    let settled = world.settle();
    assert_eq!(world.refused.len(), 4);
    world.refuses_deletions = false;
    world.now = settled.wake_at.expect("another retry");
    world.settle();
    assert_eq!(world.deletions, ["token-ding0000", "token-ding0001"]);
}

/// Regression: a Secret whose deletion had failed was not written at once after it was gone.
#[test]
fn an_immutable_secret_that_is_gone_is_written_at_once() {
    let mut world = complete("Combined", 1);
    world.immutable = Some("token");
    world.refuses_deletions = true;
    world.now += SignedDuration::from_mins(100);
    world.settle();
    world.answer(7200);
    world.settle();
    assert_eq!(world.refused, ["token"]);
    world.secrets.remove("token");
    world.settle();
    let written = (world.now, "token".to_owned());
    assert_eq!(world.writes.last(), Some(&written));
}

/// Regression: as long as an immutable Secret could not be deleted, no other one was written.
#[test]
fn an_immutable_secret_that_cannot_be_deleted_holds_up_no_other() {
    let mut world = complete("PerCorp", 2);
    world.immutable = Some("token-ding0000");
    world.refuses_deletions = true;
    world.now += SignedDuration::from_mins(100);
    world.settle();
    world.answer(7200);
    world.answer(7200);
    let settled = world.settle();
    assert_eq!(world.refused, ["token-ding0000"]);
    let written = (world.now, "token-ding0001".to_owned());
    assert_eq!(world.writes.last(), Some(&written));
    let failure = world.memory.targets["token-ding0000"].failure.as_ref();
    assert_eq!(failure.expect("it is told").message, "denied");
    let retry = world.now + SignedDuration::from_secs(1);
    assert_eq!(settled.wake_at, Some(retry));
    world.refuses_deletions = false;
    world.now = retry;
    world.settle();
    assert_eq!(world.deletions, ["token-ding0000"]);
    let written = (world.now, "token-ding0000".to_owned());
    assert_eq!(world.writes.last(), Some(&written));
}

/// Otherwise, contents that cannot be rendered would leave nothing behind.
#[test]
fn an_immutable_secret_is_deleted_once_its_successor_is_rendered() {
    let mut world = complete("Combined", 100);
    world.immutable = Some("token");
    world.now += SignedDuration::from_secs(5000);
    world.settle();
    while !world.queued.is_empty() {
        world.answer(7200);
    }
    let mut taken = Vec::new();
    while let Step::Targets(steps) = world.decide(next_step) {
        for step in steps {
            taken.push(match &step {
                TargetStep::Assemble { .. } => "assemble",
                TargetStep::Write { .. } => "write",
                TargetStep::Delete { .. } => "delete",
                TargetStep::Read { .. } | TargetStep::Look { .. } => "read",
            });
            world.act(step);
        }
    }
    let expected = [
        "assemble", "write", "assemble", "delete", "assemble", "write",
    ];
    assert_eq!(taken, expected);
}

/// The endpoint may give shorter lives than before.
#[test]
fn the_old_secret_goes_when_the_new_one_has_a_later_token_that_expires_sooner() {
    let mut world = complete("Combined", 1);
    world.refuses_deletions = true;
    world.change("Combined", &corps(1), "other");
    world.settle();
    world.now += SignedDuration::from_secs(5000);
    world.settle();
    world.answer(100);
    world.settle();
    assert_eq!(world.tokens_in("token"), 1, "it is still valid");
    world.refuses_deletions = false;
    world.now += SignedDuration::from_secs(60);
    world.settle();
    assert_eq!(world.deletions, ["token"]);
}

#[test]
fn a_deletion_policy_counts_while_the_app_is_suspended() {
    let all = corps(2);
    let mut world = complete("Combined", all.len());
    let owners = |world: &World| world.secrets["token"].owner_references.len();
    assert_eq!(owners(&world), 1);
    let tokens = world.tokens_in("token");
    for (policy, expected) in [(DeletionPolicy::Retain, 0), (DeletionPolicy::Delete, 1)] {
        world.change("Combined", &all, "token");
        world.app.spec.suspend = true;
        world.app.spec.target.deletion_policy = policy;
        world.settle();
        assert_eq!(owners(&world), expected);
        assert_eq!(world.tokens_in("token"), tokens);
    }
}

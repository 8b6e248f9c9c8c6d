//! What an app shows while nothing can be fetched or while its Secret has changed.

use super::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::dingtalk::TokenResponse;

fn problem(world: &World, reason: Reason, version: Option<ObjectVersion>) -> CredentialsProblem {
    CredentialsProblem {
        reason,
        version,
        ..world.absent()
    }
}

#[test]
fn a_problem_of_the_credentials_lasts_from_its_first_sight() {
    let mut world = World::new();
    let start = world.now;
    let mut since = |seconds: i64, reason: Reason| {
        world.now = start + SignedDuration::from_secs(seconds);
        let problem = problem(&world, reason, None);
        world.memory.credentials_failed(problem);
        let problem = world.memory.credentials_problem.as_ref();
        problem
            .expect("a problem")
            .since
            .duration_since(start)
            .as_secs()
    };
    assert_eq!(since(0, Reason::CredentialsNotFound), 0);
    assert_eq!(since(10, Reason::CredentialsNotFound), 0);
    assert_eq!(since(20, Reason::CredentialsKeyMissing), 20);
    assert_eq!(since(30, Reason::CredentialsNotFound), 30);
}

#[test]
fn a_token_is_a_former_one_unless_its_own_credentials_merely_cannot_be_read_now() {
    for (reason, is_same_version, is_former) in [
        (Reason::CredentialsUnreadable, true, false),
        (Reason::CredentialsUnreadable, false, true),
        (Reason::CredentialsKeyMissing, true, true),
        (Reason::CredentialsKeyMissing, false, true),
    ] {
        let mut world = World::new();
        world.settle(&FRESH);
        let mut version = world.version();
        if !is_same_version {
            version.resource_version.push('0');
        }
        world.seen = Some(CredentialsSeen::Present(version.clone()));
        let problem = problem(&world, reason, Some(version));
        world.memory.credentials_failed(problem);
        let settled = world.settle(&FRESH);
        let former = only(&settled).former_client_id.as_ref();
        assert_eq!(former.is_some(), is_former, "{reason:?}, {is_same_version}");
        assert_eq!(world.attempts.len(), 1);
    }
}

#[test]
fn a_secret_without_the_operators_marks_is_its_own_while_it_is_known_to_have_written_it() {
    let mut world = World::new();
    world.settle(&FRESH);
    let target = world.target.as_mut().expect("a target");
    target.managed_for = None;
    world.ownership = Ownership::Foreign;
    let settled = world.settle(&FRESH);
    assert_eq!(only(&settled).blocked, None);
    world.target.as_mut().expect("a target").version.uid = "t2".into();
    let settled = world.settle(&FRESH);
    let blocked = only(&settled).blocked.as_ref();
    assert_eq!(blocked, Some(&Blocked::TargetForeign), "another Secret");
}

#[test]
fn an_app_is_looked_at_when_its_token_expires_though_nothing_is_planned() {
    let mut world = World::new();
    world.settle(&FRESH);
    world.app.spec.suspend = true;
    world.app.metadata.generation = Some(2);
    let expires_at = world.now + SignedDuration::from_secs(7200);
    assert_eq!(world.settle(&FRESH).wake_at, Some(expires_at));
    world.now = expires_at;
    let settled = world.settle(&FRESH);
    let status = world.status(&settled);
    assert_eq!(status.conditions[0].reason, Reason::TokenExpired);
    assert_eq!(world.attempts.len(), 1);
}

#[test]
fn a_token_that_arrives_during_a_write_waits_for_the_next_one() {
    let mut world = World::new();
    world.settle(&FRESH);
    let first = world.last_write.clone().expect("a write");
    world.now += SignedDuration::from_secs(5000);
    world.settle(&FRESH);
    let second = world.last_write.clone().expect("a write");
    world.memory.corp_mut("ding1").unwritten_since = Some(world.now);
    for (write, is_unwritten) in [(first, true), (second, false)] {
        assert!(world.memory.is_first_write(&write));
        let done = WriteOutcome::Done(ObjectVersion::default());
        world
            .memory
            .write_ended(&write, done, &world.app, world.now);
        let corp = world.memory.corp("ding1");
        assert_eq!(corp.unwritten_since.is_some(), is_unwritten);
        assert_eq!(world.memory.is_first_write(&write), is_unwritten);
    }
}

#[test]
fn a_first_fetch_is_shown_as_pending_after_three_seconds() {
    let mut world = World::new();
    world.read_credentials();
    world.queue();
    let shown_at = world.now + SignedDuration::from_secs(3);
    let settled = world.settle(&FRESH);
    assert!(settled.quiet);
    assert_eq!(settled.wake_at, Some(shown_at));
    world.now = shown_at - SignedDuration::from_millis(1);
    assert!(world.settle(&FRESH).quiet);
    world.now = shown_at;
    assert!(!world.settle(&FRESH).quiet);
    let mut world = World::new();
    world.settle(&FRESH);
    world.queue();
    let settled = world.settle(&FRESH);
    assert!(!settled.quiet, "it shows its token");
    assert!(only(&settled).next_attempt > Some(world.now), "as planned");
}

#[test]
fn a_renewal_is_not_made_earlier_without_another_one() {
    let mut world = World::new();
    let settled = world.settle(&FRESH);
    let renewal = only(&settled).next_attempt.expect("a renewal");
    world.now = renewal - SignedDuration::from_secs(1);
    world.settle(&FRESH);
    assert_eq!(world.attempts.len(), 1);
    world.now = renewal;
    world.settle(&FRESH);
    assert_eq!(world.attempts.len(), 2);
}

#[test]
fn an_attempt_that_is_under_way_is_not_the_next_one() {
    let mut world = World::new();
    let settled = world.settle(&FRESH);
    let renewal = only(&settled).next_attempt.expect("a renewal");
    world.now = renewal - SignedDuration::from_secs(1);
    world.queue();
    let settled = world.settle(&FRESH);
    assert_eq!(only(&settled).next_attempt, Some(renewal));
    world.now = renewal;
    let settled = world.settle(&FRESH);
    assert_eq!(only(&settled).next_attempt, None);
}

#[test]
fn what_was_fetched_is_to_be_taken_over_unless_the_app_is_blocked() {
    let mut world = World::new();
    world.settle(&FRESH);
    assert!(!world.memory.has_untaken(&world.tokens, world.now));
    let pending = world.queue();
    let response = TokenResponse {
        token: AccessToken::new("t2".into()).expect("a token"),
        expires_in: Duration::from_secs(7200),
    };
    let now = world.now;
    world.tokens.succeeded(&pending, response, now, now);
    assert!(world.memory.has_untaken(&world.tokens, world.now));
    world.memory.corp_mut("ding1").is_stuck = true;
    assert!(!world.memory.has_untaken(&world.tokens, world.now));
}

#[test]
fn a_write_that_was_not_answered_is_retried_whatever_became_of_the_others() {
    let memory = |problems: [WriteProblem; 2]| {
        let mut world = World::new();
        world.settle(&FRESH);
        let write = world.last_write.clone().expect("a write");
        for (name, problem) in ["a", "b"].into_iter().zip(problems) {
            let write = Write {
                name: name.to_owned(),
                ..write.clone()
            };
            let failed = FailedChange {
                problem,
                message: String::new(),
                random: 0.5,
            };
            let outcome = WriteOutcome::Failed(failed);
            world
                .memory
                .write_ended(&write, outcome, &world.app, world.now);
        }
        world.memory.retry_unanswered(world.now)
    };
    let (refused, unanswered) = (WriteProblem::Refused, WriteProblem::Unanswered);
    assert!(memory([refused, unanswered]));
    assert!(memory([unanswered, refused]));
    assert!(memory([unanswered, unanswered]));
    assert!(!memory([refused, refused]));
}

/// Regression: each stop of the process waited for its token to be written.
#[test]
fn nobody_waits_for_the_token_of_an_app_that_is_being_deleted() {
    let mut world = World::new();
    world.settle(&Outcome::Token {
        life: 7200,
        fresh: true,
    });
    world.memory.corp_mut("ding1").unwritten_since = Some(world.now);
    assert!(world.memory.is_to_be_written());
    world.app.metadata.deletion_timestamp = Some(Time(world.now));
    let next = world.decide(next_step);
    assert!(matches!(next, Step::Settle(settled) if settled.quiet));
    assert!(!world.memory.is_to_be_written());
}

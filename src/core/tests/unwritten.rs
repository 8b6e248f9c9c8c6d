//! What a process that dies between a fetch and the write of its token leaves to the next one. The
//! fetch may have revoked the token in the Secret, so its cause lasts until the write.

use super::*;
use crate::api::{ANNOTATION_RENEW_REQUESTED_AT, app_ref};
use crate::dingtalk::TokenResponse;

/// Returns a world with its first token, which the status shows.
fn with_token() -> World {
    let mut world = World::new();
    report(&mut world, &FRESH);
    world
}

fn pass(world: &mut World, seconds: i64) {
    world.now += SignedDuration::from_secs(seconds);
}

fn ask(world: &mut World) {
    let request = world.now.to_string();
    let asked = (ANNOTATION_RENEW_REQUESTED_AT.to_owned(), request);
    world.app.metadata.annotations = Some([asked].into());
}

/// Has the operator do what is due, and write its report into the app's status.
fn report(world: &mut World, outcome: &Outcome) {
    let settled = world.settle(outcome);
    let previous = world.app.status.take().unwrap_or_default();
    world.app.status = Some(world.status_after(&settled, &previous));
}

/// Asserts that a token is fetched for this cause, and that the next process fetches another one if
/// the write of the first does not arrive.
fn is_fetched_again(mut world: World, cause: Cause) {
    let (target, contents) = (world.target.clone(), world.contents.clone());
    let fetched = world.causes.len();
    world.settle(&FRESH);
    assert_eq!(world.causes[fetched..], [cause]);
    (world.target, world.contents) = (target, contents);
    world.restart();
    pass(&mut world, 1);
    world.settle(&FRESH);
    assert_eq!(world.causes.len(), fetched + 2, "{cause:?}");
    let shown = world.target.as_ref().and_then(|it| it.recorded.as_ref());
    let record = shown.and_then(|recorded| recorded.token("ding1"));
    let requested_at = record.expect("a token").lifetime.requested_at;
    assert_eq!(requested_at, world.now, "{cause:?}");
}

#[test]
fn a_first_token_is_fetched_again() {
    is_fetched_again(World::new(), Cause::FirstToken);
}

#[test]
fn a_token_that_was_due_is_fetched_again() {
    let mut world = with_token();
    pass(&mut world, 4800);
    is_fetched_again(world, Cause::RenewalDue);
}

/// Regression: a request that the time of the former token seemed to answer was taken as handled.
#[test]
fn a_requested_token_is_fetched_again_whenever_it_was_asked_for() {
    for seconds in [0, 1, 600] {
        let mut world = with_token();
        pass(&mut world, seconds);
        ask(&mut world);
        pass(&mut world, 60);
        is_fetched_again(world, Cause::RenewalRequested);
    }
    // The request came while the first token was being fetched.
    let mut world = World::new();
    world.read_credentials();
    let first = world.queue();
    ask(&mut world);
    world.settle(&FRESH);
    pass(&mut world, 1);
    let response = TokenResponse {
        token: AccessToken::new("first".into()).expect("a token"),
        expires_in: Duration::from_secs(7200),
    };
    let now = world.now;
    world.tokens.succeeded(&first, response, now, now);
    report(&mut world, &FRESH);
    assert_eq!(world.writes.len(), 1);
    pass(&mut world, 60);
    is_fetched_again(world, Cause::RenewalRequested);
}

/// Regression: the retry of a requested renewal was due, and made, but the next process waited for
/// the ordinary renewal.
#[test]
fn a_retry_is_made_again() {
    let failed = failure(|class| class == Class::Transient);
    let mut world = with_token();
    pass(&mut world, 4800);
    report(&mut world, &failed);
    pass(&mut world, 10);
    is_fetched_again(world, Cause::RetryDue);

    let mut world = with_token();
    pass(&mut world, 600);
    ask(&mut world);
    report(&mut world, &failed);
    let status = world.app.status.clone().expect("a status");
    assert!(status.last_handled_renew_request.is_some(), "it has failed");
    pass(&mut world, 10);
    is_fetched_again(world, Cause::RetryDue);
}

/// Regression: the next process waited for the retry that the former one had planned.
#[test]
fn what_a_changed_spec_made_due_is_fetched_again() {
    let mut world = with_token();
    pass(&mut world, 600);
    ask(&mut world);
    report(&mut world, &failure(|class| class == Class::Configuration));
    pass(&mut world, 10);
    world.app.metadata.generation = Some(2);
    is_fetched_again(world, Cause::SpecChanged);

    let mut world = with_token();
    world.app.metadata.generation = Some(2);
    world.app.spec.site = "china".into();
    pass(&mut world, 10);
    is_fetched_again(world, Cause::SpecChanged);
}

#[test]
fn a_token_of_changed_credentials_is_fetched_again() {
    let mut world = with_token();
    pass(&mut world, 10);
    world.credentials += 1;
    is_fetched_again(world, Cause::CredentialsChanged);
}

#[test]
fn a_token_whose_secret_others_have_taken_or_changed_is_fetched_again() {
    let mut world = with_token();
    world.target = None;
    world.restart();
    pass(&mut world, 10);
    is_fetched_again(world, Cause::TargetMissing);

    let mut world = with_token();
    let target = world.target.as_mut().expect("a target");
    target.data_is_ours = false;
    world
        .contents
        .insert("access_token".into(), "x".to_owned().into());
    world.restart();
    pass(&mut world, 10);
    is_fetched_again(world, Cause::TargetChanged);
}

/// Regression: a request was reported as handled before its token was written, so that the next
/// process did not know that the token was lost.
#[test]
fn a_request_is_handled_once_its_token_is_written_or_has_an_error() {
    let mut world = with_token();
    pass(&mut world, 600);
    ask(&mut world);
    let settled = world.settle(&FRESH);
    let handled = |world: &World| world.status(&settled).last_handled_renew_request;
    assert!(handled(&world).is_some());
    world.memory.corp_mut("ding1").unwritten_since = Some(world.now);
    assert_eq!(handled(&world), None);

    // The write has failed, and then the process dies.
    let refused = world.last_write.clone().expect("a write");
    let failure = WriteOutcome::Failed(FailedChange {
        problem: WriteProblem::Refused,
        message: "exceeded quota".into(),
        random: 0.0,
    });
    let (app, now) = (world.app.clone(), world.now);
    world.memory.write_ended(&refused, failure, &app, now);
    assert!(
        handled(&world).is_some(),
        "the status says that it is not written"
    );
    for is_written in [false, true] {
        let mut world = with_token();
        pass(&mut world, 600);
        ask(&mut world);
        let former = world.target.clone();
        report(&mut world, &FRESH);
        let status = world.app.status.as_mut().expect("a status");
        let error = serde_json::json!({"reason": "SecretWriteFailed", "sinceTime": ""});
        status.corps[0].error = serde_json::from_value(error).expect("an error");
        if !is_written {
            world.target = former;
        }
        world.restart();
        let fetched = world.causes.len();
        world.settle(&FRESH);
        assert_eq!(world.causes.len() == fetched, is_written);
    }
}

/// Regression: the report that was made between the retry's success and its write said that the
/// request had been handled, as it had been when the first fetch failed, and told of no failure.
#[test]
fn a_requested_token_whose_first_fetch_failed_is_fetched_again() {
    let failed = failure(|class| class == Class::Transient);
    let mut world = with_token();
    pass(&mut world, 600);
    ask(&mut world);
    report(&mut world, &failed);
    pass(&mut world, 10);
    // Nothing is written into a Secret that a finalizer keeps.
    world.target.as_mut().expect("written").deleting = true;
    let writes = world.writes.len();
    report(&mut world, &FRESH);
    assert_eq!(world.writes.len(), writes);
    let status = world.app.status.clone().expect("a status");
    assert_eq!(status.corps[0].error, None, "the retry has succeeded");
    world.target.as_mut().expect("written").deleting = false;
    world.restart();
    pass(&mut world, 1);
    let fetched = world.causes.len();
    world.settle(&FRESH);
    assert_eq!(world.causes[fetched..], [Cause::RenewalRequested]);
    let settled = world.settle(&FRESH);
    let status = world.status_after(&settled, &status);
    assert!(status.last_handled_renew_request.is_some(), "it is written");
}

/// A request that was handled long ago is not told of as open during each renewal, which would cost
/// two more writes of the status.
#[test]
fn a_request_whose_token_is_in_the_secret_stays_handled_during_later_renewals() {
    let mut world = with_token();
    pass(&mut world, 600);
    ask(&mut world);
    report(&mut world, &FRESH);
    pass(&mut world, 4800);
    world.target.as_mut().expect("written").deleting = true;
    let fetched = world.causes.len();
    report(&mut world, &FRESH);
    assert_eq!(world.causes[fetched..], [Cause::RenewalDue]);
    let status = world.app.status.as_ref().expect("a status");
    assert!(status.last_handled_renew_request.is_some());
}

/// Has the operator forget the app, as it does once the app is past its namespace's bounds, and
/// serve it again.
fn is_not_served_for_a_while(world: &mut World, meanwhile: impl FnOnce(&mut World)) {
    let key = app_ref(&world.app);
    world.memory.leave(&key, &mut world.tokens);
    meanwhile(world);
    world.memory = Memory::new(&world.app, world.now);
    let seat = ("global".to_owned(), "a".to_owned(), "ding1".to_owned());
    world.memory.identify = world.tokens.has_fetched(&seat, world.now);
}

fn shown(world: &World) -> &str {
    &world.contents["access_token"]
}

/// Regression: the token was lost, and the one that it had revoked shown until the next renewal.
#[test]
fn what_is_fetched_while_an_app_is_not_served_is_written_once_it_is_again() {
    let mut world = with_token();
    pass(&mut world, 600);
    let pending = world.queue();
    is_not_served_for_a_while(&mut world, |world| {
        let response = TokenResponse {
            token: AccessToken::new("second".into()).expect("a token"),
            expires_in: Duration::from_secs(7200),
        };
        let now = world.now;
        world.tokens.succeeded(&pending, response, now, now);
    });
    let fetched = world.causes.len();
    world.settle(&FRESH);
    assert_eq!(world.causes.len(), fetched);
    assert_eq!(shown(&world), "second");
}

/// Regression: a token whose write kept failing was lost with the app's memory.
#[test]
fn a_token_in_hand_outlives_the_time_in_which_its_app_is_not_served() {
    let mut world = with_token();
    pass(&mut world, 4800);
    world.target.as_mut().expect("written").deleting = true;
    world.settle(&FRESH);
    let held = world.held().expect("fetched");
    assert_ne!(shown(&world), held.token.expose());
    is_not_served_for_a_while(&mut world, |_| {});
    world.target.as_mut().expect("written").deleting = false;
    let fetched = world.causes.len();
    world.settle(&FRESH);
    assert_eq!(world.causes.len(), fetched);
    assert_eq!(shown(&world), held.token.expose());
}

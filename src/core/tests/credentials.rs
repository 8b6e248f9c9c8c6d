//! The credentials that the spec names, and those of the token in the Secret.

use super::*;
use crate::api::{CONDITION_READY, CONDITION_RENEWED};
use crate::dingtalk::TokenResponse;

/// `invalid.client`.
const REJECTED: Outcome = Outcome::Failure {
    row: 0,
    wait: None,
    random: 0.0,
};

impl World {
    /// Makes the spec name another Secret, which existed before.
    fn refer_to(&mut self, name: &str, credentials: u64, client_id: &str) {
        self.app.spec.credentials_secret_ref.name = name.into();
        self.app.metadata.generation = self.app.metadata.generation.map(|it| it + 1);
        self.credentials = credentials;
        self.client_id = client_id.into();
        self.seen = Some(CredentialsSeen::Unknown);
    }

    fn said(&self, settled: &Settled, type_: &str) -> (String, String, String) {
        let conditions = self.status(settled).conditions;
        let found = conditions.into_iter().find(|one| one.type_ == type_);
        let found = found.expect("the condition");
        (found.status, found.reason, found.message)
    }
}

fn with_token() -> World {
    let mut world = World::new();
    world.settle(&FRESH);
    assert_eq!(world.attempts.len(), 1);
    world
}

#[test]
fn another_reference_is_read_and_fetched_with_at_once() {
    let mut world = with_token();
    world.refer_to("other", 2, "b");
    let settled = world.settle(&FRESH);
    assert_eq!(world.attempts.len(), 2);
    assert_eq!(world.held().expect("a token").record.client_id, "b");
    assert_eq!(only(&settled).former_client_id, None);
    let reads = world.reads;
    world.settle(&FRESH);
    assert_eq!((world.attempts.len(), world.reads), (2, reads), "once");
}

/// Regression: after a change of mind the other app's token stayed until its renewal.
#[test]
fn credentials_that_are_changed_back_are_fetched_with_again() {
    for is_shared in [false, true] {
        let mut world = World::new();
        world.settle(&Outcome::Token {
            life: 600,
            fresh: true,
        });
        if is_shared {
            let token = world.memory.corp("ding1").token().expect("read");
            let another = crate::api::AppRef::new("another");
            world.tokens.interested(
                token,
                &another,
                crate::core::token::tokens::Interest::Active,
            );
        }
        world.refer_to("other", 2, "b");
        world.settle(&FRESH);
        assert_eq!(world.held().expect("a token").record.client_id, "b");
        // The token fetched with the first credentials has expired since.
        world.now += SignedDuration::from_secs(4000);
        world.refer_to("credentials", 1, "a");
        world.settle(&FRESH);
        assert_eq!(world.held().expect("a token").record.client_id, "a");
        assert_eq!(world.attempts.len(), 3);
        assert_eq!(world.causes.last(), Some(&Cause::CredentialsChanged));
        world.settle(&FRESH);
        assert_eq!(world.attempts.len(), 3, "once");
    }
}

/// Regression: a new process fetched a token again, as if the rejected credentials of another client
/// might have revoked it.
#[test]
fn a_change_of_mind_about_credentials_costs_a_new_process_no_fetch() {
    let mut world = with_token();
    let credentials = world.credentials;
    world.restart();
    world.settle(&FRESH);
    world.refer_to("other", 2, "b");
    world.settle(&REJECTED);
    assert_eq!(world.attempts.len(), 2);
    world.refer_to("credentials", credentials, "a");
    world.settle(&FRESH);
    assert_eq!(world.attempts.len(), 2, "the token is still there");
}

#[test]
fn equal_credentials_under_another_name_fetch_nothing() {
    let mut world = with_token();
    let credentials = world.credentials;
    world.refer_to("other", credentials, "a");
    let reads = world.reads;
    let settled = world.settle(&FRESH);
    assert_eq!((world.attempts.len(), world.reads), (1, reads + 1));
    assert_eq!(only(&settled).former_client_id, None);
}

#[test]
fn another_key_of_the_same_secret_is_read() {
    let mut world = with_token();
    world.app.spec.credentials_secret_ref.client_secret_key = "next".into();
    world.app.metadata.generation = Some(2);
    let reads = world.reads;
    world.settle(&FRESH);
    assert_eq!(world.reads, reads + 1);
}

#[test]
fn a_reference_that_changed_between_two_processes_is_read() {
    let mut world = with_token();
    world.app.status = Some(world.status(&Settled::default()));
    world.restart();
    let reads = world.reads;
    world.settle(&FRESH);
    assert_eq!(world.reads, reads, "nothing has changed");
    // Only the keys change: the Secret's version is as recorded.
    world.client_id = "b".into();
    world.app.metadata.generation = Some(2);
    world.restart();
    world.settle(&FRESH);
    assert_eq!((world.reads, world.attempts.len()), (reads + 1, 2));
}

#[test]
fn a_secret_that_holds_a_former_token_says_so() {
    let mut world = with_token();
    world.refer_to("other", 2, "b");
    let settled = world.settle(&REJECTED);
    let (status, reason, message) = world.said(&settled, CONDITION_READY);
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("True", "RenewalFailing")
    );
    assert!(
        message.contains("it was fetched with former credentials (client_id a);"),
        "{message}"
    );
    let (status, reason, _) = world.said(&settled, CONDITION_RENEWED);
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "InvalidCredentials")
    );
    // The same while waiting for a retry.
    world.now += SignedDuration::from_secs(10);
    let settled = world.settle(&REJECTED);
    assert_eq!(only(&settled).former_client_id.as_deref(), Some("a"));
    world.refer_to("third", 3, "c");
    let settled = world.settle(&FRESH);
    let (.., message) = world.said(&settled, CONDITION_READY);
    assert!(!message.contains("former"), "{message}");
}

#[test]
fn a_secret_that_is_not_there_leaves_a_former_token_that_says_so() {
    let mut world = with_token();
    world.refer_to("missing", 2, "b");
    world.seen = Some(CredentialsSeen::Absent);
    let settled = world.settle(&FRESH);
    let (status, _, message) = world.said(&settled, CONDITION_READY);
    assert_eq!(status, "True");
    assert!(message.contains("(client_id a)"), "{message}");
    let (status, reason, _) = world.said(&settled, CONDITION_RENEWED);
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "CredentialsNotFound")
    );
}

#[test]
fn a_fetch_with_the_new_credentials_that_lasts_is_shown() {
    let mut world = with_token();
    world.refer_to("other", 2, "b");
    world.seen = None;
    world.read_credentials();
    world.queue();
    assert!(world.settle(&FRESH).quiet, "it may come within a second");
    world.now += SignedDuration::from_secs(5);
    let settled = world.settle(&FRESH);
    assert!(!settled.quiet);
    let (status, ..) = world.said(&settled, CONDITION_RENEWED);
    assert_eq!(status, "Unknown");
    assert_eq!(world.attempts.len(), 1, "it is waited for");
}

#[test]
fn a_suspended_app_fetches_nothing_and_says_that_its_token_is_a_former_one() {
    let mut world = with_token();
    world.app.spec.suspend = true;
    world.refer_to("other", 2, "b");
    let settled = world.settle(&FRESH);
    assert_eq!(world.attempts.len(), 1);
    let (.., message) = world.said(&settled, CONDITION_READY);
    assert!(message.contains("(client_id a)"), "{message}");
    let (status, ..) = world.said(&settled, CONDITION_RENEWED);
    assert_eq!(status, "Unknown");
}

#[test]
fn a_process_that_ends_takes_a_token_for_a_former_one_if_the_unread_secret_is_another() {
    let renewed = |uid: &str| {
        let mut world = with_token();
        world.restart();
        world.is_ending = true;
        world.seen = Some(CredentialsSeen::Present(ObjectVersion {
            uid: uid.into(),
            ..world.version()
        }));
        let settled = world.settle(&FRESH);
        world.said(&settled, CONDITION_READY)
    };
    let same = renewed("credentials");
    assert!(!same.2.contains("(client_id a)"), "{same:?}");
    let other = renewed("recreated");
    assert!(other.2.contains("(client_id a)"), "{other:?}");
}

/// Regression: the problem stayed until the spec changed.
#[test]
fn a_suspended_app_notices_that_its_credentials_are_there_again() {
    let mut world = with_token();
    world.app.spec.suspend = true;
    world.seen = Some(CredentialsSeen::Absent);
    world.settle(&FRESH);
    assert!(world.memory.credentials_problem.is_some());
    world.seen = None;
    world.settle(&FRESH);
    assert!(world.memory.credentials_problem.is_none());
    assert_eq!(world.attempts.len(), 1);
}

#[test]
fn what_a_former_reference_queued_is_not_waited_for() {
    let mut world = with_token();
    world.queue();
    world.refer_to("other", 2, "b");
    world.settle(&FRESH);
    assert_eq!(world.attempts.len(), 2);
    assert_eq!(world.held().expect("a token").record.client_id, "b");
}

#[test]
fn what_was_queued_for_a_former_site_or_before_an_app_was_suspended_is_not_fetched() {
    let queued = |change: fn(&mut DingTalkApp)| {
        let mut world = with_token();
        let pending = world.queue();
        change(&mut world.app);
        world.app.metadata.generation = Some(2);
        world.settle(&FRESH);
        (world.tokens.wants(&pending), world.attempts.len())
    };
    assert_eq!(queued(|_| {}), (true, 1));
    assert_eq!(queued(|app| app.spec.suspend = true), (false, 1));
    assert_eq!(queued(|app| app.spec.site = "china".into()), (false, 2));
}

#[test]
fn the_outcome_of_former_credentials_does_not_count_as_that_of_the_present_ones() {
    let mut world = with_token();
    let former = world.queue();
    world.refer_to("other", 2, "b");
    world.settle(&REJECTED);
    let token = |value: &str| TokenResponse {
        token: AccessToken::new(value.into()).expect("a token"),
        expires_in: HOUR,
    };
    // A call that was in flight may have revoked the token in the Secret, so its result is kept.
    let now = world.now + SignedDuration::from_secs(1);
    world.tokens.succeeded(&former, token("late"), now, now);
    world.now = now;
    let settled = world.settle(&REJECTED);
    assert_eq!(world.attempts.len(), 2, "the failure keeps its pace");
    assert!(world.failing().is_some());
    assert_eq!(world.held().expect("a token").token.expose(), "late");
    assert_eq!(only(&settled).former_client_id.as_deref(), Some("a"));
    // Once the present credentials have a token, a former one is worthless.
    world.refer_to("third", 3, "c");
    world.settle(&FRESH);
    let present = world.held();
    let now = world.now + SignedDuration::from_secs(1);
    world.tokens.succeeded(&former, token("later"), now, now);
    world.settle(&FRESH);
    assert_eq!(world.held(), present);
}

#[test]
fn a_predecessors_token_is_taken_over_if_it_is_of_the_same_client_id() {
    let restored = |client_id: &str| {
        let mut world = with_token();
        world.app.metadata.uid = Some("u2".into());
        world.ownership = Ownership::Predecessor;
        world.restart();
        (world.credentials, world.client_id) = (2, client_id.into());
        world.reads = 0;
        world
    };
    let mut world = restored("a");
    let settled = world.settle(&FRESH);
    assert_eq!((world.attempts.len(), world.reads), (1, 1));
    assert!(only(&settled).in_secret.is_some());
    let recorded = world.target.and_then(|target| target.recorded);
    let recorded = recorded.expect("recorded");
    assert_eq!(recorded.tokens[0].credentials.resource_version, "2");

    let mut world = restored("b");
    let settled = world.settle(&REJECTED);
    assert_eq!(world.attempts.len(), 2);
    assert_eq!(only(&settled).in_secret, None, "it is not this app's");
    let settled = {
        world.now += SignedDuration::from_hours(1);
        world.settle(&FRESH)
    };
    assert!(only(&settled).in_secret.is_some());
    assert_eq!(world.held().expect("a token").record.client_id, "b");
}

#[test]
fn a_token_of_former_credentials_is_forgotten_once_there_is_one_of_the_new_ones() {
    let mut world = with_token();
    let former = world.memory.corp("ding1").token().expect("read");
    world.refer_to("other", 2, "b");
    world.settle(&REJECTED);
    assert!(world.tokens.get(former).is_some(), "it is shown");
    world.now += SignedDuration::from_hours(1);
    world.settle(&FRESH);
    assert!(world.tokens.get(former).is_none());
}

#[test]
fn trimmed_white_space_is_reported_once_for_each_version_of_the_credentials() {
    let known = |resource_version: &str| KnownCredentials {
        reference: app(1).spec.credentials_secret_ref,
        client_id: "client".into(),
        version: ObjectVersion {
            uid: "c1".into(),
            resource_version: resource_version.into(),
        },
        fingerprint: Fingerprint::default(),
    };
    let mut memory = Memory::default();
    let mut reported = |resource_version: &str, trimmed: &[String]| {
        memory.credentials_read(known(resource_version), trimmed);
        std::mem::take(&mut memory.happened.trimmed_keys)
    };
    let keys = ["client_id".to_owned()];
    assert_eq!(reported("5", &keys), keys);
    assert!(reported("5", &keys).is_empty());
    assert!(reported("6", &[]).is_empty());
    assert_eq!(reported("7", &keys), keys);
}

//! Causes of fetches and writes.

use super::*;
use crate::api::ANNOTATION_RENEW_REQUESTED_AT;
use crate::api::{CorpError, DingTalkAppStatus};

/// Returns a world with its first token, at the time of its next look.
fn with_token() -> World {
    let mut world = World::new();
    world.settle(&FRESH);
    world
}

fn pass(world: &mut World, seconds: i64) {
    world.now += SignedDuration::from_secs(seconds);
}

/// Writes the operator's report into the app's status.
fn report(world: &mut World) {
    let settled = world.settle(&FRESH);
    world.app.status = Some(world.status(&settled));
}

/// Returns the causes of fetches and of writes after the first token.
fn later(world: &World) -> (&[Cause], &[Cause]) {
    (&world.causes[1..], &world.write_causes[1..])
}

#[test]
fn a_first_token_and_its_renewal() {
    let mut world = with_token();
    assert_eq!(world.causes, [Cause::FirstToken]);
    assert_eq!(world.write_causes, [Cause::FirstToken]);
    pass(&mut world, 4800);
    world.settle(&FRESH);
    assert_eq!(
        later(&world),
        (&[Cause::RenewalDue][..], &[Cause::RenewalDue][..])
    );
}

#[test]
fn an_attempt_after_a_failure_is_a_retry_until_it_succeeds() {
    let mut world = with_token();
    pass(&mut world, 4800);
    world.settle(&failure(|class| class == Class::Transient));
    pass(&mut world, 60);
    world.settle(&FRESH);
    pass(&mut world, 4800);
    world.settle(&FRESH);
    let (fetches, writes) = later(&world);
    assert_eq!(
        fetches,
        [Cause::RenewalDue, Cause::RetryDue, Cause::RenewalDue]
    );
    assert_eq!(writes, [Cause::RetryDue, Cause::RenewalDue]);
}

#[test]
fn changed_credentials_and_a_request() {
    let mut world = with_token();
    world.credentials += 1;
    world.settle(&FRESH);
    pass(&mut world, 600);
    let asked = BTreeMap::from([(ANNOTATION_RENEW_REQUESTED_AT.to_owned(), "now".to_owned())]);
    world.app.metadata.annotations = Some(asked);
    world.settle(&FRESH);
    let expected = [Cause::CredentialsChanged, Cause::RenewalRequested];
    assert_eq!(later(&world), (&expected[..], &expected[..]));
}

/// Regression: the cause was a change of the spec.
#[test]
fn credentials_that_others_have_touched_are_recorded_for_that_cause() {
    let mut world = with_token();
    let version = ObjectVersion {
        resource_version: "touched".into(),
        ..world.version()
    };
    world.seen = Some(CredentialsSeen::Present(version.clone()));
    let known = world.memory.credentials.clone().expect("read");
    let touched = KnownCredentials { version, ..known };
    world.memory.credentials_read(touched, &[]);
    world.settle(&FRESH);
    let nothing: &[Cause] = &[];
    assert_eq!(later(&world), (nothing, &[Cause::CredentialsChanged][..]));
}

#[test]
fn a_deleted_secret_is_written_again_and_fetched_only_where_its_token_is_not_known() {
    let mut world = with_token();
    report(&mut world);
    world.target = None;
    pass(&mut world, 5);
    world.settle(&FRESH);
    assert_eq!(later(&world), (&[][..], &[Cause::TargetMissing][..]));
    world.target = None;
    world.restart();
    world.settle(&FRESH);
    let (fetches, writes) = later(&world);
    assert_eq!(fetches, [Cause::TargetMissing]);
    assert_eq!(writes, [Cause::TargetMissing, Cause::TargetMissing]);
}

#[test]
fn a_changed_secret_and_a_changed_spec() {
    let mut world = with_token();
    let target = world.target.as_mut().expect("written");
    target.labels = crate::core::secret::marks::Marks::default();
    world.settle(&FRESH);
    world.app.metadata.generation = Some(2);
    world.app.spec.target.annotations = [("team".to_owned(), "hr".to_owned())].into();
    world.metadata_prefixes = vec!["team".to_owned()];
    world.settle(&FRESH);
    let writes = [Cause::TargetChanged, Cause::SpecChanged];
    assert_eq!(later(&world), (&[][..], &writes[..]));
}

#[test]
fn another_site_is_a_change_of_the_spec() {
    let mut world = with_token();
    world.app.metadata.generation = Some(2);
    world.app.spec.site = "china".into();
    world.settle(&FRESH);
    let (fetches, _) = later(&world);
    assert_eq!(fetches.first(), Some(&Cause::SpecChanged));
}

/// Regression: after a restart, a renewal request ended a ban early.
#[test]
fn a_request_shortens_no_ban_whether_the_process_was_restarted_or_not() {
    let row = TABLE.iter().position(|row| row.class == Class::Banned);
    let banned = Outcome::Failure {
        row: row.expect("a row"),
        wait: None,
        random: 0.0,
    };
    for is_restarted in [false, true] {
        let mut world = World::new();
        let settled = world.settle(&banned);
        world.app.status = Some(world.status(&settled));
        if is_restarted {
            world.restart();
        }
        let asked = (ANNOTATION_RENEW_REQUESTED_AT.to_owned(), "now".to_owned());
        world.app.metadata.annotations = Some([asked].into());
        for (seconds, attempts) in [(100, 1), (199, 1), (1, 2)] {
            pass(&mut world, seconds);
            world.settle(&banned);
            assert_eq!(world.attempts.len(), attempts, "restarted: {is_restarted}");
        }
    }
}

/// Returns the status of an app whose token, requested at `second`, renewals do not extend.
fn unextended(second: i64, next_attempt: &str) -> DingTalkAppStatus {
    let status = serde_json::json!({
        "conditions": [{
            "type": "Renewed", "status": "True", "reason": "RenewalNotExtended",
            "message": "", "lastTransitionTime": at(second).to_string(),
        }],
        "corps": [{
            "corpId": "ding1", "secretName": "payroll-token",
            "lastRenewalTime": at(second).to_string(),
            "expirationTime": at(second + 7200).to_string(), "nextAttemptTime": next_attempt,
        }],
    });
    serde_json::from_value(status).expect("a status")
}

/// Regression: such a plan of one app held back all that shared the token.
#[test]
fn a_plan_that_somebody_wrote_into_a_status_ends_with_the_token() {
    let now = 1_800_000_000;
    let mut app = app(1);
    app.status = Some(unextended(now, "9999-01-01T00:00:00Z"));
    let memory = Memory::new(&app, at(now));
    let retry_at = memory.corp("ding1").attempts(&Tokens::default()).retry_at();
    assert_eq!(retry_at, Some(at(now + 7201)));
}

/// Regression: other credentials were noticed only when the limit of the former ones was over.
#[test]
fn a_limit_that_outlives_a_restart_does_not_hold_back_other_credentials() {
    let quota = TABLE.iter().position(|row| row.class == Class::Quota);
    let quota = Outcome::Failure {
        row: quota.expect("a row"),
        wait: None,
        random: 0.5,
    };
    let fresh = Outcome::Token {
        life: 7200,
        fresh: true,
    };
    let mut world = World::new();
    let settled = world.settle(&quota);
    world.app.status = Some(world.status(&settled));
    world.restart();
    world.settle(&fresh);
    assert_eq!(world.attempts.len(), 1, "the limit stays");
    world.credentials += 1;
    world.client_id = "b".into();
    world.settle(&fresh);
    assert_eq!(world.attempts.len(), 2);
}

/// Regression: a process that wrote a token and died before it wrote the status left a failure
/// behind, whose plan led to a fetch that was not due; later, only if both were of one second.
#[test]
fn a_failure_in_a_status_is_over_if_the_secret_has_a_later_token() {
    let fresh = Outcome::Token {
        life: 7200,
        fresh: true,
    };
    for (outlives_restart, millis) in [(false, 500), (false, 10_000), (true, 500), (true, 10_000)] {
        let is_it = |row: &Row| row.class.traits().outlives_restart == outlives_restart;
        let failed = Outcome::Failure {
            row: TABLE.iter().position(is_it).expect("a row"),
            wait: None,
            random: 0.5,
        };
        let mut world = World::new();
        let settled = world.settle(&failed);
        world.app.status = Some(world.status(&settled));
        let retry_at = only(&settled).next_attempt.expect("a retry");
        world.now += SignedDuration::from_millis(millis);
        world.credentials += 1;
        world.client_id = "b".into();
        let settled = world.settle(&fresh);
        let renewal = only(&settled).next_attempt;
        world.restart();
        world.now = world.now.max(retry_at - SignedDuration::from_secs(1));
        let settled = world.settle(&fresh);
        assert_eq!(world.attempts.len(), 2, "none is due");
        assert_eq!(only(&settled).next_attempt, renewal);
        let shown = world.app.status.clone().expect("a status");
        let status = world.status_after(&settled, &shown);
        assert_eq!(status.corps[0].error, None);
        assert_eq!(status.conditions[0].reason, "TokensValid");
    }
}

/// Regression: after a restart, what a clock that was ahead had planned held back all renewals.
#[test]
fn a_plan_of_a_clock_that_was_ahead_is_not_gone_on_with() {
    let now = 1_800_000_000;
    for (ahead, is_kept) in [(0, true), (365 * 24 * 3600, false)] {
        let mut app = app(1);
        let planned_at = at(now + ahead + 6900).to_string();
        app.status = Some(unextended(now + ahead, &planned_at));
        let mut memory = Memory::new(&app, at(now));
        let lifetime = Lifetime {
            requested_at: at(now + ahead),
            expires_at: at(now + ahead + 7200),
        };
        let (corp, tokens) = (memory.corp_mut("ding1"), Tokens::default());
        let next = corp.next_fetch("u1", Some(lifetime), None, &tokens, at(now));
        let is_planned = next == Some(at(now + 6900));
        assert_eq!(is_planned, is_kept, "{ahead} s ahead");
    }
}

/// Limits hold after a restart, and the plan of a renewal that failed; any other failure without a
/// token is retried at once.
#[test]
fn a_plan_in_a_status_is_kept_for_limits_and_for_failures_beside_a_token() {
    let now = 1_800_000_000;
    let retry_at = |reason: Option<&str>, has_token: bool, next: i64| {
        let error = reason.map(|reason| serde_json::json!({"reason": reason, "sinceTime": ""}));
        let renewed_at = has_token.then(|| at(now - 100).to_string());
        let expires_at = has_token.then(|| at(now + 7100).to_string());
        let corp = serde_json::json!({
            "corpId": "ding1", "secretName": "payroll-token", "lastRenewalTime": renewed_at,
            "expirationTime": expires_at, "nextAttemptTime": at(next).to_string(), "error": error,
        });
        let mut app = app(1);
        let status = serde_json::json!({"conditions": [], "corps": [corp]});
        app.status = Some(serde_json::from_value(status).expect("a status"));
        let memory = Memory::new(&app, at(now));
        let corp = memory.corp("ding1");
        assert_eq!(corp.had_token, has_token);
        corp.attempts(&Tokens::default()).retry_at()
    };
    let next = now + 60;
    let planned = Some(at(next));
    assert_eq!(retry_at(Some("ServerError"), true, next), planned);
    assert_eq!(retry_at(Some("ServerError"), false, next), None);
    assert_eq!(retry_at(Some("Banned"), true, next), planned);
    assert_eq!(retry_at(Some("Banned"), false, next), planned);
    assert_eq!(retry_at(None, true, next), None, "it is renewed as usual");
    assert_eq!(retry_at(None, false, next), None);
    assert_eq!(retry_at(Some("SecretConflict"), true, next), None);
    assert_eq!(
        retry_at(Some("Banned"), true, now),
        Some(at(now)),
        "it is due"
    );
    let in_an_hour = Some(at(now + 3600));
    assert_eq!(retry_at(Some("Banned"), true, now + 3601), in_an_hour);
}

/// Regression: a new process took another writer's change for one of the spec.
#[test]
fn a_new_process_tells_a_changed_secret_from_a_changed_spec() {
    let mut world = with_token();
    report(&mut world);
    world.restart();
    let target = world.target.as_mut().expect("written");
    target.labels = crate::core::secret::marks::Marks::default();
    world.settle(&FRESH);
    world.app.metadata.generation = Some(2);
    world.app.spec.target.annotations = [("team".to_owned(), "hr".to_owned())].into();
    world.metadata_prefixes = vec!["team".to_owned()];
    world.restart();
    world.settle(&FRESH);
    // A former process reported this spec, but could not write it.
    report(&mut world);
    let error = CorpError {
        reason: Reason::SecretWriteFailed.as_str().to_owned(),
        ..CorpError::default()
    };
    let status = world.app.status.as_mut().expect("reported");
    status.corps[0].error = Some(error);
    world.app.spec.target.annotations = [("team".to_owned(), "it".to_owned())].into();
    world.restart();
    world.settle(&FRESH);
    let writes = [Cause::TargetChanged, Cause::SpecChanged, Cause::SpecChanged];
    assert_eq!(later(&world), (&[][..], &writes[..]));
}

/// A time in the future would make every token of another app an older one.
#[test]
fn another_apps_token_counts_if_it_is_newer_than_the_one_to_be_replaced_unless_its_time_is_wrong() {
    let newer_than = |world: &mut World| {
        world.read_credentials();
        let due = world.decide(due).pop().expect("it is due");
        due.newer_than
    };
    for is_held in [true, false] {
        let mut world = with_token();
        let requested_at = world.held().expect("a token").record.lifetime.requested_at;
        if !is_held {
            world.restart();
            world.settle(&FRESH);
        }
        assert_eq!(world.held().is_some(), is_held);
        world.now += SignedDuration::from_secs(4800);
        assert_eq!(newer_than(&mut world), Some(requested_at), "{is_held}");
        // The clock is set back, and the credentials change.
        world.now = requested_at - SignedDuration::from_hours(1);
        world.settle(&FRESH);
        world.now += SignedDuration::from_secs(10);
        world.credentials += 1;
        let former = requested_at - SignedDuration::from_secs(1);
        assert_eq!(newer_than(&mut world), is_held.then_some(former));
    }
}

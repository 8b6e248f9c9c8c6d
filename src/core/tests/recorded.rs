//! What a Secret records, written by this release or another one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::*;
use crate::dingtalk::TokenResponse;

const FRESH: Outcome = Outcome::Token {
    life: 7200,
    fresh: true,
};
const SAME: Outcome = Outcome::Token {
    life: 7200,
    fresh: false,
};

fn with_token() -> World {
    let mut world = World::new();
    world.settle(&FRESH);
    assert_eq!((world.attempts.len(), world.writes.len()), (1, 1));
    world
}

impl World {
    /// Changes the Secret's metadata as another release would have written it.
    fn of_another_release(&mut self, change: impl FnOnce(&mut TargetMeta)) {
        self.versions += 1;
        let version = self.versions.to_string();
        let target = self.target.as_mut().expect("a target");
        target.version.resource_version = version;
        change(target);
    }

    fn recorded(&mut self) -> &mut Recorded {
        let target = self.target.as_mut().expect("a target");
        target.recorded.as_mut().expect("a record")
    }

    fn request(&mut self, request: &str) {
        let key = crate::api::ANNOTATION_RENEW_REQUESTED_AT.to_owned();
        let annotations = self.app.metadata.annotations.get_or_insert_default();
        annotations.insert(key, request.to_owned());
    }

    fn is_renewed(&mut self) {
        let attempts = self.attempts.len();
        self.now += SignedDuration::from_secs(4800);
        self.settle(&FRESH);
        assert_eq!(self.attempts.len(), attempts + 1);
    }
}

/// Regression: contents that a webhook had changed were read again and again, and never renewed.
#[test]
fn a_whole_secret_that_does_not_hold_what_it_records_is_written_anew() {
    let mut world = World::new();
    world.app.spec.target.layout = crate::api::Layout::Combined;
    world.settle(&FRESH);
    let changed = "changed".to_owned().into();
    world.contents.insert("ding1.access_token".into(), changed);
    world.restart();
    world.is_renewed();
    assert_eq!(world.writes.len(), 2);
}

/// Regression: a key that only one of two releases writes caused a fetch.
#[test]
fn keys_of_another_release_stay_until_the_next_renewal() {
    let mut world = with_token();
    world.contents.remove("corp_id");
    world.contents.insert("more".into(), "x".to_owned().into());
    let contents: Vec<(String, Zeroizing<String>)> = world.contents.clone().into_iter().collect();
    world.of_another_release(|target| {
        let recorded = target.recorded.as_mut().expect("a record");
        let mut data = Data::default();
        for (key, value) in contents {
            data.0.insert(key, value);
        }
        recorded.keys = ["access_token", "expires_at", "more"]
            .map(str::to_owned)
            .into();
        recorded.digest = Some(data.digest());
        // As after a restored backup, so that the contents are read.
        target.data_is_ours = false;
    });
    world.restart();
    world.settle(&FRESH);
    assert_eq!((world.attempts.len(), world.writes.len()), (1, 1));
    world.is_renewed();
    let keys: Vec<&str> = world.contents.keys().map(String::as_str).collect();
    assert_eq!(keys, ["access_token", "corp_id", "expires_at"]);
}

#[test]
fn a_state_in_other_words_and_an_owner_of_another_version_are_not_written_over() {
    let mut world = with_token();
    world.of_another_release(|target| {
        target.annotations = crate::core::secret::marks::Marks::of(&BTreeMap::new());
        target.owner_references[0].api_version = format!("{}/v1", crate::api::GROUP);
    });
    let write = world.last_write.clone().expect("a write");
    let mut annotations: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in write.annotations {
        annotations.extend(value.map(|value| (key, value)));
    }
    let state = annotations.get_mut(crate::api::ANNOTATION_STATE);
    state.expect("a state").push(' ');
    world.of_another_release(|target| {
        target.annotations = crate::core::secret::marks::Marks::of(&annotations);
    });
    for is_restarted in [false, true] {
        if is_restarted {
            world.restart();
        }
        world.settle(&FRESH);
        assert_eq!((world.attempts.len(), world.writes.len()), (1, 1));
    }
    for change in [
        |owner: &mut OwnerReference| owner.uid = "u2".into(),
        |owner: &mut OwnerReference| owner.kind = "DingTalkTokenReference".into(),
        |owner: &mut OwnerReference| owner.api_version = "example.com/v1alpha1".into(),
    ] {
        world.now += SignedDuration::from_secs(200);
        let writes = world.writes.len();
        world.of_another_release(|target| {
            change(target.owner_references.last_mut().expect("an owner"));
        });
        world.settle(&FRESH);
        assert_eq!(world.writes.len(), writes + 1);
    }
}

#[test]
fn a_state_of_a_newer_version_costs_a_write_and_no_fetch() {
    let mut world = with_token();
    let expected = world.held();
    world.of_another_release(|target| {
        let recorded = target.recorded.as_mut().expect("a record");
        recorded.digest = None;
        recorded.templates.clear();
        recorded.keys.push("more".into());
        let token = &mut recorded.tokens[0];
        token.client_id.clear();
        token.credentials = ObjectVersion::default();
    });
    world.contents.insert("more".into(), "x".to_owned().into());
    world.restart();
    world.settle(&FRESH);
    assert_eq!((world.attempts.len(), world.writes.len()), (1, 2));
    assert_eq!(world.held(), expected);
    assert!(world.recorded().digest.is_some());
    assert!(!world.contents.contains_key("more"));
    // With other credentials it is fetched again, as any token is.
    world.credentials += 1;
    world.settle(&FRESH);
    assert_eq!(world.attempts.len(), 2);
}

/// Regression: a value that a template shows was only written with the next renewal.
#[test]
fn a_template_shows_another_client_id_though_the_token_is_the_same() {
    let mut world = World::new();
    let template = ("id".to_owned(), "{{ client_id }}".to_owned());
    world.app.spec.target.template.data = [template].into();
    world.settle(&SAME);
    assert_eq!(world.contents["id"].as_str(), "a");
    world.client_id = "b".into();
    world.credentials += 1;
    world.settle(&SAME);
    assert_eq!(world.attempts.len(), 2);
    assert_eq!(world.contents["id"].as_str(), "b");
    let writes = world.writes.len();
    world.settle(&SAME);
    assert_eq!(world.writes.len(), writes);
}

#[test]
fn a_request_that_a_secret_proves_done_is_not_repeated_without_a_status() {
    let mut world = with_token();
    world.request("as soon as possible");
    world.now += SignedDuration::from_secs(100);
    world.settle(&FRESH);
    assert_eq!(world.attempts.len(), 2);
    world.restart();
    let settled = world.settle(&FRESH);
    assert_eq!(world.attempts.len(), 2);
    let handled = world.status(&settled).last_handled_renew_request;
    assert_eq!(handled.as_deref(), Some("as soon as possible"));
    // A renewal that nobody requested answers it as well.
    world.is_renewed();
    world.restart();
    world.settle(&FRESH);
    assert_eq!(world.attempts.len(), 3);
    world.request("once more");
    world.restart();
    world.settle(&FRESH);
    assert_eq!(world.attempts.len(), 4);
}

/// Regression: a replica that regained the lease after another one had renewed the token wrote its
/// former token over the newer one.
#[test]
fn a_token_that_another_replica_has_renewed_since_is_not_written_again() {
    let renewed_elsewhere = || {
        let mut world = with_token();
        let mut other = World::new();
        other.target = world.target.clone();
        other.contents = world.contents.clone();
        (other.now, other.versions) = (world.now + SignedDuration::from_secs(5000), 20);
        other.settle(&FRESH);
        assert_eq!((other.attempts.len(), other.writes.len()), (1, 1));
        (world.now, world.target, world.contents) = (other.now, other.target, other.contents);
        world
    };
    let mut world = renewed_elsewhere();
    let settled = world.settle(&FRESH);
    assert_eq!((world.attempts.len(), world.writes.len()), (1, 1));
    let lifetime = only(&settled).in_secret.expect("a token");
    assert_eq!(lifetime.requested_at, world.now);

    // A token that this replica has fetched but not written is kept, because the clocks may differ.
    let mut world = renewed_elsewhere();
    let mut held = world.held().expect("a token");
    held.record.lifetime.requested_at = world.now - SignedDuration::from_secs(10);
    let corp = world.memory.corp_mut("ding1");
    corp.held = Some(held.clone());
    corp.unwritten_since = Some(world.now);
    world.settle(&FRESH);
    assert_eq!(world.held(), Some(held));
}

/// Regression: after a restart, the result of another app's fetch was mistaken for another value,
/// and workloads were restarted although the token was the same.
#[test]
fn the_same_token_that_another_app_has_fetched_is_no_change_though_its_value_was_not_read() {
    for (fetched, is_changed) in [("token", false), ("another", true)] {
        let mut world = World::new();
        let template = ("header".to_owned(), "{{ access_token }}".to_owned());
        world.app.spec.target.template.data = [template].into();
        world.settle(&SAME);
        world.now += SignedDuration::from_secs(1000);
        world.restart();
        world.settle(&SAME);
        assert_eq!(world.held(), None, "only its record is known");
        world.read_credentials();
        let pending = PendingFetch {
            uid: "u2".into(),
            ..world.queue()
        };
        let response = TokenResponse {
            token: AccessToken::new(fetched.into()).expect("a token"),
            expires_in: Duration::from_secs(7200),
        };
        world
            .tokens
            .succeeded(&pending, response, world.now, world.now);
        world.settle(&SAME);
        assert_eq!((world.attempts.len(), world.writes.len()), (1, 2));
        assert_eq!(world.contents["header"].as_str(), fetched);
        let changed_at = world.recorded().value_changed_at;
        assert_eq!(changed_at.is_some(), is_changed, "{fetched}");
    }
}

/// Returns a world in which another app has fetched a token with the present credentials.
fn with_shared() -> World {
    let mut world = World::new();
    world.app.spec.rollout_restart_targets = vec![crate::api::RolloutRestartTarget {
        kind: crate::api::WorkloadKind::Deployment,
        name: "web".into(),
    }];
    world.read_credentials();
    let pending = PendingFetch {
        uid: "u2".into(),
        ..world.queue()
    };
    let another = crate::api::AppRef::new("another");
    let interest = crate::core::token::tokens::Interest::Active;
    world.tokens.interested(pending.token, &another, interest);
    let response = TokenResponse {
        token: AccessToken::new("shared".into()).expect("a token"),
        expires_in: HOUR * 2,
    };
    let now = world.now;
    world.tokens.succeeded(&pending, response, now, now);
    world
}

/// Regression: workloads were not restarted for a shared token that was fetched before the former
/// one.
#[test]
fn workloads_are_restarted_for_an_older_token_that_takes_the_place_of_a_newer_one() {
    let mut world = with_shared();
    let mut step = |credentials: u64, client_id: &str| {
        world.now += SignedDuration::from_secs(100);
        world.credentials = credentials;
        world.client_id = client_id.to_owned();
        let settled = world.settle(&FRESH);
        let (app, now) = (world.app.clone(), world.now);
        let step = world.memory.restarts.step(&app, &settled, now);
        let held = world.held().expect("a token").token;
        (held.expose().to_owned(), step)
    };
    assert_eq!(step(2, "b"), ("token1".to_owned(), Restart::Nothing));
    assert_eq!(step(1, "a"), ("shared".to_owned(), Restart::Now));
}

/// Regression: an app whose credentials changed there and back, between two secrets of one client,
/// took a token again that had been revoked meanwhile.
#[test]
fn a_token_does_not_give_way_to_an_older_one_of_the_same_client() {
    let mut world = with_shared();
    for (credentials, token) in [(2, "token1"), (1, "token2")] {
        world.now += SignedDuration::from_secs(100);
        world.credentials = credentials;
        world.settle(&FRESH);
        let held = world.held().expect("a token").token;
        assert_eq!(held.expose(), token);
    }
}

/// Two values may have one record, whose times are in whole seconds.
#[test]
fn an_unwritten_token_is_written_though_the_secret_has_the_same_record() {
    let mut world = with_token();
    let corp = world.memory.corp_mut("ding1");
    let held = corp.held.as_mut().expect("a token");
    held.token = AccessToken::new("another".into()).expect("a token");
    corp.unwritten_since = Some(world.now);
    world.settle(&FRESH);
    assert_eq!(world.writes.len(), 2);
    assert_eq!(world.contents["access_token"].as_str(), "another");
}

#[test]
fn a_changed_layout_changes_the_keys_and_costs_no_fetch() {
    let mut world = with_token();
    world.app.spec.target.layout = crate::api::Layout::Combined;
    world.app.metadata.generation = Some(2);
    world.settle(&FRESH);
    assert_eq!((world.attempts.len(), world.writes.len()), (1, 2));
    let keys: Vec<&String> = world.contents.keys().collect();
    assert_eq!(keys, ["ding1.access_token", "ding1.expires_at"]);
}

/// A value may have changed before its last renewal.
#[test]
fn a_value_is_news_if_it_changed_after_the_recorded_token_was_requested() {
    let new_tokens = |changed: Option<i64>| {
        let mut world = with_token();
        world.now += SignedDuration::from_secs(300);
        let now = world.now;
        let corp = world.memory.corp_mut("ding1");
        let record = &mut corp.held.as_mut().expect("a token").record;
        let former = record.lifetime.requested_at;
        record.lifetime = lifetime(now, HOUR * 2);
        corp.value_changed_at = changed.map(|later| former + SignedDuration::from_secs(later));
        corp.unwritten_since = Some(now);
        world.settle(&FRESH);
        assert_eq!(world.writes.len(), 2);
        world.last_write.expect("a write").news.new_tokens
    };
    assert_eq!(new_tokens(None), 0, "the same value lives longer");
    assert_eq!(new_tokens(Some(-100)), 0);
    assert_eq!(new_tokens(Some(100)), 1);
    assert_eq!(new_tokens(Some(300)), 1);
}

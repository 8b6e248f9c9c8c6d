//! Whose Secrets are trusted.

use super::*;
use crate::core::index::app::COMPARED;
use crate::core::index::sharers::LOOKED_AT;

#[test]
fn only_an_apps_own_secret_with_plausible_times_is_a_candidate_to_share() {
    let now: Timestamp = "2099-01-01T00:30:00Z".parse().expect("a time");
    let at = "2099-01-01T00:00:00Z";
    let known = crate::core::KnownCredentials {
        reference: app("one", "u1", 1, "t").spec.credentials_secret_ref,
        client_id: "dingapp".into(),
        version: ObjectVersion::default(),
        fingerprint: crate::dingtalk::Fingerprint::default(),
    };
    let mut index = Index::default();
    let (one, two) = (
        app("one", "u1", 2, "token-1"),
        app("two", "u2", 3, "token-2"),
    );
    index.app_applied(&one);
    index.app_applied(&two);
    let found = |index: &Index, namespace: &str, client_id: &str, at: Timestamp| {
        let wanting = AppRef::new("new").within(namespace);
        let known = crate::core::KnownCredentials {
            client_id: client_id.into(),
            ..known.clone()
        };
        let query = crate::core::TokenQuery {
            app: &wanting,
            site: "global",
            corp_id: "ding1",
            known: &known,
        };
        let sharers = [app_ref(&one), app_ref(&two)];
        let candidates = index.candidates(&query, &sharers, at);
        let names = candidates.into_iter().map(|candidate| candidate.secret);
        names.collect::<Vec<_>>()
    };
    let mut version = 20;
    let mut see = |index: &mut Index, mut meta: ObjectMeta| {
        version += 1;
        meta.resource_version = Some(version.to_string());
        index.secret_applied(meta);
    };
    see(&mut index, written("token-1", "one", "u1", MANAGER, at));
    let newer = "2099-01-01T00:10:00Z";
    see(&mut index, written("token-2", "two", "u2", MANAGER, newer));
    assert_eq!(
        found(&index, "hr", "dingapp", now),
        ["token-2", "token-1"],
        "the newest first"
    );
    assert!(found(&index, "elsewhere", "dingapp", now).is_empty());
    assert!(found(&index, "hr", "dingother", now).is_empty());
    // Not before it can have been fetched, nor with an impossible lifetime.
    let early = "2098-12-31T23:58:00Z".parse().expect("a time");
    assert!(found(&index, "hr", "dingapp", early).is_empty());
    see(
        &mut index,
        written("token-2", "two", "u2", MANAGER, "2098-01-01T00:00:00Z"),
    );
    assert_eq!(found(&index, "hr", "dingapp", now), ["token-1"]);
    for forged in [
        written("token-1", "one", "u1", "kubectl", at),
        written("token-1", "two", "u1", MANAGER, at),
        written("token-1", "two", "u2", MANAGER, at),
    ] {
        see(&mut index, forged);
        assert!(found(&index, "hr", "dingapp", now).is_empty());
    }
    see(&mut index, written("token-1", "one", "u1", MANAGER, at));
    assert_eq!(found(&index, "hr", "dingapp", now), ["token-1"]);
    // An older app claims the Secret.
    index.app_applied(&app("oldest", "u0", 1, "token-1"));
    assert!(found(&index, "hr", "dingapp", now).is_empty());
}

/// Regression: after a process had died between two writes of one token, the next one left the app
/// alone whose Secret held the former token.
#[test]
fn a_newer_token_in_the_secret_of_another_app_is_noticed() {
    let now: Timestamp = "2099-01-01T00:30:00Z".parse().expect("a time");
    let (older, newer) = ("2099-01-01T00:00:00Z", "2099-01-01T00:10:00Z");
    let outdated = |at_one: &str, at_two: &str, now: Timestamp| {
        let mut index = Index::default();
        let (one, two) = (
            app("one", "u1", 2, "token-1"),
            app("two", "u2", 3, "token-2"),
        );
        index.app_applied(&one);
        index.app_applied(&two);
        for (version, mut meta) in [
            (20, written("token-1", "one", "u1", MANAGER, at_one)),
            (21, written("token-2", "two", "u2", MANAGER, at_two)),
        ] {
            meta.resource_version = Some(version.to_string());
            index.secret_applied(meta);
        }
        [&one, &two].map(|app| index.outdated(&app_ref(app), now))
    };
    let nothing: Vec<String> = Vec::new();
    let corp = vec!["ding1".to_owned()];
    assert_eq!(outdated(older, newer, now), [corp.clone(), nothing.clone()]);
    assert_eq!(outdated(newer, older, now), [nothing.clone(), corp]);
    assert_eq!(
        outdated(newer, newer, now),
        [nothing.clone(), nothing.clone()]
    );
    let expired = now + jiff::SignedDuration::from_hours(24);
    assert_eq!(outdated(older, newer, expired), [nothing.clone(), nothing]);
}

#[test]
fn apps_share_what_they_have_the_site_the_corp_and_the_client_id_of() {
    let mut index = Index::default();
    let (one, two) = (app("one", "u1", 1, "t1"), app("two", "u2", 2, "t2"));
    for app in [&one, &two] {
        index.app_applied(app);
    }
    let seats = |index: &Index, app| index.seats_of(&app_ref(app)).collect::<Vec<_>>();
    let sharers = |index: &Index, client_id: &str, corp_id: &str| {
        index.sharers(&app_ref(&one), "global", client_id, corp_id)
    };
    assert!(seats(&index, &one).is_empty(), "its client_id is unknown");
    for app in [&one, &two] {
        index.client_known(&app_ref(app), "a");
    }
    let seat = ("global".to_owned(), "a".to_owned(), "ding1".to_owned());
    assert_eq!(seats(&index, &one), [seat]);
    assert_eq!(sharers(&index, "a", "ding1"), [app_ref(&two)]);
    assert!(sharers(&index, "b", "ding1").is_empty());
    assert!(sharers(&index, "a", "ding2").is_empty());
    index.client_known(&app_ref(&two), "b");
    assert!(sharers(&index, "a", "ding1").is_empty());
    assert_eq!(sharers(&index, "b", "ding1"), [app_ref(&two)]);
    let mut changed = two.clone();
    changed.spec.corp_ids = vec!["ding2".to_owned()];
    index.app_applied(&changed);
    assert_eq!(sharers(&index, "b", "ding2"), [app_ref(&two)]);
    changed.spec.credentials_secret_ref.name = "others".to_owned();
    index.app_applied(&changed);
    assert!(seats(&index, &two).is_empty(), "other credentials");
}

#[test]
fn an_apps_secret_tells_the_client_id_until_its_credentials_are_read() {
    let mut index = Index::default();
    let payroll = app("payroll", "u1", 1, "token");
    let at = "2099-01-01T00:00:00Z";
    let seat = (
        "global".to_owned(),
        "dingapp".to_owned(),
        "ding1".to_owned(),
    );
    let seats = |index: &Index| index.seats_of(&app_ref(&payroll)).collect::<Vec<_>>();
    index.app_applied(&payroll);
    index.secret_applied(written("token", "payroll", "u1", MANAGER, at));
    assert_eq!(seats(&index), std::slice::from_ref(&seat));
    // The Secret was seen before the app.
    index.app_deleted(&app_ref(&payroll));
    index.app_applied(&payroll);
    assert_eq!(seats(&index), [seat]);
}

/// Returns an index with this many apps that have one token, each in its own Secret, and one app
/// whose token is newer.
fn with_sharers(count: usize) -> (Index, Vec<AppRef>) {
    let mut index = Index::default();
    let keys = (0..count).map(|number| {
        let (name, target) = (format!("app{number}"), format!("token-{number}"));
        let app = app(&name, &name, 1, &target);
        index.app_applied(&app);
        let minute = if number == count / 2 { 10 } else { 0 };
        let at = format!("2099-01-01T00:{minute:02}:00Z");
        index.secret_applied(written(&target, &name, &name, MANAGER, &at));
        app_ref(&app)
    });
    let keys = keys.collect();
    (index, keys)
}

/// Regression: each of a thousand apps with one token was compared with each other one when a
/// process started.
#[test]
fn twice_the_apps_with_one_token_cost_twice_as_much_to_compare() {
    let now: Timestamp = "2099-01-01T00:30:00Z".parse().expect("a time");
    for count in [100, 200] {
        let (mut index, keys) = with_sharers(count);
        LOOKED_AT.set(0);
        let outdated = |index: &mut Index| {
            let outdated = keys.iter().map(|key| index.outdated(key, now).len());
            outdated.sum::<usize>()
        };
        assert_eq!(outdated(&mut index), count - 1);
        assert_eq!(LOOKED_AT.get(), count);
        index.compare_again();
        outdated(&mut index);
        assert_eq!(LOOKED_AT.get(), 2 * count);
    }
}

#[test]
fn what_an_app_is_compared_with_follows_who_comes_and_goes_and_is_of_its_namespace() {
    let now: Timestamp = "2099-01-01T00:30:00Z".parse().expect("a time");
    let (mut index, keys) = with_sharers(3);
    let one = vec!["ding1".to_owned()];
    assert_eq!(index.outdated(&keys[0], now), one);
    let newest = app("app1", "app1", 1, "token-1");
    index.app_deleted(&app_ref(&newest));
    assert!(index.outdated(&keys[0], now).is_empty());
    index.app_applied(&newest);
    assert_eq!(index.outdated(&keys[0], now), one);
    index.app_deleted(&app_ref(&newest));
    let elsewhere = |metadata: &mut ObjectMeta| metadata.namespace = Some("web".to_owned());
    let mut other = newest.clone();
    elsewhere(&mut other.metadata);
    index.app_applied(&other);
    let at = "2099-01-01T00:10:00Z";
    let mut secret = written("token-1", "app1", "app1", MANAGER, at);
    elsewhere(&mut secret);
    index.secret_applied(secret);
    assert!(index.outdated(&keys[0], now).is_empty());
}

/// An app is not looked at before the Secrets of its namespace have been listed, but one of another
/// namespace with the same token may be.
#[test]
fn what_an_app_is_compared_with_includes_all_that_a_list_contains() {
    let now: Timestamp = "2099-01-01T00:30:00Z".parse().expect("a time");
    let (mut index, keys) = with_sharers(2);
    assert!(index.outdated(&keys[1], now).is_empty());
    index.secrets_listing(None);
    for (name, minute) in [("0", 20), ("1", 10)] {
        let app = format!("app{name}");
        let at = format!("2099-01-01T00:{minute}:00Z");
        let mut secret = written(&format!("token-{name}"), &app, &app, MANAGER, &at);
        secret.resource_version = Some("21".into());
        index.secret_in_list(secret);
    }
    index.secrets_listed(None);
    assert_eq!(index.outdated(&keys[1], now), ["ding1"]);
}

/// Regression: all corps of the app were read once for each of its queued fetches.
#[test]
fn whether_a_fetch_is_still_wanted_costs_no_look_at_every_corp() {
    let mut index = Index::default();
    let mut app = app("payroll", "u1", 1, "token");
    app.metadata.generation = Some(2);
    app.spec.corp_ids = (0..1000).rev().map(|n| format!("ding{n}")).collect();
    index.app_applied(&app);
    let key = app_ref(&app);
    COMPARED.set(0);
    for n in 0..1000 {
        let corp_id = format!("ding{n}");
        assert!(!index.wants_no_longer(&key, Some(1), "global", &corp_id));
    }
    assert!(index.wants_no_longer(&key, Some(1), "global", "ding1000"));
    assert!(COMPARED.get() < 1001 * 12, "{}", COMPARED.get());
}

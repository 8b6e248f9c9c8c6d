//! Events and responses that arrive late.

use super::*;

/// Returns a version of the Secret with this UID.
fn of(uid: &str, version: &str) -> ObjectMeta {
    ObjectMeta {
        uid: Some(uid.into()),
        ..secret("token", version, Some(("payroll", "u1")))
    }
}

#[test]
fn an_older_state_that_arrives_late_changes_nothing() {
    let payroll = app("payroll", "u1", 1, "token");
    let mut index = Index::default();
    index.app_applied(&payroll);
    index.secret_applied(secret("token", "10", Some(("payroll", "u1"))));
    assert!(index.secret_applied(secret("token", "9", None)).is_empty());
    assert_eq!(ownership_of(&index, &payroll), Some(Ownership::Ours));
}

/// Regression: an app that was read because it was served again brought an older version back, with
/// which nothing looked at it any more, or a deleted app.
#[test]
fn an_app_that_was_read_changes_nothing_if_the_watch_was_faster() {
    let of = |version: &str, target: &str| {
        let mut app = app("payroll", "u1", 1, target);
        app.metadata.resource_version = Some(version.into());
        app
    };
    let mut index = Index::default();
    let (old, new) = (of("10", "old"), of("20", "new"));
    index.app_read(&old);
    assert!(
        !index.admission.knows(&app_ref(&old)),
        "never reported, or deleted"
    );
    index.app_applied(&new);
    index.app_read(&old);
    assert!(index.apps[&app_ref(&new)].targets.contains("new"));
    let mut recreated = of("30", "another");
    recreated.metadata.uid = Some("u2".into());
    index.app_read(&recreated);
    assert!(index.apps[&app_ref(&new)].targets.contains("new"));
    index.app_read(&of("20", "same"));
    assert!(index.apps[&app_ref(&new)].targets.contains("same"));
    index.app_read(&of("21", "newer"));
    assert!(index.apps[&app_ref(&new)].targets.contains("newer"));
}

/// Regression: a Secret with a finalizer that was being deleted counted as gone, and was created again
/// without end.
#[test]
fn a_secret_that_a_finalizer_holds_is_there_until_the_watch_reports_its_deletion() {
    let mut index = Index::default();
    let payroll = app("payroll", "u1", 1, "token");
    let key = app_ref(&payroll);
    index.app_applied(&payroll);
    index.secret_applied(of("s1", "10"));
    let asked = index.asks("hr", "token");
    let mut deleting = of("s1", "11");
    deleting.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    index.secret_applied(deleting);
    index.secret_not_found("hr", "token", &asked);
    let secret = index.secret(&key, "token");
    assert!(secret.is_some_and(|secret| secret.deleting));
    index.secret_deleted(&of("s1", "12"));
    assert!(index.secret(&key, "token").is_none());
}

/// The watch may report it after the response to the operator's write of the next Secret of that
/// name.
#[test]
fn the_deletion_of_a_former_secret_of_that_name_that_arrives_late_changes_nothing() {
    let mut index = Index::default();
    let payroll = app("payroll", "u1", 1, "token");
    index.app_applied(&payroll);
    index.secret_applied(of("new", "20"));
    assert!(index.secret_deleted(&of("former", "10")).is_empty());
    assert!(index.secret(&app_ref(&payroll), "token").is_some());
    index.secret_deleted(&of("new", "21"));
    assert!(index.secret(&app_ref(&payroll), "token").is_none());
}

/// Regression: after a backup of etcd was restored, every state was older, and was ignored.
#[test]
fn a_list_takes_back_what_a_restored_backup_does_not_have_and_no_answer_that_came_meanwhile() {
    let mut index = Index::default();
    let payroll = app("payroll", "u1", 1, "token");
    let key = app_ref(&payroll);
    index.app_applied(&payroll);
    let version = |index: &Index| {
        let secret = index.secret(&key, "token").expect("a Secret");
        secret.version.resource_version.clone()
    };
    index.secret_applied(of("s1", "20"));
    index.secrets_listing(None);
    index.secret_in_list(of("s1", "10"));
    index.secrets_listed(None);
    assert_eq!(version(&index), "10");
    index.secrets_listing(None);
    let asked = index.asks("hr", "token");
    index.secret_answered(of("s1", "21"), &asked);
    index.secret_in_list(of("s1", "10"));
    index.secrets_listed(None);
    assert_eq!(version(&index), "21", "a write during the list");
}

/// The response to a call races with the watch events of what followed it.
#[test]
fn an_answer_that_comes_late_neither_brings_a_secret_back_nor_takes_one_away() {
    let mut index = Index::default();
    let payroll = app("payroll", "u1", 1, "token");
    index.app_applied(&payroll);
    index.secret_applied(of("former", "10"));
    index.secret_deleted(&of("former", "12"));
    index.secret_applied(of("former", "11"));
    assert_eq!(ownership_of(&index, &payroll), None, "our write of it");
    // A restored backup of etcd may bring back the very same object.
    index.secrets_listing(None);
    index.secret_in_list(of("former", "11"));
    assert_eq!(ownership_of(&index, &payroll), Some(Ownership::Ours));
    let asked = index.asks("hr", "token");
    index.secret_applied(of("new", "13"));
    index.secret_not_found("hr", "token", &asked);
    assert_eq!(
        ownership_of(&index, &payroll),
        Some(Ownership::Ours),
        "our deletion of the former one"
    );
    let asked = index.asks("hr", "token");
    index.secret_not_found("hr", "token", &asked);
    assert_eq!(ownership_of(&index, &payroll), None);
}

/// Regression: the response to a write counted as an existing Secret after the deletion of the Secret
/// and its app had been reported, and the next app of that Secret was refused it.
#[test]
fn an_answer_about_a_secret_that_nobody_wants_any_more_brings_nothing_back() {
    let mut index = Index::default();
    let payroll = app("payroll", "u1", 1, "token");
    index.app_applied(&payroll);
    let asked = index.asks("hr", "token");
    index.app_deleted(&app_ref(&payroll));
    index.secret_applied(of("s1", "10"));
    index.secret_deleted(&of("s1", "11"));
    index.secret_answered(of("s1", "10"), &asked);
    let next = app("next", "u2", 1, "token");
    index.app_applied(&next);
    assert_eq!(ownership_of(&index, &next), None);
}

/// Regression: a late response to a write was trusted during or after a list that no longer had the
/// Secret, and nothing else reported that it was gone.
#[test]
fn an_answer_to_what_was_asked_before_a_list_ended_brings_nothing_back_that_the_list_lacks() {
    let payroll = app("payroll", "u1", 1, "token");
    for comes_during_the_list in [true, false] {
        let mut index = Index::default();
        index.app_applied(&payroll);
        let asked = index.asks("hr", "token");
        index.secrets_listing(None);
        if comes_during_the_list {
            index.secret_answered(of("token", "10"), &asked);
        }
        index.secrets_listed(None);
        if !comes_during_the_list {
            index.secret_answered(of("token", "10"), &asked);
        }
        assert_eq!(ownership_of(&index, &payroll), None);
        // It was written after the list, so the watch reports it.
        index.secret_applied(of("token", "10"));
        assert_eq!(ownership_of(&index, &payroll), Some(Ownership::Ours));
        index.secret_answered(of("token", "11"), &asked);
        let version = index
            .present(&("hr".into(), "token".into()))
            .map(|it| &it.version);
        assert_eq!(version.map(|it| it.resource_version.as_str()), Some("11"));
    }
}

/// Regression: the event of a Secret's creation that came after the operator had deleted it brought it
/// back, so that its token counted as being there, and the last other Secret with it was deleted.
#[test]
fn an_event_of_a_secret_that_the_operator_has_deleted_since_brings_nothing_back() {
    let payroll = app("payroll", "u1", 1, "another");
    let is_there = |index: &Index| index.secret(&app_ref(&payroll), "token").is_some();
    let mut index = Index::default();
    index.app_applied(&payroll);
    let asked = index.asks("hr", "token");
    index.secret_answered(of("s1", "10"), &asked);
    let asked = index.asks("hr", "token");
    index.secret_not_found("hr", "token", &asked);
    index.secret_applied(of("s1", "10"));
    assert!(!is_there(&index));
    let mut deleting = of("s1", "11");
    deleting.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    index.secret_applied(deleting);
    assert!(is_there(&index), "a finalizer holds it");
    index.secret_deleted(&of("s1", "12"));
    index.secret_applied(of("s2", "13"));
    assert!(is_there(&index), "the next one of that name");
}

/// Regression: only the last Secret of a target's name that the operator had deleted stayed away, and
/// those before it came back with their late events.
#[test]
fn events_of_several_secrets_of_one_name_that_the_operator_has_deleted_since_bring_none_back() {
    let payroll = app("payroll", "u1", 1, "token");
    let mut index = Index::default();
    index.app_applied(&payroll);
    for uid in ["s1", "s2"] {
        let version = if uid == "s1" { "10" } else { "12" };
        let asked = index.asks("hr", "token");
        index.secret_answered(of(uid, version), &asked);
        let asked = index.asks("hr", "token");
        index.secret_not_found("hr", "token", &asked);
    }
    let is_there = |index: &Index| index.secret(&app_ref(&payroll), "token").is_some();
    index.secret_applied(of("s1", "10"));
    assert!(!is_there(&index));
    index.secret_deleted(&of("s1", "11"));
    index.secret_applied(of("s2", "12"));
    assert!(!is_there(&index));
    index.secret_deleted(&of("s2", "13"));
    index.secret_applied(of("s3", "14"));
    assert!(is_there(&index), "the next one of that name");
}

/// A restored backup of etcd may bring back the very same object.
#[test]
fn a_list_brings_back_a_secret_that_was_deleted() {
    let payroll = app("payroll", "u1", 1, "another");
    let mut index = Index::default();
    index.app_applied(&payroll);
    index.secret_applied(of("s1", "10"));
    index.secret_deleted(&of("s1", "11"));
    index.secrets_listing(None);
    index.secret_in_list(of("s1", "10"));
    index.secrets_listed(None);
    assert!(index.secret(&app_ref(&payroll), "token").is_some());
}

/// The Secret was either deleted before the list or written after it.
#[test]
fn a_secret_that_a_list_lacks_although_it_was_written_meanwhile_is_there_once_an_event_says_so() {
    let payroll = app("payroll", "u1", 1, "another");
    let mut index = Index::default();
    index.app_applied(&payroll);
    index.secrets_listing(None);
    let asked = index.asks("hr", "token");
    index.secret_answered(of("s1", "10"), &asked);
    index.secrets_listed(None);
    let is_there = |index: &Index| index.secret(&app_ref(&payroll), "token").is_some();
    assert!(!is_there(&index));
    index.secret_applied(of("s1", "10"));
    assert!(is_there(&index));
}

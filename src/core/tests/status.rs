//! Which status a report starts from.

use super::*;
use crate::api::DingTalkAppStatus;

/// A reconciliation that began before the watch delivered the operator's own write would otherwise
/// mistake the status before it for the present one, and report the same change twice.
#[test]
fn a_state_older_than_what_was_written_and_seen_is_not_reported_on() {
    let seen = |version: &str, secret: &str| {
        let mut app = app(1);
        app.metadata.resource_version = Some(version.to_owned());
        app.status = Some(DingTalkAppStatus {
            secret: Some(secret.to_owned()),
            ..DingTalkAppStatus::default()
        });
        app
    };
    let shown = |memory: &Memory, app: &DingTalkApp| {
        let shown = app.status.as_ref();
        let previous = memory.written_status.previous(&app.metadata, shown)?;
        Some((previous.status.secret?, previous.version?))
    };
    let (former, ours) = (seen("9", "former"), seen("10", "ours"));
    let mut memory = Memory::new(&former, at(0));
    let status = ours.status.clone().expect("a status");
    memory
        .written_status
        .wrote(status, Some("10".to_owned()), at(0));
    let is = |secret: &str, version: &str| Some((secret.to_owned(), version.to_owned()));
    assert_eq!(shown(&memory, &former), is("ours", "10"));
    // The list is not complete yet.
    memory.written_status.listed(&ours.metadata);
    assert_eq!(shown(&memory, &former), is("ours", "10"));
    memory.written_status.arrived(&former.metadata);
    memory.written_status.arrived(&ours.metadata);
    assert_eq!(shown(&memory, &former), None);
    assert_eq!(shown(&memory, &ours), is("ours", "10"));
    let another = seen("11", "another");
    assert_eq!(shown(&memory, &another), is("another", "11"));
    // Regression: after a restored backup of etcd, every state was older, and was looked at
    // without end.
    memory.written_status.listed(&former.metadata);
    assert_eq!(shown(&memory, &former), is("former", "9"));
}

#[test]
fn nothing_is_stalled_where_waiting_helps() {
    for (reason, is_stalled, scope) in [
        (Reason::QuotaExceeded, false, None),
        (Reason::Banned, false, Some("Corp")),
        (Reason::InvalidCredentials, true, None),
    ] {
        let mut world = World::new();
        let row = TABLE.iter().position(|row| row.reason == reason);
        let settled = world.settle(&Outcome::Failure {
            row: row.expect("a row"),
            wait: None,
            random: 0.0,
        });
        let status = world.status(&settled);
        let mut conditions = status.conditions.iter();
        let stalled = conditions.any(|it| it.type_ == CONDITION_STALLED);
        assert_eq!(stalled, is_stalled, "{reason:?}");
        let error = status.corps[0].error.as_ref().expect("an error");
        assert_eq!(error.scope.as_deref(), scope, "whom it concerns");
        assert!(!error.since_time.is_empty());
    }
}

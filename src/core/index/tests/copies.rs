//! Copies and what is under their names.

use jiff::SignedDuration;
use serde_json::json;

use super::references::reference;
use super::room::{fillers, heavy};
use super::*;
use crate::api::{
    Cause, DingTalkTokenReference, GrantedNamespace, Layout, Reason, ReferenceGrant, reference_ref,
};
use crate::core::{
    CopyStep, ReferenceMemory, ReferenceStep, Told, WriteOutcome, copy_now, copy_write,
    reference_step,
};

/// Returns a reference whose copy is `token` in namespace `web`.
fn copying() -> DingTalkTokenReference {
    reference(&json!({}), &json!({"name": "token"}))
}

/// Returns an index in which an app grants its tokens to the namespace of a reference.
pub(super) fn granted(mut payroll: DingTalkApp, reference: &DingTalkTokenReference) -> Index {
    payroll.spec.reference_grants = vec![ReferenceGrant {
        namespace: "web".into(),
    }];
    payroll.status.get_or_insert_default().granted_namespaces = vec![GrantedNamespace {
        namespace: "web".into(),
        uid: "n1".into(),
    }];
    let mut index = Index::default();
    index.app_applied(&payroll);
    index.reference_applied(reference);
    index.namespace_read(&reference_ref(reference), "r1", "n1".into());
    index
}

/// Returns the app's Secret.
fn source() -> ObjectMeta {
    written("token", "payroll", "u1", MANAGER, "2099-01-01T00:00:00Z")
}

fn with_source(reference: &DingTalkTokenReference) -> Index {
    let mut index = granted(app("payroll", "u1", 1, "token"), reference);
    index.secret_applied(source());
    index
}

fn now() -> Timestamp {
    "2099-01-01T00:30:00Z".parse().expect("a time")
}

/// Returns the condition and the time of the next look, or the name of the only step.
fn step(
    index: &Index,
    memory: &mut ReferenceMemory,
    now: Timestamp,
) -> Result<(Told, Option<Timestamp>), &'static str> {
    let reference = copying();
    let view = index.reference_view(&reference).expect("known");
    match reference_step(&view, memory, now) {
        ReferenceStep::Settle { told, wake_at, .. } => Ok((told, wake_at)),
        ReferenceStep::Copies(steps) => match &steps[..] {
            [CopyStep::Write { .. }] => Err("write"),
            [CopyStep::Look { .. }] => Err("look"),
            _ => Err("another step"),
        },
        ReferenceStep::ReadNamespace => Err("read the namespace"),
    }
}

/// Regression: it was written once a minute as if somebody else kept changing it and, after a restart,
/// was taken for a foreign Secret.
#[test]
fn a_copy_whose_metadata_is_past_the_bounds_is_named_and_not_written() {
    let reference = copying();
    let mut index = with_source(&reference);
    let mut memory = ReferenceMemory::new("r1");
    let is_first = step(&index, &mut memory, now());
    assert_eq!(is_first.err(), Some("write"));
    let recorded = TargetMeta::of(source()).recorded.expect("a record");
    let write = copy_write(&reference, "token", recorded, None);
    let written = WriteOutcome::Done(ObjectVersion {
        uid: "secret-uid".into(),
        resource_version: "30".into(),
    });
    memory
        .writing("token")
        .ended(&write, written, Some(1), now());
    let mut copy = ObjectMeta {
        namespace: Some("web".into()),
        ..secret("token", "31", Some(("payroll", "r1")))
    };
    let others = (0..300).map(|n| (format!("other/{n}"), String::new()));
    copy.annotations.get_or_insert_default().extend(others);
    index.secret_applied(copy);
    for mut memory in [memory, ReferenceMemory::new("r1")] {
        let (told, wake_at) = step(&index, &mut memory, now()).expect("at rest");
        assert_eq!(told.reason, Reason::TargetMetadataTooLarge);
        assert!(told.message.contains("256 labels"), "{}", told.message);
        assert_eq!(wake_at, None, "the watch reports its changes");
    }
}

#[test]
fn a_copy_that_there_was_no_room_for_is_looked_at_once_a_minute_until_there_is() {
    let reference = copying();
    let mut index = with_source(&reference);
    let mut memory = ReferenceMemory::new("r1");
    for filler in fillers("web") {
        index.secret_applied(filler);
    }
    let copy = || heavy("web", "token", "31", "r1");
    index.secret_applied(copy());
    let minute = SignedDuration::from_secs(60);
    for looks in 0..3 {
        let at = now() + minute * looks;
        let (told, wake_at) = step(&index, &mut memory, at).expect("at rest");
        assert_eq!(told.reason, Reason::TargetMetadataTooLarge);
        assert_eq!(wake_at, Some(at + minute));
        let is_due = step(&index, &mut memory, at + minute);
        assert_eq!(is_due.err(), Some("look"), "{looks}");
    }
    for filler in fillers("web") {
        index.secret_deleted(&filler);
    }
    let asked = index.asks("web", "token");
    index.secret_answered(copy(), &asked);
    let is_known = step(&index, &mut memory, now());
    assert_eq!(is_known.err(), Some("write"));
}

/// Regression: hundreds of bytes were kept for each copy that an app's spec allows, whether there was
/// anything to copy or not.
#[test]
fn nothing_is_kept_for_copies_without_a_source_and_many_of_them_are_still_looked_at_less_often() {
    let mut payroll = app("payroll", "u1", 1, "token");
    payroll.spec.target.layout = Layout::PerCorp;
    payroll.spec.corp_ids = (0..60).map(|n| format!("ding{n}")).collect();
    let index = granted(payroll, &copying());
    let mut memory = ReferenceMemory::new("r1");
    let (told, _) = step(&index, &mut memory, now()).expect("at rest");
    assert_eq!(told.reason, Reason::Pending);
    let kept = format!("{memory:?}");
    assert!(!kept.contains("token-ding7"), "{kept}");
    assert_eq!(memory.begin_look(Some(1), now()), None);
    assert!(memory.begin_look(Some(1), now()).is_some());
}

#[test]
fn a_foreign_secret_that_appears_while_the_source_is_read_is_not_written_over() {
    let reference = copying();
    let mut index = with_source(&reference);
    let mut memory = ReferenceMemory::new("r1");
    let source = TargetMeta::of(source());
    let mut is_written = |index: &Index| {
        let view = index.reference_view(&reference).expect("known");
        copy_now(&view, &mut memory, "token", &source, now()).is_some()
    };
    assert!(is_written(&index));
    index.secret_applied(ObjectMeta {
        namespace: Some("web".into()),
        ..secret("token", "31", None)
    });
    assert!(!is_written(&index));
}

#[test]
fn a_contested_copy_is_looked_at_once_a_minute_until_the_contest_is_over() {
    let reference = copying();
    let mut index = with_source(&reference);
    let mut memory = ReferenceMemory::new("r1");
    let recorded = TargetMeta::of(source()).recorded.expect("a record");
    let write = copy_write(&reference, "token", recorded.clone(), None);
    let version = ObjectVersion {
        uid: "secret-uid".into(),
        resource_version: "31".into(),
    };
    // The second write of the same is a repair.
    for _ in 0..2 {
        let done = WriteOutcome::Done(version.clone());
        memory.writing("token").ended(&write, done, None, now());
    }
    memory.writing("token").contested = true;
    let set = |map: &BTreeMap<String, Option<String>>| {
        let set = map
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        set.collect::<BTreeMap<_, _>>()
    };
    index.secret_applied(ObjectMeta {
        namespace: Some("web".into()),
        labels: Some(set(&write.labels)),
        annotations: Some(set(&write.annotations)),
        owner_references: Some(write.owner_references.clone()),
        ..secret("token", "31", None)
    });
    let (told, wake_at) = step(&index, &mut memory, now()).expect("at rest");
    assert_eq!(told.reason, Reason::SecretContested);
    let said = "another writer keeps changing Secret token; it is restored once a minute; to find the writer: \
                kubectl get secret token -n web -o yaml --show-managed-fields";
    assert_eq!(told.message, said);
    assert_eq!(wake_at, Some(now() + SignedDuration::from_secs(60)));
    let later = now() + SignedDuration::from_secs(120);
    let (told, wake_at) = step(&index, &mut memory, later).expect("at rest");
    assert_eq!(told.reason, Reason::TokensValid);
    assert_eq!(wake_at, recorded.expires_at());
}

#[test]
fn the_write_of_a_copy_has_the_cause_that_it_was_made_for() {
    let reference = copying();
    let mut index = with_source(&reference);
    let mut memory = ReferenceMemory::new("r1");
    let source = TargetMeta::of(source());
    let cause = |index: &Index, memory: &mut ReferenceMemory| {
        let view = index.reference_view(&reference).expect("known");
        let (_, why) = copy_now(&view, memory, "token", &source, now()).expect("to be written");
        why.cause
    };
    assert_eq!(cause(&index, &mut memory), Cause::FirstToken);
    let recorded = source.recorded.clone().expect("a record");
    let write = copy_write(&reference, "token", recorded, None);
    let done = WriteOutcome::Done(ObjectVersion {
        uid: "secret-uid".into(),
        resource_version: "30".into(),
    });
    memory.writing("token").ended(&write, done, Some(7), now());
    assert_eq!(cause(&index, &mut memory), Cause::TargetMissing);
    index.secret_applied(ObjectMeta {
        namespace: Some("web".into()),
        ..secret("token", "31", Some(("payroll", "r1")))
    });
    assert_eq!(cause(&index, &mut memory), Cause::SourceChanged);
}

use serde_json::{Value, json};

use super::copies::granted;
use super::*;
use crate::api::{
    ANNOTATION_ADOPT_BY, DingTalkTokenReference, DingTalkTokenReferenceStatus, GrantedNamespace,
    Layout, Reason, ReferenceGrant, reference_ref,
};
use crate::core::{
    CopyStep, Grant, ReferenceMemory, ReferenceStep, copy_write, granted_namespaces, reference_step,
};
use crate::core::{Stub, Told, reference_status};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Returns a reference to the app `payroll` in namespace `hr`.
pub(super) fn reference(metadata: &Value, target: &Value) -> DingTalkTokenReference {
    let mut reference: DingTalkTokenReference = serde_json::from_value(json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkTokenReference",
        "metadata": metadata,
        "spec": {"appRef": {"namespace": "hr", "name": "payroll"}, "target": target},
    }))
    .expect("a reference");
    reference.metadata.name.get_or_insert("copy".into());
    reference.metadata.namespace = Some("web".into());
    reference.metadata.uid.get_or_insert("r1".into());
    reference
}

#[test]
fn a_grant_is_given_to_a_namespace_of_one_uid() {
    let reference = reference(&json!({}), &json!({}));
    let key = reference_ref(&reference);
    let mut payroll = app("payroll", "u1", 1, "token");
    let mut index = Index::default();
    index.app_applied(&payroll);
    index.reference_applied(&reference);
    let grant = |index: &Index, reference| index.reference_view(reference).expect("known").grant;
    let copies = |index: &Index| {
        let view = index.reference_view(&reference).expect("known");
        view.copies.len()
    };
    assert_eq!(grant(&index, &reference), Grant::Absent);
    payroll.spec.reference_grants = vec![ReferenceGrant {
        namespace: "web".into(),
    }];
    index.app_applied(&payroll);
    assert_eq!(grant(&index, &reference), Grant::Unread);
    let woken = index.namespace_read(&key, "r1", "n1".into());
    assert_eq!(woken, Some(app_ref(&payroll)));
    assert_eq!(grant(&index, &reference), Grant::Unrecorded);
    assert_eq!(copies(&index), 0);
    // The app records which namespaces refer to it, and keeps the record.
    let asking = index.referring_namespaces(&app_ref(&payroll));
    let recorded = granted_namespaces(&payroll, &[], &asking);
    let of = |uid: &str| GrantedNamespace {
        namespace: "web".into(),
        uid: uid.into(),
    };
    assert_eq!(recorded, [of("n1")]);
    payroll.status.get_or_insert_default().granted_namespaces = recorded.clone();
    index.app_applied(&payroll);
    assert_eq!(grant(&index, &reference), Grant::Given);
    assert_eq!(copies(&index), 1);
    index.reference_applied(&reference);
    assert_eq!(grant(&index, &reference), Grant::Given, "read once");
    // While the app cannot be decoded, and until it has been read again, its copies stay.
    let app_key = app_ref(&payroll);
    let stub = DingTalkApp::stub(payroll.metadata.clone());
    for error in [Some("spec: no"), None] {
        index.admission.decoded(&app_key, error);
        index.app_applied(&stub);
        assert_eq!(grant(&index, &reference), Grant::Given, "{error:?}");
        assert_eq!(copies(&index), 0);
    }
    index.app_applied(&payroll);
    assert_eq!(grant(&index, &reference), Grant::Given);
    assert_eq!(copies(&index), 1);
    // The namespace is recreated, and so is the reference.
    let mut anew = reference.clone();
    anew.metadata.uid = Some("r2".into());
    index.reference_applied(&anew);
    assert_eq!(grant(&index, &anew), Grant::Unread);
    index.namespace_read(&key, "r2", "n2".into());
    assert_eq!(grant(&index, &anew), Grant::Former);
    let view = index.reference_view(&anew).expect("known");
    assert!(view.copies.is_empty());
    let asking = index.referring_namespaces(&app_ref(&payroll));
    assert_eq!(granted_namespaces(&payroll, &recorded, &asking), [of("n1")]);
    // The grant is withdrawn and given again.
    payroll.spec.reference_grants.clear();
    let pruned = granted_namespaces(&payroll, &recorded, &asking);
    assert_eq!(pruned, []);
    payroll.spec.reference_grants = vec![ReferenceGrant {
        namespace: "web".into(),
    }];
    assert_eq!(granted_namespaces(&payroll, &pruned, &asking), [of("n2")]);
}

#[test]
fn a_former_copy_goes_once_its_tokens_are_in_another() {
    let of = |generation: i64, target: &str| -> DingTalkTokenReference {
        reference(&json!({"generation": generation}), &json!({"name": target}))
    };
    let source = written("token", "payroll", "u1", MANAGER, "2099-01-01T00:00:00Z");
    let copy = |name: &str| {
        let recorded = TargetMeta::of(source.clone()).recorded.expect("recorded");
        let write = copy_write(&of(2, name), name, recorded, None);
        let set = |marks: BTreeMap<String, Option<String>>| {
            let marks = marks.into_iter();
            Some(
                marks
                    .filter_map(|(key, value)| Some((key, value?)))
                    .collect(),
            )
        };
        let meta = ObjectMeta {
            namespace: Some("web".into()),
            labels: set(write.labels),
            annotations: set(write.annotations),
            owner_references: Some(write.owner_references),
            ..secret(name, "20", None)
        };
        managed_by(MANAGER, meta)
    };
    let mut payroll = app("payroll", "u1", 1, "token");
    payroll.spec.reference_grants = vec![ReferenceGrant {
        namespace: "web".into(),
    }];
    payroll.status.get_or_insert_default().granted_namespaces = vec![GrantedNamespace {
        namespace: "web".into(),
        uid: "n1".into(),
    }];
    let now: Timestamp = "2099-01-01T00:30:00Z".parse().expect("a time");
    let mut index = Index::default();
    index.app_applied(&payroll);
    let renamed = of(2, "renamed");
    index.reference_applied(&renamed);
    index.namespace_read(&reference_ref(&renamed), "r1", "n1".into());
    index.secret_applied(copy("former"));
    let step = |index: &Index, now| {
        let view = index.reference_view(&renamed).expect("known");
        let mut memory = ReferenceMemory::default();
        memory.uid = "r1".into();
        match reference_step(&view, &mut memory, now) {
            ReferenceStep::Copies(steps) => match &steps[..] {
                [CopyStep::Delete { name, .. }] => format!("delete {name}"),
                [CopyStep::Write { name, .. }] => format!("copy {name}"),
                _ => "read".to_owned(),
            },
            ReferenceStep::Settle { wake_at, .. } => format!("wait until {wake_at:?}"),
            ReferenceStep::ReadNamespace => "read".to_owned(),
        }
    };
    let end: Timestamp = "2099-01-01T02:00:00Z".parse().expect("a time");
    let waiting = format!("wait until {:?}", Some(end));
    assert_eq!(step(&index, now), waiting, "the app's Secret is not there");
    assert_eq!(step(&index, end), "delete former", "it serves nobody");
    index.secret_applied(source.clone());
    assert_eq!(step(&index, now), "copy renamed");
    index.secret_applied(copy("renamed"));
    assert_eq!(step(&index, now), "delete former");
    // The grant is withdrawn: the copy goes at once.
    index.secret_absent(&("web".into(), "renamed".into()));
    payroll.spec.reference_grants.clear();
    index.app_applied(&payroll);
    assert_eq!(step(&index, now), "delete former");
}

#[test]
fn a_secret_of_others_is_no_copy_whatever_it_claims() {
    let reference = reference(&json!({}), &json!({"name": "token"}));
    let mut index = granted(app("payroll", "u1", 1, "token"), &reference);
    index.secret_applied(written(
        "token",
        "payroll",
        "u1",
        MANAGER,
        "2099-01-01T00:00:00Z",
    ));
    let now: Timestamp = "2099-01-01T00:30:00Z".parse().expect("a time");
    let is_touched = |index: &Index| {
        let view = index.reference_view(&reference).expect("known");
        let mut memory = ReferenceMemory::default();
        memory.uid = "r1".into();
        match reference_step(&view, &mut memory, now) {
            ReferenceStep::Copies(_) => true,
            ReferenceStep::Settle { told, .. } => {
                assert_eq!(told.reason, Reason::SecretConflict);
                false
            }
            ReferenceStep::ReadNamespace => panic!("it is known"),
        }
    };
    assert!(is_touched(&index), "there is none");
    let owner = "DingTalkTokenReference/copy";
    let present = |version: usize, labels: &[(&str, &str)], annotations: &[(&str, &str)]| {
        let marks = |marks: &[(&str, &str)]| {
            let marks = marks.iter();
            Some(
                marks
                    .map(|(key, value)| ((*key).into(), (*value).into()))
                    .collect(),
            )
        };
        ObjectMeta {
            namespace: Some("web".into()),
            labels: marks(labels),
            annotations: marks(annotations),
            ..secret("token", &version.to_string(), None)
        }
    };
    let managed = (LABEL_MANAGED_BY, MANAGER);
    let cases = [
        (&[][..], &[][..], false),
        (&[], &[(ANNOTATION_OWNER, owner)], false),
        (&[(LABEL_OWNER_UID, "r1")], &[], false),
        (&[managed, (LABEL_OWNER_UID, "r0")], &[], false),
        (&[managed, (LABEL_OWNER_UID, "r1")], &[], true),
        (
            &[managed, (LABEL_OWNER_UID, "r0")],
            &[(ANNOTATION_OWNER, owner)],
            true,
        ),
        (&[], &[(ANNOTATION_ADOPT_BY, owner)], true),
        (
            &[],
            &[(ANNOTATION_ADOPT_BY, "DingTalkTokenReference/other")],
            false,
        ),
    ];
    for (n, (labels, annotations, expected)) in cases.into_iter().enumerate() {
        index.secret_applied(present(30 + n, labels, annotations));
        assert_eq!(is_touched(&index), expected, "{labels:?} {annotations:?}");
    }
}

#[test]
fn each_condition_of_a_reference_keeps_the_time_of_its_own_last_change() {
    let reference = reference(&json!({}), &json!({}));
    let mut index = Index::default();
    index.reference_applied(&reference);
    let view = index.reference_view(&reference).expect("known");
    let at = |second| Timestamp::from_second(second).expect("a time");
    let told = |reason| Told {
        reason,
        message: String::new(),
    };
    let times = |status: &DingTalkTokenReferenceStatus| -> Vec<(String, String, i64)> {
        let conditions = status.conditions.iter();
        let time = |it: &Condition| it.last_transition_time.0.as_second();
        conditions
            .map(|it| (it.type_.clone(), it.status.clone(), time(it)))
            .collect()
    };
    let write = |told: &Told, previous: &DingTalkTokenReferenceStatus, second| {
        reference_status(&view, told, None, previous, at(second))
    };
    let failing = told(Reason::SecretConflict);
    let first = write(&failing, &DingTalkTokenReferenceStatus::default(), 100);
    let shown = |type_: &str, status: &str, second| (type_.to_owned(), status.to_owned(), second);
    let stalled = shown("Stalled", "True", 100);
    assert_eq!(
        times(&first),
        [shown("Ready", "False", 100), stalled.clone()]
    );
    let second = write(&failing, &first, 200);
    assert_eq!(times(&second), [shown("Ready", "False", 100), stalled]);
    let third = write(&told(Reason::TokensValid), &second, 300);
    assert_eq!(times(&third), [shown("Ready", "True", 300)]);
}

#[test]
fn copies_follow_the_layout_even_if_the_target_keeps_its_name() {
    let reference = reference(&json!({}), &json!({"name": "ref"}));
    let mut index = Index::default();
    index.reference_applied(&reference);
    index.app_applied(&app("payroll", "u1", 1, "t-ding1"));
    assert_eq!(index.copies_of(&reference), ["ref"]);
    let mut payroll = app("payroll", "u1", 1, "t");
    payroll.spec.target.layout = Layout::PerCorp;
    index.app_applied(&payroll);
    assert_eq!(index.copies_of(&reference), ["ref-ding1"]);
}

#[test]
fn a_reference_that_was_read_changes_nothing_if_the_watch_was_faster() {
    let of = |uid: &str, version: &str, target: &str| -> DingTalkTokenReference {
        reference(
            &json!({"uid": uid, "resourceVersion": version}),
            &json!({"name": target}),
        )
    };
    let old = of("r1", "10", "old");
    let key = reference_ref(&old);
    let mut index = Index::default();
    index.reference_read(&old);
    assert!(
        !index.reference_admission.knows(&key),
        "never reported, or deleted"
    );
    index.reference_applied(&of("r1", "20", "new"));
    index.reference_read(&old);
    assert_eq!(index.references[&key].target, "new");
    index.reference_read(&of("r2", "30", "another"));
    assert_eq!(index.references[&key].target, "new");
    index.reference_read(&of("r1", "21", "newer"));
    assert_eq!(index.references[&key].target, "newer");
}

#[test]
fn a_reference_that_cannot_be_decoded_is_known_until_it_is_deleted() {
    let reference = reference(&json!({}), &json!({}));
    let key = reference_ref(&reference);
    let mut index = Index::default();
    assert!(!index.reference_admission.knows(&key));
    index.reference_admission.decoded(&key, Some("spec: no"));
    index.reference_applied(&reference);
    assert!(
        index.reference_admission.knows(&key),
        "its condition is measured"
    );
    assert!(index.reference_view(&reference).is_none(), "not served");
    index.reference_deleted(&key);
    assert!(!index.reference_admission.knows(&key));
}

#[test]
fn references_past_the_bound_name_nothing_and_leave_a_stub() {
    let mut index = Index::new(NamespaceLimits {
        references: 1,
        ..NamespaceLimits::default()
    });
    let reference = |name: &str, created: i64| -> DingTalkTokenReference {
        let mut reference = reference(
            &json!({"name": name, "uid": name}),
            &json!({"name": format!("copy-{name}")}),
        );
        let created = Timestamp::from_second(created).expect("a time");
        reference.metadata.creation_timestamp = Some(Time(created));
        reference
    };
    let (older, younger) = (reference("a", 1), reference("b", 2));
    let (older_key, younger_key) = (reference_ref(&older), reference_ref(&younger));
    let copies = |index: &Index, name: &str| index.copiers(&("web".into(), name.into())).count();
    assert!(index.reference_applied(&younger).is_empty());
    assert_eq!(copies(&index, "copy-b"), 1);
    assert_eq!(copies(&index, "copy-b-ding1"), 1, "of layout PerCorp");
    assert_eq!(copies(&index, "copy-bb"), 0);
    let moved = [younger_key.clone()];
    assert_eq!(index.reference_applied(&older), moved);
    let stubs = index.newly_refused_references(None);
    assert!(stubs.len() == 1 && stubs[0].is_stub());
    assert!(index.reference_admission.refusal(&younger_key).is_some());
    assert_eq!((copies(&index, "copy-a"), copies(&index, "copy-b")), (1, 0));
    let gone = index
        .reference_admission
        .gone(None, &HashSet::from([older_key.clone()]));
    assert_eq!(gone, moved, "refused ones are known");
    assert_eq!(index.reference_deleted(&older_key), moved);
    assert!(index.reference_admission.refusal(&younger_key).is_none());
    index.reference_deleted(&younger_key);
    assert!(index.references.is_empty() && index.copiers.is_empty() && index.referrers.is_empty());
}

mod claims;
mod copies;
mod late;
mod references;
mod refused;
mod room;
mod sharers;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::*;
use crate::api::{ANNOTATION_OWNER, LABEL_MANAGED_BY, LABEL_OWNER_UID, MANAGER};
use crate::core::{AppSite, CredentialsSeen, Ownership, Refusal, TARGETS_MAX, Tokens};

const SITE: AppSite<'static> = AppSite::Available("api.dingtalk.io");
static TOKENS: LazyLock<Tokens> = LazyLock::new(Tokens::default);

fn app(name: &str, uid: &str, created: i64, target: &str) -> DingTalkApp {
    let mut app: DingTalkApp = serde_json::from_value(serde_json::json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
        "metadata": {"name": name, "namespace": "hr", "uid": uid},
        "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": ["ding1"],
            "target": {"name": target}},
    }))
    .expect("an app");
    let created = Timestamp::from_second(created).expect("a time");
    app.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        created,
    ));
    app
}

fn secret(name: &str, version: &str, managed_for: Option<(&str, &str)>) -> ObjectMeta {
    let mut meta = ObjectMeta {
        name: Some(name.into()),
        namespace: Some("hr".into()),
        uid: Some("secret-uid".into()),
        resource_version: Some(version.into()),
        ..ObjectMeta::default()
    };
    if let Some((app, uid)) = managed_for {
        meta.labels = Some(
            [(LABEL_MANAGED_BY, MANAGER), (LABEL_OWNER_UID, uid)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        );
        let owner = format!("DingTalkApp/{app}");
        meta.annotations = Some([(ANNOTATION_OWNER.to_owned(), owner)].into());
    }
    meta
}

/// Returns a Secret as the operator writes it for an app, in namespace `hr`.
fn written(name: &str, app: &str, uid: &str, manager: &str, requested_at: &str) -> ObjectMeta {
    let mut meta = secret(name, "20", Some((app, uid)));
    let time = |text: &str| text.parse::<Timestamp>().expect("a time").as_second();
    let life = time("2099-01-01T02:00:00Z") - time(requested_at);
    let state = serde_json::json!({
        "version": 1, "site": "global", "clientId": "dingapp",
        "credentials": {"uid": "c1", "resourceVersion": "3"},
        "keys": ["access_token", "corp_id", "expires_at"], "digest": "0",
        "tokens": {"ding1": {"at": time(requested_at), "for": life}},
    });
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(crate::api::ANNOTATION_STATE.to_owned(), state.to_string());
    managed_by(manager, meta)
}

/// Makes `manager` the writer of all fields.
fn managed_by(manager: &str, mut meta: ObjectMeta) -> ObjectMeta {
    let annotations = meta.annotations.iter().flatten();
    let annotations = annotations.map(|(key, _)| key.as_str()).collect();
    let fields = |keys: Vec<&str>| -> serde_json::Map<String, serde_json::Value> {
        let field = |key: &str| (format!("f:{key}"), serde_json::json!({}));
        keys.into_iter().map(field).collect()
    };
    let fields = serde_json::json!({
        "f:data": fields(vec!["access_token", "expires_at", "corp_id"]),
        "f:metadata": {"f:annotations": fields(annotations)},
    });
    let entry = serde_json::json!({"manager": manager, "operation": "Update", "fieldsV1": fields});
    meta.managed_fields = serde_json::from_value(serde_json::json!([entry])).expect("fields");
    meta
}

fn ownership_of(index: &Index, app: &DingTalkApp) -> Option<Ownership> {
    let view = index.current(app).expect("known").view(app, SITE, &TOKENS);
    view.targets[0].present.map(|(_, ownership)| ownership)
}

fn claim_of(index: &Index, app: &DingTalkApp) -> Claim {
    index
        .current(app)
        .expect("known")
        .view(app, SITE, &TOKENS)
        .targets[0]
        .claim
        .clone()
}

#[test]
fn only_what_is_referenced_or_ours_is_kept() {
    let mut index = Index::default();
    index.app_applied(&app("payroll", "u1", 1, "token"));
    for n in 0..1000 {
        index.secret_applied(secret(&format!("other-{n}"), "5", None));
    }
    assert_eq!(index.secrets.len(), 0);
    index.secret_applied(secret("credentials", "6", None));
    index.secret_applied(secret("left-over", "7", Some(("gone", "u0"))));
    assert_eq!(index.secrets.len(), 2);
}

/// Regression: anything with the operator's label was kept for good, whatever its size.
#[test]
fn what_carries_our_label_has_a_budget_and_what_an_app_names_comes_outside_it() {
    let mut index = Index::default();
    let payroll = app("payroll", "u1", 1, "token");
    index.app_applied(&payroll);
    // Each has as many owners as allowed.
    let heavy = |name: &str, version: &str| {
        let mut meta = secret(name, version, Some(("gone", "u0")));
        let owner = k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
            name: "n".repeat(253),
            uid: "u".repeat(300),
            ..Default::default()
        };
        meta.owner_references = Some(vec![owner; 16]);
        meta
    };
    for n in 0..5000 {
        index.secret_applied(heavy(&format!("forged-{n}"), "5"));
    }
    let kept = index.secrets.len();
    assert!((500..2000).contains(&kept), "{kept}");
    index.secret_applied(secret("token", "6", Some(("payroll", "u1"))));
    assert_eq!(ownership_of(&index, &payroll), Some(Ownership::Ours));
    // A heavy target is seen, but not kept.
    index.secret_applied(heavy("token", "7"));
    let view = index
        .current(&payroll)
        .expect("known")
        .view(&payroll, SITE, &TOKENS);
    let (target, ownership) = view.targets[0].present.expect("present");
    assert!(target.is_past_bounds() && ownership == Ownership::Foreign);
    let used = index.budgets["hr"];
    assert!(used <= TARGETS_MAX && used > TARGETS_MAX - 32_768, "{used}");
    for n in 0..5000 {
        index.secret_deleted(&heavy(&format!("forged-{n}"), "8"));
    }
    assert!(index.budgets.is_empty(), "{:?}", index.budgets);
    index.secret_applied(heavy("token", "9"));
    assert_eq!(ownership_of(&index, &payroll), Some(Ownership::Foreign));
    assert!(!index.budgets.is_empty(), "there is room for it");
    index.app_deleted(&app_ref(&payroll));
    index.secret_deleted(&heavy("token", "10"));
    assert!(index.budgets.is_empty() && index.secrets.is_empty());
}

#[test]
fn an_app_that_is_refused_names_nothing_and_leaves_a_stub() {
    let mut index = Index::new(NamespaceLimits {
        apps: 2,
        ..NamespaceLimits::default()
    });
    let mut apps = [
        app("a", "u3", 3, "token-a"),
        app("b", "u2", 2, "token-b"),
        app("c", "u1", 1, "token-c"),
    ];
    apps[0].metadata.resource_version = Some("7".to_owned());
    for one in &apps[..2] {
        assert!(index.app_applied(one).is_empty());
    }
    assert!(index.newly_refused(None).is_empty());
    assert_eq!(
        index.app_applied(&apps[2]),
        [app_ref(&apps[0])],
        "it is told"
    );
    let stubs = index.newly_refused(None);
    assert_eq!(stubs.len(), 1);
    assert_eq!(app_ref(&stubs[0]), app_ref(&apps[0]));
    assert!(stubs[0].spec.corp_ids.is_empty());
    assert_eq!(stubs[0].metadata, apps[0].metadata);
    assert!(index.admission.refusal(&app_ref(&apps[0])).is_some());
    assert_eq!(
        (
            index.admission.refused_in("hr"),
            index.admission.refused_in("web")
        ),
        (1, 0)
    );
    assert!(!index.is_named(&("hr".into(), "token-a".into())));
    assert!(index.app_applied(&apps[0]).is_empty());
    assert!(index.newly_refused(None).is_empty(), "it is one already");
    assert_eq!(index.app_deleted(&app_ref(&apps[1])), [app_ref(&apps[0])]);
    assert_eq!(index.admission.refusal(&app_ref(&apps[0])), None);
    index.app_applied(&apps[0]);
    assert!(index.is_named(&("hr".into(), "token-a".into())));
}

#[test]
fn the_older_app_has_the_target_and_the_younger_gets_it_after() {
    let (old, young) = (
        app("b-old", "u2", 1, "token"),
        app("a-young", "u1", 2, "token"),
    );
    let mut index = Index::default();
    index.app_applied(&young);
    assert_eq!(claim_of(&index, &young), Claim::Ours);
    index.secret_applied(secret("token", "5", Some(("a-young", "u1"))));
    assert!(
        index.app_applied(&old).contains(&app_ref(&young)),
        "it is told"
    );
    assert_eq!(claim_of(&index, &young), Claim::Lost { to: "b-old".into() });
    assert_eq!(ownership_of(&index, &old), Some(Ownership::Younger));
    assert!(index.app_deleted(&app_ref(&old)).contains(&app_ref(&young)));
    assert_eq!(claim_of(&index, &young), Claim::Ours);
}

#[test]
fn apps_that_share_credentials_do_not_wake_each_other() {
    let mut index = Index::default();
    for n in 0..100 {
        let one = app(
            &format!("app{n}"),
            &format!("u{n}"),
            1,
            &format!("token{n}"),
        );
        assert_eq!(index.app_applied(&one), []);
    }
    assert_eq!(
        index.secret_applied(secret("credentials", "5", None)).len(),
        100
    );
    assert_eq!(index.app_deleted(&AppRef::new("app7").within("hr")), []);
}

#[test]
fn on_a_tie_the_lower_uid_has_the_target() {
    let (one, two) = (app("one", "u1", 1, "token"), app("two", "u2", 1, "token"));
    let mut index = Index::default();
    index.app_applied(&two);
    index.app_applied(&one);
    assert_eq!(claim_of(&index, &one), Claim::Ours);
    assert_ne!(claim_of(&index, &two), Claim::Ours);
}

#[test]
fn whose_secret_it_is() {
    let payroll = app("payroll", "u2", 1, "token");
    let mut index = Index::default();
    index.app_applied(&payroll);
    let mut version = 10;
    let mut see = |managed_for| {
        version += 1;
        index.secret_applied(secret("token", &version.to_string(), managed_for));
        ownership_of(&index, &payroll)
    };
    assert_eq!(see(Some(("payroll", "u2"))), Some(Ownership::Ours));
    assert_eq!(see(Some(("payroll", "u1"))), Some(Ownership::Predecessor));
    assert_eq!(see(Some(("other", "u1"))), Some(Ownership::Foreign));
    assert_eq!(see(None), Some(Ownership::Foreign));
    for (version, adopt_by, expected) in [
        ("97", "payroll", Ownership::Foreign),
        ("98", "DingTalkTokenReference/payroll", Ownership::Foreign),
        ("99", "DingTalkApp/payroll", Ownership::Adoptable),
    ] {
        let mut handed_over = secret("token", version, None);
        let annotation = (
            crate::api::ANNOTATION_ADOPT_BY.to_owned(),
            adopt_by.to_owned(),
        );
        handed_over.annotations = Some([annotation].into());
        index.secret_applied(handed_over);
        assert_eq!(ownership_of(&index, &payroll), Some(expected), "{adopt_by}");
    }
}

#[test]
fn after_a_list_what_is_not_in_it_is_absent() {
    let payroll = app("payroll", "u1", 1, "token");
    let mut index = Index::default();
    index.app_applied(&payroll);
    let credentials = |index: &Index| {
        index
            .current(&payroll)
            .expect("known")
            .view(&payroll, SITE, &TOKENS)
            .credentials
    };
    assert_eq!(
        credentials(&index),
        CredentialsSeen::Unknown,
        "before the first list"
    );
    index.secrets_listing(None);
    index.secret_in_list(secret("credentials", "3", None));
    index.secrets_listed(None);
    assert!(matches!(credentials(&index), CredentialsSeen::Present(_)));
    index.secrets_listing(None);
    assert!(!index.secrets_listed(None).0.is_empty());
    assert_eq!(credentials(&index), CredentialsSeen::Absent);
}

#[test]
fn a_secret_that_was_there_before_it_was_referenced_is_unknown_until_it_is_read() {
    let mut payroll = app("payroll", "u1", 1, "token");
    let mut index = Index::default();
    index.app_applied(&payroll);
    index.secret_applied(secret("credentials", "3", None));
    index.secret_applied(secret("other", "4", None));
    let seen = |index: &Index, app: &DingTalkApp| {
        index
            .current(app)
            .expect("known")
            .view(app, SITE, &TOKENS)
            .credentials
    };
    assert!(matches!(
        seen(&index, &payroll),
        CredentialsSeen::Present(_)
    ));
    payroll.spec.credentials_secret_ref.name = "other".into();
    index.app_applied(&payroll);
    // Neither the former Secret's version nor absent, so that the plan reads it.
    assert_eq!(seen(&index, &payroll), CredentialsSeen::Unknown);
    index.secret_applied(secret("other", "4", None));
    assert!(matches!(
        seen(&index, &payroll),
        CredentialsSeen::Present(_)
    ));
    // A look that began before the change still uses its own state's reference.
    payroll.spec.credentials_secret_ref.name = "credentials".into();
    assert_eq!(seen(&index, &payroll), CredentialsSeen::Unknown);
}

/// A target is renamed while a call for the former spec is in flight. Under the former spec, its
/// target would be a former one of the newer spec, and would be deleted before its successor
/// exists.
#[test]
fn a_former_state_of_an_app_is_not_looked_at_beside_a_newer_one() {
    let mut index = Index::default();
    let of = |generation: i64, target: &str| {
        let mut app = app("payroll", "u1", 1, target);
        app.metadata.generation = Some(generation);
        app
    };
    let (former, newer) = (of(1, "token"), of(2, "renamed"));
    index.app_applied(&former);
    index.secret_applied(secret("token", "5", Some(("payroll", "u1"))));
    assert!(
        index
            .current(&former)
            .expect("known")
            .view(&former, SITE, &TOKENS)
            .former
            .is_empty()
    );
    index.app_applied(&newer);
    assert!(index.current(&former).is_none());
    let view = index
        .current(&newer)
        .expect("known")
        .view(&newer, SITE, &TOKENS);
    assert_eq!(view.former.keys().collect::<Vec<_>>(), [&"token"]);
}

#[test]
fn an_object_that_cannot_be_decoded_is_not_served_until_it_can() {
    let mut index = Index::default();
    let app = app("payroll", "u1", 1, "token");
    let key = app_ref(&app);
    assert!(!index.admission.decoded(&key, None));
    index.app_applied(&app);
    assert_eq!(index.admission.refusal(&key), None);
    assert!(!index.admission.decoded(&key, Some("spec: no")));
    index.app_applied(&app);
    let refusal = index.admission.refusal(&key);
    assert_eq!(refusal, Some(Refusal::UnsupportedSpec("spec: no".into())));
    assert!(index.apps[&key].targets.is_empty(), "it names nothing");
    assert!(index.admission.decoded(&key, None), "it is to be read anew");
    assert_eq!(index.admission.refusal(&key), None);
    assert!(index.admission.knows(&key));
    index.admission.decoded(&key, Some("spec: no"));
    index.app_deleted(&key);
    assert!(!index.admission.knows(&key));
    assert!(
        !index.admission.decoded(&key, None),
        "forgotten with its object"
    );
}

//! A token for other namespaces: only where both sides say so.

use dingtalk_token_operator::api::{DingTalkApp, DingTalkTokenReference};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, shared_plane, until_next_second};

const RENEW: &str = "dingtalk-token-operator.github.io/renew-requested-at";

/// Namespace A with a ready app, and a namespace B; the operator serves both.
async fn two_namespaces(name: &str) -> (Sandbox, Sandbox) {
    two_namespaces_with(name, &[]).await
}

async fn two_namespaces_with(name: &str, flags: &[&str]) -> (Sandbox, Sandbox) {
    let mut a = Sandbox::without_operator(&format!("{name}-a"), shared_plane().await).await;
    let b = Sandbox::without_operator(&format!("{name}-b"), shared_plane().await).await;
    b.grant_to(&a).await;
    let flags = [&["--watch-namespace", &b.namespace], flags].concat();
    a.start_operator(&flags);
    a.ready_app("payroll").await;
    (a, b)
}

async fn refer(a: &Sandbox, b: &Sandbox, name: &str) {
    b.reference(name, &a.namespace, "payroll").await;
}

async fn grant(a: &Sandbox, namespaces: &[&str]) {
    let grants: Vec<Value> = namespaces
        .iter()
        .map(|namespace| json!({"namespace": namespace}))
        .collect();
    a.merge::<DingTalkApp>("payroll", json!({"spec": {"referenceGrants": grants}}))
        .await;
}

async fn until_reason(b: &Sandbox, name: &str, reason: &str) -> String {
    let references: Api<DingTalkTokenReference> = b.api();
    b.eventually(reason, async || {
        let reference = references.get_opt(name).await.ok()??;
        let ready = reference.status?.conditions.into_iter().next()?;
        (ready.reason == reason).then_some(ready.message)
    })
    .await
}

async fn until_gone(b: &Sandbox, secret: &str) {
    b.eventually("no copy", async || {
        let found = b.api::<Secret>().get_opt(secret).await.ok()?;
        found.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_copy_needs_both_sides_and_follows_the_token() {
    let (a, b) = two_namespaces("refer").await;
    refer(&a, &b, "payroll").await;
    let refused = until_reason(&b, "payroll", "NotGranted").await;
    assert!(refused.contains("spec.referenceGrants"), "{refused}");
    assert!(b.managed_secrets().await.is_empty(), "refused by default");
    grant(&a, &["somebody-else", &b.namespace]).await;
    until_reason(&b, "payroll", "TokensValid").await;
    let copy = b.api::<Secret>().get("payroll-token").await.expect("it");
    let reference = b.api::<DingTalkTokenReference>().get("payroll").await;
    let owner = &copy.metadata.owner_references.as_ref().expect("owned")[0];
    assert_eq!(
        Some(&owner.uid),
        reference.expect("it").metadata.uid.as_ref()
    );
    assert_eq!(
        b.token("payroll-token").await,
        a.token("payroll-token").await
    );
    // A renewal reaches the copy.
    a.stub
        .configure(|settings| settings.repeat = dingtalk_stub::Repeat::NewRevoked);
    a.merge::<DingTalkApp>(
        "payroll",
        json!({"metadata": {"annotations": {RENEW: "1"}}}),
    )
    .await;
    b.eventually("the new token", async || {
        let token = b.token("payroll-token").await?;
        (a.stub.calls("ding1").len() == 2 && a.stub.accepts(&token.value)).then_some(())
    })
    .await;
    // What another writer does to the copy is put right.
    b.merge::<Secret>("payroll-token", json!({"data": {"access_token": "eA=="}}))
        .await;
    b.eventually("the copy restored", async || {
        let token = b.token("payroll-token").await?;
        a.stub.accepts(&token.value).then_some(())
    })
    .await;
    // Either side may withdraw: first A ...
    grant(&a, &[]).await;
    until_gone(&b, "payroll-token").await;
    until_reason(&b, "payroll", "NotGranted").await;
    grant(&a, &[&b.namespace]).await;
    until_reason(&b, "payroll", "TokensValid").await;
    // ... then B.
    b.api::<DingTalkTokenReference>()
        .delete("payroll", &DeleteParams::default())
        .await
        .expect("deleted");
    until_gone(&b, "payroll-token").await;
    assert!(a.token("payroll-token").await.is_some());
    assert_eq!(a.stub.calls("ding1").len(), 2, "copies fetch nothing");
}

#[tokio::test]
async fn a_copy_goes_with_its_app_and_the_refusal_says_which_side_is_missing() {
    let (a, b) = two_namespaces("refer-gone").await;
    grant(&a, &[&b.namespace]).await;
    refer(&a, &b, "payroll").await;
    until_reason(&b, "payroll", "TokensValid").await;
    a.api::<DingTalkApp>()
        .delete("payroll", &DeleteParams::default())
        .await
        .expect("deleted");
    until_gone(&b, "payroll-token").await;
    until_reason(&b, "payroll", "AppNotFound").await;
    let stalled = async || {
        let reference = b.api::<DingTalkTokenReference>().get("payroll").await;
        let conditions = reference.ok()?.status?.conditions;
        conditions.into_iter().find(|it| it.type_ == "Stalled")
    };
    let missing = stalled().await.expect("nothing but a person helps");
    assert_eq!(missing.reason, "AppNotFound");
    a.app("payroll", "ding1").await;
    a.until_ready("payroll").await;
    until_reason(&b, "payroll", "NotGranted").await;
    grant(&a, &[&b.namespace]).await;
    until_reason(&b, "payroll", "TokensValid").await;
    assert_eq!(stalled().await, None);
}

#[tokio::test]
async fn a_namespace_that_is_created_anew_does_not_inherit_a_grant() {
    let (a, b) = two_namespaces("refer-anew").await;
    grant(&a, &[&b.namespace]).await;
    refer(&a, &b, "payroll").await;
    until_reason(&b, "payroll", "TokensValid").await;
    let namespaces: Api<Namespace> = Api::all(a.client.clone());
    let former = namespaces.get(&b.namespace).await.expect("it");
    namespaces
        .delete(&b.namespace, &DeleteParams::default())
        .await
        .expect("deleted");
    b.eventually("the end of the namespace", async || {
        let found = namespaces.get_opt(&b.namespace).await.ok()?;
        found.is_none().then_some(())
    })
    .await;
    let anew = serde_json::from_value(json!({"metadata": {"name": b.namespace}})).expect("it");
    let anew = namespaces.create(&Default::default(), &anew).await;
    assert_ne!(anew.expect("created").metadata.uid, former.metadata.uid);
    b.grant_to(&a).await;
    refer(&a, &b, "payroll").await;
    let message = until_reason(&b, "payroll", "NotGranted").await;
    assert!(message.contains("former namespace"), "{message}");
    assert!(b.managed_secrets().await.is_empty());
    // As the message says.
    let recorded = async |count: usize| {
        a.until("the record", "payroll", |app| {
            let recorded = &app.status.as_ref()?.granted_namespaces;
            (recorded.len() == count).then_some(())
        })
        .await;
    };
    recorded(1).await;
    grant(&a, &[]).await;
    recorded(0).await;
    grant(&a, &[&b.namespace]).await;
    until_reason(&b, "payroll", "TokensValid").await;
    recorded(1).await;
}

#[tokio::test]
async fn a_secret_of_others_is_not_overwritten_by_a_copy() {
    let (a, b) = two_namespaces("refer-foreign").await;
    grant(&a, &[&b.namespace]).await;
    let foreign = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "payroll-token"},
        "stringData": {"access_token": "mine"},
    });
    b.apply::<Secret>("payroll-token", foreign).await;
    refer(&a, &b, "payroll").await;
    let message = until_reason(&b, "payroll", "SecretConflict").await;
    assert!(
        message.contains("adopt-by=DingTalkTokenReference/payroll"),
        "{message}"
    );
    let data = b.data("payroll-token").await.expect("it");
    assert_eq!(data["access_token"], "mine");
    // Its owner hands it over.
    b.merge::<Secret>(
        "payroll-token",
        json!({"metadata": {"annotations":
            {"dingtalk-token-operator.github.io/adopt-by": "DingTalkTokenReference/payroll"}}}),
    )
    .await;
    until_reason(&b, "payroll", "TokensValid").await;
}

#[tokio::test]
async fn an_owner_in_another_namespace_would_get_the_copy_collected() {
    // Why the copy is owned by the reference, and not by the app.
    let (a, b) = two_namespaces("refer-owner").await;
    let app = a.api::<DingTalkApp>().get("payroll").await.expect("it");
    let object = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "owned-from-afar", "ownerReferences": [{
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "name": "payroll", "uid": app.metadata.uid,
        }]},
    });
    b.apply::<Secret>("owned-from-afar", object).await;
    until_gone(&b, "owned-from-afar").await;
}

#[tokio::test]
async fn every_layout_is_copied() {
    let (a, b) = two_namespaces("refer-layouts").await;
    a.stub
        .register(CLIENT_ID, CLIENT_SECRET, &["ding1", "ding2"]);
    grant(&a, &[&b.namespace]).await;
    refer(&a, &b, "payroll").await;
    until_reason(&b, "payroll", "TokensValid").await;
    for (layout, expected) in [
        ("Combined", vec!["payroll-token"]),
        (
            "PerCorp",
            vec!["payroll-token-ding1", "payroll-token-ding2"],
        ),
    ] {
        a.merge::<DingTalkApp>(
            "payroll",
            json!({"spec": {"corpIds": ["ding1", "ding2"], "target": {"layout": layout}}}),
        )
        .await;
        b.eventually(layout, async || {
            let mut names = b.managed_secrets().await;
            names.sort();
            for name in &expected {
                if b.data(name).await? != a.data(name).await? {
                    return None;
                }
            }
            (names == expected).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn labels_that_replicators_act_on_are_not_set_unless_the_operator_allows_them() {
    let (a, b) = two_namespaces("refer-labels").await;
    let key = "replicator.v1.mittwald.de/replicate-to";
    let target = json!({"spec": {"target": {"annotations": {key: "*"}}}});
    let before = a.version_of("payroll-token").await;
    a.merge::<DingTalkApp>("payroll", target.clone()).await;
    let message = a.until_failing("payroll", "MetadataNotAllowed").await;
    for part in [key, "--target-metadata-prefix", "allows none"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(a.version_of("payroll-token").await, before);
    let none = json!({"spec": {"target": {"annotations": null}}});
    a.merge::<DingTalkApp>("payroll", none).await;
    a.until_renewed("payroll").await;
    grant(&a, &[&b.namespace]).await;
    refer(&a, &b, "payroll").await;
    until_reason(&b, "payroll", "TokensValid").await;
    b.merge::<DingTalkTokenReference>("payroll", target).await;
    let message = until_reason(&b, "payroll", "MetadataNotAllowed").await;
    assert!(message.contains(key), "{message}");
    let copy = b.api::<Secret>().get("payroll-token").await.expect("it");
    let annotations = copy.metadata.annotations.expect("annotations");
    assert!(!annotations.contains_key(key));
}

impl Sandbox {
    /// Gives the operator of `other` its rights in this namespace, too.
    pub async fn grant_to(&self, other: &Sandbox) {
        use k8s_openapi::api::rbac::v1::RoleBinding;
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "other-operator"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "dingtalk-token-operator"},
            "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": other.namespace}],
        });
        self.apply::<RoleBinding>("other-operator", binding).await;
    }
}

#[tokio::test]
async fn the_youngest_references_of_a_namespace_wait_for_room_and_their_copies_stay() {
    let (a, b) = two_namespaces_with("refer-room", &["--max-references-per-namespace=1"]).await;
    grant(&a, &[&b.namespace]).await;
    // By name, the youngest come first, and times have whole seconds.
    refer(&a, &b, "z").await;
    until_reason(&b, "z", "TokensValid").await;
    until_next_second().await;
    refer(&a, &b, "y").await;
    let message = until_reason(&b, "y", "NamespaceLimitExceeded").await;
    assert!(
        message.contains("1 DingTalkTokenReferences (--max-references-per-namespace)"),
        "{message}"
    );
    assert_eq!(b.token("y-token").await, None);
    b.api::<DingTalkTokenReference>()
        .delete("z", &DeleteParams::default())
        .await
        .expect("deleted");
    until_reason(&b, "y", "TokensValid").await;
    let copy = b.token("y-token").await;
    assert!(copy.is_some());
    a.renew("payroll").await;
    b.eventually("a copy that follows", async || {
        (b.token("y-token").await != copy).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_app_of_a_reference_is_a_name_and_stays_the_same() {
    let sandbox = Sandbox::without_operator("refer-same", shared_plane().await).await;
    refer(&sandbox, &sandbox, "copy").await;
    for (field, value, said) in [
        ("name", "other", "appRef.name cannot be changed"),
        ("namespace", "other", "appRef.namespace cannot be changed"),
        ("name", "Other", "not a DingTalkApp's name"),
        ("namespace", "a.b", "not a namespace"),
    ] {
        let patch = json!({"spec": {"appRef": {field: value}}}).to_string();
        let (changed, message) =
            sandbox.kubectl(&["patch", "dtr", "copy", "--type=merge", "-p", &patch]);
        assert!(!changed && message.contains(said), "{message}");
    }
}

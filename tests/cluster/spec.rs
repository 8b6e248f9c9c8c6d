//! What else the spec offers: templates, forced renewal, suspension, sites, clamped renewals.

use dingtalk_stub::{Behaviour, Repeat};
use dingtalk_token_operator::api::DingTalkApp;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use crate::support::{
    ALLOW_METADATA, CLIENT_ID, CLIENT_SECRET, Sandbox, condition, shared_plane, until_next_second,
};

const RENEW: &str = "dingtalk-token-operator.github.io/renew-requested-at";

async fn sandbox(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_flags(name, &ALLOW_METADATA).await;
    sandbox
        .stub
        .register(CLIENT_ID, CLIENT_SECRET, &["ding1", "ding2"]);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox
}

async fn ask(sandbox: &Sandbox, value: &str) {
    sandbox
        .merge::<DingTalkApp>(
            "payroll",
            json!({"metadata": {"annotations": {RENEW: value}}}),
        )
        .await;
}

#[tokio::test]
async fn templates_add_keys_and_follow_the_token() {
    let mut sandbox = sandbox("spec-templates").await;
    let data = json!({
        "token.json": "{\"token\": {{ access_token|tojson }}, \"expires\": {{ expires_at_unix }}}",
        ".env": "DINGTALK_TOKEN={{ access_token }}\nDINGTALK_CLIENT_ID={{ client_id }}\n",
        "header": "x-acs-dingtalk-access-token: {{ access_token }}",
    });
    let spec = |data: &serde_json::Value| json!({"corpIds": ["ding1"], "target": {"template": {"data": data}}});
    sandbox.app_with("payroll", spec(&data)).await;
    sandbox.until_ready("payroll").await;
    let found = sandbox.data("payroll-token").await.expect("a Secret");
    let token = sandbox.token("payroll-token").await.expect("a token");
    let json: serde_json::Value = serde_json::from_str(&found["token.json"]).expect("JSON");
    assert_eq!(json["token"], token.value.as_str());
    assert_eq!(json["expires"], token.expires_at.as_second());
    let dotenv = format!(
        "DINGTALK_TOKEN={}\nDINGTALK_CLIENT_ID={CLIENT_ID}\n",
        token.value
    );
    assert_eq!(found[".env"], dotenv);
    let header = format!("x-acs-dingtalk-access-token: {}", token.value);
    assert_eq!(found["header"], header);
    // A new process renders again only what changed, from the token that is there.
    sandbox.stop_operator();
    sandbox.start_operator(&[]);
    let data = json!({"only": "{{ corp_id }}@{{ site }}"});
    let fewer = json!({"spec": {"target": {"template": {"data":
        {"token.json": null, ".env": null, "header": null, "only": data["only"]}}}}});
    sandbox.merge::<DingTalkApp>("payroll", fewer).await;
    sandbox
        .eventually("only the new key", async || {
            let found = sandbox.data("payroll-token").await?;
            (found.len() == 4 && found.get("only")? == "ding1@global").then_some(())
        })
        .await;
    assert_eq!(sandbox.token("payroll-token").await, Some(token.clone()));
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
    // A renewal renders with the new token.
    sandbox
        .stub
        .configure(|settings| settings.repeat = Repeat::NewOverlap);
    let data = json!({"spec": {"target": {"template": {"data": {"only": "{{ access_token }}"}}}}});
    sandbox.merge::<DingTalkApp>("payroll", data).await;
    ask(&sandbox, "now").await;
    sandbox
        .eventually("the new token in both keys", async || {
            let found = sandbox.data("payroll-token").await?;
            let is_new = found["access_token"] != token.value;
            (is_new && found["only"] == found["access_token"]).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_shared_secret_has_templates_over_all_organisations() {
    let sandbox = sandbox("spec-templates-shared").await;
    let template =
        "{% for corp in corps %}{{ corp.corp_id }}={{ corp.access_token }}\n{% endfor %}";
    let target = json!({"layout": "Combined", "template": {"data": {"tokens": template}}});
    sandbox
        .app_with(
            "payroll",
            json!({"corpIds": ["ding1", "ding2"], "target": target}),
        )
        .await;
    sandbox.until_ready("payroll").await;
    let found = sandbox.data("payroll-token").await.expect("a Secret");
    let expected = format!(
        "ding1={}\nding2={}\n",
        found["ding1.access_token"], found["ding2.access_token"]
    );
    assert_eq!(found["tokens"], expected);
}

#[tokio::test]
async fn a_template_that_cannot_be_used_is_refused_before_anything_is_fetched() {
    let sandbox = sandbox("spec-template-bad").await;
    let spec = |data| json!({"corpIds": ["ding1"], "target": {"template": {"data": data}}});
    sandbox
        .app_with("payroll", spec(json!({"a": "x\n  {{ acces_token }}"})))
        .await;
    let message = sandbox.until_failing("payroll", "InvalidTemplate").await;
    assert!(message.contains("[\"a\"], line 2, column 6"), "{message}");
    assert_eq!(sandbox.stub.journal().len(), 0);
    let keys = json!({"spec": {"target": {"template": {"data": {"a": "{{ corp_id }}"}}}}});
    sandbox.merge::<DingTalkApp>("payroll", keys).await;
    sandbox.until_renewed("payroll").await;
}

#[tokio::test]
async fn a_renewal_is_made_when_asked_for_once_and_not_again_after_a_restart() {
    let mut sandbox = sandbox("spec-renew").await;
    sandbox.app("payroll", "ding1").await;
    sandbox.until_ready("payroll").await;
    let handled = async |sandbox: &Sandbox, value: &str| {
        sandbox
            .until("the request handled", "payroll", |app| {
                let handled = app.status.as_ref()?.last_handled_renew_request.as_deref();
                (handled == Some(value)).then_some(())
            })
            .await;
    };
    ask(&sandbox, "2026-01-01T00:00:00Z").await;
    handled(&sandbox, "2026-01-01T00:00:00Z").await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 2);
    ask(&sandbox, "please").await;
    handled(&sandbox, "please").await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 3);
    sandbox.kill_operator();
    sandbox.start_operator(&[]);
    sandbox.until_watching().await;
    sandbox.until_caught_up().await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 3);
    // One that fails is handled, too: its failure is the answer.
    let fail = Behaviour::Fail {
        status: 400,
        code: "invalid.client".into(),
    };
    sandbox.stub.next_calls("ding1", Some(1), fail);
    ask(&sandbox, "again").await;
    handled(&sandbox, "again").await;
    sandbox.until_failing("payroll", "InvalidCredentials").await;
    sandbox.until_ready("payroll").await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 4);
}

#[tokio::test]
async fn a_suspended_app_fetches_nothing_and_keeps_its_secret() {
    let sandbox = sandbox("spec-suspend").await;
    sandbox
        .app_with("payroll", json!({"corpIds": ["ding1"], "suspend": true}))
        .await;
    sandbox
        .until("Suspended", "payroll", |app| {
            condition(app, "Renewed", "Unknown").filter(|(reason, _)| reason == "Suspended")
        })
        .await;
    assert_eq!(sandbox.stub.journal().len(), 0);
    let suspend = async |suspend: bool| {
        sandbox
            .merge::<DingTalkApp>("payroll", json!({"spec": {"suspend": suspend}}))
            .await;
    };
    suspend(false).await;
    sandbox.until_renewed("payroll").await;
    suspend(true).await;
    sandbox
        .until("Suspended", "payroll", |app| {
            condition(app, "Renewed", "Unknown").filter(|(reason, _)| reason == "Suspended")
        })
        .await;
    ask(&sandbox, "now").await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, "other")
        .await;
    sandbox.until_caught_up().await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
    assert!(sandbox.token("payroll-token").await.is_some());
    sandbox.until_ready("payroll").await;
}

#[tokio::test]
async fn a_renew_before_above_the_lifetime_is_clamped_and_said_to_be() {
    let sandbox = sandbox("spec-clamped").await;
    sandbox
        .app_with(
            "payroll",
            json!({"corpIds": ["ding1"], "renewBefore": "9h"}),
        )
        .await;
    sandbox
        .until("clamped", "payroll", |app| {
            let (_, message) = condition(app, "Renewed", "True")?;
            message.contains("exceeds nine tenths").then_some(())
        })
        .await;
    let next = sandbox
        .until("a next attempt", "payroll", |app| {
            app.status.as_ref()?.next_attempt_time.clone()
        })
        .await;
    let next: jiff::Timestamp = next.parse().expect("a time");
    let wait = next.duration_since(jiff::Timestamp::now()).as_secs();
    assert!(
        (250..=720).contains(&wait),
        "a tenth of 7200 s, less jitter: {wait}"
    );
}

#[tokio::test]
async fn a_site_may_be_left_to_some_namespaces() {
    let plane = shared_plane().await;
    let mut sandbox = Sandbox::without_operator("spec-sites", plane).await;
    let url = sandbox.stub.url();
    let arguments = [
        "--allow-plain-http",
        "--site",
        &format!("ours={url}"),
        "--site",
        &format!("theirs={url}"),
        "--site-namespaces",
        &format!("ours={},another", sandbox.namespace),
        "--site-namespaces",
        "theirs=another",
    ];
    sandbox.start_operator_with(&format!("global={url}"), &arguments, &[]);
    for (name, site) in [("one", "ours"), ("two", "theirs"), ("three", "nowhere")] {
        sandbox
            .credentials(&format!("{name}-credentials"), CLIENT_ID, CLIENT_SECRET)
            .await;
        sandbox
            .app_with(name, json!({"corpIds": ["ding1"], "site": site}))
            .await;
    }
    sandbox.until_ready("one").await;
    for name in ["two", "three"] {
        let message = sandbox.until_failing(name, "UnknownSite").await;
        assert!(message.contains("global, ours), or ask"), "{message}");
    }
    assert_eq!(sandbox.stub.journal().len(), 1, "nothing is sent anywhere");
}

#[tokio::test]
async fn workloads_are_restarted_after_a_new_value_and_only_then() {
    use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
    use k8s_openapi::api::rbac::v1::RoleBinding;
    let sandbox = sandbox("spec-restart").await;
    sandbox
        .stub
        .configure(|settings| settings.repeat = Repeat::NewOverlap);
    let workload = |kind: &str, name: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": name}}, "serviceName": name,
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "main", "image": "example.com/main"}]},
                },
            },
        })
    };
    let mut deployment = workload("Deployment", "web");
    deployment["spec"]
        .as_object_mut()
        .expect("a spec")
        .remove("serviceName");
    sandbox.apply::<Deployment>("web", deployment).await;
    sandbox
        .apply::<StatefulSet>("store", workload("StatefulSet", "store"))
        .await;
    let targets = json!([
        {"kind": "Deployment", "name": "web"}, {"kind": "StatefulSet", "name": "store"},
        {"kind": "DaemonSet", "name": "gone"},
    ]);
    sandbox
        .app_with(
            "payroll",
            json!({"corpIds": ["ding1"], "rolloutRestartTargets": targets}),
        )
        .await;
    sandbox.until_ready("payroll").await;
    // Opt-in: without the role, it is told and tried again.
    sandbox
        .until("a first look at the workloads", "payroll", |app| {
            app.status.as_ref()?.rollout_restarted_for_time.clone()
        })
        .await;
    // Times have whole seconds; a value that changes in its first second is not seen to.
    until_next_second().await;
    ask(&sandbox, "1").await;
    let events = sandbox.until_event("RolloutRestartFailed").await;
    assert!(events[0].contains("rollout-restart.yaml"), "{events:?}");
    let restarted = async || {
        let web = sandbox.api::<Deployment>().get("web").await.ok()?;
        let annotations = web.spec?.template.metadata?.annotations?;
        annotations
            .get("kubectl.kubernetes.io/restartedAt")
            .cloned()
    };
    assert_eq!(restarted().await, None, "nor at the first issue");
    sandbox
        .install_role(include_str!("../../deploy/opt-in/rollout-restart.yaml"))
        .await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "restart"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "dingtalk-token-operator-rollout-restart"},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": sandbox.namespace}],
    });
    sandbox.apply::<RoleBinding>("restart", binding).await;
    // A new process tries again what was not done.
    let mut sandbox = sandbox;
    sandbox.kill_operator();
    sandbox.start_operator(&[]);
    sandbox
        .eventually("restarted", async || {
            let web = sandbox.api::<Deployment>().get("web").await.ok()?;
            let store = sandbox.api::<StatefulSet>().get("store").await.ok()?;
            let of = |template: k8s_openapi::api::core::v1::PodTemplateSpec| {
                template
                    .metadata?
                    .annotations?
                    .remove("kubectl.kubernetes.io/restartedAt")
            };
            of(web.spec?.template)?;
            of(store.spec?.template)
        })
        .await;
    let generation = async |sandbox: &Sandbox| {
        let web = sandbox.api::<Deployment>().get("web").await.expect("it");
        web.metadata.generation
    };
    let before = generation(&sandbox).await;
    // The same token again restarts nothing.
    sandbox
        .stub
        .configure(|settings| settings.repeat = Repeat::SameExtended);
    ask(&sandbox, "2").await;
    sandbox
        .until("the request handled", "payroll", |app| {
            let handled = app.status.as_ref()?.last_handled_renew_request.as_deref();
            (handled == Some("2")).then_some(())
        })
        .await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 3);
    sandbox.until_caught_up().await;
    assert_eq!(generation(&sandbox).await, before);
}

#[tokio::test]
async fn what_another_writer_does_to_labels_annotations_and_owner_is_put_right_once() {
    let sandbox = sandbox("spec-drift").await;
    let target = json!({"labels": {"team": "hr"}, "annotations": {"note": "x"}});
    sandbox
        .app_with("payroll", json!({"corpIds": ["ding1"], "target": target}))
        .await;
    sandbox.until_ready("payroll").await;
    let before = sandbox
        .api::<Secret>()
        .get("payroll-token")
        .await
        .expect("it");
    sandbox
        .merge::<Secret>(
            "payroll-token",
            json!({"metadata": {
                "labels": {"team": "it", "app.kubernetes.io/managed-by": "somebody"},
                "annotations": {"note": null, "dingtalk-token-operator.github.io/expires-at": "never"},
                "ownerReferences": [],
            }}),
        )
        .await;
    sandbox
        .eventually("put right", async || {
            let now = sandbox.api::<Secret>().get("payroll-token").await.ok()?;
            (now.metadata.labels == before.metadata.labels
                && now.metadata.annotations == before.metadata.annotations
                && now.metadata.owner_references == before.metadata.owner_references)
                .then_some(())
        })
        .await;
    let events = sandbox.until_event("SecretRestored").await;
    assert_eq!(events.len(), 1);
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

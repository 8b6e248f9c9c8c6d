//! A token's life: issue, renewal, restart.

use dingtalk_stub::{Behaviour, Repeat};
use dingtalk_token_operator::api::DingTalkApp;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::json;

use crate::support::{
    ALLOW_METADATA, CLIENT_ID, CLIENT_SECRET, Plane, Sandbox, condition, shared_plane,
    until_next_second,
};

/// Between two calls, in seconds: 5 where they are made, and less where they arrive, if the first was slow.
const APART: f64 = 2.5;

#[tokio::test]
async fn the_secret_holds_a_working_token_and_its_record() {
    let sandbox = Sandbox::with_flags("life-first", &ALLOW_METADATA).await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    let target = json!({"labels": {"team": "hr"}, "annotations": {"example.com/note": "x"}});
    sandbox
        .app_with("payroll", json!({"corpIds": ["ding1"], "target": target}))
        .await;
    sandbox.until_ready("payroll").await;
    let token = sandbox.token("payroll-token").await.expect("a token");
    assert!(sandbox.stub.accepts(&token.value), "no newline, no change");
    assert_eq!(token.corp_id, "ding1");
    let left = token.expires_at.duration_since(Timestamp::now()).as_secs();
    assert!((7000..=7200).contains(&left), "{left}");
    let secret = sandbox
        .api::<Secret>()
        .get("payroll-token")
        .await
        .expect("a Secret");
    assert_eq!(secret.type_.as_deref(), Some("Opaque"));
    let keys: Vec<_> = secret
        .data
        .as_ref()
        .expect("data")
        .keys()
        .cloned()
        .collect();
    assert_eq!(keys, ["access_token", "corp_id", "expires_at"]);
    let labels = secret.metadata.labels.as_ref().expect("labels");
    assert_eq!(
        labels["app.kubernetes.io/managed-by"],
        "dingtalk-token-operator"
    );
    assert_eq!(labels["team"], "hr");
    let annotations = secret.metadata.annotations.as_ref().expect("annotations");
    assert_eq!(annotations["example.com/note"], "x");
    let app = sandbox
        .api::<DingTalkApp>()
        .get("payroll")
        .await
        .expect("the app");
    let owner = &secret.metadata.owner_references.as_ref().expect("owned")[0];
    assert_eq!(Some(&owner.uid), app.metadata.uid.as_ref());
    let status = app.status.expect("a status");
    assert_eq!(status.tokens.as_deref(), Some("1/1"));
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!(status.expiration_time, Some(token.expires_at.to_string()));
    assert!(status.next_attempt_time.is_some());
    assert!(
        !status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Stalled")
    );
}

#[tokio::test]
async fn labels_of_the_target_follow_the_spec_without_a_fetch() {
    let sandbox = Sandbox::with_flags("life-labels", &ALLOW_METADATA).await;
    sandbox.ready_app("payroll").await;
    sandbox
        .app_with(
            "payroll",
            json!({"corpIds": ["ding1"], "target": {"labels": {"team": "hr"}}}),
        )
        .await;
    sandbox
        .eventually("the label", async || {
            let secret = sandbox.api::<Secret>().get("payroll-token").await.ok()?;
            secret.metadata.labels?.get("team").cloned()
        })
        .await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

#[tokio::test]
async fn where_a_renewal_brings_no_life_there_is_no_hot_loop_and_a_new_token_after_expiry() {
    let sandbox = Sandbox::new("life-remaining").await;
    sandbox.stub.configure(|settings| {
        settings.expires_in = 24;
        settings.repeat = Repeat::SameRemaining;
    });
    sandbox.ready_app("payroll").await;
    let first = sandbox.token("payroll-token").await.expect("a token");
    sandbox
        .until("RenewalNotExtended", "payroll", |app| {
            condition(app, "Renewed", "True").filter(|(reason, _)| reason == "RenewalNotExtended")
        })
        .await;
    let second = sandbox
        .eventually("the next token", async || {
            sandbox
                .token("payroll-token")
                .await
                .filter(|token| token.value != first.value)
        })
        .await;
    assert!(sandbox.stub.accepts(&second.value));
    let calls = sandbox.stub.calls("ding1");
    assert!((3..=5).contains(&calls.len()), "{calls:#?}");
    for pair in calls.windows(2) {
        let gap = pair[1].at.duration_since(pair[0].at);
        assert!(gap.as_secs_f64() > APART, "never twice within 5 s: {gap}");
    }
}

#[tokio::test]
async fn a_new_token_that_comes_only_late_in_a_life_is_fetched_before_its_end() {
    let sandbox = Sandbox::new("life-late").await;
    sandbox.stub.configure(|settings| {
        settings.expires_in = 48;
        settings.repeat = Repeat::SameThenOverlap;
        settings.overlap = 14;
    });
    sandbox.ready_app("payroll").await;
    let first = sandbox.token("payroll-token").await.expect("a token");
    sandbox
        .until("RenewalNotExtended", "payroll", |app| {
            condition(app, "Renewed", "True").filter(|(reason, message)| {
                reason == "RenewalNotExtended" && message.contains("closer to its expiry")
            })
        })
        .await;
    let second = sandbox
        .eventually("the next token", async || {
            sandbox
                .token("payroll-token")
                .await
                .filter(|token| token.value != first.value)
        })
        .await;
    assert!(sandbox.stub.accepts(&second.value));
    // The first, the one that brought nothing, and the one in the last seconds.
    let calls = sandbox.stub.calls("ding1");
    assert_eq!(calls.len(), 3, "{calls:#?}");
    let age = calls[2].at.duration_since(calls[0].at);
    assert!(age.as_secs_f64() < 48.0, "before the first expired: {age}");
}

#[tokio::test]
async fn a_lifetime_of_a_second_is_no_hot_loop() {
    let sandbox = Sandbox::new("life-second").await;
    sandbox.stub.configure(|settings| settings.expires_in = 1);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    sandbox
        .eventually("three calls", async || {
            (sandbox.stub.calls("ding1").len() >= 3).then_some(())
        })
        .await;
    for pair in sandbox.stub.calls("ding1").windows(2) {
        let gap = pair[1].at.duration_since(pair[0].at);
        assert!(gap.as_secs_f64() > APART, "{gap}");
    }
}

#[tokio::test]
async fn ready_turns_false_at_expiry_though_nothing_else_happens() {
    let sandbox = Sandbox::new("life-expiry").await;
    sandbox.stub.configure(|settings| settings.expires_in = 9);
    sandbox.ready_app("payroll").await;
    let fail = Behaviour::Fail {
        status: 400,
        code: "invalid.client".into(),
    };
    sandbox.stub.next_calls("ding1", None, fail);
    sandbox
        .until("TokenExpired", "payroll", |app| {
            condition(app, "Ready", "False").filter(|(reason, _)| reason == "TokenExpired")
        })
        .await;
    assert!(
        sandbox.token("payroll-token").await.is_some(),
        "what is there is not taken away"
    );
    sandbox.until_event("TokenExpired").await;
}

#[tokio::test]
async fn a_restart_fetches_nothing_and_reads_nothing() {
    let mut sandbox = Sandbox::new("life-restart").await;
    for name in ["one", "two", "three"] {
        sandbox.ready_app(name).await;
    }
    // They have the same credentials, and so the same token.
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
    sandbox.until_event("FirstTokenWritten").await;
    for clean in [true, false] {
        if clean {
            sandbox.stop_operator();
        } else {
            sandbox.kill_operator();
        }
        let before = sandbox.requests().len();
        sandbox.start_operator(&[]);
        sandbox.until_watching().await;
        sandbox.until_caught_up().await;
        assert_eq!(sandbox.requests()[before..], [] as [&str; 0]);
        assert_eq!(sandbox.stub.calls("ding1").len(), 1);
    }
}

#[tokio::test]
async fn an_app_recreated_under_its_name_takes_its_token_over_without_a_fetch() {
    let mut sandbox = Sandbox::new("life-recreated").await;
    sandbox.ready_app("payroll").await;
    let token = sandbox.token("payroll-token").await;
    sandbox.kill_operator();
    // As a restored backup: the app is another object, the Secret names the old one.
    let orphan = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    sandbox
        .api::<DingTalkApp>()
        .delete("payroll", &orphan)
        .await
        .expect("deleted");
    sandbox
        .eventually("its end", async || {
            sandbox
                .api::<DingTalkApp>()
                .get_opt("payroll")
                .await
                .ok()?
                .is_none()
                .then_some(())
        })
        .await;
    sandbox.app("payroll", "ding1").await;
    sandbox.start_operator(&[]);
    sandbox.until_ready("payroll").await;
    assert_eq!(sandbox.token("payroll-token").await, token);
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
    let app = sandbox
        .api::<DingTalkApp>()
        .get("payroll")
        .await
        .expect("the app");
    let secret = sandbox
        .api::<Secret>()
        .get("payroll-token")
        .await
        .expect("the Secret");
    let owners = secret.metadata.owner_references.expect("owned");
    assert_eq!(
        owners
            .iter()
            .map(|owner| Some(&owner.uid))
            .collect::<Vec<_>>(),
        [app.metadata.uid.as_ref()]
    );
}

#[tokio::test]
async fn the_api_server_goes_away_and_comes_back() {
    let mut plane = Plane::start().await;
    let mut sandbox = Sandbox::without_operator("life-outage", &plane).await;
    sandbox.stub.configure(|settings| settings.expires_in = 20);
    sandbox.start_operator(&[]);
    sandbox.ready_app("payroll").await;
    let old = sandbox.token("payroll-token").await.expect("a token");
    plane.control_plane.stop_api_server().expect("stopped");
    // The renewal is tried while nobody answers.
    sandbox
        .eventually("a renewal that fails", async || {
            sandbox.logs().contains("reconcile failed").then_some(())
        })
        .await;
    plane.control_plane.start_api_server().expect("started");
    sandbox
        .eventually("a renewal", async || {
            sandbox
                .token("payroll-token")
                .await
                .filter(|new| new.expires_at > old.expires_at)
        })
        .await;
    sandbox.until_renewed("payroll").await;
}

/// Where a fetch revokes the former token, a token that is lost at the end of a process leaves a
/// revoked one in the Secret.
#[tokio::test]
async fn a_clean_stop_in_the_middle_of_many_renewals_loses_no_token() {
    let mut sandbox = Sandbox::without_operator("life-stop", shared_plane().await).await;
    let corps: Vec<String> = (0..40).map(|n| format!("ding{n:02}")).collect();
    let names: Vec<&str> = corps.iter().map(String::as_str).collect();
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &names);
    sandbox.start_operator(&["--client-requests-per-second", "5"]);
    sandbox
        .credentials("many-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    let spec = json!({"corpIds": corps, "target": {"layout": "Combined"}});
    sandbox.app_with("many", spec).await;
    sandbox.until_ready("many").await;
    sandbox
        .stub
        .configure(|settings| settings.repeat = Repeat::NewRevoked);
    // New tokens are told from old ones by times in seconds.
    until_next_second().await;
    sandbox.renew("many").await;
    // The first is written at once, the next wait for more.
    sandbox
        .eventually("some renewals", async || {
            (sandbox.stub.journal().len() >= corps.len() + 10).then_some(())
        })
        .await;
    sandbox.stop_operator();
    assert!(
        sandbox.stub.journal().len() < 2 * corps.len(),
        "in the middle"
    );
    let data = sandbox.data("many-token").await.expect("a Secret");
    for corp in &corps {
        let token = &data[&format!("{corp}.access_token")];
        assert!(
            sandbox.stub.accepts(token),
            "the token of {corp} is revoked"
        );
    }
}

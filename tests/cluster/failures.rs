//! What a user sees when DingTalk does not give a token, and that it passes.

use dingtalk_stub::{Behaviour, Stub};
use dingtalk_token_operator::api::DingTalkApp;
use serde_json::json;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, condition};

/// An app whose calls get `behaviour` until it is failing with `reason`; gives the message.
async fn failing(sandbox: &Sandbox, behaviour: Behaviour, reason: &str) -> String {
    sandbox.stub.next_calls("ding1", None, behaviour);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    let message = sandbox.until_failing("payroll", reason).await;
    assert!(message.contains("corpId ding1"), "{message}");
    assert!(message.contains("next attempt at 2"), "{message}");
    message
}

fn fail(status: u16, code: &str) -> Behaviour {
    Behaviour::Fail {
        status,
        code: code.to_owned(),
    }
}

#[tokio::test]
async fn a_wrong_client_secret() {
    let sandbox = Sandbox::new("failure-secret").await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, "wrong")
        .await;
    sandbox.app("payroll", "ding1").await;
    let message = sandbox.until_failing("payroll", "InvalidCredentials").await;
    for part in [
        "invalid.client",
        "HTTP 400",
        "request id ",
        "corpId ding1",
        "credentials Secret",
    ] {
        assert!(message.contains(part), "{part:?} in {message}");
    }
    let app = sandbox
        .api::<DingTalkApp>()
        .get("payroll")
        .await
        .expect("the app");
    let error = app.status.expect("a status").corps[0]
        .error
        .clone()
        .expect("an error");
    assert_eq!(error.code.as_deref(), Some("invalid.client"));
    assert_eq!(error.http_status, Some(400));
    assert!(error.request_id.is_some() && !error.since_time.is_empty());
    sandbox
        .until("Stalled", "payroll", |app| {
            condition(app, "Stalled", "True")
        })
        .await;
    sandbox.until_event("InvalidCredentials").await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.until_renewed("payroll").await;
    sandbox
        .until("no Stalled", "payroll", |app| {
            condition(app, "Stalled", "True").is_none().then_some(())
        })
        .await;
}

#[tokio::test]
async fn an_app_that_is_not_authorised() {
    let sandbox = Sandbox::new("failure-authorised").await;
    sandbox.stub.add_corp("ding2");
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding2").await;
    let message = sandbox.until_failing("payroll", "AppNotAuthorized").await;
    assert!(
        message.contains("unauthorized.client (HTTP 401"),
        "{message}"
    );
    sandbox
        .stub
        .register(CLIENT_ID, CLIENT_SECRET, &["ding1", "ding2"]);
    // A change of the spec is tried at once.
    sandbox
        .app_with(
            "payroll",
            json!({"corpIds": ["ding2"], "renewBefore": "30m"}),
        )
        .await;
    sandbox.until_renewed("payroll").await;
}

#[tokio::test]
async fn a_wrong_corp_id() {
    let sandbox = Sandbox::new("failure-corp").await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding-unknown").await;
    let message = sandbox.until_failing("payroll", "UnknownError").await;
    assert!(
        message.contains("unknownError") && message.contains("spec.corpIds"),
        "{message}"
    );
    sandbox
        .stub
        .next_calls("ding-unknown", None, fail(400, "invalidCorpId"));
    sandbox.until_failing("payroll", "InvalidCorpId").await;
    sandbox.app("payroll", "ding1").await;
    sandbox.until_renewed("payroll").await;
    assert_eq!(
        sandbox
            .token("payroll-token")
            .await
            .expect("a token")
            .corp_id,
        "ding1"
    );
}

#[tokio::test]
async fn an_endpoint_that_is_down_comes_up() {
    let mut sandbox = Sandbox::new("failure-down").await;
    let (port, url) = (sandbox.stub.port(), sandbox.stub.url());
    // The operator goes on calling the address of a stub that is gone.
    sandbox.stub = Stub::start(0).await.expect("a stub");
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    let message = sandbox
        .until_failing("payroll", "EndpointUnreachable")
        .await;
    assert!(message.contains("could not connect"), "{url}: {message}");
    let stub = sandbox
        .eventually("the port", async || Stub::start(port).await.ok())
        .await;
    stub.register(CLIENT_ID, CLIENT_SECRET, &["ding1"]);
    sandbox.until_renewed("payroll").await;
}

#[tokio::test]
async fn an_endpoint_that_is_slow_or_resets() {
    let sandbox = Sandbox::new("failure-slow").await;
    for behaviour in [
        Behaviour::NeverAnswer,
        Behaviour::BodyTrickles(500),
        Behaviour::Reset,
        Behaviour::HeadersLate(1000),
    ] {
        sandbox.stub.next_calls("ding1", Some(1), behaviour);
    }
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    let message = sandbox
        .until_failing("payroll", "EndpointUnreachable")
        .await;
    assert!(message.contains("within 10 s"), "{message}");
    sandbox.until_renewed("payroll").await;
    // The fourth call got its late headers.
    assert_eq!(sandbox.stub.calls("ding1").len(), 4, "{}", sandbox.logs());
}

#[tokio::test]
async fn html_and_nonsense() {
    let sandbox = Sandbox::new("failure-nonsense").await;
    let raw = |body: &str| Behaviour::Raw {
        status: 200,
        content_type: "application/json".into(),
        headers: vec![],
        body: body.into(),
    };
    let message = failing(&sandbox, Behaviour::html(200), "InvalidResponse").await;
    assert!(message.contains("HTML"), "{message}");
    sandbox.stub.clear_scripts();
    let bodies = [
        "",
        "{\"access_token\":",
        "[]",
        "{\"access_token\":\"\",\"expires_in\":1}",
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let before = sandbox.stub.calls("ding1").len();
        sandbox.stub.next_calls("ding1", Some(1), raw(body));
        // Changed credentials are tried at once.
        let secret = format!("changed-{number}");
        sandbox
            .credentials("payroll-credentials", CLIENT_ID, &secret)
            .await;
        sandbox
            .eventually("another call", async || {
                (sandbox.stub.calls("ding1").len() > before).then_some(())
            })
            .await;
        sandbox.until_failing("payroll", "InvalidResponse").await;
    }
    sandbox.stub.clear_scripts();
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, "other")
        .await;
    sandbox.until_failing("payroll", "InvalidCredentials").await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.until_renewed("payroll").await;
}

#[tokio::test]
async fn a_throttled_client() {
    let sandbox = Sandbox::new("failure-throttled").await;
    let code = "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi";
    let message = failing(&sandbox, fail(403, code), "Throttled").await;
    assert!(message.contains(code), "the code is verbatim: {message}");
    sandbox.stub.clear_scripts();
    sandbox.until_renewed("payroll").await;
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let sandbox = Sandbox::new("failure-retry-after").await;
    failing(&sandbox, Behaviour::retry_after(429, "12"), "Throttled").await;
    sandbox.stub.clear_scripts();
    sandbox.until_renewed("payroll").await;
    let calls = sandbox.stub.calls("ding1");
    let gap = calls[1].at.duration_since(calls[0].at).as_secs_f64();
    assert!(gap >= 12.0, "{gap}");
}

/// Five minutes, as the pace of bans is; it runs beside the other tests.
#[tokio::test]
async fn a_ban_is_waited_out() {
    let sandbox = Sandbox::new("failure-banned").await;
    let message = failing(&sandbox, Behaviour::FailLegacy { errcode: 90003 }, "Banned").await;
    assert!(message.contains("90003"), "{message}");
    sandbox.stub.clear_scripts();
    tokio::time::sleep(std::time::Duration::from_secs(290)).await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1, "no call while banned");
    sandbox.until_renewed("payroll").await;
}

#[tokio::test]
async fn a_first_token_that_takes_long_is_shown_as_pending() {
    let sandbox = Sandbox::new("failure-pending").await;
    sandbox
        .stub
        .next_calls("ding1", Some(1), Behaviour::HeadersLate(8000));
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    sandbox
        .until("Pending", "payroll", |app| {
            condition(app, "Ready", "Unknown").filter(|(reason, _)| reason == "Pending")
        })
        .await;
    sandbox.until_renewed("payroll").await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

#[tokio::test]
async fn a_clock_far_from_the_sites_is_reported() {
    let sandbox = Sandbox::new("failure-clock").await;
    sandbox
        .stub
        .configure(|settings| settings.clock_offset = 3600);
    sandbox.ready_app("payroll").await;
    let (_, metrics) = sandbox
        .operator
        .as_ref()
        .expect("running")
        .health("/metrics")
        .await
        .expect("metrics");
    let difference = metrics
        .lines()
        .find(|line| line.contains("site_clock_difference_seconds{"))
        .and_then(|line| line.split(' ').next_back()?.parse::<f64>().ok())
        .expect("a metric");
    assert!((3500.0..3700.0).contains(&difference), "{difference}");
    assert!(
        sandbox
            .logs()
            .contains("the site's clock differs from this node's")
    );
}

#[tokio::test]
async fn a_restart_does_not_take_a_failure_for_over() {
    let mut sandbox = Sandbox::new("fail-restart").await;
    sandbox.ready_app("payroll").await;
    let fail = Behaviour::Fail {
        status: 401,
        code: "unauthorized.client".into(),
    };
    sandbox.stub.next_calls("ding1", None, fail);
    sandbox
        .merge::<DingTalkApp>(
            "payroll",
            json!({"metadata": {"annotations":
                {"dingtalk-token-operator.github.io/renew-requested-at": "now"}}}),
        )
        .await;
    sandbox.until_failing("payroll", "AppNotAuthorized").await;
    sandbox.until_event("AppNotAuthorized").await;
    let since = async |sandbox: &Sandbox| {
        let app = sandbox.api::<DingTalkApp>().get("payroll").await.ok()?;
        Some(app.status?.corps.first()?.error.clone()?.since_time)
    };
    let before = since(&sandbox).await.expect("a time");
    sandbox.stop_operator();
    let requests = sandbox.requests().len();
    sandbox.start_operator(&[]);
    sandbox.until_watching().await;
    sandbox.until_caught_up().await;
    let after = sandbox.requests();
    assert_eq!(after[requests..], [] as [&str; 0], "there is no news");
    sandbox.until_failing("payroll", "AppNotAuthorized").await;
    assert_eq!(since(&sandbox).await.as_ref(), Some(&before));
    assert_eq!(sandbox.events("Recovered").await, [] as [String; 0]);
}

//! Secrets and tokens reach nothing but the Secret they belong in.

use dingtalk_stub::{Behaviour, Place, Repeat};
use dingtalk_token_operator::api::{DingTalkApp, DingTalkTokenReference};
use k8s_openapi::api::events::v1::Event;
use serde_json::json;

use crate::support::{CLIENT_ID, Sandbox, condition};

const SECRET: &str = "MarkedClientSecret-0123456789";
/// Tokens of the stub are 32 characters, this and random ones.
const TOKEN: &str = "MarkedAccessTokn";

/// What no text may contain: the marks, and what base64 makes of them at any offset.
const MARKS: [&str; 8] = [
    "MarkedClientSecret",
    "markedclientsecret",
    "TWFya2VkQ2xpZW50",
    "1hcmtlZENsaWVudF",
    "NYXJrZWRDbGllbnR",
    "MarkedAccessTokn",
    "TWFya2VkQWNjZXNz",
    "NYXJrZWRBY2Nlc3",
];

fn misbehaviours() -> Vec<Behaviour> {
    let mut all = Vec::new();
    let rows = [
        (400, "invalid.client"),
        (401, "unauthorized.client"),
        (400, "invalidCorpId"),
        (403, "Forbidden.AccessDenied.IpNotInWhiteList"),
        (403, "ApiCountLimitForOrg"),
        (400, "unsupported.grant.type"),
        (500, "server.error"),
        (500, "unknownError"),
        (418, "never.heard.of"),
    ];
    all.extend(rows.map(|(status, code)| Behaviour::Fail {
        status,
        code: code.to_owned(),
    }));
    for place in [Place::Code, Place::Message, Place::RequestId] {
        all.extend([200, 400, 403, 500].map(|status| Behaviour::Echo { place, status }));
    }
    // Two HTML answers in a row are no ban yet.
    all.push(Behaviour::Echo {
        place: Place::Html,
        status: 500,
    });
    let raw = |status, body: String| Behaviour::Raw {
        status,
        content_type: "application/json".into(),
        headers: vec![],
        body,
    };
    let token = format!("{TOKEN}0123456789abcdef");
    all.push(raw(
        200,
        format!(r#"{{"access_token":"{token}","expires_in":0}}"#),
    ));
    all.push(raw(
        200,
        format!(r#"{{"access_token":"{token} {SECRET}","expires_in":7200}}"#),
    ));
    all.push(raw(
        200,
        format!(r#"{{"access_token":"{token}","code":"{token}","message":"{token}"}}"#),
    ));
    all.push(raw(
        400,
        format!(r#"{{"access_token":"{token}","code":"{SECRET}""#),
    ));
    all.push(raw(302, token));
    all.push(Behaviour::Reset);
    all.push(Behaviour::ExpiresIn(json!("never")));
    all
}

#[tokio::test]
async fn no_secret_or_token_is_told_whatever_the_endpoint_does() {
    let mut sandbox = Sandbox::new("redaction").await;
    sandbox.kill_operator();
    let behaviours = misbehaviours();
    let corp_ids: Vec<String> = (0..behaviours.len()).map(|n| format!("ding{n}")).collect();
    let corps: Vec<&str> = corp_ids.iter().map(String::as_str).collect();
    sandbox.stub.register(CLIENT_ID, SECRET, &corps);
    sandbox.stub.configure(|settings| {
        settings.token_prefix = TOKEN.to_owned();
        settings.repeat = Repeat::NewOverlap;
        settings.expires_in = 60;
    });
    sandbox.start_operator(&["--log-level", "trace"]);
    sandbox.credentials("credentials", CLIENT_ID, SECRET).await;
    for corp_id in &corps {
        let reference = json!({"name": "credentials"});
        let target = json!({"template": {"data": {"token.json": "[{{ access_token|tojson }}]"}}});
        let spec = json!({
            "corpIds": [corp_id], "credentialsSecretRef": reference, "renewBefore": "45s",
            "target": target, "referenceGrants": [{"namespace": sandbox.namespace}],
        });
        sandbox.app_with(corp_id, spec).await;
    }
    sandbox.reference("copy", &sandbox.namespace, "ding0").await;
    for corp_id in &corps {
        sandbox.until_ready(corp_id).await;
    }
    let token = sandbox.token("ding0-token").await.expect("a token");
    assert!(token.value.starts_with(TOKEN), "the marks are in use");
    sandbox
        .eventually("a copy", async || {
            let copy = sandbox.token("copy-token").await?;
            copy.value.starts_with(TOKEN).then_some(())
        })
        .await;
    for (corp_id, behaviour) in corps.iter().zip(behaviours) {
        sandbox.stub.next_calls(corp_id, None, behaviour);
    }
    for corp_id in &corps {
        sandbox
            .until("a failure", corp_id, |app| {
                condition(app, "Renewed", "False")
            })
            .await;
    }
    // The failures' events are published after their status.
    let events = sandbox
        .eventually("an event of each failure", async || {
            let events = sandbox
                .api::<Event>()
                .list(&Default::default())
                .await
                .ok()?;
            let is_told = |corp_id: &&str| {
                let mut regarding = events.iter().filter_map(|event| event.regarding.as_ref());
                regarding.any(|app| app.name.as_deref() == Some(*corp_id))
            };
            corps.iter().all(is_told).then_some(events)
        })
        .await;
    let apps = sandbox
        .api::<DingTalkApp>()
        .list(&Default::default())
        .await
        .expect("apps");
    let references = sandbox
        .api::<DingTalkTokenReference>()
        .list(&Default::default())
        .await
        .expect("references");
    let (_, metrics) = sandbox
        .operator
        .as_ref()
        .expect("running")
        .health("/metrics")
        .await
        .expect("metrics");
    let logs = sandbox.logs();
    assert!(logs.contains("TRACE"), "the most verbose level");
    let places = [
        ("logs", logs),
        (
            "events",
            serde_json::to_string(&events.items).expect("JSON"),
        ),
        ("apps", serde_json::to_string(&apps.items).expect("JSON")),
        (
            "references",
            serde_json::to_string(&references.items).expect("JSON"),
        ),
        ("metrics", metrics),
    ];
    for (place, text) in places {
        for mark in MARKS {
            let line = text.lines().find(|line| line.contains(mark));
            assert_eq!(line, None, "{mark} is in the {place}");
        }
    }
}

#[tokio::test]
async fn a_secret_under_the_wrong_key_is_not_told_either() {
    let mut sandbox = Sandbox::new("redaction-swapped").await;
    sandbox.kill_operator();
    sandbox.start_operator(&["--log-level", "trace"]);
    // The two keys are mixed up, and the answer tells which client_id it does not know.
    sandbox.credentials("credentials", SECRET, CLIENT_ID).await;
    let body = json!({
        "code": "invalid.client", "message": format!("no app has the client_id {SECRET}"),
        "requestid": SECRET,
    });
    let echo = Behaviour::Raw {
        status: 400,
        content_type: "application/json".into(),
        headers: vec![],
        body: body.to_string(),
    };
    sandbox.stub.next_calls("ding1", None, echo);
    let reference = json!({"name": "credentials"});
    let spec = json!({"corpIds": ["ding1"], "credentialsSecretRef": reference});
    sandbox.app_with("payroll", spec).await;
    sandbox.until_failing("payroll", "InvalidCredentials").await;
    let told = sandbox
        .eventually("the failure's event", async || {
            let events = sandbox.api::<Event>().list(&Default::default()).await;
            let text = serde_json::to_string(&events.expect("events").items).expect("JSON");
            text.contains("InvalidCredentials").then_some(text)
        })
        .await;
    let app = sandbox.api::<DingTalkApp>().get("payroll").await;
    let app = serde_json::to_string(&app.expect("the app").status).expect("JSON");
    for (place, text) in [("logs", sandbox.logs()), ("events", told), ("status", app)] {
        let line = text.lines().find(|line| line.contains(MARKS[0]));
        assert_eq!(line, None, "the secret is in the {place}");
    }
}

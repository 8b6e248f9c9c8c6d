//! What a person sees: kubectl, and what the API server refuses.

use dingtalk_token_operator::api::DingTalkApp;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, Sandbox, shared_plane};

fn assert_says<const N: usize>(said: &str, parts: [&str; N]) {
    for part in parts {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[tokio::test]
async fn kubectl_waits_gets_describes_and_explains() {
    let sandbox = Sandbox::new("people-kubectl").await;
    sandbox
        .credentials("expenses-credentials", CLIENT_ID, "wrong")
        .await;
    sandbox.app("expenses", "ding1").await;
    sandbox.ready_app("payroll").await;
    sandbox
        .until_failing("expenses", "InvalidCredentials")
        .await;
    let (ok, said) = sandbox.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "dta/payroll",
        "--timeout=60s",
    ]);
    assert!(ok && said.contains("condition met"), "{said}");
    let (_, table) = sandbox.kubectl(&["get", "dta"]);
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        ["NAME", "READY", "TOKENS", "REASON", "EXPIRES", "AGE"]
    );
    assert_eq!(
        lines[1][..4],
        ["expenses", "False", "0/1", "InvalidCredentials"]
    );
    assert_eq!(lines[2][..4], ["payroll", "True", "1/1", "TokensValid"]);
    assert!(lines[2][4].ends_with('Z'), "{table}");
    let (_, wide) = sandbox.kubectl(&["get", "dta", "payroll", "-o", "wide"]);
    assert_says(
        &wide,
        [
            "RENEWAL",
            "RenewalSucceeded",
            "NEXT",
            "SITE",
            "SECRET",
            "global",
            "payroll-token",
        ],
    );
    let (_, category) = sandbox.kubectl(&["get", "dingtalk", "-o", "name"]);
    assert!(
        category.contains("dingtalkapp.dingtalk-token-operator.github.io/payroll"),
        "{category}"
    );
    sandbox.until_event("InvalidCredentials").await;
    let (_, described) = sandbox.kubectl(&["describe", "dta", "expenses"]);
    assert_says(
        &described,
        [
            "invalid.client",
            "Stalled",
            "Request Id",
            "Warning  InvalidCredentials",
        ],
    );
    let (_, explained) = sandbox.kubectl(&["explain", "dingtalkapp.spec"]);
    assert_says(
        &explained,
        [
            "corpIds",
            "credentialsSecretRef",
            "-required-",
            "renewBefore",
            "The organisations",
        ],
    );
    for (field, meanings) in [
        (
            "target.layout",
            [
                "`Single` (default)",
                "`Combined`: all corpIds",
                "`PerCorp`: a Secret",
            ],
        ),
        (
            "target.propagation",
            [
                "`Periodic` (default)",
                "`Immediate`: within a second",
                "ENUM:",
            ],
        ),
        (
            "target.deletionPolicy",
            ["`Delete` (default)", "`Retain`: they stay", "ENUM:"],
        ),
    ] {
        let (_, explained) = sandbox.kubectl(&["explain", &format!("dingtalkapp.spec.{field}")]);
        let explained = explained.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_says(&explained, meanings);
    }
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_what_to_write_instead() {
    let sandbox = Sandbox::without_operator("people-refused", shared_plane().await).await;
    // What an app is refused with whose spec has these fields; empty where it is not.
    let refused = async |name: &str, fields: &Value| {
        let mut app = json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": name},
            "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": ["ding1"]},
        });
        for (field, value) in fields.as_object().expect("an object") {
            app["spec"][field] = value.clone();
        }
        // Not parsed by our types: what they cannot even hold must be refused as well.
        let request = http::Request::post(format!(
            "/apis/dingtalk-token-operator.github.io/v1alpha1/namespaces/{}/dingtalkapps?dryRun=All",
            sandbox.namespace
        ))
        .header("content-type", "application/json")
        .body(app.to_string().into_bytes())
        .expect("a request");
        match sandbox.client.request::<Value>(request).await {
            Ok(_) => String::new(),
            Err(kube::Error::Api(status)) => status.message.clone(),
            Err(error) => panic!("{error}"),
        }
    };
    let many: Vec<String> = (0..1001).map(|n| format!("ding{n}")).collect();
    let no_duration = "a duration of a second at least, such as 40m";
    let cases: Vec<(Value, &str)> = vec![
        (json!({}), ""),
        (json!({"corpIds": []}), "at least 1"),
        (
            json!({"corpIds": ["a", "b"]}),
            "or set target.layout to Combined",
        ),
        (json!({"corpIds": many}), "must have at most 1000 items"),
        (json!({"corpIds": ["a", "a"]}), "Duplicate value"),
        (json!({"corpIds": ["a b"]}), "a corpId has 1 to 64 letters"),
        (json!({"corpIds": ["x".repeat(65)]}), "Too long"),
        (json!({"renewBefore": "soon"}), no_duration),
        (json!({"renewBefore": "-5m"}), no_duration),
        (json!({"renewBefore": "0s"}), no_duration),
        (json!({"renewBefore": "900ms"}), no_duration),
        (json!({"renewBefore": "1.5h"}), no_duration),
        (json!({"renewBefore": "1h30m"}), ""),
        (json!({"site": null}), "spec.site: Required value"),
        (json!({"site": "China"}), "not a site's name"),
        (
            json!({"target": {"template": {"data": {"expires_at": "x"}}}}),
            "cannot set access_token, expires_at or corp_id",
        ),
        (
            json!({"target": {"layout": "PerCorp", "template": {"data": {"corp_id": "x"}}}}),
            "cannot set access_token, expires_at or corp_id",
        ),
        (
            json!({
                "corpIds": ["a", "b"],
                "target": {"layout": "Combined", "template": {"data": {"b.access_token": "x"}}},
            }),
            "cannot set <corpId>.access_token",
        ),
        (
            json!({
                "corpIds": ["a", "b"],
                "target": {"layout": "Combined", "template": {"data": {"c.access_token": "x", "access_token": "x"}}},
            }),
            "",
        ),
        (
            json!({"target": {"labels": {"app.kubernetes.io/managed-by": "x"}}}),
            "are reserved",
        ),
        (
            json!({"target": {"labels": {"app.kubernetes.io/part-of": "hr"}}}),
            "",
        ),
        (
            json!({"target": {"name": "credentials"}}),
            "is the credentials Secret",
        ),
        (json!({"target": {"name": "Upper"}}), "not a Secret's name"),
        (json!({"target": {"name": "x".repeat(254)}}), "Too long"),
        (json!({"target": {"layout": "Round"}}), "Unsupported value"),
        (
            json!({"target": {"labels": {"kubernetes.io/x": "y"}}}),
            "are reserved",
        ),
        (json!({"target": {"labels": {"x": "a b"}}}), "not a label"),
        (
            json!({"target": {"labels": {"example.com/team": "hr"}}}),
            "",
        ),
        (
            json!({"target": {"annotations": {"dingtalk-token-operator.github.io/owner": "y"}}}),
            "are reserved",
        ),
        (
            json!({"credentialsSecretRef": {"name": "a-token"}}),
            "which the operator never writes",
        ),
        (json!({"credentialsSecretRef": {}}), "Required value"),
        (
            json!({"credentialsSecretRef": {"name": "x", "clientIdKey": "a/b"}}),
            "not a key of a Secret",
        ),
        (
            json!({"corpIds": ["a", "B"], "target": {"layout": "PerCorp"}}),
            "use layout Combined for other corpIds",
        ),
        (
            json!({"target": {"layout": "PerCorp", "name": "x".repeat(189)}}),
            "188 characters at most",
        ),
        (
            json!({
                "corpIds": ["a", "b"], "target": {"layout": "PerCorp", "name": "t"},
                "credentialsSecretRef": {"name": "t-b"},
            }),
            "is the credentials Secret",
        ),
        (
            json!({"corpIds": ["a", "B"], "target": {"layout": "Combined"}}),
            "",
        ),
        (
            json!({"target": {"template": {"data": {"a/b": "x"}}}}),
            "not a key of a Secret",
        ),
        (
            json!({"rolloutRestartTargets": [{"kind": "Pod", "name": "x"}]}),
            "supported values",
        ),
        (
            json!({"referenceGrants": [{"namespace": "*"}]}),
            "without wildcards",
        ),
    ];
    for (fields, expected) in cases {
        let message = refused("a", &fields).await;
        assert_eq!(
            message.is_empty(),
            expected.is_empty(),
            "{fields}: {message}"
        );
        assert!(
            message.contains(expected),
            "{expected:?} for {fields}: {message}"
        );
    }
    let message = refused(&"x".repeat(250), &json!({})).await;
    assert!(message.contains("set spec.target.name"), "{message}");
}

#[tokio::test]
async fn a_duration_beyond_measure_hurts_no_other_app() {
    let sandbox = Sandbox::new("people-duration").await;
    sandbox
        .app_with(
            "odd",
            json!({"corpIds": ["ding1"], "renewBefore": "99999h99999h99999h99999h"}),
        )
        .await;
    sandbox.ready_app("payroll").await;
}

#[tokio::test]
async fn a_name_of_any_length_is_served() {
    let sandbox = Sandbox::new("people-long").await;
    sandbox
        .credentials("credentials", CLIENT_ID, crate::support::CLIENT_SECRET)
        .await;
    let name = "x".repeat(253);
    let app = serde_json::from_value(json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
        "metadata": {"name": name},
        "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": ["ding1"], "target": {"name": "t"}},
    }))
    .expect("an app");
    sandbox
        .api::<DingTalkApp>()
        .create(&PostParams::default(), &app)
        .await
        .expect("created");
    sandbox.until_ready(&name).await;
    sandbox.until_event("FirstTokenWritten").await;
}

#[tokio::test]
async fn logs_for_programs_are_objects_that_name_what_they_are_about() {
    let mut sandbox = Sandbox::without_operator("people-logs", shared_plane().await).await;
    sandbox.start_operator(&["--log-format", "json"]);
    sandbox.ready_app("payroll").await;
    sandbox.stop_operator();
    let logs = sandbox.logs();
    let lines: Vec<Value> = logs
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let fetched = lines
        .iter()
        .find(|line| line["message"] == "token fetched")
        .expect("a line");
    assert_eq!(fetched["kind"], "DingTalkApp");
    assert_eq!(fetched["namespace"], sandbox.namespace.as_str());
    assert_eq!(fetched["name"], "payroll");
    assert_eq!(fetched["corp_id"], "ding1");
    assert_eq!(fetched["level"], "INFO");
}

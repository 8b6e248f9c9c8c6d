//! What a person sees: kubectl, and what the API server refuses.

use dingtalk_token_operator::api::DingTalkApp;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::corpus::{Case, cases};
use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, shared_plane};

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
                "`PerCorp`: one Secret",
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
            ["`Delete` (default)", "`Retain`: they remain", "ENUM:"],
        ),
    ] {
        let (_, explained) = sandbox.kubectl(&["explain", &format!("dingtalkapp.spec.{field}")]);
        let explained = explained.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_says(&explained, meanings);
    }
}

/// The commands of docs/dingtalk.md and docs/using-a-token.md.
#[tokio::test]
async fn kubectl_hands_credentials_over_and_asks_for_a_renewal() {
    let sandbox = Sandbox::new("people-hand-over").await;
    let mut create = ["create", "secret", "generic", "payroll-credentials"]
        .map(str::to_owned)
        .to_vec();
    for (name, text) in [("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET)] {
        let file = sandbox.folder().join(name);
        std::fs::write(&file, text).expect("written");
        create.push(format!("--from-file={}", file.display()));
    }
    let create: Vec<&str> = create.iter().map(String::as_str).collect();
    let (done, said) = sandbox.kubectl(&create);
    assert!(done, "{said}");
    sandbox.app("payroll", "ding1").await;
    sandbox.until_ready("payroll").await;
    let request = r#"{"metadata":{"annotations":{"dingtalk-token-operator.github.io/renew-requested-at":"2026-11-23T02:06:38Z"}}}"#;
    let patch = [
        "patch",
        "dingtalkapp",
        "payroll",
        "--type",
        "merge",
        "--patch",
        request,
    ];
    let (done, said) = sandbox.kubectl(&patch);
    assert!(done, "{said}");
    sandbox
        .eventually("a renewal", async || {
            (sandbox.stub.calls("ding1").len() == 2).then_some(())
        })
        .await;
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_what_to_write_instead() {
    let sandbox = Sandbox::without_operator("people-refused", shared_plane().await).await;
    for Case {
        object,
        refused: expected,
    } in cases()
    {
        let message = sandbox.refused(&object).await;
        assert_eq!(
            message.is_empty(),
            expected.is_empty(),
            "{object}: {message}"
        );
        assert!(
            message.contains(expected),
            "{expected:?} for {object}: {message}"
        );
    }
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
        .credentials("credentials", CLIENT_ID, CLIENT_SECRET)
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

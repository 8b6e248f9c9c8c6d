//! What the log tells.

use dingtalk_stub::Repeat;
use serde_json::Value;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, shared_plane};

impl Sandbox {
    /// The fields of the lines with this message.
    fn logged(&self, message: &str) -> Vec<Value> {
        let log = self.operator.as_ref().expect("running").log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines
            .filter(|line: &Value| line["message"] == message)
            .collect()
    }
}

/// The causes in a row, each once.
fn causes(lines: &[Value]) -> Vec<&str> {
    let mut causes: Vec<&str> = lines
        .iter()
        .map(|line| line["cause"].as_str().expect("a cause"))
        .collect();
    causes.dedup();
    causes
}

#[tokio::test]
async fn why_a_token_was_renewed_is_answered_by_the_log_alone() {
    let mut sandbox = Sandbox::without_operator("logs", shared_plane().await).await;
    sandbox.stub.configure(|settings| {
        settings.repeat = Repeat::NewOverlap;
        settings.expires_in = 20;
    });
    sandbox.start_operator(&["--log-format=json"]);
    sandbox.ready_app("payroll").await;
    let calls = async |more_than: usize| {
        let calls = sandbox.stub.calls("ding1").len();
        (calls > more_than).then_some(calls)
    };
    let renewed = sandbox
        .eventually("a renewal", async || calls(1).await)
        .await;
    sandbox
        .stub
        .configure(|settings| settings.expires_in = 7200);
    // Whatever was renewed in between has a long life, and nothing else is due.
    sandbox
        .eventually("a long life", async || calls(renewed).await)
        .await;
    sandbox
        .stub
        .register(CLIENT_ID, "another-secret", &["ding1"]);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, "another-secret")
        .await;
    let expected = ["FirstToken", "RenewalDue", "CredentialsChanged"];
    let fetched = sandbox
        .eventually("the cause of the last fetch", async || {
            let fetched = sandbox.logged("token fetched");
            (causes(&fetched) == expected).then_some(fetched)
        })
        .await;
    for (line, former) in fetched.iter().skip(1).zip(&fetched) {
        assert_eq!(line["former_expires_at"], former["expires_at"], "{line}");
    }
    assert_eq!(fetched[0]["former_expires_at"], Value::Null);
    for line in &fetched {
        assert_eq!(line["kind"], "DingTalkApp");
        assert_eq!(line["namespace"], sandbox.namespace.as_str());
        assert_eq!(
            (&line["name"], &line["corp_id"]),
            (&"payroll".into(), &"ding1".into())
        );
        assert_eq!(line["value_changed"], true, "{line}");
    }
    let written = sandbox
        .eventually("the cause of the last write", async || {
            let written = sandbox.logged("Secret written");
            (causes(&written) == expected).then_some(written)
        })
        .await;
    assert!(written.iter().all(|line| line["secret"] == "payroll-token"));
    let log = sandbox.operator.as_ref().expect("running").log();
    assert!(!log.contains(CLIENT_SECRET) && !log.contains("another-secret"));
}

#[tokio::test]
async fn what_is_not_served_is_logged_with_the_page_that_says_why() {
    let mut sandbox = Sandbox::without_operator("logs-limit", shared_plane().await).await;
    sandbox.start_operator(&["--log-format=json", "--max-apps-per-namespace=1"]);
    sandbox.ready_app("payroll").await;
    sandbox.app("expenses", "ding1").await;
    let line = sandbox
        .eventually("the refusal", async || sandbox.logged("not served").pop())
        .await;
    let page = line["see"].as_str().expect("a page");
    assert!(page.ends_with("#namespacelimitexceeded"), "{line}");
}

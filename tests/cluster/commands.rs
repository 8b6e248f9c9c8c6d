//! The commands for people: check, renew, explain; plugin.rs has those of `kubectl dingtalk`.

use std::process::{Command, Stdio};

use dingtalk_stub::Repeat;
use dingtalk_token_operator::api::DingTalkApp;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox};

impl Sandbox {
    /// Runs a command of the program as a user would; gives exit code, standard output and error.
    pub fn command(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_dingtalk-token-operator"))
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .stdin(Stdio::null())
            .output()
            .expect("the program");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// Runs `check` with the consent to revoke a live token.
    fn check(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        self.check_unasked(&[&["--yes"], arguments].concat())
    }

    fn check_unasked(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let site = format!("global={}", self.stub.url());
        let given = ["check", "payroll", "-n", &self.namespace];
        let given = [&given[..], &["--builtin-sites=false", "--site", &site]].concat();
        self.command(&[&given[..], &["--allow-plain-http"], arguments].concat())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tries_the_credentials_and_writes_nothing() {
    let sandbox = Sandbox::new("command-check").await;
    sandbox.ready_app("payroll").await;
    let before = sandbox.version_of("payroll-token").await;
    let (code, said, _) = sandbox.check(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("ok    ding1  "), "{said}");
    assert!(
        said.contains("it is the same token as in the Secret"),
        "{said}"
    );
    sandbox
        .stub
        .configure(|settings| settings.repeat = Repeat::NewRevoked);
    let (code, said, _) = sandbox.check(&["-o", "json"]);
    assert_eq!(code, Some(0));
    let result: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(result["items"][0]["sameTokenAsInSecret"], false);
    assert_eq!(result["items"][0]["expiresInSeconds"], 7200);
    assert_eq!(sandbox.version_of("payroll-token").await, before);
    let token = sandbox.token("payroll-token").await.expect("a token");
    assert!(!said.contains(&token.value) && !said.contains(CLIENT_SECRET));
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, "guessed-wrong")
        .await;
    let (code, said, _) = sandbox.check(&[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.starts_with("fails ding1  InvalidCredentials: "),
        "{said}"
    );
    assert!(
        said.contains("invalid.client") && !said.contains("guessed"),
        "{said}"
    );
    let (code, _, error) = sandbox.check(&["--namespace", "nowhere"]);
    assert_eq!(code, Some(2), "given twice: {error}");
    let (code, _, error) = sandbox.command(&["check", "none", "-n", &sandbox.namespace]);
    assert_eq!(code, Some(1));
    assert!(error.contains("/none: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_risks_no_live_token_unless_told_to() {
    let sandbox = Sandbox::new("command-check-asks").await;
    sandbox.ready_app("payroll").await;
    let calls = sandbox.stub.journal().len();
    let (code, said, error) = sandbox.check_unasked(&[]);
    assert_eq!((code, said.as_str()), (Some(1), ""), "{error}");
    assert!(
        error.contains("/payroll has valid tokens (1), which DingTalk may revoke")
            && error.contains("Add --yes"),
        "{error}"
    );
    assert_eq!(sandbox.stub.journal().len(), calls, "nothing was fetched");
    let (code, said, _) = sandbox.check_unasked(&["--corp-id", "ding7", "-o", "json"]);
    let result: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, result), (Some(3), json!({"items": []})));
    let (code, said, _) = sandbox.check_unasked(&["--yes", "-o", "wide"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("CORPID   RESULT   SITE "), "{said}");
    assert!(said.contains("ding1    ok       global"), "{said}");
    assert_eq!(sandbox.stub.journal().len(), calls + 1);
    // Without a token there is nothing to ask for.
    sandbox
        .credentials("expenses-credentials", CLIENT_ID, "guessed-wrong")
        .await;
    sandbox.app("expenses", "ding1").await;
    sandbox
        .until_failing("expenses", "InvalidCredentials")
        .await;
    let site = format!("global={}", sandbox.stub.url());
    let check = ["check", "expenses", "-n", &sandbox.namespace];
    let flags = ["--site", &site, "--allow-plain-http"];
    let (code, said, _) = sandbox.command(&[&check[..], &flags].concat());
    assert_eq!(code, Some(3), "{said}");
    assert!(said.starts_with("fails ding1  "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn renew_asks_waits_and_tells_what_came_of_it() {
    let sandbox = Sandbox::new("command-renew").await;
    sandbox
        .stub
        .register(CLIENT_ID, CLIENT_SECRET, &["ding1", "ding2"]);
    sandbox
        .stub
        .configure(|settings| settings.repeat = Repeat::NewOverlap);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    let spec = json!({"corpIds": ["ding1", "ding2"], "target": {"layout": "Combined"}});
    sandbox.app_with("payroll", spec).await;
    sandbox.until_ready("payroll").await;
    let namespace = sandbox.namespace.clone();
    let renew = ["renew", "payroll", "-n", &namespace];
    let (code, said, progress) = sandbox.command(&renew);
    assert_eq!(code, Some(0), "{said}{progress}");
    assert!(
        progress.contains("requested new tokens for 2 corpIds"),
        "{progress}"
    );
    assert!(said.contains("ok    ding1  Secret payroll-token"), "{said}");
    assert_eq!(sandbox.stub.journal().len(), 4);
    sandbox.stub.next_calls(
        "ding2",
        None,
        dingtalk_stub::Behaviour::Fail {
            status: 401,
            code: "unauthorized.client".into(),
        },
    );
    let (code, said, _) = sandbox.command(&[&renew[..], &["-o", "json"]].concat());
    assert_eq!(code, Some(3), "{said}");
    let result: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(result["items"][1]["error"]["reason"], "AppNotAuthorized");
    sandbox
        .merge::<DingTalkApp>("payroll", json!({"spec": {"suspend": true}}))
        .await;
    let (code, _, error) = sandbox.command(&renew);
    assert_eq!(code, Some(1));
    assert!(error.contains("/payroll is suspended"), "{error}");
    sandbox
        .merge::<DingTalkApp>("payroll", json!({"spec": {"suspend": false}}))
        .await;
    let mut sandbox = sandbox;
    sandbox.stop_operator();
    let (code, _, said) = sandbox.command(&[&renew[..], &["--timeout", "10s"]].concat());
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("is the operator running"), "{said}");
}

/// Regression: it waited for five minutes.
#[tokio::test(flavor = "multi_thread")]
async fn renew_waits_for_nothing_that_the_status_rules_out() {
    let sandbox = Sandbox::new("command-renew-conflict").await;
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "payroll-token"},
        "stringData": {"access_token": "theirs"},
    });
    sandbox.apply::<Secret>("payroll-token", theirs).await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    sandbox.until_failing("payroll", "SecretConflict").await;
    let (code, said, error) = sandbox.command(&["renew", "payroll", "-n", &sandbox.namespace]);
    assert_eq!(code, Some(3), "{said}{error}");
    assert!(said.starts_with("fails ding1  SecretConflict: "), "{said}");
}

/// Regression: what could not be written to standard error ended the program with a panic.
#[test]
fn nobody_has_to_read_what_the_program_prints() {
    let absent = "/no/such/file";
    for arguments in [
        &["--help"][..],
        &["nonsense"],
        &["crd"],
        &["completions", "bash"],
        &["explain", "Banned"],
        &["explain", "nonsense"],
        &["validate", "-f", absent],
        &["validate", "-f", "/dev/null"],
        &["status", "--kubeconfig", absent],
        &["check", "payroll", "--kubeconfig", absent],
        &["renew", "payroll", "--kubeconfig", absent],
        &["doctor", "--kubeconfig", absent],
        &[
            "run",
            "--metrics-bind-address=0",
            "--health-probe-bind-address=0",
        ],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let status = Command::new(env!("CARGO_BIN_EXE_dingtalk-token-operator"))
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(writer.try_clone().expect("the pipe"))
            .stderr(writer)
            .status()
            .expect("the program");
        let is_documented = status.code().is_some_and(|code| (0..4).contains(&code));
        assert!(is_documented, "{arguments:?}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_knows_codes_and_reasons() {
    let sandbox =
        Sandbox::without_operator("command-explain", crate::support::shared_plane().await);
    let sandbox = sandbox.await;
    let (code, said, _) = sandbox.command(&["explain", "90010"]);
    assert_eq!(code, Some(0));
    assert!(said.starts_with("Banned\n  means "), "{said}");
    assert!(said.contains("all tokens of this client_id"), "{said}");
    let (code, said, _) = sandbox.command(&["explain", "secretconflict"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("adopt-by"), "{said}");
    let (code, said, error) = sandbox.command(&["explain", "nonsense", "-o", "json"]);
    let found: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, found), (Some(3), json!({"items": []})));
    assert!(error.contains("\"nonsense\""), "{error}");
}

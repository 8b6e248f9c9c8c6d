//! `kubectl dingtalk`, run by kubectl with the rights of who may edit a namespace.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use dingtalk_stub::{Behaviour, Repeat};
use dingtalk_token_operator::api::DingTalkApp;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::doctor::state;
use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, documents, kubectl, shared_plane};

/// An editor's terminal: the plugin is on its PATH.
struct Editor<'a> {
    sandbox: &'a Sandbox,
    kubeconfig: PathBuf,
    path: PathBuf,
}

impl<'a> Editor<'a> {
    async fn new(sandbox: &'a Sandbox) -> Self {
        let path = sandbox.folder().join("bin");
        std::fs::create_dir(&path).expect("a folder");
        for name in ["kubectl-dingtalk", "kubectl_complete-dingtalk"] {
            let program = env!("CARGO_BIN_EXE_dingtalk-token-operator");
            symlink(program, path.join(name)).expect("a link");
        }
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "editor"},
        });
        sandbox.apply::<ServiceAccount>("editor", account).await;
        let roles: Api<ClusterRole> = Api::all(sandbox.client.clone());
        let apply = PatchParams::apply("test").force();
        let aggregated = documents(include_str!("../../deploy/base/aggregated-roles.yaml"));
        let mut names = vec!["edit".to_owned()];
        for role in aggregated {
            let name = role["metadata"]["name"]
                .as_str()
                .expect("a name")
                .to_owned();
            let applied = roles.patch(&name, &apply, &Patch::Apply(role)).await;
            applied.expect("the role");
            names.push(name);
        }
        for name in names {
            let binding = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": format!("editor-{name}")},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": "editor", "namespace": sandbox.namespace}],
            });
            let binding_name = format!("editor-{name}");
            sandbox.apply::<RoleBinding>(&binding_name, binding).await;
        }
        let kubeconfig = sandbox.folder().join("editor.kubeconfig");
        let text = sandbox.kubeconfig_of("editor").await.to_string();
        std::fs::write(&kubeconfig, text).expect("written");
        let editor = Self {
            sandbox,
            kubeconfig,
            path,
        };
        // The API server learns of each binding a while after it was made.
        for (verb, resource) in [("get", "secrets"), ("patch", "dingtalkapps")] {
            let question = ["auth", "can-i", verb, resource, "-n", &sandbox.namespace];
            let may = async || (editor.kubectl(&question).0 == Some(0)).then_some(());
            sandbox.eventually("the editor's rights", may).await;
        }
        editor
    }

    /// Runs kubectl; gives exit code, standard output and error.
    fn kubectl(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = kubectl(&self.kubeconfig)
            .args(arguments)
            .env("PATH", &self.path)
            // A proxy of the environment would be the way to the stub.
            .env("NO_PROXY", "127.0.0.1")
            .output()
            .expect("kubectl");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// Runs the plugin in the editor's namespace.
    fn dingtalk(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let namespace = ["-n", &self.sandbox.namespace];
        self.kubectl(&[&["dingtalk"], arguments, &namespace].concat())
    }

    /// Runs a command of the plugin that calls the site, which is the stub.
    fn calling(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let site = format!("global={}", self.sandbox.stub.url());
        let flags = ["--builtin-sites=false", "--allow-plain-http", "--site"];
        self.kubectl(&[&["dingtalk"], arguments, &flags, &[site.as_str()]].concat())
    }
}

/// An app that is ready, and one that DingTalk refuses.
async fn two_apps(name: &str) -> Sandbox {
    let sandbox = Sandbox::new(name).await;
    sandbox
        .stub
        .configure(|settings| settings.repeat = Repeat::NewOverlap);
    sandbox
        .credentials("expenses-credentials", CLIENT_ID, "wrong")
        .await;
    sandbox.app("expenses", "ding1").await;
    sandbox.ready_app("payroll").await;
    sandbox
        .until_failing("expenses", "InvalidCredentials")
        .await;
    sandbox
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_sees_the_apps_of_the_namespace_and_what_to_do() {
    let sandbox = two_apps("plugin-status").await;
    let editor = Editor::new(&sandbox).await;
    let (code, table, error) = editor.dingtalk(&["status"]);
    assert_eq!(code, Some(3), "{table}{error}");
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("NAME       READY   TOKENS   EXPIRES IN"),
        "{table}"
    );
    let expenses = words(lines[1]);
    assert_eq!(expenses[..4], ["expenses", "False", "0/1", "-"], "{table}");
    assert_eq!(expenses.last(), Some(&"InvalidCredentials"));
    let payroll = words(lines[2]);
    assert_eq!(payroll[..3], ["payroll", "True", "1/1"], "{table}");
    assert_eq!(payroll[5..], ["-", "TokensValid"], "{table}");
    let (code, said, _) = editor.dingtalk(&["status", "payroll"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ding1    payroll-token   20"), "{said}");
    assert!(!said.contains("What to do"), "{said}");
    let (code, said, _) = editor.dingtalk(&["status", "expenses"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("kubectl dingtalk explain InvalidCredentials"),
        "{said}"
    );
    assert!(said.contains("invalid.client"), "{said}");
    let (code, said, error) = editor.dingtalk(&["status", "absent"]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(error.contains("/absent"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_namespaces_are_for_who_may_list_them() {
    let sandbox = two_apps("plugin-all").await;
    let editor = Editor::new(&sandbox).await;
    let (code, _, error) = editor.kubectl(&["dingtalk", "status", "-A"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("list DingTalkApps in all namespaces") && error.contains("forbidden"),
        "{error}"
    );
    let (code, said, _) = sandbox.command(&["status", "-A", "-o", "json"]);
    assert_eq!(code, Some(3));
    let all: Value = serde_json::from_str(&said).expect("JSON");
    let ours = all["items"].as_array().expect("items").iter();
    let ours: Vec<&Value> = ours
        .filter(|it| it["namespace"] == sandbox.namespace.as_str())
        .collect();
    assert_eq!(ours.len(), 2, "{said}");
    assert_eq!(ours[0]["corps"][0]["error"]["code"], "invalid.client");
    assert_eq!(ours[1]["ready"], "True");
    let (_, table, _) = sandbox.command(&["status", "-A"]);
    assert!(table.starts_with("NAMESPACE "), "{table}");
    let (_, yaml, _) =
        sandbox.command(&["status", "payroll", "-n", &sandbox.namespace, "-o", "yaml"]);
    assert!(
        yaml.starts_with("items:\n- namespace: plugin-all-"),
        "{yaml}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_renews_several_apps_at_once() {
    let sandbox = two_apps("plugin-renew").await;
    let editor = Editor::new(&sandbox).await;
    sandbox
        .credentials("paused-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox
        .app_with("paused", json!({"corpIds": ["ding1"], "suspend": true}))
        .await;
    for name in ["payroll", "paused"] {
        let labels = json!({"metadata": {"labels": {"team": "hr"}}});
        sandbox.merge::<DingTalkApp>(name, labels).await;
    }
    // Another organisation: a token is renewed on request once a minute.
    sandbox
        .stub
        .register(CLIENT_ID, CLIENT_SECRET, &["ding1", "ding2"]);
    sandbox
        .credentials("invoices-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("invoices", "ding2").await;
    sandbox.until_ready("invoices").await;
    let before = sandbox.token("payroll-token").await.expect("a token");
    let (code, table, error) = editor.dingtalk(&["renew", "-l", "team=hr"]);
    assert_eq!(code, Some(0), "{table}{error}");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(words(lines[1])[..2], ["paused", "suspended"], "{table}");
    assert_eq!(words(lines[2])[..3], ["payroll", "ok", "1/1"], "{table}");
    let after = sandbox.token("payroll-token").await.expect("a token");
    assert_ne!(before.value, after.value);
    assert!(
        error.contains("requested new tokens for 1 corpId at"),
        "{error}"
    );
    let (code, table, error) = editor.dingtalk(&["renew", "invoices", "expenses"]);
    assert_eq!(code, Some(3), "{table}{error}");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        words(lines[1])[..3],
        ["expenses", "fails", "0/1"],
        "{table}"
    );
    assert_eq!(words(lines[2])[..3], ["invoices", "ok", "1/1"], "{table}");
    assert!(
        table.contains("kubectl dingtalk explain InvalidCredentials"),
        "{table}"
    );
    let (code, said, _) = editor.dingtalk(&["renew", "paused", "absent", "-o", "json"]);
    assert_eq!(code, Some(1), "{said}");
    let result: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(result["items"][1]["problem"], "spec.suspend is set");
    let problem = result["items"][0]["problem"].as_str().expect("a problem");
    assert!(problem.contains("/absent"), "{said}");
    for command in ["renew", "status"] {
        let (code, _, error) = editor.dingtalk(&[command, "-l", "team=none"]);
        assert_eq!(code, Some(3), "{command}");
        assert!(
            error.contains("no DingTalkApps found in namespace"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_checks_the_credentials_of_an_app() {
    let sandbox = two_apps("plugin-check").await;
    let editor = Editor::new(&sandbox).await;
    let namespace = sandbox.namespace.as_str();
    let check = |name, arguments: &[&str]| {
        let named = ["check", name, "-n", namespace];
        editor.calling(&[&named, arguments].concat())
    };
    let (code, said, error) = check("expenses", &[]);
    assert_eq!(code, Some(3), "{said}{error}");
    assert!(
        said.starts_with("fails ding1  InvalidCredentials: "),
        "{said}"
    );
    // The live token is seen in the Secret, and not risked.
    let calls = sandbox.stub.journal().len();
    let (code, said, error) = check("payroll", &[]);
    assert_eq!((code, said.as_str()), (Some(1), ""), "{error}");
    assert!(
        error.contains("/payroll has valid tokens (1)") && error.contains("Add --yes"),
        "{error}"
    );
    assert_eq!(sandbox.stub.journal().len(), calls, "nothing was fetched");
    let (code, said, error) = check("payroll", &["--yes", "-o", "json"]);
    assert_eq!(code, Some(0), "{said}{error}");
    let result: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(result["items"][0]["ok"], true);
    assert_eq!(result["items"][0]["sameTokenAsInSecret"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_is_told_what_stands_in_the_way_and_what_cannot_be_seen() {
    let sandbox = Sandbox::new("plugin-doctor").await;
    // Nothing is deployed here, and nobody leads, which the editor has no right to see.
    let operators = Sandbox::without_operator("plugin-doctor-operator", shared_plane().await).await;
    let refusal = Behaviour::Fail {
        status: 403,
        code: "Forbidden.AccessDenied.IpNotInWhiteList".into(),
    };
    sandbox.stub.next_calls("ding1", None, refusal);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    sandbox.until_failing("payroll", "IpNotAllowed").await;
    let editor = Editor::new(&sandbox).await;
    let doctor = || {
        let of_operator = ["--operator-namespace", &operators.namespace];
        let (code, said, error) =
            editor.calling(&[&["doctor", "-o", "json"], &of_operator[..]].concat());
        let verdicts: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{error}"));
        (code, verdicts)
    };
    // The context has no namespace yet, and the editor has no rights in `default`.
    let (code, verdicts) = doctor();
    assert_eq!(code, Some(0), "{verdicts}");
    for subject in ["rights to serve", "allow-list"] {
        let (state, said) = state(&verdicts, subject);
        assert_eq!(state, "notChecked", "{verdicts}");
        assert!(said.ends_with("nor in default"), "{said}");
    }
    let namespace = sandbox.namespace.as_str();
    let context = ["config", "set-context", "--current", "--namespace"];
    let (code, _, error) = editor.kubectl(&[&context[..], &[namespace]].concat());
    assert_eq!(code, Some(0), "{error}");
    // The API server publishes a schema a moment after its definition was created.
    let (code, verdicts) = sandbox
        .eventually("a published schema", async || {
            let (code, verdicts) = doctor();
            (state(&verdicts, "CRD DingTalkApp").0 == "ok").then_some((code, verdicts))
        })
        .await;
    for subject in ["proxy", "DNS", "TCP", "HTTP"] {
        let subject = format!("site global, {subject}");
        assert_eq!(state(&verdicts, &subject).0, "ok", "{verdicts}");
    }
    let rights = format!("rights to serve {namespace}");
    for subject in ["operator", "leader", "rights to lead", &rights] {
        let (state, said) = state(&verdicts, subject);
        assert_eq!(state, "notChecked", "{verdicts}");
        assert!(said.starts_with("you are not allowed to "), "{said}");
    }
    // What the namespace shows is the only failure.
    let (state, said) = state(&verdicts, "allow-list");
    assert_eq!((code, state), (Some(3), "fails"), "{verdicts}");
    assert!(
        said.contains(&format!("app {namespace}/payroll: ")),
        "{said}"
    );
    let items = verdicts["items"].as_array().expect("items").iter();
    assert_eq!(items.filter(|item| item["state"] == "fails").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_completes_and_explains_the_plugin_and_its_flags_are_kubectls() {
    let sandbox = Sandbox::new("plugin-flags").await;
    sandbox.ready_app("payroll").await;
    let editor = Editor::new(&sandbox).await;
    let (code, help, _) = editor.kubectl(&["dingtalk", "--help"]);
    assert_eq!(code, Some(0));
    assert!(help.contains("Usage: kubectl dingtalk <COMMAND>"), "{help}");
    let (_, completed, error) = editor.kubectl(&["__complete", "dingtalk", "stat"]);
    assert!(completed.starts_with("status"), "{completed}{error}");
    let (_, completed, _) = editor.kubectl(&["__complete", "dingtalk", "renew", "-o", "y"]);
    assert!(completed.starts_with("yaml"), "{completed}");
    let file = editor.kubeconfig.to_str().expect("a path");
    let config: Value = serde_json::from_slice(&std::fs::read(file).expect("read")).expect("JSON");
    let context = config["current-context"].as_str().expect("a context");
    let plugin = editor.path.join("kubectl-dingtalk");
    let status = |context: &str| {
        Command::new(&plugin)
            .args([
                "status",
                "payroll",
                "--kubeconfig",
                file,
                "--context",
                context,
            ])
            .args(["-n", &sandbox.namespace])
            .env_clear()
            .output()
            .expect("the plugin")
    };
    let output = status(context);
    assert!(output.status.success(), "{output:?}");
    let output = status("elsewhere");
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("elsewhere"), "{error}");
}

//! Evidence of a failed test, in target/evidence/TEST/NAMESPACE, without the values of Secrets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Sandbox;
use super::kubectl::kubectl;

/// Bytes to keep from the end of the API server's log, which all tests share.
const LOG_END: usize = 1_000_000;

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A panic here would abort the program, and with it the other tests.
            match write(self) {
                Ok(folder) => eprintln!("evidence: {}", folder.display()),
                Err(error) => eprintln!("cannot write the evidence: {error}"),
            }
        }
    }
}

/// Removes the evidence of an earlier run of this test.
pub(super) fn forget() {
    if let Some(test) = test() {
        let _ = fs::remove_dir_all(root().join(test));
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/evidence")
}

/// Returns the name of the running test; `None` if all tests share one thread.
fn test() -> Option<String> {
    let thread = std::thread::current();
    let name = thread.name().filter(|name| *name != "main")?;
    Some(name.replace("::", "."))
}

fn write(sandbox: &Sandbox) -> io::Result<PathBuf> {
    let test = test().unwrap_or_default();
    let folder = root().join(test).join(&sandbox.namespace);
    fs::create_dir_all(&folder)?;
    for log in sandbox.log_files() {
        let name = log.file_name().unwrap_or_default();
        fs::copy(&log, folder.join(name))?;
    }
    let journal = serde_json::to_vec_pretty(&sandbox.stub.journal())?;
    fs::write(folder.join("stub-journal.json"), journal)?;
    for (file, kinds) in [("apps", "dta,dtr"), ("events", "events.events.k8s.io")] {
        let objects = listed(sandbox, kinds, "yaml")?;
        fs::write(folder.join(format!("{file}.yaml")), objects)?;
    }
    let secrets = without_values(&listed(sandbox, "secrets", "json")?);
    fs::write(folder.join("secrets.json"), secrets)?;
    fs::write(
        folder.join("requests.jsonl"),
        sandbox.requests_of_namespace()?,
    )?;
    let log = fs::read(sandbox.audit_log().with_file_name("kube-apiserver.log"))?;
    let end = &log[log.len().saturating_sub(LOG_END)..];
    fs::write(folder.join("kube-apiserver.log"), end)?;
    Ok(folder)
}

/// Returns the objects of these kinds, or kubectl's error.
fn listed(sandbox: &Sandbox, kinds: &str, format: &str) -> io::Result<String> {
    let output = kubectl(sandbox.kubeconfig())
        .args([
            "get",
            kinds,
            "--namespace",
            &sandbox.namespace,
            "-o",
            format,
        ])
        .args(["--show-managed-fields", "--request-timeout=10s"])
        .output()?;
    let said = if output.status.success() {
        output.stdout
    } else {
        output.stderr
    };
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Returns a list of Secrets in which each value is replaced by its length.
fn without_values(list: &str) -> String {
    let Ok(mut list) = serde_json::from_str::<Value>(list) else {
        return "not listed".to_owned();
    };
    for secret in list["items"].as_array_mut().into_iter().flatten() {
        if let Some(Value::Object(data)) = secret.get_mut("data") {
            for value in data.values_mut() {
                *value = json!(value.as_str().map(str::len));
            }
        }
        if let Some(Value::Object(annotations)) = secret.pointer_mut("/metadata/annotations") {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    format!("{list:#}")
}

#[test]
fn no_value_of_a_secret_is_kept() {
    let applied = r#"{"stringData":{"client_secret":"a-secret"}}"#;
    let annotations = json!({
        "kubectl.kubernetes.io/last-applied-configuration": applied, "team": "web",
    });
    let secret = json!({
        "metadata": {"name": "payroll", "annotations": annotations},
        "data": {"client_secret": "YS1zZWNyZXQ="},
    });
    let kept = without_values(&json!({"items": [secret]}).to_string());
    assert!(
        !kept.contains("a-secret") && !kept.contains("YS1zZWNyZXQ="),
        "{kept}"
    );
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    assert_eq!(kept["items"][0]["data"], json!({"client_secret": 12}));
    assert_eq!(
        kept["items"][0]["metadata"]["annotations"],
        json!({"team": "web"})
    );
    assert_eq!(without_values("error: a-secret"), "not listed");
}

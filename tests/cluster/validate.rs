//! `validate` and the API server agree on what is refused.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use dingtalk_token_operator::api::definitions;
use serde_json::Value;

use crate::corpus::{cases, full, violations};
use crate::support::{Sandbox, shared_plane};

impl Sandbox {
    /// What the API server refuses an object with; empty if it is taken. Nothing is kept.
    pub async fn refused(&self, object: &Value) -> String {
        let plural = match object["kind"].as_str() {
            Some("DingTalkTokenReference") => "dingtalktokenreferences",
            _ => "dingtalkapps",
        };
        // Not parsed by our types: what they cannot even hold must be refused as well.
        let request = http::Request::post(format!(
            "/apis/dingtalk-token-operator.github.io/v1alpha1/namespaces/{}/{plural}\
             ?dryRun=All&fieldValidation=Strict",
            self.namespace
        ))
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())
        .expect("a request");
        match self.client.request::<Value>(request).await {
            Ok(_) => String::new(),
            Err(kube::Error::Api(status)) => status.message.clone(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn objects() -> Vec<(String, Value)> {
    let cases = cases()
        .into_iter()
        .map(|case| (case.refused.to_owned(), case.object));
    let mut objects: Vec<(String, Value)> = cases.collect();
    for full in full() {
        let mut definitions = definitions().into_iter();
        let definition = definitions.find(|it| full["kind"] == *it.spec.names.kind);
        let version = definition.expect("a definition").spec.versions.remove(0);
        let schema = version.schema.and_then(|it| it.open_api_v3_schema);
        objects.extend(violations(&full, &schema.expect("a schema")));
    }
    objects
}

#[tokio::test]
async fn the_api_server_and_validate_agree_on_every_manifest() {
    let sandbox = Sandbox::without_operator("validate", shared_plane().await).await;
    let folder = sandbox.folder().join("manifests");
    fs::create_dir(&folder).expect("a folder");
    let objects = objects();
    let name = |index: usize| {
        folder
            .join(format!("{index:04}.json"))
            .display()
            .to_string()
    };
    for (index, (_, object)) in objects.iter().enumerate() {
        fs::write(name(index), object.to_string()).expect("written");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_dingtalk-token-operator"))
        .args(["validate", "-o", "json", "-f"])
        .arg(&folder)
        .env_remove("KUBECONFIG")
        .output()
        .expect("the program");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let items = report["items"].as_array().expect("items");
    let refused: BTreeSet<&str> = items
        .iter()
        .filter(|item| item["severity"] == "refused")
        .map(|item| item["file"].as_str().expect("a file"))
        .collect();
    let mut disagreements = Vec::new();
    for (index, (what, object)) in objects.iter().enumerate() {
        let theirs = sandbox.refused(object).await;
        if theirs.is_empty() == refused.contains(name(index).as_str()) {
            disagreements.push(format!("{what}: {theirs:?} for {object}"));
        }
    }
    assert_eq!(disagreements, Vec::<String>::new());
    assert!(objects.len() > 100, "{}", objects.len());
}

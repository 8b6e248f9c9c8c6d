//! The step from `v1alpha1` to `v1`, as docs/compatibility.md has it: nothing is fetched, no Secret is
//! written, and each step can be undone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use dingtalk_token_operator::api::DingTalkApp;
use futures::stream;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Plane, Sandbox};

const OLD: &str = "dingtalk-token-operator.github.io/v1alpha1";
const NEW: &str = "dingtalk-token-operator.github.io/v1";
/// What an operator of `v1` sees in the place of the former version: not its own.
const OTHER: &str = "dingtalk-token-operator.github.io/v0";
const CRDS: [&str; 2] = [
    "dingtalkapps.dingtalk-token-operator.github.io",
    "dingtalktokenreferences.dingtalk-token-operator.github.io",
];

/// Makes an operator of `v1` of this one, as far as the API server can tell: it translates the
/// version in all that is sent, and back in all that is answered.
struct Translator {
    server: String,
    client: reqwest::Client,
}

impl Translator {
    /// Its URL.
    async fn start(sandbox: &Sandbox) -> String {
        let client = reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .build()
            .expect("a client");
        let translator = Arc::new(Self {
            server: format!("https://{}", sandbox.api_server()),
            client,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let routes = Router::new().fallback(translate).with_state(translator);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        format!("http://{address}")
    }
}

fn replaced(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(text).replace(from, to).into_bytes()
}

async fn translate(State(translator): State<Arc<Translator>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{}", translator.server, path.replace(OLD, NEW));
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .expect("a body");
    let mut headers = head.headers;
    for name in ["host", "content-length", "accept-encoding"] {
        headers.remove(name);
    }
    let sent = translator
        .client
        .request(head.method, url)
        .headers(headers)
        .body(replaced(&body, OLD, NEW))
        .send()
        .await
        .expect("an answer");
    let mut answer = Response::builder().status(sent.status());
    if let Some(kind) = sent.headers().get("content-type") {
        answer = answer.header("content-type", kind);
    }
    // Line by line, so that an event of a watch is whole.
    let lines = stream::unfold((sent, Vec::new()), move |(mut sent, mut rest)| async move {
        loop {
            match sent.chunk().await {
                Ok(Some(chunk)) => rest.extend_from_slice(&chunk),
                _ if rest.is_empty() => return None,
                _ => {
                    let end = std::mem::take(&mut rest);
                    return Some((Ok::<_, Infallible>(spoken(&end)), (sent, rest)));
                }
            }
            if let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') {
                let left = rest.split_off(end + 1);
                return Some((Ok(spoken(&rest)), (sent, left)));
            }
        }
    });
    answer.body(Body::from_stream(lines)).expect("an answer")
}

fn spoken(text: &[u8]) -> Bytes {
    let [new, old, other] = [NEW, OLD, OTHER].map(|version| format!("{version}\""));
    let text = replaced(text, &old, &other);
    replaced(&text, &new, &old).into()
}

/// Serves and stores these versions: name, served, stored.
async fn versions(sandbox: &Sandbox, versions: &[(&str, bool, bool)]) {
    let crds: Api<CustomResourceDefinition> = Api::all(sandbox.client.clone());
    for name in CRDS {
        let crd = crds.get(name).await.expect("a CRD");
        let schema = crd.spec.versions[0].clone();
        let wanted: Vec<_> = versions
            .iter()
            .map(|(name, served, storage)| {
                let mut version = schema.clone();
                (version.name, version.served, version.storage) =
                    ((*name).to_owned(), *served, *storage);
                version
            })
            .collect();
        let patch = Patch::Merge(json!({"spec": {"versions": wanted}}));
        crds.patch(name, &PatchParams::default(), &patch)
            .await
            .expect("patched");
    }
    let served: Vec<&str> = versions.iter().filter(|it| it.1).map(|it| it.0).collect();
    sandbox
        .eventually("the versions", async || {
            let group = "dingtalk-token-operator.github.io";
            let found = sandbox.client.list_api_groups().await.ok()?.groups;
            let found = found.into_iter().find(|it| it.name == group)?;
            let found: Vec<String> = found.versions.into_iter().map(|it| it.version).collect();
            let is_served = |name: &str| found.iter().any(|it| it == name);
            (found.len() == served.len() && served.iter().all(|it| is_served(it))).then_some(())
        })
        .await;
}

/// The versions of all Secrets that the operator wrote.
async fn written(sandbox: &Sandbox) -> BTreeMap<String, Option<String>> {
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=dingtalk-token-operator");
    let secrets = sandbox.api::<Secret>().list(&ours).await.expect("a list");
    let version = |secret: &Secret| (secret.name_any(), secret.resource_version());
    secrets.iter().map(version).collect()
}

/// What `act` does fetches nothing and writes no Secret.
async fn quietly(sandbox: &Sandbox, what: &str, act: impl AsyncFnOnce()) {
    let before = (written(sandbox).await, sandbox.stub.journal().len());
    act().await;
    let after = (written(sandbox).await, sandbox.stub.journal().len());
    assert_eq!(before, after, "{what}");
}

/// Renews everything once, which shows that the operator sees both objects and can write.
async fn renew_all(sandbox: &Sandbox, version: &str, request: &str) {
    let fetched = sandbox.stub.journal().len();
    let url = format!(
        "/apis/{version}/namespaces/{}/dingtalkapps",
        sandbox.namespace
    );
    let annotations = json!({"dingtalk-token-operator.github.io/renew-requested-at": request});
    let patch = json!({"metadata": {"annotations": annotations}});
    let patched = async |name: &str, patch: &Value| -> Value {
        let request = http::Request::patch(format!("{url}/{name}"))
            .header("content-type", "application/merge-patch+json")
            .body(patch.to_string().into_bytes())
            .expect("a request");
        sandbox.client.request(request).await.expect("an app")
    };
    for name in ["payroll", "expenses"] {
        patched(name, &patch).await;
        sandbox
            .eventually("the request handled", async || {
                let app = patched(name, &json!({})).await;
                (app["status"]["lastHandledRenewRequest"] == request).then_some(())
            })
            .await;
    }
    assert_eq!(sandbox.stub.journal().len(), fetched + 3, "as asked for");
    sandbox
        .eventually("the copy", async || {
            let copy = sandbox.token("copy-token").await?;
            (copy == sandbox.token("payroll-token").await?).then_some(())
        })
        .await;
}

/// Starts an operator that uses this version, and waits until it has begun what it does at its start.
async fn as_before(sandbox: &mut Sandbox, version: &str) {
    sandbox.start_operator(&[]);
    sandbox.until_watching().await;
    sandbox.until_caught_up_in(version).await;
}

#[tokio::test]
async fn the_step_to_v1_fetches_nothing_writes_no_secret_and_can_be_undone() {
    let plane = Plane::start().await;
    let mut sandbox = Sandbox::without_operator("version-step", &plane).await;
    sandbox
        .stub
        .register(CLIENT_ID, CLIENT_SECRET, &["ding1", "ding2", "ding3"]);
    let direct = format!("https://{}", sandbox.api_server());
    let translated = Translator::start(&sandbox).await;
    sandbox.start_operator(&[]);
    let grants = json!([{"namespace": sandbox.namespace}]);
    sandbox
        .credentials("credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    let spec = |corps: Value, layout: &str| {
        json!({
            "credentialsSecretRef": {"name": "credentials"}, "corpIds": corps,
            "target": {"layout": layout}, "referenceGrants": grants,
        })
    };
    sandbox
        .app_with("payroll", spec(json!(["ding1"]), "Single"))
        .await;
    sandbox
        .app_with("expenses", spec(json!(["ding2", "ding3"]), "PerCorp"))
        .await;
    let reference = json!({
        "apiVersion": OLD, "kind": "DingTalkTokenReference", "metadata": {"name": "copy"},
        "spec": {"appRef": {"namespace": sandbox.namespace, "name": "payroll"}},
    });
    sandbox
        .apply::<dingtalk_token_operator::api::DingTalkTokenReference>("copy", reference)
        .await;
    for name in ["payroll", "expenses"] {
        sandbox.until_ready(name).await;
    }
    sandbox
        .eventually("the copy", async || sandbox.token("copy-token").await)
        .await;

    versions(&sandbox, &[("v1alpha1", true, true), ("v1", true, false)]).await;
    renew_all(&sandbox, OLD, "both are served").await;
    versions(&sandbox, &[("v1alpha1", true, false), ("v1", true, true)]).await;
    renew_all(&sandbox, OLD, "v1 is stored").await;

    // The operator of v1, and back again.
    let before = (written(&sandbox).await, sandbox.stub.journal().len());
    sandbox.stop_operator();
    sandbox.reach_api_server_at(&translated);
    as_before(&mut sandbox, NEW).await;
    let after = (written(&sandbox).await, sandbox.stub.journal().len());
    assert_eq!(
        before, after,
        "the operator of v1 finds all as it should be"
    );
    renew_all(&sandbox, NEW, "by the operator of v1").await;
    let before = (written(&sandbox).await, sandbox.stub.journal().len());
    sandbox.stop_operator();
    sandbox.reach_api_server_at(&direct);
    as_before(&mut sandbox, OLD).await;
    let after = (written(&sandbox).await, sandbox.stub.journal().len());
    assert_eq!(before, after, "a rollback finds all as it should be");
    renew_all(&sandbox, OLD, "after a rollback").await;

    // As docs/compatibility.md says.
    quietly(&sandbox, "rewritten", async || {
        let (read, objects) = sandbox.kubectl_plain(&[
            "get",
            "dingtalkapps,dingtalktokenreferences",
            "-A",
            "-o",
            "json",
        ]);
        assert!(read, "{objects}");
        let file = sandbox.folder().join("objects.json");
        std::fs::write(&file, objects).expect("written");
        let file = file.to_str().expect("a path");
        let (replaced, said) = sandbox.kubectl_plain(&["replace", "-f", file]);
        assert!(replaced, "{said}");
        for name in CRDS {
            let (pruned, said) = sandbox.kubectl_plain(&[
                "patch",
                "crd",
                name,
                "--subresource=status",
                "--type=merge",
                "-p",
                r#"{"status": {"storedVersions": ["v1"]}}"#,
            ]);
            assert!(pruned, "{said}");
        }
    })
    .await;

    sandbox.stop_operator();
    sandbox.reach_api_server_at(&translated);
    let before = (written(&sandbox).await, sandbox.stub.journal().len());
    versions(&sandbox, &[("v1", true, true)]).await;
    as_before(&mut sandbox, NEW).await;
    let after = (written(&sandbox).await, sandbox.stub.journal().len());
    assert_eq!(before, after, "nothing depends on the former version");
    renew_all(&sandbox, NEW, "v1 alone").await;
    let apps = sandbox.api::<DingTalkApp>();
    let listed = apps.list(&ListParams::default()).await;
    assert!(listed.is_err(), "the former version is gone");
}

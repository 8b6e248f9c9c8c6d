//! Alerts and dashboard, with Prometheus' own programs: `promtool` for the rules' unit tests, and a
//! server that scrapes a running operator.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dingtalk_stub::{Behaviour, Script};
use dingtalk_token_operator::api::Reason;
use local_control_plane::bound;
use serde_json::{Value, json};
use strum::IntoEnumIterator as _;

use crate::support::{
    CLIENT_ID, CLIENT_SECRET, Operator, Sandbox, document, provided, shared_plane, xtask,
};

const ALERT_TESTS: &str = include_str!("../monitoring/alerts_test.yaml");
const REASONS: &str = include_str!("../../docs/reasons.md");
const DASHBOARD: &str = include_str!("../../deploy/monitoring/dingtalk-token-operator.json");

/// The rules as Prometheus itself reads them.
fn rules() -> Value {
    let text = include_str!("../../deploy/monitoring/prometheus-rule.yaml");
    document(text, "PrometheusRule")["spec"].clone()
}

fn promtool(arguments: &[&str], folder: &Path) {
    let output = Command::new(provided("PROMTOOL"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("promtool");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
}

#[test]
fn every_alert_has_unit_tests_that_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write(
        "rules.yaml",
        &serde_yaml_ng::to_string(&rules()).expect("YAML"),
    );
    write("alerts_test.yaml", ALERT_TESTS);
    promtool(&["check", "rules", "rules.yaml"], folder.path());
    promtool(&["test", "rules", "alerts_test.yaml"], folder.path());

    let alerts = rules()["groups"][0]["rules"]
        .as_array()
        .cloned()
        .expect("rules");
    let named = |value: &Value, key: &str| value[key].as_str().expect("a name").to_owned();
    // `cargo xtask layout` follows them; the anchor may be the reason's.
    for rule in &alerts {
        let runbook = named(&rule["annotations"], "runbook_url");
        assert!(runbook.contains("/blob/main/docs/"), "{rule}");
        assert!(runbook.contains('#'), "{rule}");
        if runbook.contains("{{") {
            let of_its_reason = "/reasons.md#{{ $labels.reason | toLower }}";
            assert!(runbook.ends_with(of_its_reason), "{rule}");
            let by_reason = named(rule, "expr").contains("reason) (");
            assert!(by_reason, "no label `reason` for the link: {rule}");
        }
        let of_a_corp = !named(rule, "expr").contains(" by (")
            && named(rule, "expr").contains("operator_token");
        assert!(!of_a_corp, "an alert for each corpId: {rule}");
    }
    for reason in Reason::iter() {
        let heading = format!("\n## {}\n", reason.as_str());
        assert!(REASONS.contains(&heading), "{reason:?}");
    }
    let alerts: BTreeSet<String> = alerts.iter().map(|rule| named(rule, "alert")).collect();
    let tests: Value = serde_yaml_ng::from_str(ALERT_TESTS).expect("YAML");
    let tests = tests["tests"].as_array().cloned().expect("tests");
    let cases = tests.iter().flat_map(|test| {
        test["alert_rule_test"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    });
    let (firing, silent): (Vec<Value>, Vec<Value>) =
        cases.partition(|case| case["exp_alerts"].is_array());
    for cases in [firing, silent] {
        let tested: BTreeSet<String> = cases.iter().map(|case| named(case, "alertname")).collect();
        assert_eq!(
            tested, alerts,
            "each alert is seen to fire, and to be silent"
        );
    }
}

/// A Prometheus on loopback.
struct Prometheus {
    child: Child,
    url: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Scrapes the operator every second, with the rules of `deploy/monitoring`.
    fn start(folder: &Path, operator: &Operator) -> Self {
        fs::write(
            folder.join("rules.yaml"),
            serde_yaml_ng::to_string(&rules()).expect("YAML"),
        )
        .expect("written");
        let target = operator.address("/metrics").expect("an address");
        let configuration = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{
                "job_name": "dingtalk-token-operator",
                "honor_labels": true,
                "static_configs": [{"targets": [target]}],
            }],
        });
        fs::write(folder.join("prometheus.yaml"), configuration.to_string()).expect("written");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let log = fs::File::create(folder.join("prometheus.txt")).expect("a log");
        let child = bound(&xtask(), Path::new(&provided("PROMETHEUS")))
            .args(["--config.file", "prometheus.yaml"])
            .args(["--storage.tsdb.path", "prometheus-data"])
            .args(["--web.listen-address", &format!("127.0.0.1:{port}")])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Prometheus");
        let url = format!("http://127.0.0.1:{port}");
        Self { child, url }
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let url = format!("{}/api/v1/{path}", self.url);
        let url = url::Url::parse_with_params(&url, parameters).expect("a URL");
        let text = reqwest::get(url).await.ok()?.text().await.ok()?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        assert_eq!(answer["status"], "success", "{path}: {text}");
        Some(answer["data"].clone())
    }

    /// Whether an alert of this object is active, be it that its time has not come yet.
    async fn is_active(&self, alert: &str, name: &str) -> Option<()> {
        let alerts = self.get("alerts", &[]).await?["alerts"]
            .as_array()
            .cloned()?;
        let mut labels = alerts.iter().map(|active| &active["labels"]);
        labels
            .any(|labels| labels["alertname"] == alert && labels["name"] == name)
            .then_some(())
    }

    async fn firing(&self) -> Option<Vec<Value>> {
        let alerts = self.get("alerts", &[]).await?["alerts"]
            .as_array()
            .cloned()?;
        let firing = alerts
            .into_iter()
            .filter(|alert| alert["state"] == "firing");
        Some(firing.collect())
    }
}

/// Each query of the dashboard, as Grafana sends it.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().cloned().expect("panels");
    let mut queries = Vec::new();
    for panel in panels {
        for target in panel["targets"].as_array().expect("targets") {
            let query = target["expr"].as_str().expect("a query");
            let query = query
                .replace("$namespace", ".*")
                .replace("$__rate_interval", "1m");
            assert!(!query.contains('$'), "{query}");
            queries.push((panel["title"].to_string(), query));
        }
    }
    let variable = &dashboard["templating"]["list"][1]["query"]["query"];
    let series = variable
        .as_str()
        .and_then(|query| query.strip_prefix("label_values("))
        .and_then(|query| query.split(',').next())
        .expect("label_values(series, label)");
    queries.push(("variable".to_owned(), series.to_owned()));
    queries
}

#[tokio::test]
async fn a_fault_fires_its_alert_and_every_query_of_the_dashboard_has_data() {
    let mut sandbox = Sandbox::without_operator("monitoring", shared_plane().await).await;
    sandbox.stub.configure(|settings| settings.expires_in = 40);
    sandbox.start_operator(&[]);
    sandbox.until_watching().await;
    let operator = sandbox.operator.as_ref().expect("running");
    let prometheus = Prometheus::start(sandbox.folder(), operator);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    sandbox.until_ready("payroll").await;
    // A renewal that works, so that there are rates.
    sandbox
        .eventually("a renewal", async || {
            (sandbox.stub.calls("ding1").len() > 1).then_some(())
        })
        .await;
    assert_eq!(prometheus.firing().await, Some(vec![]));
    sandbox.stub.script(Script {
        client_id: None,
        corp_id: None,
        calls: None,
        behaviour: Behaviour::Fail {
            status: 401,
            code: "unauthorized.client".to_owned(),
        },
    });
    sandbox.never_ready().await;
    let alert = "DingTalkTokenExpired";
    let fired = sandbox
        // Until it expires, and the two minutes of the rule.
        .patiently(300, alert, async || {
            let firing = prometheus.firing().await?;
            firing
                .into_iter()
                .find(|one| one["labels"]["alertname"] == alert)
        })
        .await;
    assert_eq!(fired["labels"]["name"], "payroll");
    assert_eq!(fired["labels"]["namespace"], json!(sandbox.namespace));
    for (alert, name) in [
        ("DingTalkAppNotReady", "never"),
        ("DingTalkTokenReferenceNotReady", "copy"),
    ] {
        sandbox
            .eventually(alert, async || prometheus.is_active(alert, name).await)
            .await;
    }

    for (panel, query) in queries() {
        let seen = sandbox
            .eventually(&format!("data for {panel}: {query}"), async || {
                let data = prometheus.get("query", &[("query", &query)]).await?;
                let series = data["result"].as_array().cloned()?;
                (!series.is_empty()).then_some(series)
            })
            .await;
        assert!(!seen.is_empty());
    }
    sandbox.stub.clear_scripts();
    sandbox.renew("payroll").await;
    sandbox
        .eventually("the end of the alert", async || {
            let firing = prometheus.firing().await?;
            let still = firing.iter().any(|one| one["labels"]["alertname"] == alert);
            (!still).then_some(())
        })
        .await;
}

//! What the metrics tell, and that it goes with its app.

use dingtalk_token_operator::api::{DingTalkApp, DingTalkTokenReference};
use kube::api::DeleteParams;
use serde_json::json;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox};

impl Sandbox {
    async fn metrics(&self) -> Option<String> {
        let (_, text) = self.operator.as_ref()?.health("/metrics").await?;
        Some(text)
    }

    /// The value of the first series that begins so.
    async fn metric(&self, start: &str) -> Option<f64> {
        let text = self.metrics().await?;
        let line = text.lines().find(|line| line.starts_with(start))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

async fn app(sandbox: &Sandbox) {
    sandbox
        .stub
        .register(CLIENT_ID, CLIENT_SECRET, &["ding1", "ding2"]);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    let spec = json!({"corpIds": ["ding1", "ding2"], "target": {"layout": "Combined"}});
    sandbox.app_with("payroll", spec).await;
    sandbox.until_ready("payroll").await;
}

#[tokio::test]
async fn each_token_has_its_times_and_they_go_with_the_app() {
    let plane = crate::support::shared_plane().await;
    let mut sandbox = Sandbox::without_operator("metrics", plane).await;
    sandbox.start_operator(&["--metrics-by-corp"]);
    app(&sandbox).await;
    let namespace = &sandbox.namespace;
    let of = |metric: &str, corp: &str| {
        format!(
            "dingtalk_token_operator_{metric}{{namespace=\"{namespace}\",name=\"payroll\",corp_id=\"{corp}\"}}"
        )
    };
    let now = jiff::Timestamp::now().as_second();
    for corp in ["ding1", "ding2"] {
        let expiry = of("token_expiry_timestamp_seconds", corp);
        let expiry = sandbox.metric(&expiry).await.expect("an expiry");
        let left = expiry - f64::from(i32::try_from(now).expect("a time"));
        assert!((7000.0..=7200.0).contains(&left), "{left}");
        let next = of("token_next_attempt_timestamp_seconds", corp);
        assert!(sandbox.metric(&next).await.expect("a time") < expiry);
    }
    let condition = |type_: &str| {
        format!(
            "dingtalk_token_operator_app_status_condition{{namespace=\"{namespace}\",name=\"payroll\",condition=\"{type_}\",status=\"True\""
        )
    };
    for type_ in ["Ready", "Renewed"] {
        assert_eq!(
            sandbox.metric(&condition(type_)).await,
            Some(1.0),
            "{type_}"
        );
    }
    for (series, value) in [
        ("tokens_fetched_total{", 2.0),
        (
            "token_requests_total{site=\"global\",cause=\"FirstToken\",outcome=\"success\"",
            2.0,
        ),
        ("token_request_duration_seconds_count{site=\"global\"}", 2.0),
        ("token_request_wait_seconds_count", 2.0),
        ("token_request_queue_depth", 0.0),
    ] {
        let name = format!("dingtalk_token_operator_{series}");
        assert_eq!(sandbox.metric(&name).await, Some(value), "{series}");
    }
    let write = "dingtalk_token_operator_secret_writes_total{kind=\"DingTalkApp\",cause=\"FirstToken\",outcome=\"success\"";
    assert!(sandbox.metric(write).await.expect("a write") >= 1.0);
    let counter = "# TYPE dingtalk_token_operator_token_requests_total counter";
    let text = sandbox.metrics().await.expect("metrics");
    assert!(text.contains(counter) && !text.contains("# EOF"), "{text}");
    sandbox
        .api::<DingTalkApp>()
        .delete("payroll", &DeleteParams::default())
        .await
        .expect("deleted");
    sandbox
        .eventually("no series of it", async || {
            let text = sandbox.metrics().await?;
            (!text.contains("payroll")).then_some(())
        })
        .await;
}

#[tokio::test]
async fn without_being_asked_the_metrics_name_no_corp() {
    let sandbox = Sandbox::new("metrics-app").await;
    app(&sandbox).await;
    let text = sandbox.metrics().await.expect("metrics");
    assert!(!text.contains("corp_id"), "{text}");
    let expiries = text
        .lines()
        .filter(|line| line.starts_with("dingtalk_token_operator_token_expiry_timestamp_seconds{"));
    assert_eq!(expiries.count(), 1);
    let expiring = "dingtalk_token_operator_tokens_expiring_before_next_attempt{";
    assert_eq!(sandbox.metric(expiring).await, Some(0.0));
}

/// What never had a token has conditions to alert on, and a time since when.
#[tokio::test]
async fn an_app_without_a_token_and_a_reference_have_conditions_that_go_with_them() {
    let sandbox = Sandbox::new("metrics-conditions").await;
    sandbox.never_ready().await;
    let references = sandbox.api::<DingTalkTokenReference>();
    let namespace = &sandbox.namespace;
    let of = |metric: &str, name: &str, rest: &str| {
        format!(
            "dingtalk_token_operator_{metric}{{namespace=\"{namespace}\",name=\"{name}\",{rest}}}"
        )
    };
    let not_ready =
        |reason: &str| format!("condition=\"Ready\",status=\"False\",reason=\"{reason}\"");
    let series = [
        of("app_status_condition", "never", &not_ready("UnknownSite")),
        of(
            "token_failing_since_timestamp_seconds",
            "never",
            "reason=\"UnknownSite\"",
        ),
        of(
            "reference_status_condition",
            "copy",
            &not_ready("AppNotFound"),
        ),
    ];
    for series in &series {
        sandbox
            .eventually(series, async || sandbox.metric(series).await)
            .await;
    }
    let delete = DeleteParams::default();
    references.delete("copy", &delete).await.expect("deleted");
    let apps = sandbox.api::<DingTalkApp>();
    apps.delete("never", &delete).await.expect("deleted");
    sandbox
        .eventually("no series of them", async || {
            let text = sandbox.metrics().await?;
            (!text.contains("\"never\"") && !text.contains("\"copy\"")).then_some(())
        })
        .await;
}

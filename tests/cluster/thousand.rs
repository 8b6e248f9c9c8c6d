//! What a thousand organisations cost the operator, by the processor's time of its process.

use dingtalk_token_operator::api::DingTalkApp;
use futures::StreamExt;
use futures::future::join_all;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, condition};

const CORPS: usize = 1000;

/// A thousand first tokens, ten a second, as one app or as a thousand; returns the time they took in ticks.
async fn cost(layout: &str) -> u64 {
    let name = format!("thousand-{}", layout.to_lowercase());
    let sandbox = Sandbox::new(&name).await;
    let corps: Vec<String> = (0..CORPS).map(|n| format!("ding{n}")).collect();
    let ids: Vec<&str> = corps.iter().map(String::as_str).collect();
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &ids);
    sandbox
        .credentials("credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    let app = |name: String, corps: Value| -> DingTalkApp {
        serde_json::from_value(json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": name},
            "spec": {
                "credentialsSecretRef": {"name": "credentials"}, "site": "global",
                "corpIds": corps, "target": {"layout": layout},
            },
        }))
        .expect("an app")
    };
    let wanted = match layout {
        "Single" => (0..CORPS)
            .map(|n| app(format!("app{n}"), json!([format!("ding{n}")])))
            .collect(),
        _ => vec![app("app".to_owned(), json!(corps))],
    };
    let apps = sandbox.api::<DingTalkApp>();
    let parameters = PostParams::default();
    let create = |app: &DingTalkApp| {
        let (apps, app, parameters) = (apps.clone(), app.clone(), parameters.clone());
        async move { drop(apps.create(&parameters, &app).await.expect("created")) }
    };
    futures::stream::iter(wanted.iter().map(create))
        .buffer_unordered(16)
        .collect::<Vec<()>>()
        .await;
    let what = format!("a thousand tokens, {layout}");
    let all_ready = async || {
        let apps = apps.list(&Default::default()).await.ok()?;
        let mut apps = apps.iter();
        apps.all(|app| condition(app, "Ready", "True").is_some())
            .then_some(())
    };
    sandbox.patiently(600, &what, all_ready).await;
    assert_eq!(sandbox.stub.journal().len(), CORPS);
    let operator = sandbox.operator.as_ref().expect("running");
    operator.processor_time()
}

#[tokio::test]
async fn an_app_with_a_thousand_organisations_costs_at_most_twice_a_thousand_apps() {
    let layouts = ["Single", "Combined", "PerCorp"];
    let costs = join_all(layouts.map(cost)).await;
    eprintln!("{layouts:?}: {costs:?} ticks");
    for (layout, cost) in layouts.iter().zip(&costs) {
        assert!(*cost <= 2 * costs[0], "{layout}: {costs:?}");
    }
}

//! Two thousand apps: order and restart at a size that tells.

use dingtalk_token_operator::api::DingTalkApp;
use futures::StreamExt;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox};

const APPS: usize = 2000;
/// Apps with one `client_id`; each `client_id` is called ten times a second.
const APPS_OF_A_CLIENT: usize = 100;

#[tokio::test]
async fn two_thousand_apps_are_served_in_order_and_a_restart_fetches_nothing() {
    let mut sandbox = Sandbox::new("load").await;
    for client in 0..APPS / APPS_OF_A_CLIENT {
        let corps: Vec<String> = (0..APPS_OF_A_CLIENT)
            .map(|n| format!("ding{client}x{n}"))
            .collect();
        let ids: Vec<&str> = corps.iter().map(String::as_str).collect();
        let client_id = format!("client{client}");
        sandbox.stub.register(&client_id, CLIENT_SECRET, &ids);
        sandbox
            .credentials(&format!("credentials{client}"), &client_id, CLIENT_SECRET)
            .await;
    }
    let apps = sandbox.api::<DingTalkApp>();
    let create = |n: usize| {
        let apps = apps.clone();
        async move {
            let (client, corp) = (n / APPS_OF_A_CLIENT, n % APPS_OF_A_CLIENT);
            let app: DingTalkApp = serde_json::from_value(json!({
                "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
                "metadata": {"name": format!("app{n}")},
                "spec": {
                    "credentialsSecretRef": {"name": format!("credentials{client}")}, "site": "global",
                    "corpIds": [format!("ding{client}x{corp}")],
                },
            }))
            .expect("an app");
            let created = apps.create(&PostParams::default(), &app).await;
            created.expect("created");
        }
    };
    futures::stream::iter((0..APPS).map(create))
        .buffer_unordered(16)
        .collect::<Vec<()>>()
        .await;
    let all_ready = async |sandbox: &Sandbox| {
        sandbox
            .patiently(300, "all ready", async || {
                let secrets = sandbox.managed_secrets().await.len();
                (secrets >= APPS).then_some(())
            })
            .await;
    };
    all_ready(&sandbox).await;
    assert_eq!(sandbox.stub.journal().len(), APPS);
    sandbox
        .patiently(120, "every status written", async || {
            let requests = sandbox.requests();
            let written = requests
                .iter()
                .filter(|request| *request == "patch dingtalkapps/status");
            (written.count() >= APPS).then_some(())
        })
        .await;

    sandbox.kill_operator();
    let before = sandbox.requests().len();
    sandbox.start_operator(&[]);
    sandbox.until_watching().await;
    sandbox.until_caught_up().await;
    assert_eq!(
        sandbox.stub.journal().len(),
        APPS,
        "a restart fetches nothing"
    );
    let after = sandbox.requests();
    // A status that was on its way when the process ended is written by the next, and its event.
    assert!(after.len() - before <= 64, "{:?}", &after[before..]);

    // While all of them renew, a newcomer does not wait for its turn behind them.
    let renew = json!({"metadata": {"annotations":
        {"dingtalk-token-operator.github.io/renew-requested-at": "now"}}});
    let names = apps.list_metadata(&ListParams::default()).await;
    let names = names.expect("apps").items.into_iter();
    let annotate = |app: kube::core::PartialObjectMeta<DingTalkApp>| {
        let (apps, renew) = (apps.clone(), renew.clone());
        async move {
            let name = app.metadata.name.expect("a name");
            let patch = Patch::Merge(renew);
            let parameters = PatchParams::default();
            let patched = apps.patch_metadata(&name, &parameters, &patch).await;
            patched.expect("annotated");
        }
    };
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &["ding1"]);
    sandbox
        .credentials("newcomer-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    // Half of them are asked before the newcomer comes, half after: however fast the machine is,
    // many are still to be served.
    let mut asked = futures::stream::iter(names.map(annotate)).buffer_unordered(16);
    for _ in 0..APPS / 2 {
        asked.next().await;
    }
    let called_before = sandbox.stub.journal().len();
    sandbox.app("newcomer", "ding1").await;
    while asked.next().await.is_some() {}
    sandbox.until_ready("newcomer").await;
    sandbox
        .patiently(300, "all renewed", async || {
            (sandbox.stub.journal().len() > 2 * APPS).then_some(())
        })
        .await;
    let journal = sandbox.stub.journal();
    let place = journal
        .iter()
        .position(|call| call.path.contains("/ding1/"))
        .expect("a call");
    let behind = journal.len() - place;
    assert!(
        behind > 200,
        "it came {} calls after it was created, {behind} before the end",
        place.saturating_sub(called_before)
    );
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

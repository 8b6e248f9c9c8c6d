//! Who is served first, and how fast.

use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox};

#[tokio::test]
async fn a_new_app_is_served_before_the_renewals_that_wait_and_the_rate_is_kept() {
    let mut sandbox = Sandbox::new("order").await;
    sandbox.kill_operator();
    sandbox.start_operator(&[
        "--client-requests-per-second",
        "1",
        "--client-requests-in-flight",
        "1",
    ]);
    sandbox
        .credentials("credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    let corps: Vec<String> = (0..10).map(|n| format!("ding{n}")).collect();
    let known: Vec<&str> = corps
        .iter()
        .map(String::as_str)
        .chain(["ding-new"])
        .collect();
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &known);
    let spec = |corp_id: &str| json!({"corpIds": [corp_id], "credentialsSecretRef": {"name": "credentials"}});
    for corp_id in &corps {
        sandbox.app_with(corp_id, spec(corp_id)).await;
    }
    for corp_id in &corps {
        sandbox.until_ready(corp_id).await;
    }
    let before = sandbox.stub.journal().len();
    assert_eq!(before, 10);
    // All ten renew, one a second.
    sandbox
        .stub
        .set_secrets(CLIENT_ID, &[CLIENT_SECRET, "rotated"]);
    sandbox
        .merge::<Secret>(
            "credentials",
            json!({"stringData": {"client_secret": "rotated"}}),
        )
        .await;
    sandbox
        .eventually("the first of them", async || {
            (sandbox.stub.journal().len() > before).then_some(())
        })
        .await;
    sandbox.app_with("new", spec("ding-new")).await;
    sandbox.until_ready("new").await;
    let journal = sandbox.stub.journal();
    let served = journal
        .iter()
        .position(|call| call.corp_id == "ding-new")
        .expect("served");
    assert!(
        served < before + 9,
        "as number {served}, while others wait: {journal:#?}"
    );
    let (first, last) = (&journal[0], &journal[journal.len() - 1]);
    let seconds = last.at.duration_since(first.at).as_secs_f64();
    let calls = u32::try_from(journal.len() - 1).expect("few");
    assert!(
        seconds > f64::from(calls) * 0.9,
        "one call a second: {calls} in {seconds} s"
    );
    assert!(journal.iter().all(|call| call.concurrency == 1));
}

//! What a token costs the API server.

use std::time::Duration;

use dingtalk_stub::Repeat;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox};

fn sorted(mut requests: Vec<String>) -> Vec<String> {
    requests.sort();
    requests
}

/// The requests of a first token; the audit log may tell of one a little later than its object is there.
async fn first_issue(sandbox: &Sandbox) -> Vec<String> {
    sandbox
        .eventually("four requests in the audit log", async || {
            let requests = sandbox.requests();
            (requests.len() >= 4).then_some(requests)
        })
        .await
}

#[tokio::test]
async fn a_first_issue_costs_four_requests_and_rest_costs_none() {
    let sandbox = Sandbox::new("budget-first").await;
    sandbox.ready_app("payroll").await;
    sandbox.until_event("FirstTokenWritten").await;
    let first = [
        "create events",
        "create secrets",
        "get secrets",
        "patch dingtalkapps/status",
    ];
    assert_eq!(sorted(first_issue(&sandbox).await), first);
    tokio::time::sleep(Duration::from_secs(5)).await;
    sandbox.until_caught_up().await;
    assert_eq!(
        sorted(sandbox.requests()),
        first,
        "between renewals an app costs nothing"
    );
}

#[tokio::test]
async fn a_renewal_costs_four_requests_and_three_where_the_value_stays() {
    for (repeat, changed) in [(Repeat::NewOverlap, true), (Repeat::SameExtended, false)] {
        let sandbox = Sandbox::new("budget-renewal").await;
        sandbox.stub.configure(|settings| {
            settings.expires_in = 45;
            settings.repeat = repeat;
        });
        sandbox.ready_app("payroll").await;
        sandbox.until_event("FirstTokenWritten").await;
        let before = first_issue(&sandbox).await.len();
        let old = sandbox.token("payroll-token").await.expect("a token");
        // After the renewal, no more of it may happen before it is counted.
        sandbox
            .stub
            .configure(|settings| settings.expires_in = 7200);
        let new = sandbox
            .eventually("a renewal", async || {
                sandbox
                    .token("payroll-token")
                    .await
                    .filter(|new| new.expires_at > old.expires_at)
            })
            .await;
        assert_eq!(new.value != old.value, changed);
        assert!(sandbox.stub.accepts(&new.value));
        if changed {
            sandbox.until_event("TokenRenewed").await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        sandbox.until_caught_up().await;
        let mut renewal = vec!["get secrets", "patch dingtalkapps/status", "patch secrets"];
        if changed {
            renewal.insert(0, "create events");
        }
        assert_eq!(sorted(sandbox.requests()[before..].to_vec()), renewal);
        assert_eq!(sandbox.stub.calls("ding1").len(), 2);
    }
}

#[tokio::test]
async fn a_failing_app_writes_its_status_once_and_one_event() {
    let sandbox = Sandbox::new("budget-failing").await;
    sandbox.stub.next_calls(
        "ding1",
        None,
        dingtalk_stub::Behaviour::Fail {
            status: 500,
            code: "server.error".into(),
        },
    );
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    sandbox.until_failing("payroll", "ServerError").await;
    sandbox
        .eventually("several attempts", async || {
            (sandbox.stub.calls("ding1").len() >= 4).then_some(())
        })
        .await;
    let requests = sandbox.requests();
    let count = |what: &str| requests.iter().filter(|request| *request == what).count();
    assert_eq!(count("patch dingtalkapps/status"), 1, "{requests:?}");
    assert_eq!(count("create events"), 1, "{requests:?}");
}

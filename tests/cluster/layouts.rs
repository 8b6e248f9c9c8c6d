//! Many organisations of one app: layouts `Combined` and `PerCorp`.

use std::collections::BTreeSet;

use dingtalk_stub::Behaviour;
use dingtalk_token_operator::api::{CorpStatus, DingTalkApp};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, condition, shared_plane};

fn fail(code: &str) -> Behaviour {
    Behaviour::Fail {
        status: 400,
        code: code.into(),
    }
}

async fn three_corps(name: &str) -> Sandbox {
    let sandbox = Sandbox::new(name).await;
    sandbox
        .stub
        .register(CLIENT_ID, CLIENT_SECRET, &["ding1", "ding2", "ding3"]);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox
}

#[tokio::test]
async fn a_shared_secret_holds_the_token_of_each() {
    let mut sandbox = three_corps("layout-shared").await;
    let target = json!({"layout": "Combined"});
    sandbox
        .app_with(
            "payroll",
            json!({"corpIds": ["ding3", "ding1", "ding2"], "target": target}),
        )
        .await;
    sandbox.until_ready("payroll").await;
    let data = sandbox.data("payroll-token").await.expect("a Secret");
    let keys: Vec<&str> = data.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "ding1.access_token",
            "ding1.expires_at",
            "ding2.access_token",
            "ding2.expires_at",
            "ding3.access_token",
            "ding3.expires_at"
        ]
    );
    let tokens: BTreeSet<&String> = ["ding1", "ding2", "ding3"]
        .iter()
        .map(|corp| &data[&format!("{corp}.access_token")])
        .collect();
    assert_eq!(tokens.len(), 3);
    assert!(tokens.iter().all(|token| sandbox.stub.accepts(token)));
    let (_, columns) = sandbox.kubectl(&["get", "dta", "payroll"]);
    assert!(columns.contains("3/3"), "{columns}");
    // A restart knows all of it from the Secret.
    sandbox.stop_operator();
    let before = sandbox.requests().len();
    sandbox.start_operator(&[]);
    sandbox.until_watching().await;
    sandbox.until_caught_up().await;
    assert_eq!(sandbox.requests()[before..], [] as [&str; 0]);
    assert_eq!(sandbox.stub.journal().len(), 3);
}

#[tokio::test]
async fn one_secret_for_each_organisation() {
    let sandbox = three_corps("layout-percorp").await;
    let target = json!({"layout": "PerCorp", "name": "token"});
    sandbox
        .app_with(
            "payroll",
            json!({"corpIds": ["ding1", "ding2", "ding3"], "target": target}),
        )
        .await;
    sandbox.until_ready("payroll").await;
    for corp in ["ding1", "ding2", "ding3"] {
        let token = sandbox
            .token(&format!("token-{corp}"))
            .await
            .expect("a token");
        assert_eq!(token.corp_id, corp);
        assert!(sandbox.stub.accepts(&token.value));
    }
}

#[tokio::test]
async fn one_bad_organisation_holds_nothing_back() {
    for layout in ["Combined", "PerCorp"] {
        let sandbox = three_corps(&format!("layout-bad-{}", layout.to_lowercase())).await;
        sandbox
            .stub
            .next_calls("ding2", None, fail("unauthorized.client"));
        sandbox
            .app_with(
                "payroll",
                json!({"corpIds": ["ding1", "ding2", "ding3"], "target": {"layout": layout}}),
            )
            .await;
        let status = sandbox
            .until("two of three", "payroll", |app| {
                let status = app.status.clone()?;
                (status.tokens.as_deref() == Some("2/3")
                    && status.corps.iter().any(|corp| corp.error.is_some()))
                .then_some(status)
            })
            .await;
        let failing: Vec<_> = status
            .corps
            .iter()
            .filter_map(|corp| Some((corp.corp_id.as_str(), corp.error.as_ref()?)))
            .collect();
        assert_eq!(failing.len(), 1);
        assert_eq!(failing[0].0, "ding2");
        assert_eq!(failing[0].1.reason, "AppNotAuthorized");
        assert_eq!(failing[0].1.code.as_deref(), Some("unauthorized.client"));
        let message = sandbox.until_failing("payroll", "AppNotAuthorized").await;
        assert!(message.starts_with("1 of 3 corpIds fail: "), "{message}");
        assert!(message.contains("unauthorized.client"), "{message}");
        let app = sandbox
            .api::<DingTalkApp>()
            .get("payroll")
            .await
            .expect("it");
        let (reason, message) = condition(&app, "Ready", "False").expect("not ready");
        assert_eq!(reason, "AppNotAuthorized");
        assert!(message.contains("without: ding2"), "{message}");
        assert!(
            condition(&app, "Stalled", "True").is_none(),
            "the others go on"
        );
        let events = sandbox.until_event("AppNotAuthorized").await;
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(events[0].starts_with("corpId ding2: "), "{events:?}");
        sandbox.stub.clear_scripts();
        sandbox
            .merge::<DingTalkApp>("payroll", json!({"spec": {"renewBefore": "10m"}}))
            .await;
        sandbox.until_renewed("payroll").await;
    }
}

#[tokio::test]
async fn an_organisation_that_is_added_is_the_only_one_fetched() {
    for layout in ["Combined", "PerCorp"] {
        let mut sandbox = three_corps(&format!("layout-add-{}", layout.to_lowercase())).await;
        let spec = |corps: &[&str]| json!({"corpIds": corps, "target": {"layout": layout}});
        sandbox.app_with("payroll", spec(&["ding1", "ding2"])).await;
        sandbox.until_ready("payroll").await;
        // What was fetched by a former process is known as well.
        sandbox.stop_operator();
        sandbox.start_operator(&[]);
        sandbox
            .app_with("payroll", spec(&["ding1", "ding2", "ding3"]))
            .await;
        sandbox
            .until("three", "payroll", |app| {
                let tokens = app.status.as_ref()?.tokens.as_deref();
                (tokens == Some("3/3")).then_some(())
            })
            .await;
        assert_eq!(sandbox.stub.journal().len(), 3);
        sandbox.app_with("payroll", spec(&["ding1", "ding3"])).await;
        sandbox
            .eventually("what was removed is gone", async || {
                let secrets = sandbox.managed_secrets().await;
                let keys: usize = match layout {
                    "Combined" => sandbox.data("payroll-token").await?.len(),
                    _ => 2 * secrets.len(),
                };
                (keys == 4).then_some(())
            })
            .await;
        assert_eq!(sandbox.stub.journal().len(), 3, "nothing more is fetched");
        sandbox.until_renewed("payroll").await;
    }
}

/// A thousand organisations, with ids of 64 and tokens of 1,024 characters.
async fn a_thousand(name: &str, layout: &str) -> (Sandbox, usize, usize) {
    let mut sandbox = Sandbox::new(name).await;
    let corps: Vec<String> = (0..1000).map(|n| format!("ding{n:060}")).collect();
    let ids: Vec<&str> = corps.iter().map(String::as_str).collect();
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &ids);
    sandbox.stub.configure(|settings| {
        settings.token_length = 1024;
    });
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox
        .app_with(
            "payroll",
            json!({"corpIds": ids, "target": {"layout": layout}}),
        )
        .await;
    sandbox
        .patiently(300, "a thousand tokens", async || {
            let app = sandbox.api::<DingTalkApp>().get("payroll").await.ok()?;
            condition(&app, "Ready", "True").map(drop)
        })
        .await;
    let calls = sandbox.stub.journal();
    assert_eq!(calls.len(), 1000);
    let took = calls[999].at.duration_since(calls[0].at);
    let took = usize::try_from(took.as_secs()).expect("forwards");
    assert!(took > 95, "10 calls a second: {took} s");
    let count = |what: &str| {
        let requests = sandbox.requests();
        requests.iter().filter(|request| *request == what).count()
    };
    let secret_writes = count("create secrets") + count("patch secrets");
    let status_writes = count("patch dingtalkapps/status");
    // One in 5 s, and a few at the ends.
    let allowed = took / 5 + 5;
    assert!(
        status_writes <= allowed,
        "{status_writes} status writes in {took} s"
    );
    sandbox.stop_operator();
    let before = sandbox.requests().len();
    sandbox.start_operator(&[]);
    sandbox.until_watching().await;
    sandbox.until_caught_up().await;
    assert_eq!(sandbox.requests()[before..], [] as [&str; 0]);
    assert_eq!(
        sandbox.stub.journal().len(),
        1000,
        "a restart fetches nothing"
    );
    (sandbox, secret_writes, allowed)
}

#[tokio::test]
async fn a_thousand_organisations_in_one_secret() {
    let (sandbox, writes, allowed) = a_thousand("layout-thousand", "Combined").await;
    assert!(writes <= allowed, "{writes} Secret writes");
    let data = sandbox.data("payroll-token").await.expect("a Secret");
    assert_eq!(data.len(), 2000);
    for (key, value) in &data {
        if key.ends_with(".access_token") {
            assert_eq!(value.len(), 1024);
            assert!(sandbox.stub.accepts(value));
        }
    }
}

#[tokio::test]
async fn a_thousand_organisations_with_a_secret_each() {
    let (sandbox, writes, _) = a_thousand("layout-thousands", "PerCorp").await;
    assert_eq!(writes, 1000);
    assert_eq!(sandbox.managed_secrets().await.len(), 1000);
}

#[tokio::test]
async fn a_thousand_failing_organisations_write_the_status_once_in_ten_seconds() {
    let sandbox = Sandbox::new("layout-failing").await;
    // The credentials work, but only one of a thousand organisations has authorised the app.
    sandbox.ready_app("proven").await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    let corps: Vec<String> = (0..1000).map(|n| format!("other{n}")).collect();
    let spec = json!({"corpIds": corps, "target": {"layout": "Combined"}});
    sandbox.app_with("payroll", spec).await;
    sandbox
        .until("a failure", "payroll", |app| {
            condition(app, "Renewed", "False")
        })
        .await;
    let started = sandbox.stub.journal()[0].at;
    sandbox
        .eventually("three hundred failures", async || {
            (sandbox.stub.journal().len() >= 300).then_some(())
        })
        .await;
    let took = jiff::Timestamp::now().duration_since(started).as_secs_f64();
    let requests = sandbox.requests();
    let writes = requests
        .iter()
        .filter(|request| *request == "patch dingtalkapps/status")
        .count();
    // One at the first failure, the others ten seconds apart.
    assert!(
        f64::from(u32::try_from(writes).expect("few")) <= 2.0 + took / 10.0,
        "{writes} in {took} s"
    );
}

#[tokio::test]
async fn a_wrong_secret_of_a_thousand_organisations_costs_one_call() {
    let sandbox = Sandbox::new("layout-wrong").await;
    let corps: Vec<String> = (0..1000).map(|n| format!("ding{n}")).collect();
    let ids: Vec<&str> = corps.iter().map(String::as_str).collect();
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &ids);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, "wrong")
        .await;
    let spec = json!({"corpIds": corps, "target": {"layout": "Combined"}});
    sandbox.app_with("payroll", spec).await;
    sandbox
        .until("all thousand told", "payroll", |app| {
            let corps = &app.status.as_ref()?.corps;
            let is_told = |corp: &CorpStatus| {
                let error = corp.error.as_ref();
                error.is_some_and(|error| error.reason == "InvalidCredentials")
            };
            (corps.len() == 1000 && corps.iter().all(is_told)).then_some(())
        })
        .await;
    // Up to four are in flight before the first is answered.
    let calls = sandbox.stub.journal().len();
    assert!(calls <= 4, "{calls}");
}

#[tokio::test]
async fn what_does_not_fit_is_told_and_the_last_good_secret_stays() {
    let mut sandbox = Sandbox::without_operator("layout-large", shared_plane().await).await;
    // 300 tokens of 4,096 characters are more than a Secret takes, 200 are not.
    let corps: Vec<String> = (0..300).map(|n| format!("ding{n:03}")).collect();
    let ids: Vec<&str> = corps.iter().map(String::as_str).collect();
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &ids);
    sandbox.stub.configure(|settings| {
        settings.token_length = 4096;
        settings.client_rate = 1000;
    });
    sandbox.start_operator(&[
        "--client-requests-per-second",
        "200",
        "--client-requests-in-flight",
        "20",
    ]);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    let spec = |corps: &[&str]| json!({"corpIds": corps, "target": {"layout": "Combined"}});
    sandbox.app_with("payroll", spec(&ids[..200])).await;
    sandbox.until_ready("payroll").await;
    sandbox.app_with("payroll", spec(&ids)).await;
    let message = sandbox.until_failing("payroll", "SecretTooLarge").await;
    assert!(message.contains("use layout PerCorp"), "{message}");
    sandbox
        .eventually("as many as fit", async || {
            let data = sandbox.data("payroll-token").await?;
            (data.len() >= 2 * 250).then_some(())
        })
        .await;
    let data = sandbox.data("payroll-token").await.expect("a Secret");
    for id in &ids[..200] {
        let token = &data[&format!("{id}.access_token")];
        assert!(sandbox.stub.accepts(token), "those that were there stay");
    }
}

impl Sandbox {
    /// The names of the Secrets that carry the operator's label.
    pub async fn managed_secrets(&self) -> Vec<String> {
        let ours = "app.kubernetes.io/managed-by=dingtalk-token-operator";
        let secrets = self
            .api::<Secret>()
            .list_metadata(&ListParams::default().labels(ours))
            .await
            .expect("Secrets");
        secrets
            .into_iter()
            .map(|secret| secret.name_any())
            .collect()
    }
}

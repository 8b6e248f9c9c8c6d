//! Several replicas: one acts, another takes over, and what a replica that was stopped may still do.

use std::time::Duration;

use dingtalk_stub::Behaviour;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Operator, Plane, Sandbox, shared_plane};

const LEASE: &str = "dingtalk-token-operator";

impl Sandbox {
    async fn holder(&self) -> Option<String> {
        let lease = self.api::<Lease>().get_opt(LEASE).await.ok()??;
        lease
            .spec?
            .holder_identity
            .filter(|holder| !holder.is_empty())
    }

    /// Starts a replica whose calls the stub knows by this host; waits until it leads or stands by.
    pub async fn standing(&self, host: &str) -> Operator {
        let replica = self.replica(&format!("global=http://{host}:{}", self.stub.port()));
        self.eventually("a replica that is ready", async || {
            let (status, _) = replica.health("/readyz").await?;
            let log = replica.log();
            let stands = log.contains("leading") || log.contains("standing by");
            (status == 200 && stands).then_some(())
        })
        .await;
        replica
    }

    /// How many lists the operators' user has asked for, those by watch included.
    fn lists(&self) -> usize {
        let user = format!("system:serviceaccount:{}:operator", self.namespace);
        let log = std::fs::read_to_string(self.audit_log()).expect("an audit log");
        log.lines()
            .filter(|line| line.contains(&user) && line.contains(r#""verb":"list""#))
            .count()
    }

    /// Waits for the process to end by itself; gives whether it failed.
    pub async fn until_ended(&self, replica: &mut Operator) -> bool {
        let status = self
            .eventually("the end of the replica", async || replica.ended())
            .await;
        !status.success()
    }

    fn calls_to(&self, host: &str) -> Vec<dingtalk_stub::Call> {
        let calls = self.stub.journal().into_iter();
        calls.filter(|call| call.host.starts_with(host)).collect()
    }
}

#[tokio::test]
async fn one_acts_and_a_clean_stop_hands_over_without_a_list_or_a_fetch() {
    let sandbox = Sandbox::without_operator("handover", shared_plane().await).await;
    let mut first = sandbox.standing("127.0.0.1").await;
    let second = sandbox.standing("localhost").await;
    assert!(first.log().contains("leading") && second.log().contains("standing by"));
    sandbox.ready_app("one").await;
    assert_eq!(sandbox.calls_to("127.0.0.1").len(), 1);
    for (replica, leads) in [(&first, "leader 1\n"), (&second, "leader 0\n")] {
        let (_, metrics) = replica.health("/metrics").await.expect("metrics");
        assert!(metrics.contains(leads), "{metrics}");
        assert!(metrics.contains(r#"watch_last_answer_timestamp_seconds{resource="secrets"}"#));
    }
    let lease = sandbox.api::<Lease>().get(LEASE).await.expect("a Lease");
    let spec = lease.spec.expect("a spec");
    assert_eq!(spec.lease_duration_seconds, Some(15));
    assert_eq!(spec.lease_transitions, Some(0));

    let lists = sandbox.lists();
    first.signal("TERM");
    assert!(!sandbox.until_ended(&mut first).await, "{}", first.log());
    assert!(first.log().contains("Lease released"), "{}", first.log());
    sandbox
        .credentials("two-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox
        .stub
        .register(CLIENT_ID, CLIENT_SECRET, &["ding1", "ding2"]);
    sandbox.app("two", "ding2").await;
    sandbox.until_ready("two").await;
    assert!(second.log().contains("leading"));
    assert_eq!(sandbox.lists(), lists, "a warm standby lists nothing");
    assert_eq!(sandbox.stub.calls("ding1").len(), 1, "nothing fetched anew");
    let lease = sandbox.api::<Lease>().get(LEASE).await.expect("a Lease");
    assert_eq!(lease.spec.expect("a spec").lease_transitions, Some(1));
}

/// The leader is stopped with all its slots in flight, past its lease, and goes on.
#[tokio::test]
async fn a_stopped_leader_overlaps_by_the_requests_that_it_had_sent_and_no_more() {
    /// `--client-requests-in-flight`.
    const SLOTS: usize = 4;
    let sandbox = Sandbox::without_operator("stopped", shared_plane().await).await;
    let corps: Vec<String> = (1..=8).map(|n| format!("ding{n}")).collect();
    let names: Vec<&str> = corps.iter().map(String::as_str).collect();
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &names);
    let mut first = sandbox.standing("127.0.0.1").await;
    let second = sandbox.standing("localhost").await;
    // Longer than the lease: the answers come when the other replica leads.
    sandbox.stub.script(dingtalk_stub::Script {
        client_id: None,
        corp_id: None,
        calls: Some(u32::try_from(SLOTS).expect("few")),
        behaviour: Behaviour::HeadersLate(40_000),
    });
    sandbox
        .credentials("many-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox
        .app_with(
            "many",
            json!({"corpIds": corps, "target": {"layout": "Combined"}}),
        )
        .await;
    sandbox
        .eventually("all slots in flight", async || {
            (sandbox.calls_to("127.0.0.1").len() == SLOTS).then_some(())
        })
        .await;
    first.signal("STOP");
    sandbox.until_ready("many").await;
    assert!(second.log().contains("leading"));
    first.signal("CONT");
    assert!(sandbox.until_ended(&mut first).await);
    assert!(
        first.log().contains("Lease lost to another replica"),
        "{}",
        first.log()
    );

    // The overlap: what both replicas asked for.
    let sent = sandbox.calls_to("127.0.0.1");
    let taken_over = sandbox.calls_to("localhost");
    assert_eq!(taken_over.len(), corps.len(), "each once by the new leader");
    let overlap = sent
        .iter()
        .filter(|call| taken_over.iter().any(|other| other.corp_id == call.corp_id))
        .count();
    assert_eq!((sent.len(), overlap), (SLOTS, SLOTS));
    sandbox.until_ready("many").await;
}

/// Two requests are in flight while another replica takes the lease; for one app it writes as well.
#[tokio::test]
async fn what_another_leader_wrote_stays_and_what_nobody_else_has_is_still_written() {
    let sandbox = Sandbox::without_operator("inhand", shared_plane().await).await;
    sandbox
        .stub
        .register(CLIENT_ID, CLIENT_SECRET, &["ding1", "ding2"]);
    let mut first = sandbox.standing("127.0.0.1").await;
    for (name, corp) in [("mine", "ding1"), ("theirs", "ding2")] {
        let credentials = format!("{name}-credentials");
        sandbox
            .credentials(&credentials, CLIENT_ID, CLIENT_SECRET)
            .await;
        sandbox.app(name, corp).await;
        sandbox.until_ready(name).await;
    }
    sandbox
        .stub
        .configure(|settings| settings.repeat = dingtalk_stub::Repeat::NewOverlap);
    let before = sandbox.token("mine-token").await.expect("a token");
    for corp in ["ding1", "ding2"] {
        let late = Behaviour::HeadersLate(6_000);
        sandbox.stub.next_calls(corp, Some(1), late);
    }
    let calls = sandbox.stub.journal().len();
    for name in ["mine", "theirs"] {
        sandbox.renew(name).await;
    }
    sandbox
        .eventually("both in flight", async || {
            (sandbox.stub.journal().len() == calls + 2).then_some(())
        })
        .await;
    // What another leader would leave behind.
    let lease: Lease = sandbox.api().get(LEASE).await.expect("a Lease");
    sandbox
        .api::<Lease>()
        .patch(
            LEASE,
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {
                "holderIdentity": "another",
                "leaseTransitions": lease.spec.and_then(|spec| spec.lease_transitions).unwrap_or(0) + 1,
            }})),
        )
        .await
        .expect("taken");
    sandbox
        .eventually("the loss", async || {
            first.log().contains("another replica leads").then_some(())
        })
        .await;
    sandbox
        .merge::<Secret>(
            "theirs-token",
            json!({"stringData": {"access_token": "of-the-other-leader"}}),
        )
        .await;
    assert!(sandbox.until_ended(&mut first).await);

    let after = sandbox.token("mine-token").await.expect("a token");
    assert_ne!(after.value, before.value, "{}", first.log());
    assert!(first.log().contains("Lease lost; in-flight token written"));
    let theirs = sandbox.data("theirs-token").await.expect("data");
    assert_eq!(theirs["access_token"], "of-the-other-leader");
    assert_eq!(sandbox.holder().await.as_deref(), Some("another"));
}

/// The API server is away for longer than the lease lasts.
#[tokio::test]
async fn an_outage_of_the_api_server_restarts_nothing() {
    let mut plane = Plane::start().await;
    let sandbox = Sandbox::without_operator("outage", &plane).await;
    let mut leader = sandbox.standing("127.0.0.1").await;
    let mut standby = sandbox.standing("localhost").await;
    sandbox.ready_app("one").await;
    let holder = sandbox.holder().await.expect("a leader");
    plane.control_plane.stop_api_server().expect("stopped");
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for replica in [&leader, &standby] {
            let (status, said) = replica.health("/healthz").await.expect("an answer");
            assert_eq!((status, said.as_str()), (200, "ok"));
        }
    }
    plane.control_plane.start_api_server().expect("started");
    sandbox
        .stub
        .register(CLIENT_ID, CLIENT_SECRET, &["ding1", "ding2"]);
    sandbox
        .credentials("two-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("two", "ding2").await;
    sandbox.until_ready("two").await;
    assert_eq!((leader.ended(), standby.ended()), (None, None));
    assert_eq!(sandbox.holder().await, Some(holder));
    let lease = sandbox.api::<Lease>().get(LEASE).await.expect("a Lease");
    assert_eq!(lease.spec.and_then(|spec| spec.lease_transitions), Some(0));
    assert_eq!(sandbox.stub.calls("ding1").len(), 1, "nothing fetched anew");
}

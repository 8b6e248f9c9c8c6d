//! Namespaces that are served one by one.

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, shared_plane};

#[tokio::test]
async fn a_namespace_without_the_role_holds_back_no_other_and_is_served_once_it_is_granted() {
    let mut a = Sandbox::without_operator("namespaces-a", shared_plane().await).await;
    let b = Sandbox::without_operator("namespaces-b", shared_plane().await).await;
    b.credentials("later-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    b.app("later", "ding1").await;
    let own = a.namespace.clone();
    let twice = ["--watch-namespace", own.as_str()];
    let flags = [&["--watch-namespace", &b.namespace], twice.as_slice()].concat();
    a.start_operator(&flags);
    a.ready_app("payroll").await;
    a.until_watching().await;
    let logs = a.logs();
    let of_b = format!("namespace=\"{}\"", b.namespace);
    let refused = |line: &&str| line.contains("watch failed") && line.contains(&of_b);
    assert!(logs.lines().any(|line| refused(&line)), "{logs}");
    b.grant_to(&a).await;
    b.until_ready("later").await;
}

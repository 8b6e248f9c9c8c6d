//! An API server that answers, but not on every connection.

use std::time::Duration;

use crate::proxy::Network;
use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, shared_plane};

/// The bound that is promised, and a little for what follows.
const RESTARTED_WITHIN: Duration = Duration::from_secs(6 * 60 + 30);

#[tokio::test]
async fn a_watch_that_is_silent_is_restarted_within_six_minutes() {
    let mut sandbox = Sandbox::without_operator("silence", shared_plane().await).await;
    let network = Network::to(sandbox.api_server()).await;
    sandbox.reach_api_server_through(network.port);
    sandbox.start_operator(&[]);
    sandbox.ready_app("before").await;
    network.fall_silent();
    sandbox
        .stub
        .register(CLIENT_ID, CLIENT_SECRET, &["ding1", "ding2"]);
    sandbox
        .credentials("after-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("after", "ding2").await;
    let seconds = RESTARTED_WITHIN.as_secs();
    sandbox
        .patiently(
            seconds,
            "the token of an app that was not watched",
            async || sandbox.token("after-token").await,
        )
        .await;
    let mut operator = sandbox.operator.take().expect("running");
    assert_eq!(operator.ended(), None, "the process goes on");
}

/// After a minute without the API server, the watches would wait for up to half a minute more. That each
/// wait ends is shown without a clock, in `controller/watch/backoff.rs`; here, that the operator notices.
#[tokio::test]
async fn after_an_outage_of_the_api_server_nothing_waits_for_a_backoff() {
    const OUTAGE: Duration = Duration::from_secs(45);
    let mut sandbox = Sandbox::without_operator("outage", shared_plane().await).await;
    let network = Network::to(sandbox.api_server()).await;
    sandbox.reach_api_server_through(network.port);
    let site = format!("global={}", sandbox.stub.url());
    sandbox.operator = Some(sandbox.replica(&site));
    sandbox.ready_app("before").await;
    let answers_again = "API server responding again";
    assert!(
        !sandbox.logs().contains(answers_again),
        "{}",
        sandbox.logs()
    );
    network.set_down(true);
    tokio::time::sleep(OUTAGE).await;
    sandbox
        .stub
        .register(CLIENT_ID, CLIENT_SECRET, &["ding1", "ding2"]);
    sandbox
        .credentials("after-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("after", "ding2").await;
    assert!(
        !sandbox.logs().contains(answers_again),
        "{}",
        sandbox.logs()
    );
    network.set_down(false);
    let logged = async || sandbox.logs().contains(answers_again).then_some(());
    sandbox
        .eventually("a line about the outage's end", logged)
        .await;
    let token = async || sandbox.token("after-token").await;
    let what = "the token of an app that came during the outage";
    sandbox.eventually(what, token).await;
}

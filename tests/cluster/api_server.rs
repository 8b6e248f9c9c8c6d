//! An API server that answers, but not on every connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, shared_plane};

/// The bound that is promised, and a little for what follows.
const RESTARTED_WITHIN: Duration = Duration::from_secs(6 * 60 + 30);

/// What becomes of the connections to the API server.
#[derive(Clone, Copy, Default)]
struct State {
    /// Those of a former era stay open, and carry nothing any more.
    era: u32,
    /// None comes about, and those that are open end.
    is_down: bool,
}

/// Forwards to the API server.
struct Network {
    port: u16,
    state: Arc<watch::Sender<State>>,
}

impl Network {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(watch::Sender::new(State::default()));
        let current = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((inside, _)) = listener.accept().await {
                if current.borrow().is_down {
                    continue;
                }
                let outside = TcpStream::connect(&server).await.expect("the API server");
                let (inside, outside) = (inside.into_split(), outside.into_split());
                tokio::spawn(forward(inside.0, outside.1, current.subscribe()));
                tokio::spawn(forward(outside.0, inside.1, current.subscribe()));
            }
        });
        Self { port, state }
    }

    fn set_down(&self, is_down: bool) {
        self.state.send_modify(|state| state.is_down = is_down);
    }

    /// What is connected now falls silent.
    fn fall_silent(&self) {
        self.state.send_modify(|state| state.era += 1);
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) {
    let era = state.borrow_and_update().era;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let has_ended = async {
            let changed = state.wait_for(|now| now.is_down || now.era != era);
            changed.await.is_ok_and(|now| !now.is_down)
        };
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            is_silent = has_ended => match is_silent {
                true => std::future::pending().await,
                false => return,
            },
        };
        match read {
            Ok(length) if length > 0 => {
                if to.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

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
    let answers_again = "the API server answers again";
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

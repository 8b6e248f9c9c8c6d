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

/// Forwards to the API server; connections of a former era stay open, and carry nothing any more.
struct Network {
    port: u16,
    era: Arc<watch::Sender<u32>>,
}

impl Network {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let era = Arc::new(watch::Sender::new(0));
        let current = Arc::clone(&era);
        tokio::spawn(async move {
            while let Ok((inside, _)) = listener.accept().await {
                let outside = TcpStream::connect(&server).await.expect("the API server");
                let (inside, outside) = (inside.into_split(), outside.into_split());
                tokio::spawn(forward(inside.0, outside.1, current.subscribe()));
                tokio::spawn(forward(outside.0, inside.1, current.subscribe()));
            }
        });
        Self { port, era }
    }

    /// What is connected now falls silent.
    fn fall_silent(&self) {
        self.era.send_modify(|era| *era += 1);
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut era: watch::Receiver<u32>) {
    era.mark_unchanged();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = era.changed() => std::future::pending().await,
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

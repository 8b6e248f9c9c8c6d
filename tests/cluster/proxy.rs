//! What is between the operator and the API server.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of the connections to the API server.
#[derive(Clone, Copy, Default)]
struct State {
    /// Those of a former era stay open, and carry nothing any more.
    era: u32,
    /// None comes about, and those that are open end.
    is_down: bool,
}

/// Forwards to the API server.
pub struct Network {
    pub port: u16,
    state: Arc<watch::Sender<State>>,
}

impl Network {
    pub async fn to(server: String) -> Self {
        Self::with_delays(server, None).await
    }

    /// The same; what is sent to the API server takes up to so long, by this seed.
    pub async fn slow(server: String, delay_max: Duration, seed: u64) -> Self {
        Self::with_delays(server, Some((delay_max, seed))).await
    }

    async fn with_delays(server: String, delays: Option<(Duration, u64)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(watch::Sender::new(State::default()));
        let current = Arc::clone(&state);
        tokio::spawn(async move {
            let mut connections = 0;
            while let Ok((inside, _)) = listener.accept().await {
                connections += 1;
                let delays = delays.map(|(most, seed)| Delays {
                    most,
                    dice: SmallRng::seed_from_u64(seed + connections),
                });
                if current.borrow().is_down {
                    continue;
                }
                let outside = TcpStream::connect(&server).await.expect("the API server");
                let (inside, outside) = (inside.into_split(), outside.into_split());
                tokio::spawn(forward(inside.0, outside.1, current.subscribe(), delays));
                tokio::spawn(forward(outside.0, inside.1, current.subscribe(), None));
            }
        });
        Self { port, state }
    }

    pub fn set_down(&self, is_down: bool) {
        self.state.send_modify(|state| state.is_down = is_down);
    }

    /// What is connected now falls silent.
    pub fn fall_silent(&self) {
        self.state.send_modify(|state| state.era += 1);
    }
}

/// How long messages of one connection take.
struct Delays {
    most: Duration,
    dice: SmallRng,
}

impl Delays {
    async fn next(&mut self) {
        let delay = self.most.mul_f64(self.dice.random());
        tokio::time::sleep(delay).await;
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    mut delays: Option<Delays>,
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
                if let Some(delays) = &mut delays {
                    delays.next().await;
                }
                if to.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

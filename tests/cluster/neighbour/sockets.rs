//! Connections that ask nothing.

use std::io;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::ground::Ground;

const SOCKETS: usize = 5_000;
/// At once, so that the listener's backlog holds them.
const BATCH: usize = 250;
/// Those, and what the rest of this program opens.
const FILES: u64 = 8_192;

/// Opens as many as are missing, to each address that the operator serves.
pub async fn fill(ground: &Ground, held: &mut Vec<TcpStream>) {
    allow_files();
    held.retain(is_open);
    let addresses = ground.addresses();
    let wanted = SOCKETS * addresses.len();
    for address in &addresses {
        let is_there = |socket: &&TcpStream| {
            let peer = socket.peer_addr();
            peer.is_ok_and(|peer| peer.to_string() == *address)
        };
        let missing = SOCKETS.saturating_sub(held.iter().filter(is_there).count());
        for batch in 0..missing.div_ceil(BATCH) {
            let size = BATCH.min(missing - batch * BATCH);
            let opened = (0..size).map(|number| open(address, number % 2 == 0));
            held.extend(
                futures::future::join_all(opened)
                    .await
                    .into_iter()
                    .flatten(),
            );
        }
    }
    ground.note("idle sockets, most at once", held.len().min(wanted));
}

/// Half of them begin a request that they never finish.
async fn open(address: &str, begins: bool) -> Option<TcpStream> {
    let connect = TcpStream::connect(address);
    let patience = std::time::Duration::from_secs(2);
    let connected = tokio::time::timeout(patience, connect).await;
    let mut socket = connected.ok()?.ok()?;
    if begins {
        socket
            .write_all(b"GET /metrics HTTP/1.1\r\nHo")
            .await
            .ok()?;
    }
    Some(socket)
}

fn is_open(socket: &TcpStream) -> bool {
    match socket.try_read(&mut [0; 512]) {
        Ok(read) => read > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// A shell's usual soft limit is too low.
fn allow_files() {
    let mut limit = getrlimit(Resource::Nofile);
    let enough = limit.maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if limit.current.is_some_and(|current| current < enough) {
        limit.current = Some(enough);
        setrlimit(Resource::Nofile, limit).expect("the soft limit of open files");
    }
    assert!(
        limit.current.is_none_or(|current| current >= FILES),
        "this test opens {FILES} files: raise the hard limit (ulimit -H -n)"
    );
}

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Longer than any step takes, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Number of connections that a hostile pod keeps open on each port.
const IDLE: usize = 5_000;
/// Minimum number of such connections if the machine limits open files; still several times the places.
const IDLE_MIN: usize = 400;
/// Number of files that the test itself opens.
const OTHER_FILES: usize = 500;

/// Bounds without effective time-outs, so that only the number of connections is limited.
fn patient(connections: usize) -> Bounds {
    Bounds {
        connections,
        header: Duration::from_secs(3600),
        total: Duration::from_secs(3600),
    }
}

async fn server(routes: Router, bounds: Bounds) -> SocketAddr {
    let address = "127.0.0.1:0".parse().expect("an address");
    let server = Server::bind(address, "--test").await.expect("a server");
    let address = server.listener.local_addr().expect("an address");
    server.serve("tests", routes, bounds, CancellationToken::new());
    address
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

async fn ask(address: SocketAddr) -> String {
    let asked = async {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
        stream.write_all(request).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    answer.expect("answered while others hold their connections")
}

/// Raises this process's limit of open files. Returns the resulting number of idle connections for each of two
/// ports. This process holds both ends of each until the server closes its own.
fn idle_connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("this process's own limit");
    let files = maximum.map_or(usize::MAX, |all| usize::try_from(all).unwrap_or(usize::MAX));
    let held = (files.saturating_sub(OTHER_FILES) / 2).min(IDLE);
    assert!(held >= IDLE_MIN, "allow more files: ulimit -n {files}");
    held
}

async fn hold(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        held.push(TcpStream::connect(address).await.expect("connected"));
    }
    held
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_connections_keep_nobody_out() {
    let count = idle_connections();
    let bounds = patient(Bounds::default().connections);
    let (probes, metrics) = (server(hello(), bounds).await, server(hello(), bounds).await);
    let (held, also_held) = tokio::join!(hold(probes, count), hold(metrics, count));
    for address in [probes, metrics] {
        for _ in 0..3 {
            assert!(ask(address).await.ends_with("hello"));
        }
    }
    // Except for the places, the server has closed its ends.
    if cfg!(target_os = "linux") {
        let most = 2 * (count + bounds.connections) + OTHER_FILES;
        assert!(open_files() < most, "{} files are open", open_files());
    }
    drop((held, also_held));
}

#[tokio::test]
async fn a_request_in_flight_is_not_disturbed_by_idle_connections() {
    let (arrived, mut has_arrived) = tokio::sync::mpsc::channel(1);
    let release = CancellationToken::new();
    let released = release.clone();
    let routes = Router::new().route(
        "/",
        get(move || {
            let (arrived, released) = (arrived.clone(), released.clone());
            async move {
                arrived.send(()).await.expect("the test waits");
                released.cancelled().await;
                "hello"
            }
        }),
    );
    let address = server(routes, patient(3)).await;
    let asking = tokio::spawn(ask(address));
    has_arrived.recv().await.expect("a request");
    let idle = hold(address, 20).await;
    // Other connections have taken all but the last three places.
    for mut stream in idle.into_iter().take(17) {
        let closed = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
        assert!(closed.expect("closed in time").is_err());
    }
    release.cancel();
    assert!(asking.await.expect("an answer").ends_with("hello"));
}

#[tokio::test]
async fn silence_and_slowness_are_bounded_in_time() {
    let moment = Duration::from_millis(50);
    let long = Duration::from_secs(3600);
    for (header, total) in [(moment, long), (long, moment)] {
        let bounds = Bounds {
            connections: 3,
            header,
            total,
        };
        let address = server(hello(), bounds).await;
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHo")
            .await
            .expect("sent");
        let mut said = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        assert!(closed.is_ok(), "closed by the server");
    }
}

#[tokio::test]
async fn a_connection_carries_one_request() {
    let address = server(hello(), Bounds::default()).await;
    let answer = ask(address).await.to_lowercase();
    assert!(answer.contains("connection: close"), "{answer}");
}

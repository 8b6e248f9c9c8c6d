//! Selects a connection to close when a server has reached its limit.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Minimum time for a client to send its request, even if others wait for its place. The kubelet and Prometheus
/// need a round trip.
const REQUEST_GRACE: Duration = Duration::from_millis(10);
/// Minimum time for a client to read its response.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

/// The open connections, oldest first.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: BTreeMap<u64, Connection>,
    next: u64,
}

#[derive(Debug)]
struct Connection {
    /// Whether a request has arrived, which is being answered.
    is_answering: bool,
    /// When the connection was opened or, if a request has arrived, when it did.
    since: Instant,
    close: CancellationToken,
}

impl Connections {
    /// Adds a connection and returns its number. `close` is cancelled to close it.
    pub(super) fn opened(&mut self, now: Instant, close: CancellationToken) -> u64 {
        let number = self.next;
        self.next += 1;
        let connection = Connection {
            is_answering: false,
            since: now,
            close,
        };
        self.open.insert(number, connection);
        number
    }

    /// Records that the request of a connection has arrived.
    pub(super) fn requested(&mut self, number: u64, now: Instant) {
        if let Some(connection) = self.open.get_mut(&number) {
            connection.is_answering = true;
            connection.since = now;
        }
    }

    pub(super) fn closed(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// Closes the oldest connection without a request or, if there is none, the one that has been reading its
    /// response for longest. If it is too early for that, returns when one may be closed.
    pub(super) fn make_room(&mut self, now: Instant) -> Option<Instant> {
        let silent = self.open.iter().find(|(_, one)| !one.is_answering);
        let silent = silent.map(|(number, one)| (one.since + REQUEST_GRACE, *number));
        let answering = self.open.iter();
        let answering = answering.map(|(number, one)| (one.since + ANSWER_GRACE, *number));
        let (at, number) = silent.or_else(|| answering.min())?;
        if now < at {
            return Some(at);
        }
        if let Some(connection) = self.open.remove(&number) {
            connection.close.cancel();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        connections: Connections,
        start: Instant,
    }

    impl World {
        fn new() -> Self {
            Self {
                connections: Connections::default(),
                start: Instant::now(),
            }
        }

        fn at(&self, milliseconds: u64) -> Instant {
            self.start + Duration::from_millis(milliseconds)
        }

        fn open(&mut self, milliseconds: u64) -> (u64, CancellationToken) {
            let close = CancellationToken::new();
            let at = self.at(milliseconds);
            (self.connections.opened(at, close.clone()), close)
        }
    }

    #[test]
    fn the_oldest_connection_without_a_request_makes_room() {
        let mut world = World::new();
        let (busy, busy_close) = world.open(0);
        let (_, oldest) = world.open(1);
        let (_, younger) = world.open(2);
        world.connections.requested(busy, world.at(3));
        let now = world.at(10_000);
        assert_eq!(world.connections.make_room(now), None);
        assert!(oldest.is_cancelled());
        assert!(!busy_close.is_cancelled() && !younger.is_cancelled());
        world.connections.make_room(now);
        assert!(younger.is_cancelled() && !busy_close.is_cancelled());
        // The remaining clients are those that do not read their responses.
        world.connections.make_room(now);
        assert!(busy_close.is_cancelled());
    }

    #[test]
    fn every_client_has_the_time_to_send_its_request_and_to_take_its_answer() {
        let mut world = World::new();
        let (number, close) = world.open(0);
        let now = world.at(5);
        assert_eq!(world.connections.make_room(now), Some(world.at(10)));
        world.connections.requested(number, world.at(30));
        let now = world.at(1000);
        assert_eq!(world.connections.make_room(now), Some(world.at(2030)));
        assert!(!close.is_cancelled());
        let now = world.at(2030);
        assert_eq!(world.connections.make_room(now), None);
        assert!(close.is_cancelled());
    }

    #[test]
    fn a_closed_connection_is_forgotten() {
        let mut world = World::new();
        let (number, close) = world.open(0);
        world.connections.closed(number);
        let now = world.at(10_000);
        assert_eq!(world.connections.make_room(now), None);
        assert!(!close.is_cancelled());
        assert!(world.connections.open.is_empty());
    }
}

//! Leader election with a Lease. Only the leader acts; the other replicas keep their watches up to date.

mod election;
mod leadership;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::said::said;
pub(crate) use election::{Election, LEASE_DURATION, RETRY_PERIOD, Standing, Turn};
pub use leadership::{Leadership, Moment};

/// Time-out for each call. Short enough to retry a renewal before the Lease expires.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// Attempts to release a Lease that others change.
const RELEASES_MAX: usize = 3;

/// The Lease and the identity of this replica.
#[derive(Debug)]
pub struct Candidate {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Unique identity of this replica.
    pub identity: String,
}

/// How the election ended for this replica.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This replica was stopped and has released the Lease.
    Released,
    /// Another replica has taken the Lease.
    Lost {
        /// Identity of the other replica.
        to: String,
    },
}

#[derive(Debug, Error)]
enum LeaseError {
    #[error("it is changed again and again")]
    Changing,
    #[error("no response from the API server within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut,
    #[error("{}; the operator needs the Role for leases from deploy/", said(.0))]
    Forbidden(#[source] kube::Error),
    #[error("{}", said(.0))]
    Call(kube::Error),
}

/// Acquires and renews the Lease, and keeps `leadership` up to date, until `stop` is cancelled or another
/// replica takes over.
///
/// During an outage of the API server, the Lease expires and nothing is fetched. Afterwards this replica leads
/// again, unless another one has taken the Lease.
pub async fn elect(
    client: Client,
    candidate: Candidate,
    leadership: Arc<Leadership>,
    stop: CancellationToken,
) -> Outcome {
    let mut elector = Elector::new(client, candidate, leadership);
    while !stop.is_cancelled() {
        // A stop must not cancel a round: without the response to a write, the release would fail.
        if let Some(to) = elector.round().await {
            elector.leadership.lost();
            info!(
                leader = to,
                "another replica leads; draining in-flight work"
            );
            return Outcome::Lost { to };
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY_PERIOD) => {}
            () = stop.cancelled() => {}
        }
    }
    elector.release().await;
    Outcome::Released
}

struct Elector {
    api: Api<Lease>,
    election: Election,
    candidate: Candidate,
    leadership: Arc<Leadership>,
    was_ours: bool,
    /// The last attempt's error. Another one is logged as well: it says what is missing next.
    failing: Option<String>,
    waits_for: Option<String>,
}

impl Elector {
    fn new(client: Client, candidate: Candidate, leadership: Arc<Leadership>) -> Self {
        Self {
            api: Api::namespaced(client, &candidate.namespace),
            election: Election::new(candidate.identity.clone()),
            candidate,
            leadership,
            was_ours: false,
            failing: None,
            waits_for: None,
        }
    }

    /// Tries once to acquire or renew the Lease. Returns the replica that has taken it from this one.
    async fn round(&mut self) -> Option<String> {
        match self.try_once().await {
            Ok(()) => self.failing = None,
            Err(error) => {
                let error = error.to_string();
                if self.failing.as_ref() != Some(&error) {
                    let lease = &self.candidate.name;
                    warn!(lease, %error, "Lease read or write failed; will retry");
                }
                self.failing = Some(error);
            }
        }
        match self.election.standing() {
            Standing::Ours => self.was_ours = true,
            Standing::Theirs(other) if self.was_ours => return Some(other),
            Standing::Theirs(other) => {
                if self.waits_for.as_ref() != Some(&other) {
                    info!(leader = other, "standing by");
                    self.waits_for = Some(other);
                }
            }
            Standing::Free => {}
        }
        None
    }

    async fn try_once(&mut self) -> Result<(), LeaseError> {
        let mut has_read = false;
        loop {
            let sent = Moment::now();
            let turn = self.election.turn(has_read, sent.wall, sent.monotonic);
            let written = match turn {
                None => return Ok(()),
                Some(Turn::Read) => None,
                Some(Turn::Write(spec)) => self.write(spec).await?,
            };
            if let Some(lease) = written {
                let now = Moment::now();
                self.election.saw(Some(lease), now.monotonic);
                if self.leadership.renewed(sent, LEASE_DURATION, now) {
                    info!(lease = self.candidate.name, "leading");
                }
                return Ok(());
            }
            if has_read {
                return Ok(());
            }
            self.read().await?;
            has_read = true;
        }
    }

    async fn read(&mut self) -> Result<(), LeaseError> {
        let lease = call(self.api.get_opt(&self.candidate.name)).await?;
        self.election.saw(lease, Moment::now().monotonic);
        Ok(())
    }

    /// Writes the Lease over the one that was read last; `None` if another one is there.
    async fn write(&self, spec: LeaseSpec) -> Result<Option<Lease>, LeaseError> {
        let lease = self.election.lease(&self.candidate.name, spec);
        let parameters = PostParams {
            field_manager: Some(crate::api::MANAGER.to_owned()),
            ..PostParams::default()
        };
        let name = &self.candidate.name;
        let is_new = lease.metadata.resource_version.is_none();
        let written = match is_new {
            true => call(self.api.create(&parameters, &lease)).await,
            false => call(self.api.replace(name, &parameters, &lease)).await,
        };
        match written {
            Err(LeaseError::Call(kube::Error::Api(status)))
                // What a new one does not find is its namespace.
                if status.code == 409 || status.code == 404 && !is_new =>
            {
                Ok(None)
            }
            written => written.map(Some),
        }
    }

    /// Releases the Lease, so that the other replicas need not wait for its expiry.
    async fn release(&mut self) {
        self.leadership.lost();
        let lease = self.candidate.name.clone();
        match self.try_release().await {
            Ok(true) => info!(lease, "Lease released"),
            Ok(false) => {}
            Err(error) => warn!(lease, %error, "Lease not released; it will expire"),
        }
    }

    /// Returns whether this replica held the Lease.
    async fn try_release(&mut self) -> Result<bool, LeaseError> {
        for _ in 0..RELEASES_MAX {
            let Some(spec) = self.election.release(Moment::now().wall) else {
                return Ok(false);
            };
            if self.write(spec).await?.is_some() {
                return Ok(true);
            }
            // Somebody has annotated it, or the last renewal was made but not answered.
            self.read().await?;
        }
        Err(LeaseError::Changing)
    }
}

async fn call<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, LeaseError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
            Err(LeaseError::Forbidden(kube::Error::Api(status)))
        }
        Ok(Err(error)) => Err(LeaseError::Call(error)),
        Err(_) => Err(LeaseError::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tokio::sync::Notify;

    use super::*;

    /// An API server with one Lease. It applies writes at once, but delays the response to a renewal until it is
    /// told to send it.
    #[derive(Default)]
    struct Server {
        lacks_namespace: bool,
        lease: Mutex<Option<Value>>,
        renewing: Notify,
        answer: Notify,
    }

    impl Server {
        fn client(self: &Arc<Self>) -> Client {
            let server = Arc::clone(self);
            let service = tower::service_fn(move |request: Request<Body>| {
                let server = Arc::clone(&server);
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect_bytes().await.expect("a body");
                    let (code, answer) = server.handle(&parts.method, &body).await;
                    let body = Body::from(answer.to_string().into_bytes());
                    Response::builder().status(code).body(body)
                }
            });
            Client::new(service, "default")
        }

        async fn handle(&self, method: &Method, body: &[u8]) -> (u16, Value) {
            let refused = |code: u16, reason: &str| {
                let status =
                    json!({"status": "Failure", "message": "no", "reason": reason, "code": code});
                (code, status)
            };
            if *method == Method::GET {
                let lease = self.lease.lock().expect("unpoisoned").clone();
                return lease.map_or_else(|| refused(404, "NotFound"), |lease| (200, lease));
            }
            if self.lacks_namespace {
                return refused(404, "NotFound");
            }
            let mut new: Value = serde_json::from_slice(body).expect("a Lease");
            {
                let mut lease = self.lease.lock().expect("unpoisoned");
                let version = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
                let current = lease.as_ref().map_or(Value::Null, version);
                if version(&new) != current {
                    return refused(409, "Conflict");
                }
                let next = current.as_str().map_or(1, |text| text.len() + 1);
                new["metadata"]["resourceVersion"] = "1".repeat(next).into();
                *lease = Some(new.clone());
            }
            if *method == Method::PUT && new["spec"]["holderIdentity"] == "one" {
                self.renewing.notify_one();
                self.answer.notified().await;
            }
            (200, new)
        }
    }

    fn candidate() -> Candidate {
        Candidate {
            namespace: "default".to_owned(),
            name: "lease".to_owned(),
            identity: "one".to_owned(),
        }
    }

    /// Regression: no log said why nobody led.
    #[tokio::test]
    async fn a_lease_without_a_namespace_is_an_error() {
        let server = Arc::new(Server {
            lacks_namespace: true,
            ..Server::default()
        });
        let mut elector = Elector::new(server.client(), candidate(), Arc::default());
        assert!(elector.try_once().await.is_err());
    }

    /// Regression: the others waited until it expired.
    #[tokio::test]
    async fn a_lease_that_somebody_else_has_changed_is_released() {
        let server = Arc::new(Server::default());
        let (leadership, stop) = (Arc::new(Leadership::default()), CancellationToken::new());
        let election = elect(
            server.client(),
            candidate(),
            Arc::clone(&leadership),
            stop.clone(),
        );
        let stopped = async {
            while !leadership.holds(Moment::now()) {
                tokio::task::yield_now().await;
            }
            if let Some(lease) = &mut *server.lease.lock().expect("unpoisoned") {
                lease["metadata"]["resourceVersion"] = "111".into();
            }
            stop.cancel();
        };
        let (outcome, ()) = tokio::join!(election, stopped);
        assert_eq!(outcome, Outcome::Released);
        let lease = server.lease.lock().expect("unpoisoned").take();
        assert_eq!(lease.expect("a Lease")["spec"]["holderIdentity"], "");
    }

    #[tokio::test]
    async fn a_stop_during_a_renewal_leaves_the_lease_to_the_others() {
        let server = Arc::new(Server::default());
        let (leadership, stop) = (Arc::new(Leadership::default()), CancellationToken::new());
        let election = elect(server.client(), candidate(), leadership, stop.clone());
        let stopped = async {
            server.renewing.notified().await;
            stop.cancel();
            // Let everything that reacts to the stop immediately do so.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            server.answer.notify_one();
        };
        let (outcome, ()) = tokio::join!(election, stopped);
        assert_eq!(outcome, Outcome::Released);
        let lease = server.lease.lock().expect("unpoisoned").take();
        assert_eq!(lease.expect("a Lease")["spec"]["holderIdentity"], "");
    }
}

//! Calls that wait for the simulated world to answer them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use futures::channel::oneshot;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::fetches::{Answered, Request};
use super::known::Known;
use super::site::Site;
use super::store::Store;
use super::wishes::Variant;
use crate::api::{DingTalkApp, DingTalkTokenReference, RolloutRestartTarget};
use crate::controller::clock::Clock;
use crate::controller::cluster::{Cluster, ClusterError, SecretContents};
use crate::controller::endpoint::Endpoint;
use crate::core::{ObjectVersion, Readers, Write};
use crate::dingtalk::{Answer, Call, Credentials, Failure, UNREACHABLE};
use crate::operator::{Moment, Outages, Turn};

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Answered,
    /// The request never arrives.
    RequestLost,
    /// The request is carried out, but its response is lost.
    AnswerLost,
}

pub type Deliver = Box<dyn FnOnce() + Send>;
type Execute = Box<dyn FnOnce(&mut Store, &mut Site, Fate) -> Deliver + Send>;

/// What a call does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
    Fetch,
}

/// A call that has begun.
pub struct Begun {
    pub kind: Kind,
    /// What the process knew when it began, if that counts.
    pub known: Option<Known>,
    /// The token that it requests, if it does.
    pub request: Option<Request>,
    pub execute: Execute,
}

/// A call about the Lease.
pub struct LeaseCall {
    pub turn: Turn,
    /// Whether the Lease was read in this round.
    pub has_read: bool,
    pub sent: Moment,
}

/// What a process shares with the world.
#[derive(Clone)]
pub struct Wire {
    pub begun: Arc<Mutex<Vec<Begun>>>,
    pub moment: Arc<Mutex<Moment>>,
    pub outages: Outages,
    dice: Arc<Mutex<SmallRng>>,
}

impl Wire {
    pub fn new(start: Timestamp, seed: u64) -> Self {
        let moment = Moment {
            wall: start,
            monotonic: Instant::now(),
        };
        Self {
            begun: Arc::default(),
            moment: Arc::new(Mutex::new(moment)),
            outages: Outages::default(),
            dice: Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))),
        }
    }

    async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        kind: Kind,
        execute: impl FnOnce(&mut Store) -> Result<T, ClusterError> + Send + 'static,
    ) -> Result<T, ClusterError> {
        let (answer, answered) = oneshot::channel();
        let execute = move |store: &mut Store, _: &mut Site, fate| -> Deliver {
            let lost = Err(ClusterError::TimedOut { operation });
            let result = match fate {
                Fate::Answered => execute(store),
                Fate::RequestLost => lost,
                Fate::AnswerLost => execute(store).and(lost),
            };
            Box::new(move || drop(answer.send(result)))
        };
        self.begun.lock().expect("no panic").push(Begun {
            kind,
            known: None,
            request: None,
            execute: Box::new(execute),
        });
        let lost = Err(ClusterError::TimedOut { operation });
        let answer = answered.await.unwrap_or(lost);
        match &answer {
            Err(ClusterError::TimedOut { .. }) => self.outages.failed(),
            _ => self.outages.answered(self.now().monotonic),
        }
        answer
    }
}

impl Clock for Wire {
    fn now(&self) -> Moment {
        *self.moment.lock().expect("no panic")
    }

    fn random(&self) -> f64 {
        self.dice.lock().expect("no panic").random()
    }
}

#[async_trait]
impl Endpoint for Wire {
    fn sites(&self) -> Vec<&str> {
        vec!["china"]
    }

    fn host(&self, site: &str) -> Option<&str> {
        (site == "china").then_some("api.dingtalk.com")
    }

    async fn fetch(
        &self,
        call: &Call,
        credentials: &Credentials,
        _: Option<&str>,
        _: bool,
    ) -> Answer {
        let (answer, answered) = oneshot::channel();
        let client_id = credentials.client_id.clone();
        let secret = credentials.client_secret.expose_secret().to_owned();
        let corp_id = Arc::clone(&call.corp_id);
        let request = Request {
            variant: Variant {
                site: call.site.to_string(),
                client_id: client_id.clone(),
                client_secret: secret.clone(),
                corp_id: corp_id.to_string(),
            },
            credentials: call.credentials.uid.to_string(),
        };
        let answer_of = |result: Answered| Answer {
            result,
            clock_difference: None,
        };
        let unreachable = || Err(Failure::of(&UNREACHABLE));
        let execute = move |store: &mut Store, site: &mut Site, fate| -> Deliver {
            let now = store.now;
            let result = match fate {
                Fate::Answered => site.fetch(&client_id, &secret, &corp_id, now),
                Fate::RequestLost => unreachable(),
                Fate::AnswerLost => {
                    let _ = site.fetch(&client_id, &secret, &corp_id, now);
                    unreachable()
                }
            };
            site.answered = Some(result.clone());
            Box::new(move || drop(answer.send(answer_of(result))))
        };
        self.begun.lock().expect("no panic").push(Begun {
            kind: Kind::Fetch,
            known: None,
            request: Some(request),
            execute: Box::new(execute),
        });
        answered.await.unwrap_or_else(|_| answer_of(unreachable()))
    }
}

#[async_trait]
impl Cluster for Wire {
    async fn read_secret(
        &self,
        operation: &'static str,
        _: &str,
        name: &str,
    ) -> Result<SecretContents, ClusterError> {
        let name = name.to_owned();
        self.call(operation, Kind::Read, move |store| {
            store.read(operation, &name)
        })
        .await
    }

    async fn read_app(&self, _: &str, name: &str) -> Result<Option<DingTalkApp>, ClusterError> {
        let name = name.to_owned();
        self.call("read the app", Kind::Read, move |store| {
            Ok(store.apps.get(&name).cloned())
        })
        .await
    }

    async fn read_reference(
        &self,
        _: &str,
        name: &str,
    ) -> Result<Option<DingTalkTokenReference>, ClusterError> {
        let name = name.to_owned();
        self.call("read the reference", Kind::Read, move |store| {
            Ok(store.references.get(&name).cloned())
        })
        .await
    }

    async fn read_namespace_uid(&self, _: &str) -> Result<String, ClusterError> {
        self.call("read the namespace", Kind::Read, |_| {
            Ok("namespace".to_owned())
        })
        .await
    }

    async fn read_secret_metadata(&self, _: &str, name: &str) -> Result<ObjectMeta, ClusterError> {
        let name = name.to_owned();
        self.call("read the metadata", Kind::Read, move |store| {
            store.read_meta(&name)
        })
        .await
    }

    async fn write_secret(&self, _: &str, write: &Write) -> Result<ObjectMeta, ClusterError> {
        let write = write.clone();
        self.call("write the target Secret", Kind::Write, move |store| {
            store.write(&write)
        })
        .await
    }

    async fn delete_secret(
        &self,
        operation: &'static str,
        _: &str,
        name: &str,
        version: &ObjectVersion,
    ) -> Result<(), ClusterError> {
        let (name, version) = (name.to_owned(), version.clone());
        self.call(operation, Kind::Write, move |store| {
            store.delete(&name, &version)
        })
        .await
    }

    async fn patch_status(
        &self,
        path: &str,
        name: &str,
        patch: Value,
    ) -> Result<ObjectMeta, ClusterError> {
        let (path, name) = (path.to_owned(), name.to_owned());
        self.call("write the status", Kind::Write, move |store| {
            store.patch_status(&path, &name, &patch)
        })
        .await
    }

    async fn publish(&self, _: &str, event: &Event) -> Result<(), ClusterError> {
        let reason = event.reason.clone();
        self.call("publish an event", Kind::Read, move |store| {
            store.published.extend(reason);
            Ok(())
        })
        .await
    }

    async fn restart(
        &self,
        _: &str,
        _: &RolloutRestartTarget,
        _: Timestamp,
    ) -> Result<(), ClusterError> {
        self.call("restart the workload", Kind::Read, |store| store.restart())
            .await
    }

    async fn readers(
        &self,
        _: &str,
        written: &BTreeSet<String>,
        any: &BTreeSet<String>,
    ) -> Result<Readers, ClusterError> {
        let (written, any) = (written.clone(), any.clone());
        self.call("list the pods", Kind::Read, move |store| {
            store.readers(&written, &any)
        })
        .await
    }

    async fn touch_pod(&self, _: &str, _: &str, _: &str, _: Timestamp) -> Result<(), ClusterError> {
        self.call("annotate a pod", Kind::Read, |_| Ok(())).await
    }
}

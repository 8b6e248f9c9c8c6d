//! Calls that wait for the simulated world to answer them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures::channel::oneshot;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::site::Site;
use super::store::Store;
use crate::api::{DingTalkApp, DingTalkTokenReference, RolloutRestartTarget};
use crate::controller::clock::Clock;
use crate::controller::cluster::{Called, Cluster, ClusterError, Named, SecretContents};
use crate::controller::endpoint::Endpoint;
use crate::dingtalk::{Answer, Credentials, Failure, UNREACHABLE};
use crate::operator::Moment;
use crate::plan::{ObjectVersion, Readers, Write};

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Answered,
    /// It never arrives.
    RequestLost,
    /// It is carried out, and nobody learns of it.
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

/// A call that was begun.
pub struct Begun {
    pub kind: Kind,
    pub execute: Execute,
}

/// What a process and the world share.
#[derive(Clone)]
pub struct Wire {
    pub begun: Arc<Mutex<Vec<Begun>>>,
    pub moment: Arc<Mutex<Moment>>,
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
            dice: Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))),
        }
    }

    fn call<'a, T: Send + 'static>(
        &self,
        operation: &'static str,
        kind: Kind,
        execute: impl FnOnce(&mut Store) -> Result<T, ClusterError> + Send + 'static,
    ) -> Called<'a, T> {
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
            execute: Box::new(execute),
        });
        Box::pin(async move {
            answered
                .await
                .unwrap_or(Err(ClusterError::TimedOut { operation }))
        })
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

impl Endpoint for Wire {
    fn knows(&self, site: &str) -> bool {
        site == "china"
    }

    fn fetch<'a>(
        &'a self,
        _: &'a str,
        corp_id: &'a str,
        credentials: &'a Credentials,
        _: Option<&'a str>,
        _: bool,
    ) -> BoxFuture<'a, Answer> {
        let (answer, answered) = oneshot::channel();
        let client_id = credentials.client_id.clone();
        let secret = credentials.client_secret.expose_secret().to_owned();
        let corp_id = corp_id.to_owned();
        let unreachable = || Answer {
            result: Err(Failure::of(&UNREACHABLE)),
            clock_difference: None,
        };
        let execute = move |store: &mut Store, site: &mut Site, fate| -> Deliver {
            let now = store.now;
            let result = match fate {
                Fate::Answered => site.fetch(&client_id, &secret, &corp_id, now),
                Fate::RequestLost => unreachable(),
                Fate::AnswerLost => {
                    site.fetch(&client_id, &secret, &corp_id, now);
                    unreachable()
                }
            };
            Box::new(move || drop(answer.send(result)))
        };
        self.begun.lock().expect("no panic").push(Begun {
            kind: Kind::Fetch,
            execute: Box::new(execute),
        });
        Box::pin(async move { answered.await.unwrap_or_else(|_| unreachable()) })
    }
}

impl Cluster for Wire {
    fn read_secret<'a>(
        &'a self,
        operation: &'static str,
        _: &'a str,
        name: &'a str,
    ) -> Called<'a, SecretContents> {
        let name = name.to_owned();
        self.call(operation, Kind::Read, move |store| {
            store.read(operation, &name)
        })
    }

    fn read_app<'a>(&'a self, _: &'a str, name: &'a str) -> Called<'a, Option<DingTalkApp>> {
        let name = name.to_owned();
        self.call("read the app", Kind::Read, move |store| {
            Ok(store.apps.get(&name).cloned())
        })
    }

    fn read_reference<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
    ) -> Called<'a, Option<DingTalkTokenReference>> {
        self.call("read the reference", Kind::Read, |_| Ok(None))
    }

    fn read_namespace_uid<'a>(&'a self, _: &'a str) -> Called<'a, String> {
        self.call("read the namespace", Kind::Read, |_| {
            Ok("namespace".to_owned())
        })
    }

    fn read_secret_metadata<'a>(&'a self, _: &'a str, name: &'a str) -> Called<'a, ObjectMeta> {
        let name = name.to_owned();
        self.call("read the metadata", Kind::Read, move |store| {
            store.read_meta(&name)
        })
    }

    fn write_secret<'a>(&'a self, _: &'a str, write: &'a Write) -> Called<'a, ObjectMeta> {
        let write = write.clone();
        self.call("write the target Secret", Kind::Write, move |store| {
            store.write(&write)
        })
    }

    fn delete_secret<'a>(
        &'a self,
        operation: &'static str,
        _: &'a str,
        name: &'a str,
        version: &'a ObjectVersion,
    ) -> Called<'a, ()> {
        let (name, version) = (name.to_owned(), version.clone());
        self.call(operation, Kind::Write, move |store| {
            store.delete(&name, &version)
        })
    }

    fn patch_status<'a>(&'a self, object: &'a Named, patch: Value) -> Called<'a, ObjectMeta> {
        let name = object.name.clone();
        self.call("write the status", Kind::Write, move |store| {
            store.patch_status(&name, &patch)
        })
    }

    fn publish<'a>(&'a self, _: &'a str, _: &'a Event) -> Called<'a, ()> {
        self.call("publish an event", Kind::Read, |_| Ok(()))
    }

    fn restart<'a>(
        &'a self,
        _: &'a str,
        _: &'a RolloutRestartTarget,
        _: Timestamp,
    ) -> Called<'a, ()> {
        self.call("restart the workload", Kind::Read, |_| Ok(()))
    }

    fn readers<'a>(&'a self, _: &'a str, _: &'a BTreeSet<String>) -> Called<'a, Readers> {
        self.call("list the pods", Kind::Read, |_| Ok(Readers::default()))
    }

    fn touch_pod<'a>(&'a self, _: &'a str, _: &'a str, _: &'a str, _: Timestamp) -> Called<'a, ()> {
        self.call("annotate a pod", Kind::Read, |_| Ok(()))
    }
}

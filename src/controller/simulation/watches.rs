//! Watches: events in transit, and lists after a broken connection.

use kube::runtime::watcher::Event;

use super::replica::{Kind, list, listing};
use super::store::Told;
use super::world::{What, World};

impl World {
    /// Kills the process; its successor sees this app only after [`Self::see_late`].
    pub fn die_and_miss(&mut self, name: &str) {
        self.late = Some(name.to_owned());
        self.die();
    }

    /// Delivers the app that was missed.
    pub fn see_late(&mut self) {
        let late = self.late.take();
        if let Some(app) = late.and_then(|name| self.store.apps.get(&name)) {
            let event = Event::Apply(app.clone());
            self.store.events.push_back(Told::App(event));
            self.watch();
        }
    }

    /// Breaks a connection; the watch starts again with a list.
    pub fn drop_watch(&mut self, index: usize, kind: Kind) {
        if !self.acts() {
            return;
        }
        if self.replicas[index].is_up && self.replicas[index].watches[kind as usize].is_connected {
            self.note(&format!("replica {index} loses its watch of {kind:?}s"));
            self.begin_list(index, kind);
        }
    }

    pub(super) fn begin_list(&mut self, index: usize, kind: Kind) {
        let watch = &mut self.replicas[index].watches[kind as usize];
        watch.connection += 1;
        watch.is_connected = false;
        watch.told_until = self.store.now;
        self.replicas[index].hear(listing(kind));
        self.plan_soon(index, What::List(kind));
    }

    pub(super) fn list(&mut self, index: usize, kind: Kind) {
        self.watch();
        self.replicas[index].watches[kind as usize].is_connected = true;
        for told in list(&self.store, kind, self.late.as_ref()) {
            self.tell(index, told);
        }
    }

    /// Schedules the watches' events, in order for each kind.
    pub(super) fn watch(&mut self) {
        for name in self.store.collect_garbage() {
            self.note(&format!("garbage collector: delete {name}"));
        }
        while let Some(told) = self.store.events.pop_front() {
            for index in 0..self.replicas.len() {
                if self.replicas[index].watches[told.kind() as usize].is_connected {
                    self.tell(index, told.clone());
                }
            }
        }
    }

    pub(super) fn tell(&mut self, index: usize, told: Told) {
        let arrival = self.arrival(index);
        let watch = &mut self.replicas[index].watches[told.kind() as usize];
        watch.told_until = watch.told_until.max(arrival);
        let (at, connection) = (watch.told_until, watch.connection);
        self.plan(index, at, What::Tell(connection, told));
    }

    /// Delivers a watch event.
    pub(super) fn told(&mut self, index: usize, connection: u64, told: Told) {
        if self.replicas[index].watches[told.kind() as usize].connection != connection {
            return;
        }
        let are_apps_listed = matches!(told, Told::App(Event::InitDone));
        self.replicas[index].hear(told);
        self.forget_unwanted(index);
        // The first list of Secrets waits for the list of apps.
        if are_apps_listed && !std::mem::replace(&mut self.replicas[index].lists_secrets, true) {
            self.begin_list(index, Kind::Secret);
        }
    }
}

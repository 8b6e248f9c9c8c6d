//! Calls that a replica began while it led, and that are answered when its lease has run out.

use std::sync::Arc;

use futures::FutureExt;
use jiff::SignedDuration;

use super::*;
use crate::api::app_ref;
use crate::controller::clock::Clock;
use crate::controller::references;
use crate::controller::secrets::Secrets;
use crate::controller::simulation::calls::{Deliver, Fate, Wire};
use crate::controller::simulation::process::Process;
use crate::controller::simulation::replica::{Kind, list, listing};
use crate::controller::simulation::store::{Store, Told};

use crate::core::{Deletion, Held, KnownCredentials, ObjectVersion, TokenQuery};
use crate::operator::{LEASE_DURATION, Leadership};

/// A new process that leads, and that has listed everything.
struct Leader {
    wire: Wire,
    process: Process,
}

impl Leader {
    fn new(world: &World) -> Self {
        let wire = Wire::new(world.now(), 1);
        let leadership = Arc::new(Leadership::default());
        leadership.renewed(wire.now(), LEASE_DURATION, wire.now());
        let mut process = Process::new(&wire, leadership);
        for kind in [Kind::App, Kind::Reference, Kind::Secret] {
            let told = std::iter::once(listing(kind)).chain(list(&world.store, kind, None));
            told.for_each(|told| match told {
                Told::App(event) => process.app_event(event),
                Told::Reference(event) => process.reference_event(event),
                Told::Secret(event) => process.secret_event(event),
            });
        }
        Self { wire, process }
    }

    /// Lets the lease run out.
    fn lapse(&self) {
        let mut moment = self.wire.moment.lock().expect("no panic");
        moment.wall += SignedDuration::try_from(LEASE_DURATION).expect("seconds");
        moment.monotonic += LEASE_DURATION;
    }

    /// Answers the calls of a future until it ends; the lease runs out before the call of this
    /// number is answered. Returns the number of calls, too.
    fn answer<T>(
        &self,
        world: &mut World,
        future: impl Future<Output = T>,
        lapses_at: Option<usize>,
    ) -> (T, usize) {
        let mut future = Box::pin(future);
        let mut calls = 0;
        loop {
            if let Some(result) = future.as_mut().now_or_never() {
                return (result, calls);
            }
            let begun = std::mem::take(&mut *self.wire.begun.lock().expect("no panic"));
            assert!(!begun.is_empty(), "it waits for no call");
            for begun in begun {
                let (store, site) = (&mut world.store, &mut world.site);
                let deliver: Deliver = (begun.execute)(store, site, Fate::Answered);
                if lapses_at == Some(calls) {
                    self.lapse();
                }
                calls += 1;
                deliver();
            }
        }
    }
}

fn with_two_sharers() -> World {
    let mut world = with_credentials(1, None);
    for name in ["first", "second"] {
        let target = json!({"name": format!("{name}-token")});
        world.apply(name, &json!({"target": target}));
    }
    world.run(2 * MINUTE);
    let missing = world.without_token();
    holds(
        &world,
        missing.is_empty(),
        &format!("no token: {missing:?}"),
    );
    world
}

/// Looks for the token of the second app in the Secret of the first one, which has changed in the
/// given way since the process was told of it. Returns what was found, and what is known of the first
/// app then: its credentials, and its token.
fn shared(lapses_at: Option<usize>, change: impl Fn(&mut Store)) -> (Option<Held>, [bool; 2]) {
    let mut world = with_two_sharers();
    let leader = Leader::new(&world);
    change(&mut world.store);
    let context = &leader.process.context;
    let [first, second] = ["first", "second"].map(|name| world.store.apps[name].clone());
    for app in [&first, &second] {
        context.core().remember(app, world.now());
    }
    let reference = second.spec.credentials_secret_ref.clone();
    let read = context.credentials(NAMESPACE, &reference);
    let (read, _) = leader.answer(&mut world, read, None);
    let read = read.expect("an answer").expect("it leads");
    let known = {
        let credentials = read.credentials.expect("valid");
        KnownCredentials {
            reference,
            client_id: credentials.client_id.clone(),
            version: read.version,
            fingerprint: credentials.fingerprint(&context.salt),
        }
    };
    let query = TokenQuery {
        app: &app_ref(&second),
        site: "china",
        corp_id: "ding1",
        known: &known,
    };
    let found = context.shared_token(&query, None);
    let (found, _) = leader.answer(&mut world, found, lapses_at);
    let mut core = context.core();
    let memory = core.app(&app_ref(&first)).expect("remembered");
    let is_known = [
        memory.credentials.is_some(),
        memory.corp("ding1").held.is_some(),
    ];
    (found.map(|(held, _)| held), is_known)
}

/// Regression: whatever the Secret of another app held when it was read was taken over, although
/// another replica may have renewed it since.
#[test]
fn nothing_is_learned_of_another_apps_token_from_a_read_that_outlasted_the_lease() {
    let (found, is_known) = shared(None, |_| {});
    assert!(found.is_some(), "while it leads");
    assert_eq!(is_known, [true, true]);
    // The credentials are read first, and then the Secret with the token.
    for (lapses_at, expected) in [(0, [false, false]), (1, [true, false])] {
        let (found, is_known) = shared(Some(lapses_at), |_| {});
        assert!(found.is_none(), "{lapses_at}");
        assert_eq!(is_known, expected, "{lapses_at}");
    }
}

/// Regression: a token that was written while it was looked for was fetched again.
#[test]
fn another_apps_token_is_found_though_its_secret_is_written_meanwhile() {
    let (found, _) = shared(None, |store| {
        let version = store.next_version();
        let secret = store.secrets.get_mut("first-token").expect("written");
        secret.version = version;
    });
    assert!(found.is_some());
}

/// Regression: a replica that led again took a Secret that it had deleted for present, so that it
/// deleted the only other one with the token.
#[test]
fn a_deletion_that_outlasted_the_lease_is_known() {
    let mut world = with_two_sharers();
    let leader = Leader::new(&world);
    let context = &leader.process.context;
    let owner = &app_ref(&world.store.apps["first"]);
    let name = "first-token";
    let version = ObjectVersion::of(&world.store.secrets[name].meta(name));
    let secrets = Secrets { context, owner };
    let deleted = secrets.delete("delete", name, &version, Deletion::Former, &[]);
    let (deleted, _) = leader.answer(&mut world, deleted, Some(0));
    assert!(deleted.is_ok());
    let secret = (NAMESPACE.to_owned(), name.to_owned());
    assert!(context.core().index.present(&secret).is_none());
}

/// Regression: a reference went on being looked at, and its status was written.
#[test]
fn a_reference_is_left_to_the_next_leader_when_the_lease_runs_out() {
    let mut world = with_credentials(1, None);
    let grants = json!([{"namespace": NAMESPACE}]);
    world.apply("payroll", &json!({"referenceGrants": grants}));
    world.run(MINUTE);
    world.refer("one", "payroll", "copied");
    for (lapses_at, goes_on) in [(Some(0), false), (None, true)] {
        let leader = Leader::new(&world);
        let context = Arc::clone(&leader.process.context);
        let reference = Arc::new(world.store.references["one"].clone());
        let reconciled = references::reconcile(reference, context);
        let (_, calls) = leader.answer(&mut world, reconciled, lapses_at);
        // The first call reads the namespace, and the next one writes the status.
        assert_eq!(calls > 1, goes_on, "{calls} calls");
    }
}

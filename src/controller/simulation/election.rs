//! The election of a leader, as in [`crate::operator::elect`].

use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

use super::calls::LeaseCall;
use super::store::Store;
use super::world::{What, World};
use crate::operator::{Election, LEASE_DURATION, RETRY_PERIOD, Standing, Turn};

impl World {
    /// Makes a replica's next attempt to acquire or renew the Lease.
    pub(super) fn lease_round(&mut self, index: usize, has_read: bool) {
        let replica = &self.replicas[index];
        let sent = *replica.wire.moment.lock().expect("no panic");
        let election = replica.election.as_ref();
        match election.and_then(|it| it.turn(has_read, sent.wall, sent.monotonic)) {
            Some(turn) => {
                let call = LeaseCall {
                    turn,
                    has_read,
                    sent,
                };
                self.plan_soon(index, What::LeaseCall(call));
            }
            None => self.lease_round_ended(index),
        }
    }

    pub(super) fn lease_called(&mut self, index: usize, call: LeaseCall) {
        let is_failing = self.now() < self.replicas[index].lease_fails_until;
        let is_lost = self.is_lost() || is_failing;
        let answer = match &call.turn {
            _ if is_lost => return self.lease_round_ended(index),
            Turn::Read => Ok(self.store.lease.clone()),
            Turn::Write(spec) => {
                let election = self.replicas[index].election.as_ref();
                let lease = election.map(|it| it.lease("lease", spec.clone()));
                lease.map_or(Err(()), |lease| replace(&mut self.store, lease).map(Some))
            }
        };
        self.plan_soon(index, What::LeaseAnswer(call, answer));
    }

    pub(super) fn lease_answered(
        &mut self,
        index: usize,
        call: &LeaseCall,
        answer: Result<Option<Lease>, ()>,
    ) {
        let replica = &mut self.replicas[index];
        let now = *replica.wire.moment.lock().expect("no panic");
        let Some(election) = replica.election.as_mut() else {
            return;
        };
        match (&call.turn, answer) {
            (Turn::Read, Ok(lease)) => {
                election.saw(lease, now.monotonic);
                self.lease_round(index, true);
            }
            (Turn::Write(_), Ok(lease)) => {
                election.saw(lease, now.monotonic);
                if replica.leadership.renewed(call.sent, LEASE_DURATION, now) {
                    self.note(&format!("replica {index} leads"));
                }
                let now = self.now();
                let replica = &mut self.replicas[index];
                replica.lease_sent = Some(call.sent);
                replica.leads_since.get_or_insert(now);
                self.lease_round_ended(index);
            }
            (_, Err(())) if !call.has_read => {
                let (turn, has_read, sent) = (Turn::Read, true, now);
                let read = LeaseCall {
                    turn,
                    has_read,
                    sent,
                };
                self.plan_soon(index, What::LeaseCall(read));
            }
            (_, Err(())) => self.lease_round_ended(index),
        }
    }

    fn lease_round_ended(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        let election = replica.election.as_ref();
        let standing = election.map(Election::standing);
        match standing {
            Some(Standing::Ours) => replica.has_led = true,
            Some(Standing::Theirs(_)) if replica.has_led => {
                replica.leadership.lost();
                replica.election = None;
                self.note(&format!("replica {index} has lost the lead"));
                return self.stop(index);
            }
            Some(Standing::Theirs(_) | Standing::Free) | None => {}
        }
        let period = SignedDuration::try_from(RETRY_PERIOD).expect("seconds");
        self.plan(index, self.now() + period, What::LeaseRound);
    }

    /// Releases the Lease of a replica that ends.
    pub(super) fn release_lease(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        replica.leadership.lost();
        let wall = replica.wire.moment.lock().expect("no panic").wall;
        let Some(election) = replica.election.take() else {
            return;
        };
        let released = election.release(wall);
        if let Some(lease) = released.map(|spec: LeaseSpec| election.lease("lease", spec)) {
            let _ = replace(&mut self.store, lease);
        }
    }
}

fn replace(store: &mut Store, mut lease: Lease) -> Result<Lease, ()> {
    let current = store.lease.as_ref();
    let version = current.and_then(|lease| lease.metadata.resource_version.clone());
    if version != lease.metadata.resource_version {
        return Err(());
    }
    lease.metadata.resource_version = Some(store.next_version().to_string());
    store.lease = Some(lease.clone());
    Ok(lease)
}

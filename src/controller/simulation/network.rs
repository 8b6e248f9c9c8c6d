//! What the network does to replicas.

use std::time::Duration;

use jiff::SignedDuration;

use super::world::World;

impl World {
    /// Cuts a replica off from everything for a duration.
    pub fn cut_off(&mut self, index: usize, duration: Duration) {
        if !self.acts() {
            return;
        }
        self.note(&format!("replica {index} is cut off for {duration:?}"));
        let duration = SignedDuration::try_from(duration).expect("not for ever");
        self.replicas[index].cut_off_until = self.now() + duration;
    }

    /// Has all calls of a replica about the Lease fail for a duration, and nothing else.
    pub fn lose_lease_calls(&mut self, index: usize, duration: Duration) {
        if !self.acts() {
            return;
        }
        self.note(&format!(
            "replica {index} cannot renew the Lease for {duration:?}"
        ));
        let duration = SignedDuration::try_from(duration).expect("not for ever");
        self.replicas[index].lease_fails_until = self.now() + duration;
    }
}

//! Removes queued requests without sending them.

use super::Lines;
use crate::dingtalk::pace::Call;
use crate::dingtalk::pace::waiting::LineKey;

impl<J> Lines<J> {
    /// Removes and returns all requests of the same namespace with the same credentials.
    pub(in crate::dingtalk::pace) fn take_line(&mut self, call: &Call) -> Vec<J> {
        let Some(id) = self.ids.get(&LineKey::of(call)).copied() else {
            return Vec::new();
        };
        self.take_down(id);
        let waiting = self.remove(id).into_iter().flat_map(|line| line.waiting);
        let jobs: Vec<J> = waiting.map(|(_, waiting)| waiting.job).collect();
        self.len -= jobs.len();
        jobs
    }

    /// Removes and returns all requests that are not `wanted`.
    pub(in crate::dingtalk::pace) fn sweep(&mut self, wanted: &impl Fn(&J) -> bool) -> Vec<J> {
        let former = std::mem::take(self);
        self.proofs = former.proofs;
        self.next_id = former.next_id;
        self.served_last = former.served_last;
        let lines = former.by_id.into_values();
        let lines = lines.flat_map(|line| line.waiting.into_values());
        let parked = former.parked.into_values();
        let behind = former.behind.into_values().flatten();
        let mut unwanted = Vec::new();
        for waiting in lines.chain(parked).chain(behind) {
            match wanted(&waiting.job) {
                true => self.insert(waiting),
                false => unwanted.push(waiting.job),
            }
        }
        unwanted
    }
}

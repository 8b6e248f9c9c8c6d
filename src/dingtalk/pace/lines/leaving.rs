//! Removes queued requests without sending them.

use super::Lines;
use crate::dingtalk::pace::Call;
use crate::dingtalk::pace::waiting::{LineKey, Waiting};

impl<J> Lines<J> {
    /// Removes and returns all requests of the same namespace with the same credentials.
    pub(in crate::dingtalk::pace) fn take_line(&mut self, call: &Call) -> Vec<(Call, J)> {
        let Some(id) = self.ids.get(&LineKey::of(call)).copied() else {
            return Vec::new();
        };
        self.take_down(id);
        let line = self.by_id.get_mut(&id);
        let waiting = line.map(|line| std::mem::take(&mut line.waiting));
        self.remove(id);
        let taken = waiting.into_iter().flatten();
        let taken: Vec<_> = taken.map(|(_, one)| (one.call, one.job)).collect();
        self.len -= taken.len();
        taken
    }

    /// Removes and returns all requests that are not `wanted`.
    pub(in crate::dingtalk::pace) fn sweep(&mut self, wanted: &impl Fn(&J) -> bool) -> Vec<J> {
        let former = std::mem::take(self);
        self.next_id = former.next_id;
        self.served_last = former.served_last;
        let lines = former.by_id.into_values().flat_map(|line| {
            let is_proven = line.is_proven;
            line.waiting.into_values().map(move |waiting| Waiting {
                is_proven,
                ..waiting
            })
        });
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

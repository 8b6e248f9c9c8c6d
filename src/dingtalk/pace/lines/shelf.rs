//! Lines of one namespace.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::dingtalk::pace::Rank;
use crate::dingtalk::pace::call::RankKind;

/// Sort key of a request: its rank and its arrival number.
pub(super) type Order = (Rank, u64);
/// Identifies a line.
pub(super) type LineId = u64;

/// The lines that a shelf holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShelfKey {
    /// Whether an outage holds them back. If not, they come first.
    pub(super) is_held: bool,
    /// Kind of their first requests.
    pub(super) kind: RankKind,
    pub(super) namespace: Arc<str>,
}

/// Lines of one namespace, sorted by their first requests.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) proven: BTreeSet<(Order, LineId)>,
    pub(super) unproven: BTreeSet<(Order, LineId)>,
}

impl Shelf {
    pub(super) fn of(&mut self, is_proven: bool) -> &mut BTreeSet<(Order, LineId)> {
        match is_proven {
            true => &mut self.proven,
            false => &mut self.unproven,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.proven.is_empty() && self.unproven.is_empty()
    }

    /// Returns the first line; considers proven or unproven ones only if these have room.
    pub(super) fn first(&self, has_room: impl Fn(bool) -> bool) -> Option<LineId> {
        let proven = self.proven.first().filter(|_| has_room(true));
        let unproven = self.unproven.first().filter(|_| has_room(false));
        proven.into_iter().chain(unproven).min().map(|(_, id)| *id)
    }
}

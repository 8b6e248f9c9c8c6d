//! Queue of one site. Requests of the same namespace with the same credentials form a line.
//!
//! A line that has to wait is put aside, so that finding the next request is fast.

mod leaving;
mod shelf;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use super::call::RankKind;
use super::proofs::Proofs;
use super::rates::Gate;
use super::waiting::{LineKey, Twin, Waiting};
use super::{Call, Rank};
use shelf::{LineId, Order, Shelf, ShelfKey};

#[derive(Clone, Copy)]
enum Place {
    /// Waits for its turn or, if an outage holds it back, for its turn to probe that.
    OnBoard { is_held: bool, order: Order },
    /// Waits for this time.
    Asleep(Instant),
    /// Waits for a request with the same `client_id` to end.
    Blocked,
}

struct Line<J> {
    key: LineKey,
    is_proven: bool,
    waiting: BTreeMap<Order, Waiting<J>>,
    place: Place,
}

impl<J> Line<J> {
    fn shelf(&self, is_held: bool, order: Order) -> ShelfKey {
        ShelfKey {
            is_held,
            kind: order.0.into(),
            namespace: Arc::clone(&self.key.namespace),
        }
    }
}

/// All queued requests of a site.
pub(super) struct Lines<J> {
    proofs: Proofs,
    by_id: HashMap<LineId, Line<J>>,
    ids: HashMap<LineKey, LineId>,
    of_client: HashMap<Arc<str>, HashSet<LineId>>,
    board: BTreeMap<ShelfKey, Shelf>,
    /// The namespace that had the last turn, by kind.
    served_last: BTreeMap<RankKind, Arc<str>>,
    asleep: BTreeSet<(Instant, LineId)>,
    parked: BTreeMap<(Instant, u64), Waiting<J>>,
    behind: HashMap<Twin, Vec<Waiting<J>>>,
    next_id: u64,
    len: usize,
}

impl<J> Default for Lines<J> {
    fn default() -> Self {
        Self {
            proofs: Proofs::default(),
            by_id: HashMap::new(),
            ids: HashMap::new(),
            of_client: HashMap::new(),
            board: BTreeMap::new(),
            served_last: BTreeMap::new(),
            asleep: BTreeSet::new(),
            parked: BTreeMap::new(),
            behind: HashMap::new(),
            next_id: 0,
            len: 0,
        }
    }
}

impl<J> Lines<J> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether these credentials have fetched a token.
    pub(super) fn is_proven(&self, call: &Call) -> bool {
        self.proofs.has(&call.client_id, &call.credentials)
    }

    pub(super) fn push(&mut self, call: Call, rank: Rank, job: J) {
        self.next_id += 1;
        let waiting = Waiting {
            call,
            rank,
            job,
            arrival: self.next_id,
        };
        self.insert(waiting);
    }

    fn insert(&mut self, waiting: Waiting<J>) {
        self.len += 1;
        let key = LineKey::of(&waiting.call);
        let id = match self.ids.get(&key) {
            Some(id) => *id,
            None => self.new_line(key, &waiting),
        };
        let Some(line) = self.by_id.get_mut(&id) else {
            return;
        };
        line.waiting
            .insert((waiting.rank, waiting.arrival), waiting);
        if let Place::OnBoard { is_held, .. } = line.place {
            self.put(id, is_held);
        }
    }

    fn new_line(&mut self, key: LineKey, first: &Waiting<J>) -> LineId {
        self.next_id += 1;
        let id = self.next_id;
        self.ids.insert(key.clone(), id);
        let client_id = Arc::clone(&key.client_id);
        self.of_client.entry(client_id).or_default().insert(id);
        let line = Line {
            is_proven: self.is_proven(&first.call),
            key,
            waiting: BTreeMap::new(),
            // It is not on the board yet; removing it from there has no effect.
            place: Place::OnBoard {
                is_held: false,
                order: (first.rank, first.arrival),
            },
        };
        self.by_id.insert(id, line);
        id
    }

    /// Whether a line waits for its turn. Its gate may still turn out to be closed.
    pub(super) fn has_ready(&self) -> bool {
        let first = self.board.first_key_value();
        first.is_some_and(|(shelf, _)| !shelf.is_held)
    }

    /// Whether a line waits for its turn to probe an outage.
    pub(super) fn has_held(&self) -> bool {
        let last = self.board.last_key_value();
        last.is_some_and(|(shelf, _)| shelf.is_held)
    }

    /// Returns the time at which [`Self::wake`] has something to do.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let asleep = self.asleep.first().map(|(at, _)| *at);
        let parked = self.parked.first_key_value().map(|((at, _), _)| *at);
        asleep.into_iter().chain(parked).min()
    }

    /// Puts back the lines and requests whose waiting time has passed.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some((at, id)) = self.asleep.first().copied()
            && at <= now
        {
            self.put(id, false);
        }
        while let Some(entry) = self.parked.first_entry()
            && entry.key().0 <= now
        {
            let waiting = entry.remove();
            self.len -= 1;
            self.insert(waiting);
        }
    }

    /// Puts back the lines that wait for a request with this `client_id` to end.
    pub(super) fn unblock(&mut self, client_id: &str) {
        for id in self.of_client(client_id, |line| matches!(line.place, Place::Blocked)) {
            self.put(id, false);
        }
    }

    /// Records that the credentials of `call` have fetched a token.
    pub(super) fn prove(&mut self, call: &Call) {
        if self.is_proven(call) {
            return;
        }
        self.proofs.add(&call.client_id, &call.credentials);
        let has_proof = |key: &LineKey| self.proofs.has(&key.client_id, &key.credentials);
        let is_new = |line: &Line<J>| !line.is_proven && has_proof(&line.key);
        for id in self.of_client(&call.client_id, is_new) {
            if let Some(line) = self.take_down(id) {
                line.is_proven = true;
            }
            self.put(id, false);
        }
    }

    fn of_client(&self, client_id: &str, which: impl Fn(&Line<J>) -> bool) -> Vec<LineId> {
        let ids = self.of_client.get(client_id).into_iter().flatten();
        ids.filter(|id| self.by_id.get(id).is_some_and(&which))
            .copied()
            .collect()
    }

    /// Puts back all lines that an outage holds back.
    pub(super) fn release(&mut self) {
        let shelves = self.board.iter().rev();
        let shelves = shelves.take_while(|(shelf, _)| shelf.is_held);
        let lines = shelves.flat_map(|(_, shelf)| shelf.proven.iter().chain(&shelf.unproven));
        for id in lines.map(|(_, id)| *id).collect::<Vec<_>>() {
            self.put(id, false);
        }
    }

    /// Returns the line whose turn it is, and its kind. With `is_probe`, searches the lines that an
    /// outage holds back, otherwise those that are ready.
    ///
    /// Searches `kinds` in this order. Skips namespaces that have no room (for proven or unproven
    /// credentials), and puts lines aside whose gate is closed.
    pub(super) fn next(
        &mut self,
        is_probe: bool,
        kinds: [RankKind; 3],
        has_room: impl Fn(&str, bool) -> bool,
        gate: impl Fn(&LineKey, bool) -> Gate,
    ) -> Option<(RankKind, LineId)> {
        for kind in kinds {
            let of = |namespace| ShelfKey {
                is_held: is_probe,
                kind,
                namespace,
            };
            // No namespace has an empty name.
            let first = of(Arc::default());
            let last = of(self.served_last.get(&kind).cloned().unwrap_or_default());
            // The namespace that had the last turn comes last.
            for (mut from, to) in [
                (Bound::Excluded(last.clone()), Bound::Unbounded),
                (Bound::Included(first), Bound::Included(last)),
            ] {
                while let Some((shelf, _)) = self.board.range((from.as_ref(), to.as_ref())).next()
                    && (shelf.is_held, shelf.kind) == (is_probe, kind)
                {
                    let shelf = shelf.clone();
                    if let Some(id) = self.first_open(&shelf, &has_room, &gate) {
                        return Some((kind, id));
                    }
                    from = Bound::Excluded(shelf);
                }
            }
        }
        None
    }

    fn first_open(
        &mut self,
        shelf: &ShelfKey,
        has_room: impl Fn(&str, bool) -> bool,
        gate: impl Fn(&LineKey, bool) -> Gate,
    ) -> Option<LineId> {
        loop {
            let lines = self.board.get(shelf)?;
            let id = lines.first(|is_proven| has_room(&shelf.namespace, is_proven))?;
            let line = self.by_id.get(&id)?;
            match gate(&line.key, line.is_proven) {
                Gate::Open => return Some(id),
                Gate::Held => self.put(id, true),
                Gate::Until(at) => self.put_aside(id, Place::Asleep(at)),
                Gate::Busy => self.put_aside(id, Place::Blocked),
            }
        }
    }

    /// Removes and returns the first request of a line, and whether its credentials are proven.
    pub(super) fn take(&mut self, id: LineId) -> Option<(Waiting<J>, bool)> {
        let line = self.take_down(id)?;
        let (_, waiting) = line.waiting.pop_first()?;
        let is_proven = line.is_proven;
        match line.waiting.is_empty() {
            true => drop(self.remove(id)),
            false => self.put(id, false),
        }
        self.len -= 1;
        Some((waiting, is_proven))
    }

    /// Records that the namespace of `call` has had its turn in this kind.
    pub(super) fn served(&mut self, kind: RankKind, call: &Call) {
        self.served_last.insert(kind, Arc::clone(&call.namespace));
    }

    /// Puts a request aside until this time.
    pub(super) fn park(&mut self, waiting: Waiting<J>, until: Instant) {
        self.len += 1;
        self.parked.insert((until, waiting.arrival), waiting);
    }

    /// Puts a request aside until the request for the same token ends.
    pub(super) fn put_behind(&mut self, waiting: Waiting<J>) {
        self.len += 1;
        let twin = Twin::of(&waiting.call);
        self.behind.entry(twin).or_default().push(waiting);
    }

    /// Puts back the requests that wait for this one to end.
    pub(super) fn ended(&mut self, twin: &Twin) {
        for waiting in self.behind.remove(twin).into_iter().flatten() {
            self.len -= 1;
            self.insert(waiting);
        }
    }

    fn put_aside(&mut self, id: LineId, place: Place) {
        if let Some(line) = self.take_down(id) {
            line.place = place;
        }
        if let Place::Asleep(at) = place {
            self.asleep.insert((at, id));
        }
    }

    fn put(&mut self, id: LineId, is_held: bool) {
        let Some(line) = self.take_down(id) else {
            return;
        };
        let Some((&order, _)) = line.waiting.first_key_value() else {
            return;
        };
        line.place = Place::OnBoard { is_held, order };
        let (key, is_proven) = (line.shelf(is_held, order), line.is_proven);
        let shelf = self.board.entry(key).or_default();
        shelf.of(is_proven).insert((order, id));
    }

    /// Removes a line from the set that its `place` refers to.
    fn take_down(&mut self, id: LineId) -> Option<&mut Line<J>> {
        let line = self.by_id.get_mut(&id)?;
        match line.place {
            Place::OnBoard { is_held, order } => {
                let key = line.shelf(is_held, order);
                if let Some(shelf) = self.board.get_mut(&key) {
                    shelf.of(line.is_proven).remove(&(order, id));
                    if shelf.is_empty() {
                        self.board.remove(&key);
                    }
                }
            }
            Place::Asleep(at) => {
                self.asleep.remove(&(at, id));
            }
            Place::Blocked => {}
        }
        Some(line)
    }

    fn remove(&mut self, id: LineId) -> Option<Line<J>> {
        let line = self.by_id.remove(&id)?;
        self.ids.remove(&line.key);
        if let Some(ids) = self.of_client.get_mut(&line.key.client_id) {
            ids.remove(&id);
            if ids.is_empty() {
                self.of_client.remove(&line.key.client_id);
            }
        }
        Some(line)
    }
}

//! Everything the operator knows, as one state: the index of what exists, the memory of each
//! object, and the tokens. It holds no lock and no client, and reads no clock: events come in with
//! their time, decisions go out.

mod apps;
mod copies;
mod fetches;
mod report;
mod secrets;

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::{AppRef, ReferenceRef};
use crate::core::app::memory::Memory;
use crate::core::copy::ReferenceMemory;
use crate::core::index::{Index, NamespaceLimits};
use crate::core::token::tokens::Tokens;
pub(crate) use apps::Surroundings;

/// Everything the operator knows.
pub(crate) struct Core {
    /// What exists in the cluster.
    pub index: Index,
    /// The tokens of all apps.
    pub tokens: Tokens,
    /// Boxed, because a map has up to twice as many slots as entries.
    apps: HashMap<AppRef, Box<Memory>>,
    references: HashMap<ReferenceRef, ReferenceMemory>,
}

/// The objects that a change concerns and that must be reconciled.
#[derive(Default)]
pub(crate) struct Concerned {
    pub apps: Vec<AppRef>,
    pub references: Vec<ReferenceRef>,
}

impl Core {
    /// Creates a core with these bounds for each namespace.
    pub(crate) fn new(limits: NamespaceLimits) -> Self {
        Self {
            index: Index::new(limits),
            tokens: Tokens::default(),
            apps: HashMap::new(),
            references: HashMap::new(),
        }
    }

    /// Returns every app and every reference.
    pub(crate) fn all(&self) -> Concerned {
        Concerned {
            apps: self.index.admission.known().cloned().collect(),
            references: self.index.reference_admission.known().cloned().collect(),
        }
    }

    /// Records that this process starts to lead, perhaps again, and returns every app and every
    /// reference. Whoever has led meanwhile may have died before all who share a new token had it.
    pub(crate) fn taken_up(&mut self) -> Concerned {
        self.index.compare_again();
        let apps = self.apps.values_mut();
        apps.for_each(|memory| memory.is_compared = false);
        self.all()
    }

    /// Moves every deadline along with a clock that was set back by this much, and returns every
    /// object.
    pub(crate) fn set_back(&mut self, by: SignedDuration) -> Concerned {
        self.tokens.set_back(by);
        self.apps.values_mut().for_each(|app| app.set_back(by));
        let references = self.references.values_mut();
        references.for_each(|reference| reference.set_back(by));
        self.all()
    }

    /// Returns the objects whose writes are due again because the API server responds again.
    pub(crate) fn answered_again(&mut self, now: Timestamp) -> Concerned {
        let apps = self.apps.iter_mut();
        let apps = apps.filter_map(|(key, memory)| memory.retry_unanswered(now).then_some(key));
        let references = self.references.iter_mut();
        let references =
            references.filter_map(|(key, memory)| memory.retry_unanswered(now).then_some(key));
        Concerned {
            apps: apps.cloned().collect(),
            references: references.cloned().collect(),
        }
    }
}

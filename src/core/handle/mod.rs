//! All that the operator knows, as one state: what there is, what it remembers of each object, and the
//! tokens. It holds no lock and no client, and reads no clock: what happened goes in with its time, and
//! what is to be done comes out.

mod apps;
mod copies;
mod fetches;
mod report;
mod secrets;

use std::collections::HashMap;

use jiff::Timestamp;

use crate::api::{AppRef, ReferenceRef};
use crate::core::app::memory::Memory;
use crate::core::copy::ReferenceMemory;
use crate::core::index::{Index, NamespaceLimits};
use crate::core::token::tokens::Tokens;
pub(crate) use apps::Surroundings;

/// See the module.
pub(crate) struct Core {
    /// What there is.
    pub index: Index,
    /// The tokens of all apps.
    pub tokens: Tokens,
    apps: HashMap<AppRef, Memory>,
    references: HashMap<ReferenceRef, ReferenceMemory>,
}

/// The objects that something matters to, and that are to be looked at.
#[derive(Default)]
pub(crate) struct Concerned {
    /// Apps.
    pub apps: Vec<AppRef>,
    /// References.
    pub references: Vec<ReferenceRef>,
}

impl Core {
    /// With these bounds for each namespace.
    pub(crate) fn new(limits: NamespaceLimits) -> Self {
        Self {
            index: Index::new(limits),
            tokens: Tokens::default(),
            apps: HashMap::new(),
            references: HashMap::new(),
        }
    }

    /// Every app and every reference.
    pub(crate) fn all(&self) -> Concerned {
        let (apps, references) = self.index.all();
        Concerned { apps, references }
    }

    /// The API server answers again: the objects with writes that it had not answered.
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

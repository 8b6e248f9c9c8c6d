//! One decision for an app, and what it is made from.

use jiff::Timestamp;

use crate::core::app::memory::Memory;
use crate::core::app::view::{Target, View, Wake};
use crate::core::token::known_credentials::KnownCredentials;
use crate::core::token::record::TokenRecord;

/// One decision for an app. Its methods are in the files of what they decide.
pub(super) struct Decision<'d, 'a> {
    pub(super) view: &'d View<'a>,
    pub(super) memory: &'d mut Memory,
    pub(super) now: Timestamp,
    /// When to look again.
    pub(super) wake: Wake,
}

impl<'d, 'a> Decision<'d, 'a> {
    pub(super) fn new(view: &'d View<'a>, memory: &'d mut Memory, now: Timestamp) -> Self {
        Self {
            view,
            memory,
            now,
            wake: Wake::default(),
        }
    }

    pub(super) fn generation(&self) -> Option<i64> {
        self.view.app.metadata.generation
    }

    /// Returns the last credentials, if they were read through the app's present reference.
    pub(super) fn known(&self) -> Option<&KnownCredentials> {
        self.memory.credentials_of(self.view.app)
    }

    /// Returns a corp's newest token: the one that is held, else the one in its Secret.
    pub(super) fn token<'s>(
        &'s self,
        target: &'s Target<'_>,
        corp_id: &str,
    ) -> Option<&'s TokenRecord> {
        let held = self.memory.corp(corp_id).held.as_ref();
        let held = held.map(|held| &held.record);
        held.or_else(|| target.token(self.view, corp_id))
    }
}

//! Judges the operator's changes of Secrets by what its process knew when it sent them.

use jiff::{SignedDuration, Timestamp};

use super::known::{Known, Owner};
use super::store::{Change, StoredSecret};
use super::world::{GIVEN_UP, World};
use crate::api::{DingTalkApp, LABEL_OWNER_UID};

/// Secrets that users keep their credentials in.
pub const CREDENTIALS: [&str; 2] = ["credentials", "copy"];

/// How long the steps of one decision may take. What users take away meanwhile is put back after
/// them.
const STEPS: SignedDuration = SignedDuration::from_secs(10);

impl StoredSecret {
    pub fn owner_uid(&self) -> Option<&str> {
        self.labels.get(LABEL_OWNER_UID).map(String::as_str)
    }
}

impl World {
    /// Judges the changes of Secrets by a call that was sent with this knowledge.
    pub(super) fn judge_changes(&mut self, known: &Known) {
        for change in std::mem::take(&mut self.store.changes) {
            if let Some(what) = self.objection(&change, known) {
                panic!("{}: {what}\n{}", change.secret, self.history.join("\n"));
            }
        }
    }

    /// Whether a Secret that nobody wants may stay: users have edited it, so it may be a copy of
    /// theirs, and since its last write each process has begun anew with what a list told it.
    pub(super) fn may_stay(&self, secret: &StoredSecret) -> bool {
        let was_listed = |listed_at: Option<Timestamp>| listed_at >= secret.written_at;
        let mut replicas = self.replicas.iter();
        is_edited(secret) && replicas.all(|replica| was_listed(replica.secrets_listed_at))
    }

    /// Returns what is wrong with a change.
    fn objection(&self, change: &Change, known: &Known) -> Option<String> {
        let name = change.secret.as_str();
        if CREDENTIALS.contains(&name) {
            return Some("a foreign Secret was changed".to_owned());
        }
        let after = self.store.secrets.get(name);
        let after = after.filter(|after| after.version == change.version);
        let owner = |secret: Option<&StoredSecret>| secret?.owner_uid().map(str::to_owned);
        let (was, is) = (owner(change.before.as_ref()), owner(after));
        let uid = was.as_ref().or(is.as_ref())?;
        let Some(owner) = known.owner(uid) else {
            let is_deleted = after.is_none() && !known.wants(name);
            return is_deleted.then(|| "the Secret of nobody was deleted".to_owned());
        };
        if after.is_none() && known.is_wanted_by(owner, name) {
            let is_immutable = change.before.as_ref().is_some_and(|it| it.is_immutable);
            return (!is_immutable).then(|| "a wanted Secret was deleted".to_owned());
        }
        if let Owner::App(app) = owner
            && app.spec.suspend
            && after.map(|it| &it.data) != change.before.as_ref().map(|it| &it.data)
            && !self.was_fetched_for(app, change, after, known)
        {
            return Some("a suspended app's Secret was changed".to_owned());
        }
        // An older app has taken its Secret.
        if is.is_some() && is != was {
            return None;
        }
        // A copy shows what its source does, and contents that others have changed are not trusted.
        if matches!(owner, Owner::Reference(_)) || change.before.as_ref().is_some_and(is_edited) {
            return None;
        }
        let lost = self.lost(change, owner, known)?;
        Some(format!("the last valid token of {lost} was removed"))
    }

    /// Returns a corp whose valid token was in the Secret before, but is not where its owner wants
    /// it.
    fn lost(&self, change: &Change, owner: Owner<'_>, known: &Known) -> Option<String> {
        let before = change.before.as_ref()?;
        let mut wanted = known.wanted(owner).into_iter().flat_map(|(name, corps)| {
            let targets = corps.into_iter().map(move |corp| (name.clone(), corp));
            targets.collect::<Vec<_>>()
        });
        let lost = wanted.find(|(target, corp)| {
            self.has_token(before, corp) && !self.is_in(target, corp, known, change)
        });
        lost.map(|(_, corp)| corp)
    }

    fn has_token(&self, secret: &StoredSecret, corp_id: &str) -> bool {
        let mut values = secret.data.values();
        values.any(|value| self.site.is_valid(corp_id, value, self.now()))
    }

    /// Whether a Secret has a valid token of a corp, or had one before somebody changed it in a way
    /// that the process had not been told of when it decided.
    fn is_in(&self, name: &str, corp_id: &str, known: &Known, change: &Change) -> bool {
        let is_there = |secret: &StoredSecret| self.has_token(secret, corp_id);
        let losses = self.store.losses.iter().rev();
        let mut losses = losses
            .take_while(|loss| loss.version > known.secrets || self.now() <= loss.at + STEPS)
            .filter(|loss| loss.secret == name && loss.version < change.version);
        self.store.secrets.get(name).is_some_and(is_there)
            || losses.any(|loss| loss.before.as_ref().is_some_and(is_there))
    }

    /// Whether a suspended app may write a token: one that was fetched before the process knew of
    /// the suspension, or a little later because the request was under way, and that none of the
    /// app's Secrets has yet.
    fn was_fetched_for(
        &self,
        app: &DingTalkApp,
        change: &Change,
        after: Option<&StoredSecret>,
        known: &Known,
    ) -> bool {
        let uid = app.metadata.uid.as_deref();
        let suspended = uid.and_then(|uid| known.suspended.get(uid));
        let until = suspended.map(|at| *at + GIVEN_UP);
        let others = self.store.secrets.iter();
        let others = others.filter(|(name, _)| **name != change.secret);
        let secrets = others.map(|(_, secret)| secret).chain(&change.before);
        let own: Vec<_> = secrets.filter(|it| it.owner_uid() == uid).collect();
        let written_at = own.iter().filter_map(|secret| secret.written_at).max();
        let was_fetched = |corp_id: &String| {
            let mut times = self.site.times(corp_id).iter();
            // Tokens that were fetched together may be written one after the other.
            let is_new = after.is_some_and(|after| {
                let values = after.data.values();
                let mut values = values.filter(|it| self.site.is_valid(corp_id, it, self.now()));
                values.any(|value| {
                    !own.iter()
                        .any(|own| own.data.values().any(|it| it == value))
                })
            });
            times.any(|at| (is_new || Some(*at) > written_at) && Some(*at) <= until)
        };
        app.spec.corp_ids.iter().any(was_fetched)
    }
}

/// Whether others were the last to write one of its keys.
fn is_edited(secret: &StoredSecret) -> bool {
    let mut keys = secret.data.keys();
    keys.any(|key| !secret.ours.contains(&format!("data/{key}")))
}

impl Known {
    fn is_wanted_by(&self, owner: Owner<'_>, secret: &str) -> bool {
        self.wanted(owner).iter().any(|(name, _)| name == secret)
    }

    fn wants(&self, secret: &str) -> bool {
        let apps = self.apps.values().map(|app| Owner::App(app));
        let references = self.references.values().map(|it| Owner::Reference(it));
        apps.chain(references)
            .any(|owner| self.is_wanted_by(owner, secret))
    }
}

//! What is known about Secrets, and which are kept.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::listing::{Asked, Listing, in_scope};
use super::maps::take_away;
use super::names::{SecretRef, secret_ref};
use super::reported::Reported;
use super::{App, Index, Seen};
use crate::api::AppRef;
use crate::core::secret::target::{TARGETS_MAX, TargetMeta};
use crate::core::token::record::ObjectVersion;

/// Most weight of a Secret that costs nothing of its namespace's budget if an app names it: room
/// for the spec's own labels and annotations, and for one token.
const LIGHT: usize = 4096;

impl Index {
    /// Returns what is known about a Secret. Must be called before a call about it.
    pub(crate) fn asks(&self, namespace: &str, name: &str) -> Asked {
        let was = self.present(&(namespace.to_owned(), name.to_owned()));
        Asked {
            was: was.map(|target| target.version.clone()),
            lists: self.lists,
            deletions: self.deletions.count,
        }
    }

    /// Records a Secret that a list contained, and returns the apps it concerns.
    pub(crate) fn secret_in_list(&mut self, reported: impl Into<Reported>) -> Vec<AppRef> {
        let reported = reported.into();
        let secret = reported.secret.clone();
        let mut is_answered = false;
        for listing in self.listing.values_mut() {
            listing.listed.insert(secret.clone());
            is_answered |= listing.answered.contains(&secret);
        }
        let listed = &reported.target.version;
        let known = self.present(&secret);
        // What the list knows nothing of was lost when a backup of etcd was restored.
        if !is_answered && known.is_some_and(|known| known.version.is_newer_than(listed)) {
            self.forget_secret(&secret);
        }
        self.secret_applied(reported)
    }

    /// Records a Secret's metadata that a call returned, and returns the apps it concerns.
    pub(crate) fn secret_answered(
        &mut self,
        reported: impl Into<Reported>,
        asked: &Asked,
    ) -> Vec<AppRef> {
        let reported = reported.into();
        let secret = reported.secret.clone();
        let uid = &reported.target.version.uid;
        let is_present = self
            .present(&secret)
            .is_some_and(|known| known.version.uid == *uid);
        // It may have been deleted before a list that has ended since, or while nobody wanted it. If
        // it was not, an event follows.
        let is_late = asked.lists != self.lists || self.deletions.include(&secret, asked.deletions);
        if is_late && !is_present {
            return Vec::new();
        }
        for listing in self.listing.values_mut() {
            listing.answered.insert(secret.clone());
        }
        self.secret_applied(reported)
    }

    /// Records a Secret's metadata and returns the apps it concerns.
    pub(crate) fn secret_applied(&mut self, reported: impl Into<Reported>) -> Vec<AppRef> {
        let Reported { secret, target } = reported.into();
        if !self.worth_keeping(&secret, &target) {
            self.forget_secret(&secret);
            return Vec::new();
        }
        let is_late = match self.secrets.get(&secret) {
            Some(Seen::Present(old, _)) => {
                !target.version.is_newer_than(&old.version)
                    && !self.has_room_now(&secret, old, &target)
            }
            // A response to a write of a Secret that was deleted since, or an event.
            Some(Seen::Absent(Some(gone))) if gone.uid == target.version.uid => {
                !target.version.is_newer_than(gone)
            }
            Some(Seen::Absent(_)) | None => {
                self.deletions.include_version(&secret, &target.version)
            }
        };
        if is_late {
            return Vec::new();
        }
        let former = self.present(&secret);
        let owners = [former.and_then(TargetMeta::owner_uid), target.owner_uid()];
        let users = self.concerned_by(&secret, owners);
        self.forget_secret(&secret);
        let client_id = target.client_id().map(str::to_owned);
        if !self.keep(secret, target) {
            return Vec::new();
        }
        let unknown = |app: &App| app.client_id.is_none();
        for user in &users {
            if let Some(client_id) = &client_id
                && self.apps.get(user).is_some_and(unknown)
            {
                self.client_known(user, client_id);
            }
        }
        users
    }

    /// Records that a Secret was deleted and returns the apps it concerns.
    pub(crate) fn secret_deleted(&mut self, meta: &ObjectMeta) -> Vec<AppRef> {
        let gone = ObjectVersion::of(meta);
        let secret = secret_ref(meta);
        match self.secrets.get(&secret) {
            // The late event of the deletion of a former Secret of that name.
            Some(Seen::Present(now, _))
                if now.version.uid != gone.uid && !gone.is_newer_than(&now.version) =>
            {
                Vec::new()
            }
            _ => self.absent(&secret, Some(gone)),
        }
    }

    /// Records that a Secret does not exist and returns the apps it concerns.
    pub(super) fn secret_absent(&mut self, secret: &SecretRef) -> Vec<AppRef> {
        let last = match self.secrets.get(secret) {
            Some(Seen::Present(target, _)) => Some(target.version.clone()),
            Some(Seen::Absent(gone)) => gone.clone(),
            None => None,
        };
        self.absent(secret, last)
    }

    /// Records that a call found no such Secret, unless the watch has reported another version since:
    /// it reports the deletion, too, which a finalizer may put off. Returns the apps it concerns.
    pub(crate) fn secret_not_found(
        &mut self,
        namespace: &str,
        name: &str,
        asked: &Asked,
    ) -> Vec<AppRef> {
        let secret = (namespace.to_owned(), name.to_owned());
        let now = self.present(&secret).map(|now| &now.version);
        match now.is_some() && now != asked.was.as_ref() {
            true => Vec::new(),
            false => self.secret_absent(&secret),
        }
    }

    fn absent(&mut self, secret: &SecretRef, last: Option<ObjectVersion>) -> Vec<AppRef> {
        let known = self.present(secret);
        let users = self.concerned_by(secret, [known.and_then(TargetMeta::owner_uid), None]);
        if known.is_some() {
            self.deletions.record(secret.clone(), last.clone());
        }
        self.forget_secret(secret);
        if self.is_named(secret) {
            self.secrets.insert(secret.clone(), Seen::Absent(last));
        }
        users
    }

    /// Records that a list of the Secrets of `scope` begins.
    pub(crate) fn secrets_listing(&mut self, scope: Option<&str>) {
        self.listing
            .insert(scope.map(str::to_owned), Listing::default());
        // A Secret in the list exists, even if a restored backup of etcd brought it back.
        self.deletions.listing(scope);
        for (secret, seen) in &mut self.secrets {
            if let Seen::Absent(gone) = seen
                && in_scope(scope, Some(&secret.0))
            {
                *gone = None;
            }
        }
    }

    /// Records that the list is complete: referenced Secrets that it lacks do not exist. One that a
    /// call returned meanwhile was either deleted before the list or changed after it; in the
    /// latter case an event follows. Returns the apps this concerns, and the Secrets that are gone.
    pub(crate) fn secrets_listed(&mut self, scope: Option<&str>) -> (Vec<AppRef>, Vec<SecretRef>) {
        self.lists += 1;
        // What an app of another scope was compared with may lack Secrets of this one.
        self.compare_again();
        let Listing { listed, answered } = self
            .listing
            .remove(&scope.map(str::to_owned))
            .unwrap_or_default();
        let absent: BTreeSet<SecretRef> = self
            .users
            .keys()
            .chain(self.claims.secrets())
            .chain(self.secrets.keys())
            .filter(|secret| in_scope(scope, Some(&secret.0)) && !listed.contains(*secret))
            .cloned()
            .collect();
        let is_gone = |secret: &&SecretRef| self.present(secret).is_some();
        let gone = absent.iter().filter(is_gone).cloned().collect();
        let users = absent
            .iter()
            .flat_map(|secret| match answered.contains(secret) {
                true => self.absent(secret, None),
                false => self.secret_absent(secret),
            });
        (users.collect(), gone)
    }

    /// Returns the apps whose credentials the Secret holds, the one that has it as a target, and
    /// these owners.
    fn concerned_by(&self, secret: &SecretRef, owners: [Option<&str>; 2]) -> Vec<AppRef> {
        let mut apps = self.users_of(secret);
        for owner in owners.into_iter().flatten() {
            let owner = self.uids.get(owner).filter(|owner| !apps.contains(owner));
            apps.extend(owner.cloned());
        }
        apps
    }

    fn forget_secret(&mut self, secret: &SecretRef) -> Option<TargetMeta> {
        let Seen::Present(old, charge) = self.secrets.remove(secret)? else {
            return None;
        };
        take_away(&mut self.budgets, &secret.0, |used| {
            *used = used.saturating_sub(charge);
        });
        if let Some(uid) = old.owner_uid() {
            take_away(&mut self.owned, uid, |owned| owned.remove(secret));
        }
        Some(*old)
    }

    /// Keeps a Secret that is not known yet if there is room for it, and returns whether it did.
    ///
    /// Small Secrets that an app names cost nothing, because the number of apps in a namespace is
    /// bounded. All others share a budget, so that labels that anybody can set do not fill the
    /// memory.
    fn keep(&mut self, secret: SecretRef, target: TargetMeta) -> bool {
        let (target, charge) = match self.charge(&secret, &target) {
            Some(charge) => (target, charge),
            None if self.is_named(&secret) || self.is_copy(&secret) => (target.past_bounds(), 0),
            None => return false,
        };
        if charge > 0 {
            *self.budgets.entry(secret.0.clone()).or_default() += charge;
        }
        if let Some(uid) = target.owner_uid() {
            let owned = self.owned.entry(uid.to_owned()).or_default();
            owned.insert(secret.clone());
        }
        self.secrets
            .insert(secret, Seen::Present(Box::new(target), charge));
        true
    }

    /// Returns how much of its namespace's budget a Secret uses; `None` if there is no room for it.
    fn charge(&self, secret: &SecretRef, target: &TargetMeta) -> Option<usize> {
        let weight = target.weight() + secret.0.len() + secret.1.len();
        let used = self.budgets.get(&secret.0).copied().unwrap_or_default();
        match self.is_named(secret) && weight <= LIGHT {
            true => Some(0),
            false => (used + weight <= TARGETS_MAX).then_some(weight),
        }
    }

    /// Whether `target` is the very version that there was no room for, and now there is.
    fn has_room_now(&self, secret: &SecretRef, known: &TargetMeta, target: &TargetMeta) -> bool {
        known.has_no_room()
            && known.version == target.version
            && self.charge(secret, target).is_some()
    }

    /// Decides again whether to keep a Secret that an app no longer names.
    pub(super) fn weigh_anew(&mut self, secret: &SecretRef) {
        if let Some(target) = self.forget_secret(secret)
            && self.worth_keeping(secret, &target)
        {
            self.keep(secret.clone(), target);
        }
    }

    fn worth_keeping(&self, secret: &SecretRef, target: &TargetMeta) -> bool {
        self.is_named(secret)
            || target.is_managed()
            || target.adopt_by.is_some()
            || self.copiers(secret).next().is_some()
    }
}

impl TargetMeta {
    /// Returns the `client_id` of a token that it records.
    pub(super) fn client_id(&self) -> Option<&str> {
        Some(&self.recorded.as_ref()?.tokens.first()?.client_id)
    }
}

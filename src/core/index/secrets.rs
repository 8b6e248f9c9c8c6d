//! What is known of Secrets, and which are worth knowing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::listing::{Asked, Listing, in_scope};
use super::names::{SecretRef, secret_ref};
use super::{App, Index, Seen};
use crate::api::AppRef;
use crate::core::secret::target::{TARGETS_MAX, TargetMeta};
use crate::core::token::record::ObjectVersion;

/// A Secret up to this weight costs nothing of its namespace's budget if an app names it: with the
/// spec's own labels and annotations, and one token.
const LIGHT: usize = 4096;

impl Index {
    /// To be asked before a call about a Secret.
    pub(crate) fn asks(&self, namespace: &str, name: &str) -> Asked {
        let was = self.secret_in(namespace, name);
        Asked {
            was: was.map(|target| target.version.clone()),
            lists: self.lists,
        }
    }

    /// A list of Secrets has this one; returns the apps that it matters to.
    pub(crate) fn secret_in_list(&mut self, meta: ObjectMeta) -> Vec<AppRef> {
        let secret = secret_ref(&meta);
        for listing in self.listing.values_mut() {
            listing.listed.insert(secret.clone());
        }
        self.secret_applied(meta)
    }

    /// A call was answered with a Secret's metadata; returns the apps that it matters to.
    pub(crate) fn secret_answered(&mut self, meta: ObjectMeta, asked: &Asked) -> Vec<AppRef> {
        let secret = secret_ref(&meta);
        let uid = meta.uid.as_deref();
        let is_present = self
            .secret_in(&secret.0, &secret.1)
            .is_some_and(|known| Some(known.version.uid.as_str()) == uid);
        // It may have been deleted before a list that has ended since. If it was not, an event follows.
        if asked.lists != self.lists && !is_present {
            return Vec::new();
        }
        for listing in self.listing.values_mut() {
            listing.answered.insert(secret.clone());
        }
        self.secret_applied(meta)
    }

    /// Records a Secret's metadata; returns the apps that it matters to.
    pub(crate) fn secret_applied(&mut self, meta: ObjectMeta) -> Vec<AppRef> {
        let secret = secret_ref(&meta);
        let target = TargetMeta::of(meta);
        if !self.worth_keeping(&secret, &target) {
            self.forget_secret(&secret);
            return Vec::new();
        }
        match self.secrets.get(&secret) {
            Some(Seen::Present(old, _)) if !target.version.is_newer_than(&old.version) => {
                Vec::new()
            }
            // The answer to a write of a Secret that was deleted since, or an event of it: told late.
            Some(Seen::Absent(Some(gone)))
                if gone.uid == target.version.uid && !target.version.is_newer_than(gone) =>
            {
                Vec::new()
            }
            _ => {
                self.forget_secret(&secret);
                let mut users = self.users_of(&secret);
                if let Some(uid) = target.owner_uid()
                    && let Some(owner) = self.uids.get(uid).filter(|app| !users.contains(app))
                {
                    users.push(owner.clone());
                }
                let client_id = target
                    .recorded
                    .as_ref()
                    .and_then(|recorded| Some(recorded.tokens.first()?.client_id.clone()));
                if !self.keep(secret, target) {
                    return Vec::new();
                }
                for user in client_id.iter().flat_map(|_| &users) {
                    let is_unknown = |app: &App| app.client_id.is_none();
                    if self.apps.get(user).is_some_and(is_unknown) {
                        self.client_known(user, client_id.as_deref().unwrap_or_default());
                    }
                }
                users
            }
        }
    }

    /// A Secret is gone; returns the apps that it matters to.
    pub(crate) fn secret_deleted(&mut self, meta: &ObjectMeta) -> Vec<AppRef> {
        let gone = ObjectVersion::of(meta);
        let secret = secret_ref(meta);
        match self.secrets.get(&secret) {
            // The deletion of a former Secret of that name, told late.
            Some(Seen::Present(now, _))
                if now.uid_differs(&gone) && !gone.is_newer_than(&now.version) =>
            {
                Vec::new()
            }
            _ => self.absent(&secret, Some(gone)),
        }
    }

    /// There is no such Secret; returns the apps that it matters to.
    pub(crate) fn secret_absent(&mut self, namespace: &str, name: &str) -> Vec<AppRef> {
        let secret = (namespace.to_owned(), name.to_owned());
        let last = match self.secrets.get(&secret) {
            Some(Seen::Present(target, _)) => Some(target.version.clone()),
            Some(Seen::Absent(gone)) => gone.clone(),
            None => None,
        };
        self.absent(&secret, last)
    }

    /// A call was answered that there is no such Secret; returns the apps that it matters to. One that was
    /// created since is there.
    pub(crate) fn secret_not_found(
        &mut self,
        namespace: &str,
        name: &str,
        asked: &Asked,
    ) -> Vec<AppRef> {
        let now = self.secret_in(namespace, name).map(|now| &now.version.uid);
        match now.is_some() && now != asked.was.as_ref().map(|was| &was.uid) {
            true => Vec::new(),
            false => self.secret_absent(namespace, name),
        }
    }

    fn absent(&mut self, secret: &SecretRef, last: Option<ObjectVersion>) -> Vec<AppRef> {
        let users = self.users_of(secret);
        self.forget_secret(secret);
        if !users.is_empty() {
            self.secrets.insert(secret.clone(), Seen::Absent(last));
        }
        users
    }

    /// A list of the Secrets of `scope` begins.
    pub(crate) fn secrets_listing(&mut self, scope: Option<&str>) {
        self.listing
            .insert(scope.map(str::to_owned), Listing::default());
        // What a list shows is there, even if a backup of the store brought it back.
        for (secret, seen) in &mut self.secrets {
            if let Seen::Absent(gone) = seen
                && in_scope(scope, Some(&secret.0))
            {
                *gone = None;
            }
        }
    }

    /// That list is complete: what is referenced and not in it does not exist. What a call was answered
    /// meanwhile was either deleted before, or changed after the list, and then an event of it follows.
    pub(crate) fn secrets_listed(&mut self, scope: Option<&str>) -> Vec<AppRef> {
        self.lists += 1;
        let Listing { listed, answered } = self
            .listing
            .remove(&scope.map(str::to_owned))
            .unwrap_or_default();
        let gone: Vec<SecretRef> = self
            .users
            .keys()
            .chain(self.secrets.keys())
            .filter(|secret| in_scope(scope, Some(&secret.0)) && !listed.contains(*secret))
            .cloned()
            .collect();
        gone.iter()
            .flat_map(|secret| match answered.contains(secret) {
                true => self.absent(secret, None),
                false => self.secret_absent(&secret.0, &secret.1),
            })
            .collect()
    }

    fn forget_secret(&mut self, secret: &SecretRef) {
        let Some(Seen::Present(old, charge)) = self.secrets.remove(secret) else {
            return;
        };
        if let Some(used) = self.budgets.get_mut(&secret.0) {
            *used = used.saturating_sub(charge);
            if *used == 0 {
                self.budgets.remove(&secret.0);
            }
        }
        if let Some(uid) = old.owner_uid()
            && let Some(owned) = self.owned.get_mut(uid)
        {
            owned.remove(secret);
            if owned.is_empty() {
                self.owned.remove(uid);
            }
        }
    }

    /// Keeps a Secret that is not known yet, in as far as there is room for it; returns whether it did.
    ///
    /// Small Secrets that an app names cost nothing, since the apps of a namespace are counted. All
    /// others share a budget, so that labels that anybody can set do not fill the memory.
    fn keep(&mut self, secret: SecretRef, target: TargetMeta) -> bool {
        let is_named = self.users.contains_key(&secret);
        let weight = target.weight() + secret.0.len() + secret.1.len();
        let used = self.budgets.get(&secret.0).copied().unwrap_or_default();
        let (target, charge) = if is_named && weight <= LIGHT {
            (target, 0)
        } else if used + weight <= TARGETS_MAX {
            (target, weight)
        } else if is_named || self.is_copy(&secret) {
            (target.past_bounds(), 0)
        } else {
            return false;
        };
        if charge > 0 {
            self.budgets.insert(secret.0.clone(), used + charge);
        }
        if let Some(uid) = target.owner_uid() {
            let owned = self.owned.entry(uid.to_owned()).or_default();
            owned.insert(secret.clone());
        }
        self.secrets
            .insert(secret, Seen::Present(Box::new(target), charge));
        true
    }

    /// Decides anew about a Secret that an app no longer names.
    pub(super) fn weigh_anew(&mut self, secret: &SecretRef) {
        let known = match self.secrets.get(secret) {
            Some(Seen::Present(target, _)) => Some(TargetMeta::clone(target)),
            _ => None,
        };
        self.forget_secret(secret);
        if let Some(target) = known.filter(|target| self.worth_keeping(secret, target)) {
            self.keep(secret.clone(), target);
        }
    }

    fn worth_keeping(&self, secret: &SecretRef, target: &TargetMeta) -> bool {
        self.users.contains_key(secret)
            || target.is_managed()
            || target.adopt_by().is_some()
            || self.copiers(&secret.0, &secret.1).next().is_some()
    }
}

impl TargetMeta {
    fn uid_differs(&self, other: &ObjectVersion) -> bool {
        self.version.uid != other.uid
    }
}

//! Which app references which Secret, and what is known about those Secrets. Unrelated Secrets are
//! not kept.

mod admission;
mod app;
mod claims;
mod listing;
mod maps;
mod names;
mod read;
mod reference;
mod reference_view;
mod references;
mod reported;
mod secrets;
mod sharers;
mod sharing;
mod stub;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::api::{
    AppRef, CredentialsSecretRef, DingTalkApp, DingTalkTokenReference, ReferenceRef, app_ref,
};
use crate::core::secret::ownership::Claim;
use crate::core::secret::target::TargetMeta;
use crate::core::token::record::ObjectVersion;
use crate::core::token::tokens::Seat;
pub(crate) use admission::NamespaceLimits;
use admission::{Admission, Load, Moved};
use app::App;
use claims::Claims;
pub(crate) use listing::Asked;
use listing::{Deletions, Listing};
use maps::take_away;
use names::{Namespaced, secret_beside};
pub(in crate::core) use names::{SecretRef, secret_ref};
use reference::Reference;
pub(crate) use reference::ReferenceState;
pub(crate) use reported::Reported;
pub(crate) use sharers::{Candidate, TokenQuery};
use sharing::Sharers;
pub(crate) use stub::Stub;
use stub::Stubs;

enum Seen {
    /// It does not exist; the last known version if it was deleted.
    Absent(Option<ObjectVersion>),
    /// What is kept of its metadata, and how much of its namespace's budget that uses.
    Present(Box<TargetMeta>, usize),
}

/// Everything that exists and is of interest.
pub(crate) struct Index {
    apps: HashMap<AppRef, App>,
    /// The apps whose credentials are in a Secret.
    users: HashMap<SecretRef, HashSet<AppRef>>,
    claims: Claims,
    secrets: HashMap<SecretRef, Seen>,
    uids: HashMap<String, AppRef>,
    owned: HashMap<String, HashSet<SecretRef>>,
    sharers: HashMap<Seat, Sharers>,
    references: HashMap<ReferenceRef, Reference>,
    referrers: HashMap<AppRef, HashSet<ReferenceRef>>,
    /// The references whose copies have this name, or one that begins with it and `-`.
    copiers: HashMap<SecretRef, HashSet<ReferenceRef>>,
    listing: HashMap<Option<String>, Listing>,
    /// How many lists of Secrets have ended.
    lists: u64,
    deletions: Deletions,
    /// Which apps are served.
    pub admission: Admission<AppRef>,
    /// Which references are served.
    pub reference_admission: Admission<ReferenceRef>,
    newly_refused: Stubs<DingTalkApp>,
    newly_refused_references: Stubs<DingTalkTokenReference>,
    budgets: HashMap<String, usize>,
}

impl Default for Index {
    fn default() -> Self {
        Self::new(NamespaceLimits::default())
    }
}

impl Index {
    /// Creates an index with these bounds for each namespace.
    pub(crate) fn new(limits: NamespaceLimits) -> Self {
        Self {
            apps: HashMap::new(),
            users: HashMap::new(),
            claims: Claims::default(),
            secrets: HashMap::new(),
            uids: HashMap::new(),
            owned: HashMap::new(),
            sharers: HashMap::new(),
            references: HashMap::new(),
            referrers: HashMap::new(),
            copiers: HashMap::new(),
            listing: HashMap::new(),
            lists: 0,
            deletions: Deletions::default(),
            admission: Admission::of_apps(limits),
            reference_admission: Admission::of_references(limits),
            newly_refused: Stubs::default(),
            newly_refused_references: Stubs::default(),
            budgets: HashMap::new(),
        }
    }

    /// Records an app. Returns the other apps this concerns: those that name its targets, because a
    /// claim may have moved, and those that are served or refused because of it.
    pub(crate) fn app_applied(&mut self, app: &DingTalkApp) -> Vec<AppRef> {
        let key = app_ref(app);
        let mut new = App::of(app);
        let load = Load::of(app.spec.corp_ids.len(), &app.spec);
        let moved = self.admission.put(&key, &new.age(), load);
        let mut others = self.follow(&key, moved);
        if self.admission.refusal(&key).is_some() {
            new = new.refused();
        }
        if let Some(old) = self.apps.get_mut(&key).filter(|old| old.uid() == new.uid()) {
            old.granted.clone_from(&new.granted);
            if old.credentials == new.credentials {
                new.client_id.clone_from(&old.client_id);
            }
            if old.credentials == new.credentials
                && old.targets == new.targets
                && (old.layout, &old.target) == (new.layout, &new.target)
                && (&old.site, &old.corp_ids) == (&new.site, &new.corp_ids)
                && old.grants == new.grants
            {
                old.generation = new.generation;
                old.is_suspended = new.is_suspended;
                old.version = new.version;
                return others;
            }
        }
        if new.client_id.is_none() {
            new.client_id = self.client_id_shown(new.uid());
        }
        others.extend(self.replace(&key, Some(new)));
        others
    }

    /// Returns the `client_id` of a token that an app shows, judged by its Secrets.
    fn client_id_shown(&self, uid: &str) -> Option<String> {
        let mut owned = self.owned.get(uid)?.iter();
        let client_id = owned.find_map(|secret| self.present(secret)?.client_id());
        client_id.map(str::to_owned)
    }

    /// Forgets an app and returns the other apps this concerns.
    pub(crate) fn app_deleted(&mut self, key: &AppRef) -> Vec<AppRef> {
        self.newly_refused.forget(key);
        let moved = self.admission.remove(key);
        let mut others = self.follow(key, moved);
        others.extend(self.replace(key, None));
        others
    }

    /// Applies the changes of admission caused by `cause`. Returns the other apps that moved. (If
    /// `cause` itself is refused, whoever recorded it has no more than its stub in the store.)
    fn follow(&mut self, cause: &AppRef, moved: Moved<AppRef>) -> Vec<AppRef> {
        let mut others = moved.served;
        for app in moved.refused {
            if app == *cause {
                continue;
            }
            if let Some(served) = self.apps.get(&app) {
                self.newly_refused.add(served.stub(&app));
                let stripped = served.clone().refused();
                others.extend(self.replace(&app, Some(stripped)));
            }
            others.push(app);
        }
        others.retain(|other| other != cause);
        others
    }

    /// Replaces what is known under an app's name. Returns the other apps that have or had a target
    /// of the old or new one. Those that still wait for it do not count: thousands of them would wake
    /// each other millions of times.
    fn replace(&mut self, key: &AppRef, new: Option<App>) -> Vec<AppRef> {
        let in_namespace = |name: &String| secret_beside(key, name);
        let old = self.apps.remove(key);
        let targets = old.iter().chain(&new).flat_map(|app| &app.targets);
        let targets: BTreeSet<SecretRef> = targets.map(in_namespace).collect();
        let holders = |index: &Self| -> Vec<Option<AppRef>> {
            let holders = targets.iter().map(|target| index.claims.holder(target));
            holders.map(Option::<&AppRef>::cloned).collect()
        };
        let before = holders(self);
        if let Some(old) = &old {
            self.uids.remove(old.uid());
            self.unshare(key, old);
            let credentials = in_namespace(&old.credentials.name);
            take_away(&mut self.users, &credentials, |users| users.remove(key));
            for name in &old.targets {
                self.claims.remove(&in_namespace(name), &old.age());
            }
        }
        if let Some(new) = new {
            let credentials = in_namespace(&new.credentials.name);
            self.users
                .entry(credentials)
                .or_default()
                .insert(key.clone());
            for name in &new.targets {
                self.claims.add(in_namespace(name), new.age(), key.clone());
            }
            self.uids.insert(new.uid().to_owned(), key.clone());
            self.share(key, &new);
            self.apps.insert(key.clone(), new);
        }
        for name in old.iter().flat_map(App::secrets) {
            let secret = in_namespace(name);
            if !self.is_named(&secret) {
                self.weigh_anew(&secret);
            }
        }
        let moved = before.into_iter().zip(holders(self));
        let moved = moved.filter(|(before, after)| before != after);
        let others = moved.flat_map(|(before, after)| [before, after]).flatten();
        others.filter(|other| other != key).collect()
    }

    /// Takes the stubs of the apps of `scope` that have been refused since the last call. One that
    /// is served again needs its stub, too: it is read again, together with its Secrets.
    pub(crate) fn newly_refused(&mut self, scope: Option<&str>) -> Vec<DingTalkApp> {
        self.newly_refused.take(scope)
    }

    fn share(&mut self, key: &AppRef, app: &App) {
        for seat in app.seats() {
            self.sharers.entry(seat).or_default().add(key.clone());
        }
    }

    fn unshare(&mut self, key: &AppRef, app: &App) {
        for seat in app.seats() {
            take_away(&mut self.sharers, &seat, |sharers| sharers.remove(key));
        }
    }

    /// Records the `client_id` of an app's credentials.
    pub(crate) fn client_known(&mut self, key: &AppRef, client_id: &str) {
        let Some(mut app) = self.apps.remove(key) else {
            return;
        };
        if app.client_id.as_deref() != Some(client_id) {
            self.unshare(key, &app);
            app.client_id = Some(client_id.to_owned());
            self.share(key, &app);
        }
        self.apps.insert(key.clone(), app);
    }

    /// Returns the seats of an app's tokens, as far as known.
    pub(crate) fn seats_of(&self, key: &AppRef) -> impl Iterator<Item = Seat> {
        self.apps.get(key).into_iter().flat_map(App::seats)
    }

    /// Whether an app's spec is another one than that of this generation, and no longer wants a
    /// corp's token of this site fetched.
    pub(crate) fn wants_no_longer(
        &self,
        key: &AppRef,
        generation: Option<i64>,
        site: &str,
        corp_id: &str,
    ) -> bool {
        let app = self.apps.get(key);
        app.filter(|app| app.generation != generation)
            .is_some_and(|app| app.is_suspended || app.site != site || !app.has_corp(corp_id))
    }

    /// Returns the reference to an app's credentials.
    pub(crate) fn credentials_ref(&self, key: &AppRef) -> Option<&CredentialsSecretRef> {
        Some(&self.apps.get(key)?.credentials)
    }

    /// Returns what is kept of the Secret of this name in an object's namespace, if it exists.
    pub(super) fn secret(&self, object: &impl Namespaced, name: &str) -> Option<&TargetMeta> {
        self.present(&secret_beside(object, name))
    }

    /// Returns what is kept of a Secret, if it exists.
    pub(crate) fn present(&self, secret: &SecretRef) -> Option<&TargetMeta> {
        match self.secrets.get(secret)? {
            Seen::Present(target, _) => Some(target),
            Seen::Absent(_) => None,
        }
    }

    /// Returns the version of an app's credentials, if known.
    pub(crate) fn credentials_version(&self, key: &AppRef) -> Option<&ObjectVersion> {
        let credentials = &self.apps.get(key)?.credentials.name;
        self.secret(key, credentials).map(|secret| &secret.version)
    }

    fn claim(&self, target: &SecretRef, key: &AppRef) -> Claim {
        match self.claims.holder(target) {
            Some(oldest) if oldest != key => Claim::Lost {
                to: oldest.name.clone(),
            },
            _ => Claim::Ours,
        }
    }

    /// Whether an app names the Secret as its credentials or a target.
    fn is_named(&self, secret: &SecretRef) -> bool {
        self.users.contains_key(secret) || self.claims.holder(secret).is_some()
    }

    /// Returns the apps whose credentials the Secret holds, and the one that has it as a target.
    fn users_of(&self, secret: &SecretRef) -> Vec<AppRef> {
        let users = self.users.get(secret).into_iter().flatten();
        let holder = self.claims.holder(secret);
        users.chain(holder).cloned().collect()
    }
}

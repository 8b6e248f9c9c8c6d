//! Who wants which token, as far as a process has been told, and which tokens it can see in Secrets.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;

use super::known::targets;
use super::store::{Store, StoredSecret, Told};
use crate::api::{ANNOTATION_ADOPT_BY, ANNOTATION_RENEW_REQUESTED_AT, DingTalkApp};

/// A token: whose it is, and which secret proves that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variant {
    pub site: String,
    pub client_id: String,
    pub client_secret: String,
    pub corp_id: String,
}

/// The time by a process's clock, which users set, and in the world.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    pub wall: Timestamp,
    pub real: Timestamp,
    /// The time that a process's deadlines follow: a clock that is set forward brings them closer,
    /// and one that is set back moves them with it.
    pub progress: Timestamp,
}

impl Clocks {
    /// Whether this long has passed since `then`.
    pub fn has_passed(self, wait: SignedDuration, then: Self) -> bool {
        self.progress.duration_since(then.progress) >= wait
    }
}

/// A token's lifetime.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub requested_at: Timestamp,
    pub expires_at: Timestamp,
}

impl Life {
    pub fn length(self) -> SignedDuration {
        self.expires_at.duration_since(self.requested_at)
    }
}

/// A renewal request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub value: String,
    /// Whether it replaced another one.
    pub follows: bool,
    /// Whether the app had it when the process saw the app for the first time.
    pub is_of_start: bool,
}

/// An app, as a process has been told of it.
#[derive(Clone, Debug)]
pub struct Wish {
    pub app: DingTalkApp,
    /// When the process was told of this generation of the spec.
    pub specified: Clocks,
    pub asked: Option<Asked>,
}

impl Wish {
    pub fn uid(&self) -> &str {
        self.app.metadata.uid.as_deref().unwrap_or_default()
    }

    fn wants(&self, variant: &Variant) -> bool {
        let spec = &self.app.spec;
        spec.site == variant.site && spec.corp_ids.contains(&variant.corp_id)
    }
}

/// The state in which a process knows a Secret.
#[derive(Clone, Copy, Default)]
struct Seen {
    version: u64,
    exists: bool,
}

/// What a process has been told of apps and Secrets.
#[derive(Default)]
pub struct Wishes {
    apps: BTreeMap<String, Wish>,
    secrets: BTreeMap<String, Seen>,
    /// When it was last told of another state of any Secret.
    pub changed: Option<Timestamp>,
    /// Whether an app has come, gone or changed since [`Self::has_changed`] was last asked, how each
    /// Secret that has changed was known then, and how many states of Secrets of others there were.
    are_apps_changed: bool,
    known_before: BTreeMap<String, Seen>,
    states_of_others: u64,
    /// What the lists that are under way have contained so far.
    listed_apps: BTreeSet<String>,
    listed_secrets: BTreeSet<String>,
    /// What was known of Secrets when their list began.
    seen_before_list: BTreeMap<String, Seen>,
}

impl Wishes {
    pub fn told(&mut self, told: &Told, now: Clocks) {
        match told {
            Told::App(event) => self.told_of_app(event, now),
            Told::Secret(event) => self.told_of_secret(event, now),
            Told::Reference(_) => {}
        }
    }

    fn told_of_app(&mut self, event: &Event<DingTalkApp>, now: Clocks) {
        let name = |app: &DingTalkApp| app.metadata.name.clone().unwrap_or_default();
        match event {
            Event::Init => self.listed_apps.clear(),
            Event::InitDone => {
                self.apps.retain(|name, _| self.listed_apps.contains(name));
                self.are_apps_changed = true;
            }
            Event::Delete(app) => {
                self.apps.remove(&name(app));
                self.are_apps_changed = true;
            }
            Event::Apply(app) | Event::InitApply(app) => {
                self.listed_apps.insert(name(app));
                self.put(name(app), app, now);
            }
        }
    }

    fn put(&mut self, name: String, app: &DingTalkApp, now: Clocks) {
        let annotations = app.metadata.annotations.as_ref();
        let asked = annotations.and_then(|it| it.get(ANNOTATION_RENEW_REQUESTED_AT));
        let old = self.apps.remove(&name);
        let old = old.filter(|old| old.app.metadata.uid == app.metadata.uid);
        let is_of_start = old.is_none();
        let same = old
            .as_ref()
            .filter(|old| old.app.metadata.generation == app.metadata.generation);
        self.are_apps_changed |= same.is_none();
        let specified = same.map_or(now, |same| same.specified);
        let former = old.and_then(|old| old.asked);
        let asked = asked.map(|value| match former {
            Some(known) if known.value == *value => known,
            former => Asked {
                value: value.clone(),
                follows: former.is_some(),
                is_of_start,
            },
        });
        self.apps.insert(
            name,
            Wish {
                app: app.clone(),
                specified,
                asked,
            },
        );
    }

    fn told_of_secret(&mut self, event: &Event<ObjectMeta>, now: Clocks) {
        let of = |meta: &ObjectMeta| {
            let version = meta.resource_version.as_deref().unwrap_or_default();
            (
                meta.name.clone().unwrap_or_default(),
                version.parse().unwrap_or_default(),
            )
        };
        match event {
            Event::Init => {
                self.listed_secrets.clear();
                self.seen_before_list = self.secrets.clone();
            }
            Event::InitDone => {
                let secrets = self.secrets.iter_mut();
                // An answer to what was asked before brings nothing back that the list lacks.
                for (name, seen) in secrets {
                    let before = self.seen_before_list.get(name);
                    let is_old = before.is_some_and(|before| before.version == seen.version);
                    if is_old && seen.exists && !self.listed_secrets.contains(name) {
                        self.known_before.entry(name.clone()).or_insert(*seen);
                        seen.version += 1;
                        seen.exists = false;
                    }
                }
            }
            Event::Delete(meta) => {
                let (name, version) = of(meta);
                self.saw_secret(&name, version, false, now);
            }
            Event::Apply(meta) | Event::InitApply(meta) => {
                let (name, version) = of(meta);
                self.saw_secret(&name, version, true, now);
                self.listed_secrets.insert(name);
            }
        }
    }

    /// Records a Secret's state, unless a later one is known.
    pub fn saw_secret(&mut self, name: &str, version: u64, exists: bool, now: Clocks) {
        let seen = self.secrets.entry(name.to_owned()).or_default();
        if seen.version <= version {
            if seen.version != version || seen.exists != exists {
                self.changed = Some(now.real);
                self.known_before.entry(name.to_owned()).or_insert(*seen);
            }
            *seen = Seen { version, exists };
        }
    }

    /// Returns the apps that want a token with the latest credentials that the process has been
    /// told of, or with later ones, which it may have read.
    pub fn wishers<'a>(
        &'a self,
        variant: &'a Variant,
        store: &'a Store,
    ) -> impl Iterator<Item = &'a Wish> {
        let wants = self.apps.values().filter(move |wish| wish.wants(variant));
        wants.filter(move |wish| {
            self.credentials(wish, store)
                .any(|secret| is_of(wish, secret, variant))
        })
    }

    fn credentials<'a>(
        &self,
        wish: &Wish,
        store: &'a Store,
    ) -> impl Iterator<Item = &'a StoredSecret> {
        let name = &wish.app.spec.credentials_secret_ref.name;
        let from = self.secrets.get(name).map_or(0, |seen| seen.version);
        store.states(name).range(from..).map(|(_, secret)| secret)
    }

    /// Returns the resourceVersion of an app's credentials, as the process has been told.
    pub fn present_credentials(&self, wish: &Wish) -> Option<u64> {
        let seen = self
            .secrets
            .get(&wish.app.spec.credentials_secret_ref.name)?;
        Some(seen.version)
    }

    pub fn apps(&self) -> impl Iterator<Item = &Wish> {
        self.apps.values()
    }

    /// Returns the Secrets that exist, as far as the process knows.
    pub fn secrets<'a>(
        &'a self,
        store: &'a Store,
    ) -> impl Iterator<Item = (&'a String, &'a StoredSecret)> {
        let existing = self.secrets.iter().filter(|(_, seen)| seen.exists);
        existing.filter_map(|(name, seen)| Some((name, store.states(name).get(&seen.version)?)))
    }

    /// Returns the tokens to be fetched, and the apps that want them: those in [`Self::places`], with
    /// credentials that the process has been told of.
    pub fn fetchable(&self, store: &Store) -> Vec<(&Wish, Variant)> {
        let tokens = self
            .places(store)
            .into_iter()
            .filter_map(|(wish, corp_id)| {
                let name = &wish.app.spec.credentials_secret_ref.name;
                let seen = self.secrets.get(name).filter(|seen| seen.exists)?;
                let secret = store.states(name).get(&seen.version)?;
                Some((wish, variant(wish, secret, &corp_id)?))
            });
        tokens.collect()
    }

    /// Returns for each token the UIDs of the apps for which it may be fetched now: those in
    /// [`Self::places`], with credentials that the process has been told of or with later ones.
    pub fn active(&self, store: &Store) -> BTreeMap<Variant, BTreeSet<String>> {
        let mut active: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for (wish, corp_id) in self.places(store) {
            for secret in self.credentials(wish, store) {
                if let Some(variant) = variant(wish, secret, &corp_id) {
                    let apps = active.entry(variant).or_default();
                    apps.insert(wish.uid().to_owned());
                }
            }
        }
        active
    }

    /// Returns the corps of the apps that are not suspended, but for those whose Secret somebody else
    /// has or wants.
    fn places(&self, store: &Store) -> Vec<(&Wish, String)> {
        let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
        for (name, _) in self.apps.values().flat_map(|wish| targets(&wish.app)) {
            *wanted.entry(name).or_default() += 1;
        }
        let mut places = Vec::new();
        for wish in self.apps.values().filter(|wish| !wish.app.spec.suspend) {
            for (name, corp_ids) in targets(&wish.app) {
                if wanted.get(&name) == Some(&1) && self.may_have(wish, &name, store) {
                    places.extend(corp_ids.into_iter().map(|corp_id| (wish, corp_id)));
                }
            }
        }
        places
    }

    /// Whether nobody else has an app's Secret.
    fn may_have(&self, wish: &Wish, name: &str, store: &Store) -> bool {
        let seen = self.secrets.get(name).filter(|seen| seen.exists);
        let secret = seen.and_then(|seen| store.states(name).get(&seen.version));
        secret.is_none_or(|secret| {
            let is_handed_over = secret.annotations.contains_key(ANNOTATION_ADOPT_BY);
            secret.owner_uid() == Some(wish.uid()) || is_handed_over
        })
    }

    /// Whether [`Self::active`] may differ from what it was when this was last asked.
    pub fn has_changed(&mut self, store: &Store) -> bool {
        let known_before = std::mem::take(&mut self.known_before);
        let are_secrets_changed = known_before.iter().any(|(name, before)| {
            let now = self.secrets.get(name).copied().unwrap_or_default();
            whose(name, *before, store) != whose(name, now, store)
        });
        let states = std::mem::replace(&mut self.states_of_others, store.states_of_others);
        std::mem::take(&mut self.are_apps_changed)
            || are_secrets_changed
            || states != store.states_of_others
    }
}

/// Returns whose a Secret is, as a process knows it, and the resourceVersion of one that may hold
/// credentials.
fn whose<'a>(name: &str, seen: Seen, store: &'a Store) -> (Option<&'a str>, bool, Option<u64>) {
    let secret = store.states(name).get(&seen.version);
    let secret = secret.filter(|_| seen.exists);
    let owner = secret.and_then(StoredSecret::owner_uid);
    let is_handed_over =
        secret.is_some_and(|secret| secret.annotations.contains_key(ANNOTATION_ADOPT_BY));
    let version = owner.is_none().then_some(seen.version);
    (owner, is_handed_over, version)
}

/// Returns a corp's token with these credentials of an app.
fn variant(wish: &Wish, credentials: &StoredSecret, corp_id: &str) -> Option<Variant> {
    let reference = &wish.app.spec.credentials_secret_ref;
    let value = |key: &String| credentials.data.get(key).cloned();
    Some(Variant {
        site: wish.app.spec.site.clone(),
        client_id: value(&reference.client_id_key)?,
        client_secret: value(&reference.client_secret_key)?,
        corp_id: corp_id.to_owned(),
    })
}

/// Whether an app's credentials in this Secret are those of a token.
pub fn is_of(wish: &Wish, secret: &StoredSecret, variant: &Variant) -> bool {
    let reference = &wish.app.spec.credentials_secret_ref;
    let value = |key: &String| secret.data.get(key);
    value(&reference.client_id_key) == Some(&variant.client_id)
        && value(&reference.client_secret_key) == Some(&variant.client_secret)
}

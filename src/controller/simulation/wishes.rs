//! Who wants which token, as far as a process has been told, and which tokens it can see in Secrets.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;
use serde_json::Value;

use super::known::targets;
use super::store::{Store, StoredSecret, Told};
use crate::api::{
    ANNOTATION_ADOPT_BY, ANNOTATION_RENEW_REQUESTED_AT, ANNOTATION_STATE, DingTalkApp,
};

/// A record from further in the future is not trusted, because clocks do not differ by more.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(60);

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
            Event::InitDone => self.apps.retain(|name, _| self.listed_apps.contains(name)),
            Event::Delete(app) => {
                self.apps.remove(&name(app));
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

    /// Returns the tokens to be fetched, and the apps that want them: those that are not suspended,
    /// with credentials that the process has been told of, and whose Secret nobody else has or
    /// wants.
    pub fn fetchable(&self, store: &Store) -> Vec<(&Wish, Variant)> {
        let mut fetchable = Vec::new();
        for wish in self.apps.values().filter(|wish| !wish.app.spec.suspend) {
            let spec = &wish.app.spec;
            let reference = &spec.credentials_secret_ref;
            let seen = self.secrets.get(&reference.name).filter(|seen| seen.exists);
            let secret = seen.and_then(|seen| store.states(&reference.name).get(&seen.version));
            let value = |key: &String| secret.and_then(|secret| secret.data.get(key)).cloned();
            let pair = value(&reference.client_id_key).zip(value(&reference.client_secret_key));
            let Some((client_id, client_secret)) = pair else {
                continue;
            };
            let targets = targets(&wish.app).into_iter();
            for (_, corps) in targets.filter(|(name, _)| self.has(wish, name, store)) {
                fetchable.extend(corps.into_iter().map(|corp_id| {
                    let variant = Variant {
                        site: spec.site.clone(),
                        client_id: client_id.clone(),
                        client_secret: client_secret.clone(),
                        corp_id,
                    };
                    (wish, variant)
                }));
            }
        }
        fetchable
    }

    /// Whether nobody else has or wants an app's Secret.
    fn has(&self, wish: &Wish, name: &str, store: &Store) -> bool {
        let seen = self.secrets.get(name).filter(|seen| seen.exists);
        let secret = seen.and_then(|seen| store.states(name).get(&seen.version));
        let mut others = self.apps.values().filter(|other| other.uid() != wish.uid());
        secret.is_none_or(|secret| {
            let is_handed_over = secret.annotations.contains_key(ANNOTATION_ADOPT_BY);
            secret.owner_uid() == Some(wish.uid()) || is_handed_over
        }) && !others.any(|other| targets(&other.app).iter().any(|(target, _)| target == name))
    }

    /// Returns the UIDs of the apps for which a token may be fetched now: those that are not
    /// suspended, and whose Secret nobody else has or wants.
    pub fn active(&self, variant: &Variant, store: &Store) -> BTreeSet<String> {
        let wishers = self.wishers(variant, store);
        let active = wishers.filter(|wish| {
            let mut targets = targets(&wish.app).into_iter();
            let of_corp = targets.find(|(_, corps)| corps.contains(&variant.corp_id));
            let has_place = of_corp.is_some_and(|(name, _)| self.has(wish, &name, store));
            !wish.app.spec.suspend && has_place
        });
        active.map(|wish| wish.uid().to_owned()).collect()
    }

    /// Returns the lives of a token in the Secrets that an app may take it from, as far as the
    /// process knows: its own ones, and those that others want and have. Their records must say that
    /// it was fetched with credentials that those apps still have.
    pub fn lives(
        &self,
        for_app: &Wish,
        variant: &Variant,
        store: &Store,
        now: Timestamp,
    ) -> Vec<Life> {
        let mut lives = Vec::new();
        for wish in self.wishers(variant, store) {
            let is_own = wish.uid() == for_app.uid();
            let targets = targets(&wish.app);
            let is_wanted = |name: &String| targets.iter().any(|(target, _)| target == name);
            let mut of_others = None;
            let mut found = Vec::new();
            for (name, seen) in self.secrets.iter().filter(|(_, seen)| seen.exists) {
                let secret = store.states(name).get(&seen.version);
                let whole = secret.filter(|it| it.owner_uid() == Some(wish.uid()) && is_whole(it));
                let recorded = whole.and_then(|whole| self.recorded(whole, wish, variant));
                match recorded {
                    Some((life, true)) => found.push((life, is_wanted(name))),
                    Some((life, false)) => of_others = of_others.max(Some(life.requested_at)),
                    None => {}
                }
            }
            // A token is carried over from a Secret that the app no longer wants, unless the app has
            // had one of other credentials since.
            let is_shown = |(life, is_wanted): &(Life, bool)| {
                *is_wanted || is_own && Some(life.requested_at) > of_others
            };
            let shown = found.into_iter().filter(is_shown).map(|(life, _)| life);
            lives.extend(shown.filter(|life| life.requested_at <= now + CLOCKS_DIFFER));
        }
        lives
    }

    /// Returns what a Secret records about a corp's token: its life, and whether it was fetched with
    /// the credentials that the app has now.
    fn recorded(
        &self,
        secret: &StoredSecret,
        wish: &Wish,
        variant: &Variant,
    ) -> Option<(Life, bool)> {
        let state: Value = serde_json::from_str(secret.annotations.get(ANNOTATION_STATE)?).ok()?;
        let token = &state["tokens"][&variant.corp_id];
        let is_former = token["former"].as_bool().unwrap_or_default();
        let seen = self
            .secrets
            .get(&wish.app.spec.credentials_secret_ref.name)?;
        let version = &state["credentials"]["resourceVersion"];
        let is_current =
            version.as_str().and_then(|it| it.parse().ok()) == Some(seen.version) && !is_former;
        let is_whose = state["clientId"] == *variant.client_id && state["site"] == *variant.site;
        let requested_at = Timestamp::from_second(token["at"].as_i64()?).ok()?;
        let length = SignedDuration::from_secs(token["for"].as_i64()?);
        let expires_at = requested_at + length;
        let life = Life {
            requested_at,
            expires_at,
        };
        Some((life, is_current && is_whose))
    }
}

/// Whether the operator was the last to write each key that a Secret records.
fn is_whole(secret: &StoredSecret) -> bool {
    let state = secret.annotations.get(ANNOTATION_STATE);
    let state = state.and_then(|state| serde_json::from_str::<Value>(state).ok());
    let state = state.unwrap_or_default();
    let keys = state["keys"].as_array().into_iter().flatten();
    let mut keys = keys.filter_map(Value::as_str).flat_map(|key| {
        let corps = state["tokens"].as_object().into_iter().flatten();
        let corps = corps.map(|(corp_id, _)| key.replace('*', corp_id));
        corps.collect::<Vec<_>>()
    });
    keys.all(|key| secret.ours.contains(&format!("data/{key}")))
}

fn is_of(wish: &Wish, secret: &StoredSecret, variant: &Variant) -> bool {
    let reference = &wish.app.spec.credentials_secret_ref;
    let value = |key: &String| secret.data.get(key);
    value(&reference.client_id_key) == Some(&variant.client_id)
        && value(&reference.client_secret_key) == Some(&variant.client_secret)
}

//! Which tokens a process can see in Secrets.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::known::targets;
use super::store::{Store, StoredSecret};
use super::wishes::{Life, Variant, Wish, Wishes, is_of};
use crate::api::ANNOTATION_STATE;

/// A record from further in the future is not trusted, because clocks do not differ by more.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(60);

/// What a Secret records.
#[derive(Clone, Debug)]
pub struct Recorded {
    client_id: String,
    site: String,
    /// The resourceVersion of the credentials.
    credentials: Option<u64>,
    /// Each corp's token: its life, and whether it was fetched with former credentials.
    tokens: BTreeMap<String, (Life, bool)>,
}

impl Recorded {
    /// Reads what a Secret records, if the operator was the last to write each key that it names.
    pub fn of(secret: &StoredSecret) -> Option<Self> {
        let state: Value = serde_json::from_str(secret.annotations.get(ANNOTATION_STATE)?).ok()?;
        if !is_whole(secret, &state) {
            return None;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let version = &state["credentials"]["resourceVersion"];
        let tokens = state["tokens"].as_object().into_iter().flatten();
        let tokens = tokens.filter_map(|(corp_id, token)| {
            let requested_at = Timestamp::from_second(token["at"].as_i64()?).ok()?;
            let expires_at = requested_at + SignedDuration::from_secs(token["for"].as_i64()?);
            let life = Life {
                requested_at,
                expires_at,
            };
            let is_former = token["former"].as_bool().unwrap_or_default();
            Some((corp_id.clone(), (life, is_former)))
        });
        Some(Self {
            client_id: text(&state["clientId"]),
            site: text(&state["site"]),
            credentials: version.as_str().and_then(|it| it.parse().ok()),
            tokens: tokens.collect(),
        })
    }
}

fn is_whole(secret: &StoredSecret, state: &Value) -> bool {
    let keys = state["keys"].as_array().into_iter().flatten();
    let mut keys = keys.filter_map(Value::as_str).flat_map(|key| {
        let corps = state["tokens"].as_object().into_iter().flatten();
        corps.map(move |(corp_id, _)| key.replace('*', corp_id))
    });
    keys.all(|key| secret.ours.contains(&format!("data/{key}")))
}

/// A token in a Secret, as a process knows it.
pub struct Shown<'a> {
    life: Life,
    is_former: bool,
    recorded: &'a Recorded,
    /// Whether the app that has the Secret wants it.
    is_wanted: bool,
}

/// The tokens in the Secrets of apps, by UID of the app and corp.
pub type AllShown<'a> = BTreeMap<(&'a str, &'a str), Vec<Shown<'a>>>;

impl Wishes {
    /// Returns the tokens in the Secrets of all apps.
    pub fn shown<'a>(&'a self, store: &'a Store) -> AllShown<'a> {
        let names = |wish: &Wish| -> BTreeSet<String> {
            let targets = targets(&wish.app).into_iter();
            targets.map(|(name, _)| name).collect()
        };
        let apps = self.apps();
        let wanted: BTreeMap<_, _> = apps.map(|wish| (wish.uid(), names(wish))).collect();
        let mut shown = AllShown::new();
        for (name, secret) in self.secrets(store) {
            let owner = secret.owner_uid().and_then(|uid| wanted.get_key_value(uid));
            let Some(((uid, wanted), recorded)) = owner.zip(secret.recorded.as_ref()) else {
                continue;
            };
            for (corp_id, (life, is_former)) in &recorded.tokens {
                let of_corp = shown.entry((*uid, corp_id.as_str())).or_default();
                of_corp.push(Shown {
                    life: *life,
                    is_former: *is_former,
                    recorded,
                    is_wanted: wanted.contains(name),
                });
            }
        }
        shown
    }

    /// Returns the lives of a token in the Secrets that an app may take it from, as far as the
    /// process knows: its own ones, and those that others want and have. Their records must say that
    /// it was fetched with credentials that those apps still have.
    pub fn lives(
        &self,
        for_app: &Wish,
        variant: &Variant,
        (store, shown): (&Store, &AllShown),
        now: Timestamp,
    ) -> Vec<Life> {
        let mut lives = Vec::new();
        for wish in self.wishers(variant, store) {
            let is_own = wish.uid() == for_app.uid();
            let found = shown.get(&(wish.uid(), variant.corp_id.as_str()));
            let found = found.into_iter().flatten();
            let (right, others): (Vec<_>, Vec<_>) =
                found.partition(|shown| self.is_right(shown, wish, variant, store));
            let of_others = others.iter().map(|shown| shown.life.requested_at).max();
            // A token is carried over from a Secret that the app no longer wants, unless the app has
            // had one of other credentials since.
            let right = right.into_iter().filter(|shown| {
                shown.is_wanted || is_own && Some(shown.life.requested_at) > of_others
            });
            let right = right.map(|shown| shown.life);
            lives.extend(right.filter(|life| life.requested_at <= now + CLOCKS_DIFFER));
        }
        lives
    }

    /// Whether a token was fetched with the credentials that its app has now, and these are those of
    /// `variant`: the app may be about to have others, which its process has not been told of.
    fn is_right(&self, shown: &Shown, wish: &Wish, variant: &Variant, store: &Store) -> bool {
        let Recorded {
            client_id,
            site,
            credentials,
            ..
        } = shown.recorded;
        let present = self.present_credentials(wish);
        let name = &wish.app.spec.credentials_secret_ref.name;
        let secret = present.and_then(|version| store.states(name).get(&version));
        !shown.is_former
            && *credentials == present
            && (client_id, site) == (&variant.client_id, &variant.site)
            && secret.is_some_and(|secret| is_of(wish, secret, variant))
    }
}

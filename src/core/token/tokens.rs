//! Tokens, each with a life of its own: however many apps want one, it is fetched once, fails once and
//! waits once. Apps want the same one where site, organisation, `client_id` and client secret are the
//! same, since a second fetch might revoke the first. What an app shows of it is its [`crate::core::Corp`].

mod attempts;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{AppRef, Cause};
use crate::core::token::attempt::{FailedAttempt, FetchId, Minting, TokenId};
use crate::core::token::record::{ObjectVersion, lifetime};
use crate::core::token::schedule::Lifetime;
use crate::dingtalk::{AccessToken, Fingerprint, Minted};
pub use attempts::Attempts;

/// What tells tokens apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenName {
    /// The site that issues it.
    pub site: String,
    /// The `client_id`.
    pub client_id: String,
    /// The organisation.
    pub corp_id: String,
    /// What tells the credentials from others.
    pub fingerprint: Fingerprint,
}

/// What a fetch brought.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Which fetch it was.
    pub id: FetchId,
    /// The UID of the app that asked for it.
    pub uid: String,
    /// Why.
    pub cause: Cause,
    /// The state of that app's credentials.
    pub credentials: ObjectVersion,
    /// The value.
    pub token: AccessToken,
    /// Its life.
    pub lifetime: Lifetime,
    /// When it came.
    pub at: Timestamp,
}

/// How an app wants a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// It is to be fetched when it is due.
    Active,
    /// Nothing is to be fetched.
    Suspended,
    /// Only what is under way concerns the app: its credentials have changed, and the token is shown until
    /// there is one of the new ones.
    Former,
}

/// A token, and who wants it.
#[derive(Debug)]
pub struct Token {
    name: Arc<TokenName>,
    /// Its fetches.
    pub attempts: Attempts,
    /// What the last fetch brought.
    pub fetched: Option<Fetched>,
}

impl Token {
    /// What tells it from others.
    pub fn name(&self) -> &TokenName {
        &self.name
    }
}

/// Namespace and name of an app.
type AppKey = (Option<String>, String);

/// Site, `client_id` and organisation.
type Seat = (String, String, String);

fn seat(name: &TokenName) -> Seat {
    let TokenName {
        site,
        client_id,
        corp_id,
        ..
    } = name;
    (site.clone(), client_id.clone(), corp_id.clone())
}

/// The tokens that apps want.
#[derive(Debug, Default)]
pub struct Tokens {
    ids: HashMap<Arc<TokenName>, TokenId>,
    all: HashMap<TokenId, Token>,
    /// In one map: nearly every token is wanted by one app alone.
    wishers: BTreeMap<(TokenId, AppKey), Interest>,
    /// Until when what was fetched last is valid, for each site, `client_id` and organisation.
    seats: HashMap<Seat, Timestamp>,
    last_token: u64,
    last_fetch: u64,
}

impl Tokens {
    /// A token; `None` if nobody wants it now.
    pub fn get(&self, id: TokenId) -> Option<&Token> {
        self.all.get(&id)
    }

    /// Whether this process has fetched a token of this site, `client_id` and organisation, with whichever
    /// credentials, which is still valid.
    pub fn has_fetched(&self, seat: &Seat, now: Timestamp) -> bool {
        self.seats
            .get(seat)
            .is_some_and(|expires_at| *expires_at > now)
    }

    /// The last fetch that was queued.
    pub fn last_fetch(&self) -> FetchId {
        FetchId(self.last_fetch)
    }

    /// An app wants a token from now on, in this way. `resumed` is what a former process knew of its
    /// fetches, which counts for a token that is new here.
    pub fn join(
        &mut self,
        name: TokenName,
        app: &AppRef,
        interest: Interest,
        resumed: Option<Box<Attempts>>,
    ) -> TokenId {
        let id = match self.ids.get(&name) {
            Some(id) => {
                let token = self.all.get_mut(id);
                if let Some((token, resumed)) = token.zip(resumed) {
                    token.attempts.resume_beside(*resumed);
                }
                *id
            }
            None => {
                self.last_token += 1;
                let id = TokenId(self.last_token);
                let name = Arc::new(name);
                self.ids.insert(Arc::clone(&name), id);
                let token = Token {
                    name,
                    attempts: resumed.map(|attempts| *attempts).unwrap_or_default(),
                    fetched: None,
                };
                self.all.insert(id, token);
                id
            }
        };
        self.interested(id, app, interest);
        id
    }

    /// An app wants a token in another way.
    pub fn interested(&mut self, id: TokenId, app: &AppRef, interest: Interest) {
        if self.all.contains_key(&id) {
            self.wishers.insert((id, key(app)), interest);
        }
    }

    /// An app no longer wants a token.
    pub fn leave(&mut self, id: TokenId, app: &AppRef) {
        self.wishers.remove(&(id, key(app)));
        self.forget_unwanted(id);
    }

    /// A token lives while it is wanted or its fetch is under way: if it is wanted again before that has
    /// ended, another fetch might revoke what this one brings.
    fn forget_unwanted(&mut self, id: TokenId) {
        let is_wanted = self.interests(id).next().is_some();
        let is_unwanted = |token: &&Token| !is_wanted && !token.attempts.is_under_way();
        if let Some(token) = self.all.get(&id).filter(is_unwanted) {
            self.ids.remove(&token.name);
            self.all.remove(&id);
        }
    }

    /// To be called before anything is decided of a token: a clock that was set back puts nothing off.
    pub fn notice_clock(&mut self, id: TokenId, now: Timestamp) {
        if let Some(token) = self.all.get_mut(&id) {
            token.attempts.notice_clock(now);
        }
    }

    /// Queues a fetch that was found to be due when `ended` was the last one that had ended, in a turn of
    /// this namespace. `None` if it waits in one already, or another has ended since.
    pub fn begin(
        &mut self,
        id: TokenId,
        ended: FetchId,
        namespace: &str,
        minting: impl FnOnce(FetchId) -> Minting,
    ) -> Option<Minting> {
        let token = self.all.get_mut(&id)?;
        if token.attempts.has_turn(namespace) || token.attempts.ended() != ended {
            return None;
        }
        let under_way = token.attempts.awaited();
        let minting = minting(under_way.unwrap_or_else(|| {
            self.last_fetch += 1;
            FetchId(self.last_fetch)
        }));
        token.attempts.begun(&minting, namespace);
        Some(minting)
    }

    /// Whether a fetch is still worth a call: it is the one that is awaited, by an app that wants the
    /// token now.
    pub fn wants(&self, minting: &Minting) -> bool {
        let token = self.all.get(&minting.token);
        let is_awaited = token.is_some_and(|token| token.attempts.awaited() == Some(minting.id));
        let mut interests = self.interests(minting.token);
        is_awaited && interests.any(|(_, interest)| interest == Interest::Active)
    }

    /// A fetch is sent.
    pub fn started(&mut self, minting: &Minting) {
        if let Some(token) = self.all.get_mut(&minting.token) {
            token.attempts.started(minting.id);
        }
    }

    /// A queued fetch is not made in a turn of this namespace; returns the apps that decide anew, if it is
    /// not made in any.
    pub fn dropped(&mut self, minting: &Minting, namespace: &str) -> Vec<AppRef> {
        let token = self.all.get_mut(&minting.token);
        if !token.is_some_and(|token| token.attempts.dropped(minting.id, namespace)) {
            return Vec::new();
        }
        self.forget_unwanted(minting.token);
        self.wishers(minting.token)
    }

    /// Records a token that was fetched by the request that started at `requested_at`; returns the apps
    /// that want it.
    pub fn succeeded(
        &mut self,
        minting: &Minting,
        minted: Minted,
        requested_at: Timestamp,
        now: Timestamp,
    ) -> Vec<AppRef> {
        let is_news = |token: &&mut Token| token.attempts.ended() < minting.id;
        let token = self.all.get_mut(&minting.token);
        let Some(token) = token.filter(is_news) else {
            return Vec::new();
        };
        let lifetime = lifetime(requested_at, minted.expires_in);
        token.fetched = Some(Fetched {
            id: minting.id,
            uid: minting.uid.clone(),
            cause: minting.cause,
            credentials: minting.credentials.clone(),
            token: minted.token,
            lifetime,
            at: now,
        });
        let client_id = token.name.client_id.clone();
        let seat = seat(&token.name);
        if self.seats.len() > 2 * self.all.len() {
            self.seats.retain(|_, expires_at| *expires_at > now);
        }
        self.seats.insert(seat, lifetime.expires_at);
        self.ended(minting, |attempts| {
            attempts.succeeded(minting, lifetime, &client_id, now);
        })
    }

    /// Records a fetch that failed; returns the apps that want the token.
    pub fn failed(
        &mut self,
        minting: &Minting,
        attempt: FailedAttempt,
        now: Timestamp,
    ) -> Vec<AppRef> {
        self.ended(minting, |attempts| attempts.failed(minting, attempt, now))
    }

    /// An app has found the token in a Secret: no attempt has failed any more.
    pub fn found(&mut self, id: TokenId) {
        if let Some(token) = self.all.get_mut(&id) {
            token.attempts.found();
        }
    }

    /// An outage of a site that began at `since` is over: the tokens that have failed in it, and not
    /// before, do not wait for their own backoff. Returns the apps that want them.
    pub fn hurry(
        &mut self,
        site: &str,
        concerns: impl Fn(&str, &str) -> bool,
        since: Timestamp,
        now: Timestamp,
    ) -> Vec<AppRef> {
        let mut hurried = Vec::new();
        for (id, (namespace, _)) in self.wishers.keys() {
            let Some(token) = self.all.get_mut(id).filter(|it| it.name.site == site) else {
                continue;
            };
            let namespace = namespace.as_deref().unwrap_or_default();
            if concerns(namespace, &token.name.client_id) && token.attempts.hurry(since, now) {
                hurried.push(*id);
            }
        }
        let wishers = hurried.into_iter().flat_map(|id| self.wishers(id));
        wishers.collect()
    }

    fn interests(&self, id: TokenId) -> impl Iterator<Item = (&AppKey, Interest)> {
        let from = (id, (None, String::new()));
        let of_token = self
            .wishers
            .range(from..)
            .take_while(move |((it, _), _)| *it == id);
        of_token.map(|((_, app), interest)| (app, *interest))
    }

    fn wishers(&self, id: TokenId) -> Vec<AppRef> {
        let wishers = self.interests(id).map(|((namespace, name), _)| {
            let app = AppRef::new(name);
            match namespace {
                Some(namespace) => app.within(namespace),
                None => app,
            }
        });
        wishers.collect()
    }

    fn ended(&mut self, minting: &Minting, end: impl FnOnce(&mut Attempts)) -> Vec<AppRef> {
        let is_news = |token: &&mut Token| token.attempts.ended() < minting.id;
        let token = self.all.get_mut(&minting.token);
        let Some(token) = token.filter(is_news) else {
            return Vec::new();
        };
        end(&mut token.attempts);
        self.forget_unwanted(minting.token);
        self.wishers(minting.token)
    }
}

fn key(app: &AppRef) -> AppKey {
    (app.namespace.clone(), app.name.clone())
}

#[cfg(test)]
mod tests;

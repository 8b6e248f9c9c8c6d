//! Tokens, each with a state of its own: however many apps want one, it is fetched once, fails once
//! and waits once. Apps with the same site, corp, `client_id` and client secret share a token,
//! because a second fetch might revoke the first. What an app shows of it is in its
//! `Corp`.

mod attempts;
mod kept;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::api::AppRef;
use crate::core::token::attempt::{FailedAttempt, FetchId, PendingFetch, TokenId};
use crate::core::token::record::{ObjectVersion, lifetime};
use crate::core::token::schedule::{FETCH_FLOOR, Lifetime, set_back};
use crate::core::token::why::Why;
use crate::dingtalk::{AccessToken, Fingerprint, TokenResponse};
pub use attempts::Attempts;

/// Identity of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenName {
    /// The site that it is fetched from.
    pub site: String,
    /// The `client_id`.
    pub client_id: String,
    /// The corp.
    pub corp_id: String,
    /// Fingerprint of the credentials.
    pub fingerprint: Fingerprint,
}

/// Result of a successful fetch.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// ID of the fetch.
    pub id: FetchId,
    /// Namespace and name of the requesting app, as one text.
    pub app: Box<str>,
    /// UID of that app.
    pub uid: String,
    /// Why it was made.
    pub why: Why,
    /// Version of that app's credentials.
    pub credentials: ObjectVersion,
    /// The value.
    pub token: AccessToken,
    /// Its lifetime.
    pub lifetime: Lifetime,
    /// When the response arrived.
    pub at: Timestamp,
}

/// How an app wants a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// To be fetched when due.
    Active,
    /// Without fetches.
    Suspended,
    /// Only for the fetch in progress: the app's credentials have changed, and the token is shown
    /// until the new ones have one.
    Former,
}

/// A token and its fetches.
#[derive(Debug)]
pub struct Token {
    name: Arc<TokenName>,
    /// Its fetches.
    pub attempts: Attempts,
    /// Result of the last successful fetch.
    pub fetched: Option<Fetched>,
}

impl Token {
    /// Returns its identity.
    pub fn name(&self) -> &TokenName {
        &self.name
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.fetched.as_ref()?.lifetime.expires_at)
    }
}

/// Namespace and name of an app.
type AppKey = (Option<String>, String);

/// Site, `client_id` and corp of a token: its identity apart from the client secret.
pub(in crate::core) type Seat = (String, String, String);

/// The tokens that apps want.
#[derive(Debug, Default)]
pub struct Tokens {
    ids: HashMap<Arc<TokenName>, TokenId>,
    /// Boxed, because a map has up to twice as many slots as entries.
    all: HashMap<TokenId, Box<Token>>,
    /// One map for all tokens, because nearly every token is wanted by one app only.
    subscribers: BTreeMap<(TokenId, AppKey), Interest>,
    /// Expiry of the last token fetched for each site, `client_id` and corp.
    seats: HashMap<Seat, Timestamp>,
    /// The tokens that are kept until they expire, whether or not anybody wants them.
    kept: BTreeSet<(Timestamp, TokenId)>,
    /// When the last fetches of forgotten tokens ended. A token that is wanted again keeps its pace.
    forgotten: HashMap<Arc<TokenName>, Timestamp>,
    last_token: u64,
    last_fetch: u64,
}

impl Tokens {
    /// Returns a token; `None` if nobody wants it now.
    pub fn get(&self, id: TokenId) -> Option<&Token> {
        self.all.get(&id).map(Box::as_ref)
    }

    /// Whether this process has fetched a token for this site, `client_id` and corp that is still
    /// valid, with whichever credentials.
    pub fn has_fetched(&self, seat: &Seat, now: Timestamp) -> bool {
        self.seats
            .get(seat)
            .is_some_and(|expires_at| *expires_at > now)
    }

    /// Returns the last fetch that was queued.
    pub fn last_fetch(&self) -> FetchId {
        FetchId(self.last_fetch)
    }

    /// Makes an app want a token. `resumed` is what a former process knew about its fetches, which
    /// counts if this process has made no attempt.
    pub fn join(
        &mut self,
        name: TokenName,
        app: &AppRef,
        interest: Interest,
        resumed: Option<Attempts>,
    ) -> TokenId {
        let id = match self.ids.get(&name) {
            Some(id) => {
                let token = self.all.get_mut(id);
                if let Some((token, resumed)) = token.zip(resumed) {
                    token.attempts.resume_beside(&resumed);
                }
                *id
            }
            None => {
                self.last_token += 1;
                let id = TokenId(self.last_token);
                let mut attempts = resumed.unwrap_or_default();
                if let Some(at) = self.forgotten.remove(&name) {
                    attempts.last_attempted(at);
                }
                let name = Arc::new(name);
                self.ids.insert(Arc::clone(&name), id);
                let token = Token {
                    name,
                    attempts,
                    fetched: None,
                };
                self.all.insert(id, Box::new(token));
                id
            }
        };
        self.interested(id, app, interest);
        id
    }

    /// Changes how an app wants a token.
    pub fn interested(&mut self, id: TokenId, app: &AppRef, interest: Interest) {
        if self.all.contains_key(&id) {
            self.subscribers.insert((id, key(app)), interest);
        }
    }

    /// Drops an app's interest in a token.
    pub fn leave(&mut self, id: TokenId, app: &AppRef) {
        self.subscribers.remove(&(id, key(app)));
        self.forget_unwanted(id);
    }

    /// A token lives while it is wanted, kept, or its fetch is in progress. If it were wanted again
    /// before that fetch ended, another one might revoke its result.
    fn forget_unwanted(&mut self, id: TokenId) {
        let is_needed = self.interests(id).next().is_some() || self.is_kept(id);
        let Entry::Occupied(token) = self.all.entry(id) else {
            return;
        };
        if !is_needed && !token.get().attempts.is_under_way() {
            let token = token.remove();
            self.ids.remove(&token.name);
            let last = token.attempts.attempted_at();
            self.forgotten.extend(last.map(|at| (token.name, at)));
        }
    }

    /// Moves the times of all tokens along with a clock that was set back by this much.
    pub fn set_back(&mut self, by: SignedDuration) {
        for token in self.all.values_mut() {
            token.attempts.set_back(by);
        }
        for at in self.forgotten.values_mut() {
            *at = set_back(*at, by);
        }
    }

    /// Adjusts a token's times to a clock that was set back. Must be called before any decision
    /// about it.
    pub fn notice_clock(&mut self, id: TokenId, now: Timestamp) {
        if let Some(token) = self.all.get_mut(&id) {
            token.attempts.notice_clock(now);
        }
    }

    /// Queues a fetch, in a turn of this namespace, that was found due when `ended` was the last
    /// ended fetch. `None` if it already waits in such a turn, or if another fetch has ended since.
    pub fn begin(
        &mut self,
        id: TokenId,
        ended: FetchId,
        namespace: &str,
        pending: impl FnOnce(FetchId) -> PendingFetch,
    ) -> Option<PendingFetch> {
        let token = self.all.get_mut(&id)?;
        if token.attempts.has_turn(namespace) || token.attempts.ended() != ended {
            return None;
        }
        let under_way = token.attempts.awaited();
        let pending = pending(under_way.unwrap_or_else(|| {
            self.last_fetch += 1;
            FetchId(self.last_fetch)
        }));
        token.attempts.begun(&pending, namespace);
        Some(pending)
    }

    /// Whether a fetch is still worth a call: it is the awaited one, and an app wants the token
    /// now.
    pub fn wants(&self, pending: &PendingFetch) -> bool {
        let token = self.all.get(&pending.token);
        let is_awaited = token.is_some_and(|token| token.attempts.awaited() == Some(pending.id));
        let mut interests = self.interests(pending.token);
        is_awaited && interests.any(|(_, interest)| interest == Interest::Active)
    }

    /// Records that a fetch was sent.
    pub fn started(&mut self, pending: &PendingFetch) {
        if let Some(token) = self.all.get_mut(&pending.token) {
            token.attempts.started(pending.id);
        }
    }

    /// Drops a queued fetch from this namespace's turns. If no turn is left, returns the apps that
    /// want the token, which must decide again.
    pub fn dropped(&mut self, pending: &PendingFetch, namespace: &str) -> Vec<AppRef> {
        let token = self.all.get_mut(&pending.token);
        if !token.is_some_and(|token| token.attempts.dropped(pending.id, namespace)) {
            return Vec::new();
        }
        self.free(pending.token)
    }

    /// Records a token fetched by the request that started at `requested_at`, and returns the apps
    /// that want it.
    pub fn succeeded(
        &mut self,
        pending: &PendingFetch,
        response: TokenResponse,
        requested_at: Timestamp,
        now: Timestamp,
    ) -> Vec<AppRef> {
        let Some(token) = self.awaiting(pending) else {
            return Vec::new();
        };
        let lifetime = lifetime(requested_at, response.expires_in);
        let name = Arc::clone(&token.name);
        token
            .attempts
            .succeeded(pending, lifetime, &name.client_id, now);
        token.fetched = Some(Fetched {
            id: pending.id,
            app: pending.app.clone(),
            uid: pending.uid.clone(),
            why: pending.why.clone(),
            credentials: pending.credentials.clone(),
            token: response.token,
            lifetime,
            at: now,
        });
        self.forget_expired(now);
        if self.interests(pending.token).next().is_none() {
            self.keep(pending.token);
        }
        if self.seats.len() > 2 * self.all.len() {
            self.seats.retain(|_, expires_at| *expires_at > now);
        }
        let TokenName {
            site,
            client_id,
            corp_id,
            ..
        } = (*name).clone();
        self.seats
            .insert((site, client_id, corp_id), lifetime.expires_at);
        self.ended(pending.token, now)
    }

    /// Records a failed fetch and returns the apps that want the token.
    pub fn failed(
        &mut self,
        pending: &PendingFetch,
        attempt: FailedAttempt,
        now: Timestamp,
    ) -> Vec<AppRef> {
        let Some(token) = self.awaiting(pending) else {
            return Vec::new();
        };
        token.attempts.failed(pending, attempt, now);
        self.ended(pending.token, now)
    }

    /// Records that an app has found the token in a Secret, so that no failure is left.
    pub fn found(&mut self, id: TokenId) {
        if let Some(token) = self.all.get_mut(&id) {
            token.attempts.found();
        }
    }

    /// Ends the backoff of tokens that have failed only since `since`, when an outage of their site
    /// began that is over now. Returns the apps that want them.
    pub fn hurry(
        &mut self,
        site: &str,
        concerns: impl Fn(&str, &str) -> bool,
        since: Timestamp,
        now: Timestamp,
    ) -> Vec<AppRef> {
        let mut hurried = Vec::new();
        for (id, (namespace, _)) in self.subscribers.keys() {
            let Some(token) = self.all.get_mut(id).filter(|it| it.name.site == site) else {
                continue;
            };
            let namespace = namespace.as_deref().unwrap_or_default();
            if concerns(namespace, &token.name.client_id) && token.attempts.hurry(since, now) {
                hurried.push(*id);
            }
        }
        let subscribers = hurried.into_iter().flat_map(|id| self.subscribers(id));
        subscribers.collect()
    }

    fn interests(&self, id: TokenId) -> impl Iterator<Item = (&AppKey, Interest)> {
        let from = (id, (None, String::new()));
        let of_token = self
            .subscribers
            .range(from..)
            .take_while(move |((it, _), _)| *it == id);
        of_token.map(|((_, app), interest)| (app, *interest))
    }

    fn subscribers(&self, id: TokenId) -> Vec<AppRef> {
        let subscribers = self.interests(id).map(|((namespace, name), _)| {
            let mut app = AppRef::new(name);
            app.namespace.clone_from(namespace);
            app
        });
        subscribers.collect()
    }

    /// Returns the token of a fetch whose outcome is not known yet.
    fn awaiting(&mut self, pending: &PendingFetch) -> Option<&mut Token> {
        let token = self.all.get_mut(&pending.token).map(Box::as_mut);
        token.filter(|token| token.attempts.ended() < pending.id)
    }

    /// Returns the apps that want a token whose fetch has ended.
    fn ended(&mut self, id: TokenId, now: Timestamp) -> Vec<AppRef> {
        self.forgotten.retain(|_, at| *at + FETCH_FLOOR > now);
        self.free(id)
    }

    /// Returns the apps that want a token of which no fetch is under way any more.
    fn free(&mut self, id: TokenId) -> Vec<AppRef> {
        self.forget_unwanted(id);
        self.subscribers(id)
    }
}

fn key(app: &AppRef) -> AppKey {
    (app.namespace.clone(), app.name.clone())
}

#[cfg(test)]
mod tests;

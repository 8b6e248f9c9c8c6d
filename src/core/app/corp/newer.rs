//! Taking over a token that is newer than the one shown.

use jiff::{SignedDuration, Timestamp};

use super::{Corp, Found};
use crate::core::token::attempt::{FetchId, Former, TokenId};
use crate::core::token::known_credentials::KnownCredentials;
use crate::core::token::record::{Held, ObjectVersion, TokenRecord, whole_seconds};
use crate::core::token::request::RenewRequest;
use crate::core::token::schedule::SAME_EXPIRY;
use crate::core::token::tokens::{Fetched, Tokens};
use crate::core::token::why::Why;
use crate::dingtalk::Fingerprint;

/// A token that is newer than the one shown.
pub struct Newer {
    /// The token and its record.
    pub held: Held,
    fingerprint: Fingerprint,
    why: Why,
    /// The fetch that returned it, and when; `None` if it was found in a Secret.
    fetch: Option<(FetchId, Timestamp)>,
    of: TokenId,
}

impl Newer {
    /// Builds a `Newer` from a fetch's result.
    fn fetched(
        fetched: &Fetched,
        of: TokenId,
        tokens: &Tokens,
        credentials: ObjectVersion,
        uid: &str,
    ) -> Option<Self> {
        let name = tokens.get(of)?.name();
        Some(Self {
            held: Held {
                token: fetched.token.clone(),
                record: TokenRecord {
                    site: name.site.clone(),
                    client_id: name.client_id.clone(),
                    corp_id: name.corp_id.clone(),
                    lifetime: fetched.lifetime,
                    credentials,
                    answers: None,
                },
            },
            fingerprint: name.fingerprint,
            why: match fetched.uid == uid {
                true => fetched.why.clone(),
                false => Why::shared_by(&fetched.app),
            },
            fetch: Some((fetched.id, fetched.at)),
            of,
        })
    }
}

impl Corp {
    /// Records a token found in the Secret of another app with the same credentials, whose
    /// namespace and name are `app`.
    pub fn found(&mut self, held: Held, app: Box<str>) {
        self.found = self.token().map(|of| Found { of, held, app });
    }

    /// Whether a fetch has returned a token that the app has not taken over yet.
    pub fn has_untaken(&self, uid: &str, tokens: &Tokens, now: Timestamp) -> bool {
        self.wanted.is_some_and(|wanted| {
            let fetched = wanted.untaken(tokens).filter(|it| it.id > wanted.since);
            fetched.is_some_and(|it| it.is_for(uid, wanted.is_suspended, now))
        })
    }

    /// Returns the token to show instead of the present one, which `in_secret` describes if its
    /// value is unknown. A suspended app only gets tokens that it requested itself.
    pub fn newer(
        &self,
        uid: &str,
        known: Option<&KnownCredentials>,
        in_secret: Option<&TokenRecord>,
        is_suspended: bool,
        tokens: &Tokens,
        now: Timestamp,
    ) -> Option<Newer> {
        let is_for_it = |fetched: &&Fetched| fetched.is_for(uid, is_suspended, now);
        let own = self.held.as_ref().map(|held| &held.record).or(in_secret);
        if let (Some(wanted), Some(known)) = (self.wanted, known) {
            // A token fetched before the app wanted it may be older than the one in its Secret, or
            // expired.
            let is_older = |own: &TokenRecord, fetched: &Fetched| {
                (self.is_proven(own, known) || known.shares_client(own))
                    && fetched.lifetime.requested_at < own.lifetime.requested_at
            };
            let is_newer = |fetched: &&Fetched| {
                fetched.id > wanted.since
                    || !is_suspended
                        && fetched.lifetime.expires_at > now
                        && own.is_none_or(|own| !is_older(own, fetched))
            };
            let fetched = wanted.untaken(tokens).filter(is_for_it);
            if let Some(fetched) = fetched.filter(is_newer) {
                let credentials = known.version.clone();
                return Newer::fetched(fetched, wanted.token, tokens, credentials, uid);
            }
            let is_valid = |found: &&Found| {
                found.of == wanted.token && found.held.record.lifetime.expires_at > now
            };
            if let Some(found) = self.found.as_ref().filter(is_valid) {
                let mut held = found.held.clone();
                held.record.credentials = known.version.clone();
                // The recorded request is the other app's.
                held.record.answers = None;
                return Some(Newer {
                    held,
                    fingerprint: known.fingerprint,
                    why: Why::shared_by(&found.app),
                    fetch: None,
                    of: wanted.token,
                });
            }
        }
        // The fetch may have revoked the token that is shown.
        let former = self.former?;
        let fetched = former
            .untaken(tokens)
            .filter(|it| it.id > former.since && is_for_it(it))?;
        if !self.is_shown(former, tokens) {
            return None;
        }
        let credentials = fetched.credentials.clone();
        Newer::fetched(fetched, former.token, tokens, credentials, uid)
    }

    /// Takes over a token and returns whether its value is new.
    pub fn take(&mut self, newer: Newer, former: Former<'_>, now: Timestamp) -> bool {
        let Newer {
            held: Held { token, mut record },
            fingerprint,
            why,
            fetch,
            of,
        } = newer;
        record.answers = fetch.and_then(|(fetch, _)| self.answered_by(fetch));
        let (previous, same_value) = match self.held.take() {
            Some(held) => (Some(held.record), held.token == token),
            None => (former.record.cloned(), former.has_same_value),
        };
        let previous =
            previous.filter(|old| old.site == record.site && old.corp_id == record.corp_id);
        let same_value = same_value && previous.is_some();
        if let Some(old) = previous.as_ref().filter(|_| !same_value) {
            // Two tokens of the same second would have equal records, so that nothing would tell
            // which of them a Secret holds.
            if old.lifetime == record.lifetime {
                record.lifetime.requested_at += SignedDuration::from_secs(1);
            }
            // A shared token may have been fetched before the one that it replaces.
            self.value_changed_at = Some(record.lifetime.requested_at.max(whole_seconds(now)));
        }
        // A token found in a Secret gets a new record even if the value is the same: otherwise it
        // would be found again.
        let may_keep = same_value && fetch.is_some();
        let previous = previous.filter(|_| may_keep);
        let kept = previous.and_then(|old| kept(old, &record));
        let is_new = kept.is_none();
        let record = kept.unwrap_or(record);
        self.held = Some(Held { token, record });
        self.fetched_with = Some(fingerprint);
        self.why = Some(why);
        self.renewal = None;
        self.found = None;
        if is_new {
            let since = fetch.map_or(now, |(_, at)| at.min(now));
            self.unwritten_since.get_or_insert(since);
        }
        if let Some((fetch, _)) = fetch {
            // By the clock as it is now, the token ends when its record says.
            self.seen = None;
            let wanted = [&mut self.wanted, &mut self.former].into_iter().flatten();
            wanted
                .filter(|it| it.token == of)
                .for_each(|it| it.taken = fetch);
        }
        !same_value
    }

    /// Returns the renewal request that a fetch answers.
    fn answered_by(&self, fetch: FetchId) -> Option<RenewRequest> {
        let request = match &self.request {
            Some((text, seen)) => Some(text).filter(|_| fetch > *seen),
            None => self.request_done.as_ref(),
        };
        request.map(|text| RenewRequest::of(text))
    }
}

impl Fetched {
    /// Whether the app with this UID takes the token over. It always takes what it requested
    /// itself.
    fn is_for(&self, uid: &str, is_suspended: bool, now: Timestamp) -> bool {
        self.uid == uid || !is_suspended && self.lifetime.expires_at > now
    }
}

/// Returns the old record, with the new credentials, if a fetch returned the same value with the
/// same expiry; `None` if the token needs a new record.
fn kept(old: TokenRecord, new: &TokenRecord) -> Option<TokenRecord> {
    let gained = new
        .lifetime
        .expires_at
        .duration_since(old.lifetime.expires_at);
    // A record made in the future, before the clock was set back, has no usable lifetime.
    let is_kept =
        gained.abs() <= SAME_EXPIRY && old.lifetime.requested_at <= new.lifetime.requested_at;
    is_kept.then(|| TokenRecord {
        credentials: new.credentials.clone(),
        client_id: new.client_id.clone(),
        ..old
    })
}

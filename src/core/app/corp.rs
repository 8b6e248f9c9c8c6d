//! What an app knows about one corp's token, and what it shows of it.

mod newer;

use std::sync::LazyLock;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::AppRef;
use crate::core::token::attempt::{FetchId, TokenId};
use crate::core::token::known_credentials::KnownCredentials;
use crate::core::token::record::{Held, TokenRecord, whole_seconds};
use crate::core::token::request::RenewRequest;
use crate::core::token::schedule::{CLOCK_TOLERANCE, Lifetime, Schedule, jitter, set_back};
use crate::core::token::tokens::{Attempts, Fetched, Interest, TokenName, Tokens};
use crate::core::token::why::Why;
use crate::dingtalk::Fingerprint;

/// What an app knows about one corp's token, and what it shows of it.
#[derive(Debug, Default)]
pub struct Corp {
    /// The token, if its value is known.
    pub held: Option<Held>,
    /// Why this process fetched the token or took it over from another app.
    pub why: Option<Why>,
    /// Whether the corp is known to have had a token at some time.
    pub had_token: bool,
    /// Whether another app may have a newer token, which this process has not looked for yet.
    pub is_outdated: bool,
    /// Since when a token has been waiting to be written. Its record may equal the one in the
    /// Secret.
    pub unwritten_since: Option<Timestamp>,
    /// Whether its token cannot be written as things are: the Secret is blocked, or the last write
    /// failed.
    pub is_stuck: bool,
    /// When this process last changed the value, first tokens excepted.
    pub value_changed_at: Option<Timestamp>,
    /// The credentials that the token was fetched with, if known.
    pub fetched_with: Option<Fingerprint>,
    /// The last renewal request that was handled.
    pub request_done: Option<String>,
    /// The pending renewal request, and the last fetch that was queued before it was seen.
    request: Option<(String, FetchId)>,
    /// What a former process knew about the fetches, until the token is known.
    pub resumed: Option<Box<Resumed>>,
    found: Option<Found>,
    wanted: Option<Wanted>,
    /// The token of former credentials, shown until the present ones have one.
    former: Option<Wanted>,
    renewal: Option<(Lifetime, Option<Duration>, Schedule)>,
    /// The lifetime of the present token, and by how much the clock was set back since it was seen.
    seen: Option<(Lifetime, SignedDuration)>,
    /// The last failed fetch that another app requested, and the generation of this app's spec when
    /// it was seen.
    failure_seen: Option<(FetchId, Option<i64>)>,
}

/// What a former process's status says about the fetches of a token.
#[derive(Debug)]
pub struct Resumed {
    /// The last failure and the plan.
    pub attempts: Attempts,
    /// When the token that the status shows was requested.
    pub renewed_at: Option<Timestamp>,
    /// When its fetches began to fail.
    pub failing_since: Option<Timestamp>,
}

/// A token found in the Secret of another app with the same credentials.
#[derive(Debug)]
struct Found {
    of: TokenId,
    held: Held,
    /// Namespace and name of that app, as one text.
    app: Box<str>,
}

/// The token that an app wants.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    token: TokenId,
    /// The last fetch that was queued when the app began to want the token.
    since: FetchId,
    /// The last fetch whose token was taken over.
    taken: FetchId,
    is_suspended: bool,
}

impl Wanted {
    /// Returns what the last fetch returned, if it was not taken over.
    fn untaken(self, tokens: &Tokens) -> Option<&Fetched> {
        let fetched = tokens.get(self.token)?.fetched.as_ref()?;
        (fetched.id > self.taken).then_some(fetched)
    }
}

static NO_ATTEMPTS: LazyLock<Attempts> = LazyLock::new(Attempts::default);

impl Corp {
    /// Returns the fetches of the wanted token or, until that is known, what a former process knew
    /// about them.
    pub fn attempts<'a>(&'a self, tokens: &'a Tokens) -> &'a Attempts {
        let attempts = match self.wanted {
            Some(wanted) => tokens.get(wanted.token).map(|token| &token.attempts),
            None => self.resumed.as_ref().map(|resumed| &resumed.attempts),
        };
        attempts.unwrap_or(&NO_ATTEMPTS)
    }

    /// Returns the wanted token, once the credentials are known.
    pub fn token(&self) -> Option<TokenId> {
        self.wanted.map(|wanted| wanted.token)
    }

    /// Whether the app still shows a token of former credentials.
    pub fn has_former(&self) -> bool {
        self.former.is_some()
    }

    /// Whether the app has wanted a token of the same client with another secret: its fetch may revoke
    /// the token that is shown.
    pub fn has_former_of(&self, client_id: &str, tokens: &Tokens) -> bool {
        let former = self.former.and_then(|former| tokens.get(former.token));
        former.is_some_and(|former| former.name().client_id == client_id)
    }

    /// Makes the app want the token of this name. `name` is `None` while its credentials are
    /// unknown.
    pub fn want(
        &mut self,
        name: Option<TokenName>,
        app: &AppRef,
        interest: Interest,
        tokens: &mut Tokens,
    ) -> Option<TokenId> {
        let site = name.as_ref().map(|name| name.site.clone());
        let before = [self.wanted.take(), self.former.take()];
        self.wanted = name.map(|name| {
            let resumed = self.resumed.take().map(|resumed| resumed.attempts);
            let token = tokens.join(name, app, interest, resumed);
            let known = before.into_iter().flatten().find(|it| it.token == token);
            Wanted {
                token,
                since: known.map_or_else(|| tokens.last_fetch(), |known| known.since),
                taken: known.map(|known| known.taken).unwrap_or_default(),
                is_suspended: interest == Interest::Suspended,
            }
        });
        let token = self.token();
        let former = before.into_iter().flatten();
        let former = former.filter(|it| Some(it.token) != token);
        let is_of_site = |it: &Wanted| {
            let of_site = tokens.get(it.token).map(|it| &it.name().site);
            site.is_none() || of_site == site.as_ref()
        };
        let kept = former.clone().filter(is_of_site);
        // The one that is shown, if any, comes first.
        self.former = kept.min_by_key(|it| !self.is_shown(*it, tokens));
        for it in former {
            match self.former.is_some_and(|former| former.token == it.token) {
                true => tokens.interested(it.token, app, Interest::Former),
                false => tokens.leave(it.token, app),
            }
        }
        token
    }

    /// Whether the token that the app shows was fetched with the credentials of this one.
    fn is_shown(&self, wanted: Wanted, tokens: &Tokens) -> bool {
        let fingerprint = tokens.get(wanted.token).map(|it| it.name().fingerprint);
        fingerprint.is_some() && self.fetched_with == fingerprint
    }

    /// Drops the token of former credentials once the present ones have a token.
    pub fn leave_former(&mut self, app: &AppRef, tokens: &mut Tokens) {
        let is_replaced = self.wanted.is_some_and(|it| self.is_shown(it, tokens));
        if let Some(former) = self.former.take_if(|_| is_replaced) {
            tokens.leave(former.token, app);
        }
    }

    /// Drops the app's interest in the corp's token. What it has not written outlives that.
    pub fn leave(&mut self, app: &AppRef, tokens: &mut Tokens) {
        let wanted = [self.wanted.take(), self.former.take()];
        for it in wanted.into_iter().flatten() {
            match self.unwritten_since.is_some() || it.untaken(tokens).is_some() {
                true => tokens.leave_unwritten(it.token, app),
                false => tokens.leave(it.token, app),
            }
        }
    }

    /// Moves the times along with a clock that was set back by this much. A token ends when it would
    /// have ended without that, whatever its record says.
    pub fn set_back(&mut self, by: SignedDuration) {
        if let Some((.., schedule)) = &mut self.renewal {
            schedule.set_back(by);
        }
        if let Some((_, behind)) = &mut self.seen {
            *behind = behind.saturating_add(by);
        }
        if let Some(resumed) = &mut self.resumed {
            resumed.attempts.set_back(by);
        }
        self.unwritten_since = self.unwritten_since.map(|since| set_back(since, by));
    }

    /// Adjusts the times to a clock that was set back. Must be called before any decision.
    pub fn notice_clock(&mut self, now: Timestamp) {
        if let Some((.., schedule)) = &mut self.renewal {
            let planned = schedule.at;
            schedule.notice_clock(now);
            if let Some((_, behind)) = &mut self.seen {
                *behind = behind.saturating_add(planned.duration_since(schedule.at));
            }
        }
        if let Some(resumed) = &mut self.resumed {
            resumed.attempts.notice_clock(now);
        }
        self.unwritten_since = self.unwritten_since.map(|since| since.min(now));
    }

    /// Records the lifetime of the present token. Must be called before any plan for it.
    pub fn saw(&mut self, token: Lifetime) {
        self.seen.take_if(|(seen, _)| *seen != token);
        self.seen.get_or_insert((token, SignedDuration::ZERO));
    }

    /// Drops what the former process's status says if the token in the Secret was requested later:
    /// the process wrote the Secret, but not the status. The status has whole seconds: a token that
    /// it does not show came after a failure of the same second.
    pub fn outdate_resumed(&mut self, token: Lifetime) {
        let requested_at = Some(whole_seconds(token.requested_at));
        self.resumed.take_if(|resumed| {
            resumed.renewed_at < requested_at && resumed.failing_since <= requested_at
        });
    }

    /// Returns when the token of this lifetime, if there is one, is next fetched, apart from changes
    /// of spec and credentials; `None` means now.
    pub fn next_fetch(
        &mut self,
        uid: &str,
        lifetime: Option<Lifetime>,
        renew_before: Option<Duration>,
        tokens: &Tokens,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let attempts = self.attempts(tokens);
        // A former process's plan to renew late does not bind an app without a token.
        let is_bound = lifetime.is_some() || attempts.has_failed();
        if let Some(retry_at) = attempts.retry_at().filter(|_| is_bound) {
            return Some(retry_at);
        }
        let lifetime = lifetime?;
        if let Some((of, before, schedule)) = self.renewal
            && (of, before) == (lifetime, renew_before)
        {
            return Some(schedule.at);
        }
        let jitter = jitter(uid, lifetime.expires_at);
        let at = attempts.renewals().at(lifetime, renew_before, jitter);
        let behind = self.seen.filter(|(seen, _)| *seen == lifetime);
        let at = behind.map_or(at, |(_, by)| set_back(at, by));
        let at = attempts.floor().map_or(at, |floor| at.max(floor));
        self.renewal = Some((lifetime, renew_before, Schedule::at(now, at)));
        Some(at)
    }

    /// Returns the earliest retry of a failed attempt that a changed spec makes worthwhile.
    pub fn spec_retry_at(
        &mut self,
        uid: &str,
        generation: Option<i64>,
        tokens: &Tokens,
    ) -> Option<Timestamp> {
        let attempts = self.attempts(tokens);
        let failing = attempts.failing()?;
        if !failing.failure.class.traits().is_retried_on_change {
            return None;
        }
        let (ended, floor) = (attempts.ended(), attempts.floor());
        let tried_with = match self.failure_seen {
            _ if failing.uid == uid => failing.generation,
            Some((seen, tried_with)) if seen == ended => tried_with,
            _ => {
                self.failure_seen = Some((ended, generation));
                generation
            }
        };
        floor.filter(|_| tried_with != generation)
    }

    /// Records the app's renewal request. Any fetch that was queued after the request was seen
    /// answers it, whichever app requested that fetch and however it ended.
    pub fn follow_request(&mut self, request: Option<&str>, tokens: &Tokens) {
        let Some(text) = request.filter(|text| self.request_done.as_deref() != Some(text)) else {
            self.request = None;
            return;
        };
        let seen = self.request.take().filter(|(seen, _)| seen == text);
        let (text, seen) = seen.unwrap_or_else(|| (text.to_owned(), tokens.last_fetch()));
        match self.attempts(tokens).ended() > seen {
            true => self.request_done = Some(text),
            false => self.request = Some((text, seen)),
        }
    }

    /// Records that the token answers the app's renewal request, if its Secret says so.
    pub fn credit_request(&mut self, request: Option<&str>, answers: Option<RenewRequest>) {
        if let Some(request) = request
            && self.request_done.as_deref() != Some(request)
            && answers == Some(RenewRequest::of(request))
        {
            self.request_done = Some(request.to_owned());
        }
    }

    /// Whether an unwritten token answers a renewal request that the one in the Secret does not.
    pub fn answers_newly(&self, in_secret: &TokenRecord) -> bool {
        let held = self
            .held
            .as_ref()
            .filter(|_| self.unwritten_since.is_some());
        let answers = held.and_then(|held| held.record.answers);
        answers.is_some() && answers != in_secret.answers
    }

    /// Records the credentials that the token was fetched with, if its record names them. A
    /// predecessor's token is matched by `client_id` alone, so that a restored backup costs no
    /// fetch.
    pub fn credit(
        &mut self,
        in_secret: Option<&TokenRecord>,
        known: &KnownCredentials,
        is_predecessors: bool,
    ) {
        let token = self.held.as_ref().map(|held| &held.record).or(in_secret);
        let Some(token) = token.filter(|_| self.fetched_with.is_none()) else {
            return;
        };
        let is_theirs = is_predecessors && token.client_id == known.client_id;
        if known.fetched(token) || is_theirs {
            self.fetched_with = Some(known.fingerprint);
            if let Some(held) = &mut self.held {
                held.record.credentials = known.version.clone();
            }
        }
    }

    /// Whether the token in a Secret was fetched with these credentials.
    pub fn is_proven(&self, token: &TokenRecord, known: &KnownCredentials) -> bool {
        let held = self.held.as_ref();
        let is_latest = held.is_none_or(|held| held.record.is_same_token(token));
        match self.fetched_with {
            Some(fingerprint) if is_latest => fingerprint == known.fingerprint,
            // A newer token is waiting to be written; of this one only the annotations are known.
            Some(_) => token.client_id().is_some_and(|id| id == known.client_id),
            None => known.fetched(token),
        }
    }

    /// Whether the times of a recorded token are plausible. Times that this process accepted before
    /// stay plausible after the clock is set back.
    pub fn believes(&self, token: &TokenRecord, now: Timestamp) -> bool {
        let held = self.held.as_ref().map(|held| held.record.lifetime);
        let scheduled = self.renewal.as_ref().map(|(lifetime, ..)| *lifetime);
        token.lifetime.is_plausible(now) || [held, scheduled].contains(&Some(token.lifetime))
    }

    /// Forgets the token if another replica's `recorded` one is later: this replica may have lost
    /// the lease and regained it. An unwritten token may be the later one despite its time, because
    /// the replicas' clocks may differ.
    pub fn give_way_to(&mut self, recorded: &TokenRecord) {
        let Some(held) = &self.held else { return };
        let tolerance = match self.unwritten_since {
            Some(_) => CLOCK_TOLERANCE,
            None => SignedDuration::ZERO,
        };
        if recorded.lifetime.requested_at > held.record.lifetime.requested_at + tolerance {
            self.held = None;
            self.fetched_with = None;
            self.unwritten_since = None;
            self.renewal = None;
        }
    }
}

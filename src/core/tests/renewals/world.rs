//! A corp, and the site that serves it.

use super::*;

/// A corp, and the site that serves it.
pub(super) struct World {
    pub(super) way: Way,
    pub(super) life: i64,
    pub(super) corp: Corp,
    pub(super) tokens: Tokens,
    pub(super) renew_before: Option<Duration>,
    pub(super) now: Timestamp,
    pub(super) issued: Option<(u64, Timestamp)>,
    pub(super) calls: Vec<Timestamp>,
    /// Periods without a valid token.
    pub(super) gaps: Vec<SignedDuration>,
}

impl World {
    pub(super) fn new(way: Way, life: i64) -> Self {
        let (mut corp, mut tokens) = (Corp::default(), Tokens::default());
        let name = TokenName {
            site: "global".into(),
            client_id: "a".into(),
            corp_id: "ding1".into(),
            fingerprint: Fingerprint::default(),
        };
        let app = AppRef::new("payroll");
        corp.want(Some(name), &app, Interest::Active, &mut tokens);
        Self {
            way,
            life,
            corp,
            tokens,
            renew_before: None,
            now: Timestamp::from_second(1_800_000_000).expect("a time"),
            issued: None,
            calls: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Returns the site's response: the token, and its lifetime in whole seconds.
    pub(super) fn answer(&mut self) -> (u64, u64) {
        let left = |expires_at: Timestamp| expires_at.duration_since(self.now).as_secs();
        let valid = self.issued.filter(|(_, expires_at)| left(*expires_at) > 0);
        let fresh = self.issued.map_or(0, |(value, _)| value) + 1;
        let (value, life) = match (valid, self.way) {
            (Some((value, _)), Way::SameExtended) => (value, self.life),
            (Some((value, expires_at)), Way::SameRemaining) => (value, left(expires_at)),
            (Some((value, expires_at)), Way::SameThenOverlap(last)) if left(expires_at) >= last => {
                (value, left(expires_at))
            }
            _ => (fresh, self.life),
        };
        if life == self.life {
            self.issued = Some((value, self.now + SignedDuration::from_secs(life)));
        }
        (value, life.unsigned_abs())
    }

    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        Some(self.corp.held.as_ref()?.record.lifetime.expires_at)
    }

    pub(super) fn known() -> KnownCredentials {
        KnownCredentials {
            reference: crate::api::CredentialsSecretRef {
                name: "credentials".into(),
                client_id_key: "client_id".into(),
                client_secret_key: "client_secret".into(),
            },
            client_id: "a".into(),
            version: ObjectVersion::default(),
            fingerprint: Fingerprint::default(),
        }
    }

    pub(super) fn queue(&mut self) -> PendingFetch {
        let token = self.corp.token().expect("wanted");
        let ended = self.corp.attempts(&self.tokens).ended();
        let pending = |id| PendingFetch {
            id,
            token,
            app: "hr/payroll".into(),
            uid: "u1".into(),
            credentials: ObjectVersion::default(),
            reference: Self::known().reference,
            why: Cause::RenewalDue.into(),
            generation: None,
            renew_before: self.renew_before,
            former: self.corp.held.as_ref().map(|held| held.record.clone()),
            since: self.now,
        };
        let pending = self.tokens.begin(token, ended, "hr", pending);
        pending.expect("none is under way")
    }

    pub(super) fn renewals(&self) -> Renewals {
        self.corp.attempts(&self.tokens).renewals()
    }

    pub(super) fn fetch(&mut self) {
        self.calls.push(self.now);
        let requested_at = self.now;
        let pending = self.queue();
        let (value, life) = self.answer();
        self.now += LATENCY;
        if let Some(expires_at) = self.expires_at().filter(|at| *at < self.now) {
            self.gaps.push(self.now.duration_since(expires_at));
        }
        let response = TokenResponse {
            token: AccessToken::new(format!("token{value}")).expect("a token"),
            expires_in: Duration::from_secs(life),
        };
        let now = self.now;
        self.tokens.succeeded(&pending, response, requested_at, now);
        let known = Self::known();
        let newer = self
            .corp
            .newer("u1", Some(&known), None, false, &self.tokens, now);
        self.corp
            .take(newer.expect("fetched"), Former::default(), now);
    }

    pub(super) fn next(&mut self) -> Timestamp {
        let lifetime = self.corp.held.as_ref().map(|held| held.record.lifetime);
        let next = self
            .corp
            .next_fetch("u1", lifetime, self.renew_before, &self.tokens, self.now);
        next.unwrap_or(self.now)
    }

    /// Makes the next fetch when it is due, and returns the lifetime that was left.
    pub(super) fn step(&mut self) -> i64 {
        self.now = self.next().max(self.now);
        let now = self.now;
        let left = self.expires_at().map(|at| at.duration_since(now).as_secs());
        self.fetch();
        left.unwrap_or_default()
    }

    pub(super) fn run(&mut self, lifetimes: i64) -> usize {
        let before = self.calls.len();
        let end = self.now + SignedDuration::from_secs(self.life * lifetimes);
        while self.next() < end {
            self.step();
        }
        self.now = end;
        self.calls.len() - before
    }

    pub(super) fn is_never_hasty(&self) -> bool {
        let hasty = |pair: &[Timestamp]| pair[1].duration_since(pair[0]).as_secs() < 5;
        !self.calls.windows(2).any(hasty)
    }
}

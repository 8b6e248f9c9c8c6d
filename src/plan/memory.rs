//! What the operator remembers of an app between two looks at it, and how attempts change it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::backoff::delay;
use super::schedule::{jitter, next_fetch};
use super::target::Data;
use super::{Lifetime, ObjectVersion, TargetMeta, TokenRecord};
use crate::api::{DingTalkApp, DingTalkAppStatus};
use crate::dingtalk::{AccessToken, Class, Failure, Fingerprint, Minted, Reason};

/// Expiries this close are the same expiry, seen through two round trips.
const SAME_EXPIRY: SignedDuration = SignedDuration::from_secs(5);
/// Another writer's changes are put right at once, so many times in [`REPAIR_WINDOW`].
const REPAIRS_MAX: usize = 3;
/// After [`REPAIRS_MAX`], a repair waits this long.
const REPAIR_WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// A Secret that nobody else has changed for this long is no longer contested.
const CONTEST_END: SignedDuration = SignedDuration::from_secs(120);
/// A write that was refused is tried again after a minute at the latest: what frees a quota or
/// mends a webhook is not seen.
const WRITE_STREAK_MAX: u32 = 7;
/// A namespace that is terminating takes nothing any more.
const TERMINATING_PAUSE: Duration = Duration::from_secs(300);

/// A token whose value is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The value.
    pub token: AccessToken,
    /// The rest.
    pub record: TokenRecord,
}

/// A fetch that is queued or in flight.
#[derive(Clone, Debug)]
pub struct Minting {
    /// Which fetch of this process.
    pub id: u64,
    /// Where from.
    pub site: String,
    /// For which organisation.
    pub corp_id: String,
    /// With which credentials.
    pub credentials: ObjectVersion,
    /// The generation of the spec that asked for it.
    pub generation: Option<i64>,
    /// Since when.
    pub since: Timestamp,
}

/// Attempts that fail.
#[derive(Clone, Debug)]
pub struct Failing {
    /// The last failure.
    pub failure: Failure,
    /// How many in a row, for the pace.
    pub streak: u32,
    /// Since when, with this reason.
    pub since: Timestamp,
    generation: Option<i64>,
}

/// Writes of the target that fail.
#[derive(Clone, Debug)]
pub struct WriteFailure {
    /// What the API server said, or that it said nothing; nothing secret in it.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again.
    pub retry: Schedule,
    /// Whether the namespace is terminating.
    pub terminating: bool,
    streak: u32,
    generation: Option<i64>,
}

/// Credentials that cannot be used.
#[derive(Clone, Debug)]
pub struct CredentialsProblem {
    /// `CredentialsNotFound` or `CredentialsKeyMissing`, `CredentialsUnreadable`.
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// In which state of the Secret; `None` where there is none.
    pub version: Option<ObjectVersion>,
    /// With which generation of the spec, which names the keys.
    pub generation: Option<i64>,
    /// When to look again by itself; a change is noticed anyway.
    pub retry: Option<Schedule>,
}

/// A time to come, and when it was decided on: a clock that is set back moves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    decided_at: Timestamp,
    /// The time.
    pub at: Timestamp,
}

impl Schedule {
    /// `wait` from now on.
    pub fn after(now: Timestamp, wait: Duration) -> Self {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
        Self {
            decided_at: now,
            at: now.saturating_add(wait).unwrap_or(Timestamp::MAX),
        }
    }

    fn at(now: Timestamp, at: Timestamp) -> Self {
        Self {
            decided_at: now,
            at,
        }
    }

    /// A clock that was set back must not put an attempt off by as much.
    fn notice_clock(&mut self, now: Timestamp) {
        if now < self.decided_at {
            let wait = self.at.duration_since(self.decided_at);
            *self = Self::at(now, now.saturating_add(wait).unwrap_or(Timestamp::MAX));
        }
    }
}

/// The status as it was written last.
#[derive(Debug)]
struct WrittenStatus {
    status: DingTalkAppStatus,
    at: Timestamp,
    version: Option<String>,
}

/// What was written last, to tell a repair from a change of ours.
#[derive(Clone, Debug, PartialEq)]
struct LastWrite {
    version: ObjectVersion,
    record: TokenRecord,
    generation: Option<i64>,
}

/// What happened since the last status, for events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// A token of another value was written.
    pub value_changed: bool,
    /// Another writer's change was put right.
    pub repaired: bool,
}

/// What a reading of the credentials means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Fetch with them.
    Fetch,
    /// Only the Secret's metadata changed: nothing to fetch.
    Unchanged,
}

/// What the operator remembers of one app.
#[derive(Debug, Default)]
pub struct Memory {
    /// The app's UID: a recreated app is another app.
    pub uid: String,
    /// The token, where its value is known.
    pub held: Option<Held>,
    /// The fetch under way.
    pub minting: Option<Minting>,
    /// Attempts that fail.
    pub failing: Option<Failing>,
    /// Writes that fail.
    pub write_failure: Option<WriteFailure>,
    /// Credentials that cannot be used.
    pub credentials_problem: Option<CredentialsProblem>,
    /// How many renewals in a row brought no more life.
    pub unextended: u32,
    /// What to report.
    pub happened: Happened,
    /// Keys of the credentials that were trimmed, not reported yet.
    pub trimmed_keys: Vec<String>,
    /// The target's state whose data was refused as immutable.
    pub immutable: Option<ObjectVersion>,
    /// Whether the Secret is contested.
    pub contested: bool,
    status: Option<WrittenStatus>,
    trimmed_reported: Option<ObjectVersion>,
    renewal: Option<(Lifetime, Option<Duration>, Schedule)>,
    retry: Option<Schedule>,
    trusted: Option<ObjectVersion>,
    distrusted: Option<ObjectVersion>,
    tried: Option<ObjectVersion>,
    fingerprint: Option<Fingerprint>,
    last_write: Option<LastWrite>,
    repairs: Vec<Timestamp>,
}

impl Memory {
    /// The memory of an app that is seen for the first time: what its status tells.
    ///
    /// Limits outlive a restart: what was throttled or banned stays so until the time it named.
    pub fn new(app: &DingTalkApp, now: Timestamp) -> Self {
        let mut memory = Self {
            uid: app.metadata.uid.clone().unwrap_or_default(),
            ..Self::default()
        };
        let Some(corp) = app.status.as_ref().and_then(|status| status.corps.first()) else {
            return memory;
        };
        let paced = corp.error.as_ref().is_some_and(|error| {
            [Reason::Throttled, Reason::Banned, Reason::QuotaExceeded]
                .iter()
                .any(|reason| reason.as_str() == error.reason)
        });
        let unextended = app.status.as_ref().is_some_and(|status| {
            status
                .conditions
                .iter()
                .any(|condition| condition.reason == super::conditions::RENEWAL_NOT_EXTENDED)
        });
        let next = corp
            .next_attempt_at
            .as_ref()
            .and_then(|at| at.parse::<Timestamp>().ok());
        if let Some(next) = next.filter(|next| (paced || unextended) && *next > now) {
            let latest = now + SignedDuration::from_hours(1);
            memory.retry = Some(Schedule::at(now, next.min(latest)));
            memory.unextended = u32::from(unextended);
        }
        memory
    }

    /// To be called before anything is decided.
    pub fn notice_clock(&mut self, now: Timestamp) {
        if let Some((.., schedule)) = &mut self.renewal {
            schedule.notice_clock(now);
        }
        if let Some(schedule) = &mut self.retry {
            schedule.notice_clock(now);
        }
        if let Some(failure) = &mut self.write_failure {
            failure.retry.notice_clock(now);
        }
        if let Some(schedule) = self
            .credentials_problem
            .as_mut()
            .and_then(|p| p.retry.as_mut())
        {
            schedule.notice_clock(now);
        }
        self.repairs
            .retain(|at| *at <= now && now.duration_since(*at) < CONTEST_END);
        if self.repairs.is_empty() {
            self.contested = false;
        }
    }

    /// Whether the contents of `target` are what its metadata says.
    pub fn trusts(&self, target: &TargetMeta) -> bool {
        target.data_is_ours || self.trusted.as_ref() == Some(&target.version)
    }

    /// Whether `target` is the very Secret that this process wrote, whatever others took off it.
    pub fn has_written(&self, target: &TargetMeta) -> bool {
        let is_marked_for_another = target.app_uid().is_some_and(|uid| uid != self.uid);
        let written = self.last_write.as_ref().map(|last| &last.version.uid);
        !is_marked_for_another && written == Some(&target.version.uid)
    }

    /// Whether this fetch is the one that is awaited.
    pub fn awaits(&self, fetch: u64) -> bool {
        self.minting
            .as_ref()
            .is_some_and(|minting| minting.id == fetch)
    }

    /// Whether the contents of `target` were read and are not what its metadata says.
    pub fn distrusts(&self, target: &TargetMeta) -> bool {
        self.distrusted.as_ref() == Some(&target.version)
    }

    /// Takes note of the contents of `target`.
    pub fn target_read(&mut self, target: &TargetMeta, data: Option<&Data>) {
        match data.and_then(|data| data.token_recorded_by(target)) {
            Some(held) => {
                self.trusted = Some(target.version.clone());
                self.held = Some(held);
            }
            None => self.distrusted = Some(target.version.clone()),
        }
    }

    /// The state of the credentials that the last attempt used; before the first attempt of this
    /// process, that of the token.
    pub fn credentials_used<'a>(
        &'a self,
        token: Option<&'a TokenRecord>,
    ) -> Option<&'a ObjectVersion> {
        self.tried
            .as_ref()
            .or(token.map(|record| &record.credentials))
    }

    /// Takes note of credentials that were read and can be used.
    pub fn credentials_read(
        &mut self,
        version: &ObjectVersion,
        fingerprint: Fingerprint,
        trimmed_keys: &[String],
        due: bool,
    ) -> Verdict {
        self.credentials_problem = None;
        if !trimmed_keys.is_empty() && self.trimmed_reported.as_ref() != Some(version) {
            self.trimmed_keys = trimmed_keys.to_vec();
            self.trimmed_reported = Some(version.clone());
        }
        let same = self.fingerprint == Some(fingerprint);
        self.tried = Some(version.clone());
        self.fingerprint = Some(fingerprint);
        if same && !due {
            if let Some(held) = &mut self.held {
                held.record.credentials = version.clone();
            }
            return Verdict::Unchanged;
        }
        Verdict::Fetch
    }

    /// Takes note of credentials that cannot be used.
    pub fn credentials_failed(&mut self, problem: CredentialsProblem) {
        let since = match &self.credentials_problem {
            Some(old) if old.reason == problem.reason => old.since,
            _ => problem.since,
        };
        self.credentials_problem = Some(CredentialsProblem { since, ..problem });
    }

    /// The status as it is in the cluster, and when this process wrote it, if it did.
    ///
    /// The watch may not have told of our own write yet; what is newer than that write is another's.
    pub fn previous_status(&self, app: &DingTalkApp) -> (DingTalkAppStatus, Option<Timestamp>) {
        let number = |version: Option<&String>| version?.parse::<u128>().ok();
        let seen = number(app.metadata.resource_version.as_ref());
        match &self.status {
            Some(written) if seen <= number(written.version.as_ref()) => {
                (written.status.clone(), Some(written.at))
            }
            Some(written) => (app.status.clone().unwrap_or_default(), Some(written.at)),
            None => (app.status.clone().unwrap_or_default(), None),
        }
    }

    /// Takes note of a status that was written.
    pub fn status_written(
        &mut self,
        status: DingTalkAppStatus,
        version: Option<String>,
        at: Timestamp,
    ) {
        self.status = Some(WrittenStatus {
            status,
            at,
            version,
        });
    }

    /// When the token is fetched next, apart from changes of spec and credentials; `None`: now.
    pub fn next_fetch(
        &mut self,
        token: Option<&TokenRecord>,
        renew_before: Option<Duration>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if let Some(retry) = self.retry {
            return Some(retry.at);
        }
        let lifetime = token?.lifetime;
        let fits = |(of, before, _): &(Lifetime, Option<Duration>, Schedule)| {
            *of == lifetime && *before == renew_before
        };
        if self.renewal.as_ref().is_none_or(|renewal| !fits(renewal)) {
            let at = super::schedule::renewal_at(
                lifetime,
                renew_before,
                jitter(&self.uid, lifetime.expires_at),
            );
            self.renewal = Some((lifetime, renew_before, Schedule::at(now, at)));
        }
        self.renewal.map(|(.., schedule)| schedule.at)
    }

    /// Whether a change of the spec makes a failed attempt worth repeating.
    pub fn spec_changed_since_failure(&self, generation: Option<i64>) -> bool {
        self.failing.as_ref().is_some_and(|failing| {
            failing.generation != generation && failing.failure.class.needs_a_person()
        })
    }

    /// Takes note of a token that was minted by the request that started at `requested_at`.
    pub fn minted(
        &mut self,
        minting: &Minting,
        minted: Minted,
        requested_at: Timestamp,
        target: Option<&TargetMeta>,
        renew_before: Option<Duration>,
        now: Timestamp,
    ) {
        let requested_at = whole_seconds(requested_at);
        let expires_in = SignedDuration::try_from(minted.expires_in).unwrap_or_default();
        let record = TokenRecord {
            site: minting.site.clone(),
            corp_id: minting.corp_id.clone(),
            lifetime: Lifetime {
                minted_at: requested_at,
                expires_at: requested_at
                    .saturating_add(expires_in)
                    .unwrap_or(Timestamp::MAX),
            },
            credentials: minting.credentials.clone(),
        };
        let previous = self
            .held
            .as_ref()
            .map(|held| held.record.clone())
            .or_else(|| {
                let target = target.filter(|target| self.trusts(target))?;
                target.record()
            });
        let previous =
            previous.filter(|old| old.site == record.site && old.corp_id == record.corp_id);
        let same_value = previous.as_ref().is_some_and(|old| match &self.held {
            Some(held) => held.token == minted.token,
            None => {
                let as_before = Data::of(&minted.token, old).digest();
                target.and_then(TargetMeta::digest) == Some(as_before.as_str())
            }
        });
        let gained = previous.as_ref().map(|old| {
            record
                .lifetime
                .expires_at
                .duration_since(old.lifetime.expires_at)
        });
        let early = previous
            .as_ref()
            .is_some_and(|old| now < old.lifetime.expires_at);
        let unextended = early && gained.is_some_and(|gained| gained <= SAME_EXPIRY);
        self.unextended = if unextended { self.unextended + 1 } else { 0 };
        self.happened.value_changed |= !same_value;
        let unchanged = same_value && gained.is_some_and(|gained| gained.abs() <= SAME_EXPIRY);
        let record = match previous {
            // A record from the future, before the clock was set back, gives no lifetime to go by.
            Some(old) if unchanged && old.lifetime.minted_at <= requested_at => TokenRecord {
                credentials: record.credentials,
                ..old
            },
            _ => record,
        };
        let lifetime = record.lifetime;
        self.held = Some(Held {
            token: minted.token,
            record,
        });
        self.failing = None;
        self.retry = None;
        let jitter = jitter(&self.uid, lifetime.expires_at);
        let at = next_fetch(lifetime, renew_before, jitter, self.unextended, now);
        self.renewal = Some((lifetime, renew_before, Schedule::at(now, at)));
    }

    /// Takes note of a failed attempt; gives the wait until the next.
    pub fn failed(
        &mut self,
        minting: &Minting,
        failure: Failure,
        life_left: Option<Duration>,
        random: f64,
        now: Timestamp,
    ) -> Duration {
        let same_class = self
            .failing
            .as_ref()
            .filter(|old| old.failure.class == failure.class);
        let same_reason = self
            .failing
            .as_ref()
            .filter(|old| old.failure.reason == failure.reason);
        let streak = same_class.map_or(1, |old| old.streak.saturating_add(1));
        let since = same_reason.map_or(now, |old| old.since);
        let wait = delay(failure.class, streak, random, failure.wait, life_left);
        self.retry = Some(Schedule::after(now, wait));
        self.failing = Some(Failing {
            failure,
            streak,
            since,
            generation: minting.generation,
        });
        wait
    }

    /// Whether a write of `record` puts another writer's change right.
    pub fn is_repair(
        &self,
        record: &TokenRecord,
        generation: Option<i64>,
        target: Option<&TargetMeta>,
    ) -> bool {
        self.last_write.as_ref().is_some_and(|last| {
            last.record == *record
                && last.generation == generation
                && target.is_none_or(|target| target.version != last.version)
        })
    }

    /// When the next repair may be made, where not now.
    pub fn repair_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let recent = self
            .repairs
            .iter()
            .filter(|at| now.duration_since(**at) < REPAIR_WINDOW);
        if recent.count() >= REPAIRS_MAX {
            self.contested = true;
        }
        let last = self.repairs.last().filter(|_| self.contested)?;
        Some(*last + REPAIR_WINDOW).filter(|at| *at > now)
    }

    /// Takes note of a write that the API server made.
    pub fn wrote(
        &mut self,
        version: ObjectVersion,
        record: &TokenRecord,
        generation: Option<i64>,
        repair: bool,
        now: Timestamp,
    ) {
        if repair {
            self.happened.repaired |= self.repairs.is_empty();
            self.repairs.push(now);
        }
        self.write_failure = None;
        self.immutable = None;
        self.trusted = Some(version.clone());
        self.last_write = Some(LastWrite {
            version,
            record: record.clone(),
            generation,
        });
    }

    /// Takes note of a write that failed; the token is kept.
    pub fn write_failed(
        &mut self,
        message: String,
        terminating: bool,
        generation: Option<i64>,
        random: f64,
        now: Timestamp,
    ) {
        let old = self.write_failure.as_ref();
        let streak = old.map_or(1, |old| old.streak + 1).min(WRITE_STREAK_MAX);
        let wait = if terminating {
            TERMINATING_PAUSE
        } else {
            delay(Class::Transient, streak, random, None, None)
        };
        self.write_failure = Some(WriteFailure {
            message,
            since: old.map_or(now, |old| old.since),
            retry: Schedule::after(now, wait),
            terminating,
            streak,
            generation,
        });
    }

    /// When a write may be tried again, where not now.
    pub fn write_at(&self, generation: Option<i64>, now: Timestamp) -> Option<Timestamp> {
        self.write_failure
            .as_ref()
            .filter(|failure| failure.generation == generation || failure.terminating)
            .map(|failure| failure.retry.at)
            .filter(|at| *at > now)
    }
}

/// The API's times have whole seconds; cut off, so that no token is taken to live longer.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

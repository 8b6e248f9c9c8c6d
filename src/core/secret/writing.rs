//! What the operator remembers about one Secret that it writes: its last write, and what failed.

use jiff::{SignedDuration, Timestamp};

use crate::core::secret::assembly::Assembled;
use crate::core::secret::marks::fingerprint;
use crate::core::secret::recorded::Recorded;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::write::{Deletion, Write};
use crate::core::token::backoff::delay;
use crate::core::token::record::ObjectVersion;
use crate::core::token::schedule::{Schedule, set_back};
use crate::dingtalk::Class;

/// How many changes of another writer are repaired at once within [`REPAIR_WINDOW`].
const REPAIRS_MAX: usize = 3;
/// Interval between repairs after [`REPAIRS_MAX`] of them.
const REPAIR_WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// A Secret without repairs for this long is no longer contested.
const CONTEST_END: SignedDuration = SignedDuration::from_secs(120);
/// Caps the backoff of a refused write at a minute: nothing reports that a quota has room again or
/// that a webhook was fixed.
const WRITE_STREAK_MAX: u32 = 7;
/// How often a Secret is looked at whose metadata there was no room for: nothing reports that there is
/// room again.
const ROOM_PAUSE: std::time::Duration = std::time::Duration::from_secs(60);
/// Retry interval in a terminating namespace, which accepts nothing new.
const TERMINATING_PAUSE: std::time::Duration = std::time::Duration::from_secs(300);

/// Why a write or a deletion failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteProblem {
    Refused,
    /// The API server did not respond.
    Unanswered,
    NamespaceTerminating,
    /// The Secret would exceed what the cluster accepts.
    TooLarge,
}

/// A write or a deletion that failed.
#[derive(Debug)]
pub(crate) struct FailedChange {
    pub problem: WriteProblem,
    /// The API server's message, or a time-out; contains no secret.
    pub message: String,
    /// A number from 0 to 1, for the jitter.
    pub random: f64,
}

/// Outcome of a write.
#[derive(Debug)]
pub(crate) enum WriteOutcome {
    /// Written; the Secret has this version now.
    Done(ObjectVersion),
    /// The Secret's version was not the expected one, and its metadata has been read again.
    Outdated,
    /// The Secret's data is immutable.
    Immutable,
    Failed(FailedChange),
}

/// When to make a write that is needed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Now {
        /// Whether it repairs another writer's change.
        is_repair: bool,
    },
    Later(Timestamp),
    /// Once the Secret in this version has been deleted, because its data is immutable.
    Replace(ObjectVersion),
}

/// A write or a deletion that keeps failing.
#[derive(Clone, Debug)]
pub(crate) struct WriteFailure {
    pub problem: WriteProblem,
    pub message: String,
    pub since: Timestamp,
    pub retry: Schedule,
    streak: u32,
    generation: Option<i64>,
}

/// The last write, used to tell a repair from a change by the operator.
#[derive(Debug)]
struct LastWrite {
    version: ObjectVersion,
    /// Fingerprint of the record: with a thousand tokens, the record itself takes 300 KiB, and each copy
    /// of a Secret has one.
    recorded: u64,
    generation: Option<i64>,
}

/// What the operator remembers about one Secret that it writes.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    /// The failing write, or the failing deletion that has to precede it.
    pub failure: Option<WriteFailure>,
    /// The version whose data was refused as immutable.
    immutable: Option<ObjectVersion>,
    /// Whether another writer keeps changing the Secret.
    pub contested: bool,
    /// Contents for the next decision, or the record that not all tokens fit.
    pub assembled: Option<Box<Assembled>>,
    trusted: Option<ObjectVersion>,
    distrusted: Option<ObjectVersion>,
    last: Option<LastWrite>,
    repairs: Vec<Timestamp>,
    /// The failing deletion of a Secret that is no longer wanted.
    undeleted: Option<WriteFailure>,
    /// When to look whether there is room for the Secret's metadata.
    room: Option<Schedule>,
}

impl WriteFailure {
    /// Records another failure.
    fn record(
        last: &mut Option<Self>,
        failed: FailedChange,
        generation: Option<i64>,
        now: Timestamp,
    ) {
        let old = last.as_ref();
        let streak = old.map_or(1, |old| old.streak + 1).min(WRITE_STREAK_MAX);
        let wait = match failed.problem {
            WriteProblem::NamespaceTerminating => TERMINATING_PAUSE,
            WriteProblem::Refused | WriteProblem::Unanswered | WriteProblem::TooLarge => {
                delay(Class::Transient, streak, failed.random, None, None)
            }
        };
        *last = Some(Self {
            problem: failed.problem,
            message: failed.message,
            since: old.map_or(now, |old| old.since),
            retry: Schedule::after(now, wait),
            streak,
            generation,
        });
    }

    /// Returns when to retry; `None` means now.
    fn retry_at(&self, generation: Option<i64>, now: Timestamp) -> Option<Timestamp> {
        let counts =
            self.generation == generation || self.problem == WriteProblem::NamespaceTerminating;
        Some(self.retry.at).filter(|at| counts && *at > now)
    }
}

impl Writing {
    /// Moves the times along with a clock that was set back by this much.
    pub(crate) fn set_back(&mut self, by: SignedDuration) {
        for failure in self.failures() {
            failure.retry.set_back(by);
        }
        if let Some(room) = &mut self.room {
            room.set_back(by);
        }
        for at in &mut self.repairs {
            *at = set_back(*at, by);
        }
    }

    /// Adjusts times to the clock and ends a contest that is over. Must be called before any
    /// decision.
    pub(crate) fn notice_clock(&mut self, now: Timestamp) {
        for failure in self.failures() {
            failure.retry.notice_clock(now);
        }
        if let Some(room) = &mut self.room {
            room.notice_clock(now);
        }
        self.repairs
            .retain(|at| *at <= now && now.duration_since(*at) < CONTEST_END);
        if self.repairs.is_empty() {
            self.contested = false;
        }
    }

    fn failures(&mut self) -> impl Iterator<Item = &mut WriteFailure> {
        [&mut self.failure, &mut self.undeleted]
            .into_iter()
            .flatten()
    }

    /// Whether the contents of `target` are known to be as recorded.
    pub(crate) fn trusts(&self, target: &TargetMeta) -> bool {
        target.data_is_ours || self.trusted.as_ref() == Some(&target.version)
    }

    /// Whether the contents of this version were read and are not as recorded.
    pub(crate) fn distrusts(&self, version: &ObjectVersion) -> bool {
        self.distrusted.as_ref() == Some(version)
    }

    /// Whether `target` is the very Secret that this process wrote for the app with `uid`, whatever
    /// others removed from it.
    pub(crate) fn has_written(&self, target: &TargetMeta, uid: &str) -> bool {
        let is_marked_for_another = target.owner_uid().is_some_and(|other| other != uid);
        let written = self.last.as_ref().map(|last| &last.version.uid);
        !is_marked_for_another && written == Some(&target.version.uid)
    }

    /// Whether the operator's last write of `target` was another process's.
    pub(crate) fn is_anothers(&self, target: &TargetMeta) -> bool {
        let written = self.last.as_ref().map(|last| &last.version);
        target.data_is_ours && written != Some(&target.version)
    }

    /// Records whether the contents of `target` are as recorded.
    pub(crate) fn read(&mut self, target: &TargetMeta, is_genuine: bool) {
        let version = Some(target.version.clone());
        match is_genuine {
            true => self.trusted = version,
            false => self.distrusted = version,
        }
    }

    /// Whether a write of `recorded` repairs another writer's change: the same was written before
    /// and did not last, or never took effect because a webhook changed it.
    fn is_repair(&self, recorded: &Recorded, generation: Option<i64>) -> bool {
        self.last.as_ref().is_some_and(|last| {
            last.generation == generation && last.recorded == fingerprint(recorded)
        })
    }

    /// Whether this process has written the Secret.
    pub(crate) fn has_written_once(&self) -> bool {
        self.last.is_some()
    }

    /// Forgets the deletion that had to precede a write, because the Secret is gone.
    pub(in crate::core) fn is_gone(&mut self) {
        if self.immutable.take().is_some() {
            self.failure = None;
        }
    }

    /// Returns when to write `recorded` over the version that it `replaces`.
    pub(crate) fn turn(
        &mut self,
        recorded: &Recorded,
        replaces: Option<&ObjectVersion>,
        generation: Option<i64>,
        now: Timestamp,
    ) -> Turn {
        let is_repair = self.is_repair(recorded, generation);
        let repair_at = if is_repair { self.repair_at(now) } else { None };
        let later = repair_at.max(self.write_at(generation, now));
        match (later, &self.immutable) {
            (Some(later), _) => Turn::Later(later),
            (None, Some(version)) if replaces == Some(version) => Turn::Replace(version.clone()),
            (None, _) => Turn::Now { is_repair },
        }
    }

    /// Returns when the next repair may be made; `None` means now.
    fn repair_at(&mut self, now: Timestamp) -> Option<Timestamp> {
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

    /// Records a write's outcome and returns whether it is a repair to report.
    pub(crate) fn ended(
        &mut self,
        write: &Write,
        outcome: WriteOutcome,
        generation: Option<i64>,
        now: Timestamp,
    ) -> bool {
        match outcome {
            WriteOutcome::Done(version) => return self.wrote(write, version, generation, now),
            WriteOutcome::Outdated => {}
            WriteOutcome::Immutable => self.immutable.clone_from(&write.replaces),
            // The tokens are kept.
            WriteOutcome::Failed(failed) => {
                WriteFailure::record(&mut self.failure, failed, generation, now);
            }
        }
        false
    }

    fn wrote(
        &mut self,
        write: &Write,
        version: ObjectVersion,
        generation: Option<i64>,
        now: Timestamp,
    ) -> bool {
        let is_repair = self.is_repair(&write.recorded, generation);
        let is_news = is_repair && self.repairs.is_empty();
        if is_repair {
            self.repairs.push(now);
        }
        self.failure = None;
        self.immutable = None;
        self.trusted = Some(version.clone());
        self.last = Some(LastWrite {
            version,
            recorded: fingerprint(&write.recorded),
            generation,
        });
        is_news
    }

    /// Records a deletion that failed, which is retried like a write.
    pub(crate) fn not_deleted(
        &mut self,
        why: Deletion,
        failed: FailedChange,
        generation: Option<i64>,
        now: Timestamp,
    ) {
        let last = match why {
            Deletion::Immutable => &mut self.failure,
            Deletion::Former => &mut self.undeleted,
        };
        WriteFailure::record(last, failed, generation, now);
    }

    /// Makes what was not answered due now that the API server responds again. Returns whether
    /// there is any.
    pub(crate) fn retry_unanswered(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        for failure in self.failures() {
            if failure.problem == WriteProblem::Unanswered {
                failure.retry = Schedule::after(now, std::time::Duration::ZERO);
                any = true;
            }
        }
        any
    }

    /// Returns when to look again at the Secret, whose metadata there was no room for; `None` means
    /// now, and then not for a minute.
    pub(in crate::core) fn look_for_room_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let room = self.room.get_or_insert(Schedule::after(now, ROOM_PAUSE));
        let later = Some(room.at).filter(|at| *at > now);
        if later.is_none() {
            self.room = None;
        }
        later
    }

    /// Returns when the write may be retried; `None` means now.
    pub(crate) fn write_at(&self, generation: Option<i64>, now: Timestamp) -> Option<Timestamp> {
        self.failure.as_ref()?.retry_at(generation, now)
    }

    /// Returns when the deletion of a Secret that is no longer wanted may be retried; `None` means
    /// now.
    pub(crate) fn delete_at(&self, generation: Option<i64>, now: Timestamp) -> Option<Timestamp> {
        self.undeleted.as_ref()?.retry_at(generation, now)
    }
}

#[cfg(test)]
mod tests;

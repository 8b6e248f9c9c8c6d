//! What the operator remembers of one target Secret: what it wrote, and what stood in the way.

use jiff::{SignedDuration, Timestamp};

use crate::core::secret::assembly::Assembled;
use crate::core::secret::recorded::Recorded;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::write::Write;
use crate::core::token::backoff::delay;
use crate::core::token::record::ObjectVersion;
use crate::core::token::schedule::Schedule;
use crate::dingtalk::Class;

/// Another writer's changes are put right at once, so many times in [`REPAIR_WINDOW`].
const REPAIRS_MAX: usize = 3;
/// After [`REPAIRS_MAX`], a repair waits this long.
const REPAIR_WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// A Secret that nobody else has changed for this long is no longer contested.
const CONTEST_END: SignedDuration = SignedDuration::from_secs(120);
/// A write that was refused is tried again after a minute at the latest: what frees a quota or
/// mends a webhook is not seen.
const WRITE_STREAK_MAX: u32 = 7;
/// A namespace that is terminating takes nothing new.
const TERMINATING_PAUSE: std::time::Duration = std::time::Duration::from_secs(300);

/// Why a write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteProblem {
    /// It was refused.
    Refused,
    /// There was no answer.
    Unanswered,
    /// The namespace is terminating.
    NamespaceTerminating,
    /// The Secret would be larger than the cluster takes.
    TooLarge,
}

/// What came of a write.
#[derive(Debug)]
pub(crate) enum WriteOutcome {
    /// It was made; the Secret is in this state now.
    Done(ObjectVersion),
    /// The Secret was not as it was thought to be, and was looked at.
    Outdated,
    /// The Secret's data cannot be changed.
    Immutable,
    /// It failed.
    Failed {
        /// What stands in the way.
        problem: WriteProblem,
        /// What the API server said, or that it said nothing; nothing secret in it.
        message: String,
        /// For the jitter, between 0 and 1.
        random: f64,
    },
}

/// When a write that is needed is made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Now.
    Now {
        /// Whether it puts another writer's change right.
        is_repair: bool,
    },
    /// At this time.
    Later(Timestamp),
    /// Once the Secret in this state, whose data cannot be changed, is deleted.
    Replace(ObjectVersion),
}

/// Writes of the target that fail.
#[derive(Clone, Debug)]
pub(crate) struct WriteFailure {
    /// What stands in the way.
    pub problem: WriteProblem,
    /// What the API server said, or that it said nothing; nothing secret in it.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again.
    pub retry: Schedule,
    streak: u32,
    generation: Option<i64>,
}

/// What was written last, to tell a repair from a change of ours.
#[derive(Clone, Debug, PartialEq)]
struct LastWrite {
    version: ObjectVersion,
    recorded: Recorded,
    generation: Option<i64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    /// Writes that fail.
    pub failure: Option<WriteFailure>,
    /// The state whose data was refused as immutable.
    pub immutable: Option<ObjectVersion>,
    /// Whether another writer keeps changing the Secret.
    pub contested: bool,
    /// Contents for the next decision, or the note that not all tokens fit.
    pub assembled: Option<Box<Assembled>>,
    trusted: Option<ObjectVersion>,
    distrusted: Option<ObjectVersion>,
    last: Option<LastWrite>,
    repairs: Vec<Timestamp>,
}

impl Writing {
    /// To be called before anything is decided.
    pub(crate) fn notice_clock(&mut self, now: Timestamp) {
        if let Some(failure) = &mut self.failure {
            failure.retry.notice_clock(now);
        }
        self.repairs
            .retain(|at| *at <= now && now.duration_since(*at) < CONTEST_END);
        if self.repairs.is_empty() {
            self.contested = false;
        }
    }

    /// Whether the contents of `target` are what its metadata says.
    pub(crate) fn trusts(&self, target: &TargetMeta) -> bool {
        target.data_is_ours || self.trusted.as_ref() == Some(&target.version)
    }

    /// Whether the contents of `target` were read and are not what its metadata says.
    pub(crate) fn distrusts(&self, target: &TargetMeta) -> bool {
        self.has_distrusted(&target.version)
    }

    /// The same, for a state whose metadata is not at hand.
    pub(crate) fn has_distrusted(&self, version: &ObjectVersion) -> bool {
        self.distrusted.as_ref() == Some(version)
    }

    /// Whether `target` is the very Secret that this process wrote for the app with `uid`, whatever
    /// others took off it.
    pub(crate) fn has_written(&self, target: &TargetMeta, uid: &str) -> bool {
        let is_marked_for_another = target.owner_uid().is_some_and(|other| other != uid);
        let written = self.last.as_ref().map(|last| &last.version.uid);
        !is_marked_for_another && written == Some(&target.version.uid)
    }

    /// Whether another replica wrote `target` last.
    pub(crate) fn is_anothers(&self, target: &TargetMeta) -> bool {
        let written = self.last.as_ref().map(|last| &last.version);
        target.data_is_ours && written != Some(&target.version)
    }

    /// Records whether the contents of `target` are what its metadata says.
    pub(crate) fn read(&mut self, target: &TargetMeta, is_genuine: bool) {
        let version = Some(target.version.clone());
        match is_genuine {
            true => self.trusted = version,
            false => self.distrusted = version,
        }
    }

    /// Whether a write of `recorded` puts another writer's change right: the same was written before,
    /// and either did not last, or did not even come to be (a webhook may change what is written).
    fn is_repair(&self, recorded: &Recorded, generation: Option<i64>) -> bool {
        self.last
            .as_ref()
            .is_some_and(|last| last.recorded == *recorded && last.generation == generation)
    }

    /// Whether this process has written the Secret.
    pub(crate) fn has_written_once(&self) -> bool {
        self.last.is_some()
    }

    /// When a write of `recorded` over the state that it `replaces` is made.
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

    /// When the next repair may be made, if not now.
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

    /// Records what came of a write; returns whether it is a repair to report.
    pub(crate) fn ended(
        &mut self,
        write: &Write,
        outcome: WriteOutcome,
        generation: Option<i64>,
        now: Timestamp,
    ) -> bool {
        match outcome {
            WriteOutcome::Done(version) => self.wrote(write, version, generation, now),
            WriteOutcome::Outdated => false,
            WriteOutcome::Immutable => {
                self.immutable.clone_from(&write.replaces);
                false
            }
            WriteOutcome::Failed {
                problem,
                message,
                random,
            } => {
                self.failed(problem, message, generation, random, now);
                false
            }
        }
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
            recorded: write.recorded.clone(),
            generation,
        });
        is_news
    }

    /// The tokens are kept.
    fn failed(
        &mut self,
        problem: WriteProblem,
        message: String,
        generation: Option<i64>,
        random: f64,
        now: Timestamp,
    ) {
        let old = self.failure.as_ref();
        let streak = old.map_or(1, |old| old.streak + 1).min(WRITE_STREAK_MAX);
        let wait = match problem {
            WriteProblem::NamespaceTerminating => TERMINATING_PAUSE,
            WriteProblem::Refused | WriteProblem::Unanswered | WriteProblem::TooLarge => {
                delay(Class::Transient, streak, random, None, None)
            }
        };
        self.failure = Some(WriteFailure {
            problem,
            message,
            since: old.map_or(now, |old| old.since),
            retry: Schedule::after(now, wait),
            streak,
            generation,
        });
    }

    /// The API server answers again: a write that it did not answer is tried at once. Returns whether there
    /// is one.
    pub(crate) fn retry_unanswered(&mut self, now: Timestamp) -> bool {
        let failure = self.failure.as_mut();
        let unanswered = failure.filter(|failure| failure.problem == WriteProblem::Unanswered);
        let Some(failure) = unanswered else {
            return false;
        };
        failure.retry = Schedule::after(now, std::time::Duration::ZERO);
        true
    }

    /// When a write may be tried again, if not now.
    pub(in crate::core) fn write_at(
        &self,
        generation: Option<i64>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.failure
            .as_ref()
            .filter(|failure| {
                failure.generation == generation
                    || failure.problem == WriteProblem::NamespaceTerminating
            })
            .map(|failure| failure.retry.at)
            .filter(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_was_not_answered_is_tried_again_when_an_outage_ends_and_a_refused_one_is_not() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        for (problem, is_tried) in [
            (WriteProblem::Unanswered, true),
            (WriteProblem::Refused, false),
            (WriteProblem::TooLarge, false),
            (WriteProblem::NamespaceTerminating, false),
        ] {
            let mut writing = Writing::default();
            assert!(!writing.retry_unanswered(at(0)));
            for _ in 0..7 {
                writing.failed(problem, String::new(), Some(1), 0.5, at(0));
            }
            assert!(writing.write_at(Some(1), at(10)).is_some(), "{problem:?}");
            assert_eq!(writing.retry_unanswered(at(10)), is_tried, "{problem:?}");
            let is_due = writing.write_at(Some(1), at(10)).is_none();
            assert_eq!(is_due, is_tried, "{problem:?}");
        }
    }
}

//! What is known about a reference.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::{DingTalkTokenReference, DingTalkTokenReferenceStatus};
use crate::core::app::looks::Looks;
use crate::core::app::refusals::Refusals;
use crate::core::app::written_status::WrittenStatus;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::writing::Writing;

/// What is known about one copy.
pub(crate) struct CopySeen<'a> {
    pub name: String,
    pub source_name: String,
    /// The app's Secret, if it exists.
    pub source: Option<&'a TargetMeta>,
    /// The Secret under the copy's name, if there is one.
    pub present: Option<&'a TargetMeta>,
}

/// Whether the app allows copies in the reference's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    NoApp,
    /// The app does not name the namespace.
    Absent,
    /// The app names the namespace, whose UID must be read.
    Unread,
    /// The app's status does not record yet which namespace of that name the grant was given to.
    Unrecorded,
    /// The grant was given to a former namespace of that name.
    Former,
    /// The grant was given to this namespace.
    Given,
}

/// The parts of the cluster's state that a reference's decisions depend on.
pub(crate) struct ReferenceView<'a> {
    pub reference: &'a DingTalkTokenReference,
    pub grant: Grant,
    /// The wanted copies; none unless they are granted.
    pub copies: Vec<CopySeen<'a>>,
    /// Allowed prefixes of the copies' label and annotation keys.
    pub metadata_prefixes: &'a [String],
    /// Secrets written for this reference that are no longer copies, by name.
    pub former: BTreeMap<&'a str, &'a TargetMeta>,
}

/// What the operator remembers about a reference.
#[derive(Debug, Default)]
pub(crate) struct ReferenceMemory {
    pub uid: String,
    pub written_status: WrittenStatus<DingTalkTokenReferenceStatus>,
    /// Refused reads of Secrets and of its namespace.
    pub refused_reads: Refusals,
    looks: Looks,
    /// Number of wanted copies. A reference with many of them is looked at less often.
    pub(super) copies: usize,
    pub(super) writings: BTreeMap<String, Writing>,
    pub(super) sources: BTreeMap<String, Writing>,
}

impl ReferenceMemory {
    pub(crate) fn new(uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            ..Self::default()
        }
    }

    /// Returns until when a look at the reference must wait; see [`Looks::begin`].
    pub(crate) fn begin_look(
        &mut self,
        generation: Option<i64>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.looks.begin(self.copies, generation, now)
    }

    /// Returns the number of wanted copies, as of the last decision.
    pub(crate) fn copies(&self) -> usize {
        self.copies
    }

    /// Moves every deadline along with a clock that was set back by this much.
    pub(crate) fn set_back(&mut self, by: SignedDuration) {
        for writing in self.writings.values_mut() {
            writing.set_back(by);
        }
        self.written_status.set_back(by);
    }

    /// Returns the memory of a copy's writes.
    pub(crate) fn writing(&mut self, name: &str) -> &mut Writing {
        self.writings.entry(name.to_owned()).or_default()
    }

    /// Makes unanswered writes and deletions due now that the API server responds again; see
    /// [`Writing::retry_unanswered`].
    pub(crate) fn retry_unanswered(&mut self, now: Timestamp) -> bool {
        let copies = self.writings.values_mut();
        copies.fold(false, |any, writing| writing.retry_unanswered(now) | any)
    }

    /// Records whether an app's Secret that was read holds what its metadata records.
    pub(crate) fn source_read(&mut self, name: &str, source: &TargetMeta, is_genuine: bool) {
        let read = self.sources.entry(name.to_owned()).or_default();
        read.read(source, is_genuine);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::secret::recorded::{Recorded, TOKENS_MAX};
    use crate::core::secret::state::example;
    use crate::core::secret::write::Write;
    use crate::core::secret::writing::{FailedChange, WriteOutcome, WriteProblem};
    use crate::core::token::record::ObjectVersion;

    fn write(name: &str, recorded: Recorded) -> Write {
        Write {
            name: name.to_owned(),
            replaces: None,
            labels: Default::default(),
            annotations: Default::default(),
            owner_references: Vec::new(),
            data: Default::default(),
            recorded,
            news: Default::default(),
        }
    }

    /// Regression: each copy kept the whole record of its last write, outside of every bound. Whoever
    /// forged a Secret of their app ended the operator with two hundred references.
    #[test]
    fn a_write_of_a_thousand_tokens_is_remembered_in_less_than_a_kibibyte() {
        let mut recorded = example();
        recorded.tokens = vec![recorded.tokens[0].clone(); TOKENS_MAX];
        let mut memory = ReferenceMemory::new("r1");
        let done = WriteOutcome::Done(ObjectVersion::default());
        let now = Timestamp::UNIX_EPOCH;
        let writing = memory.writing("copy");
        writing.ended(&write("copy", recorded), done, Some(1), now);
        // Everything that is kept is printed.
        let printed = format!("{memory:?}");
        assert!(printed.contains("LastWrite"), "{printed}");
        assert!(printed.len() < 1024, "{} bytes", printed.len());
    }

    #[test]
    fn a_copy_that_was_not_answered_is_retried_beside_one_that_was_refused() {
        let now = Timestamp::UNIX_EPOCH;
        let memory = |problems: &[WriteProblem]| {
            let mut memory = ReferenceMemory::default();
            for (n, problem) in problems.iter().enumerate() {
                let write = write(&format!("copy-{n}"), example());
                let outcome = WriteOutcome::Failed(FailedChange {
                    problem: *problem,
                    message: String::new(),
                    random: 0.5,
                });
                memory
                    .writing(&write.name)
                    .ended(&write, outcome, None, now);
            }
            memory
        };
        let (refused, unanswered) = (WriteProblem::Refused, WriteProblem::Unanswered);
        assert!(memory(&[unanswered, refused]).retry_unanswered(now));
        assert!(memory(&[refused, unanswered]).retry_unanswered(now));
        assert!(!memory(&[refused]).retry_unanswered(now));
    }
}

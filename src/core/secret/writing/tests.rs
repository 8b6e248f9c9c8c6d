//! Failures of writes and deletions, and what is trusted and replaced.

use super::*;
use crate::core::secret::state::example;

fn version(resource_version: &str) -> ObjectVersion {
    ObjectVersion {
        uid: "s1".into(),
        resource_version: resource_version.into(),
    }
}

fn write() -> Write {
    Write {
        name: "token".into(),
        replaces: None,
        labels: Default::default(),
        annotations: Default::default(),
        owner_references: Vec::new(),
        data: Default::default(),
        recorded: example(),
        news: Default::default(),
    }
}

fn failed(problem: WriteProblem) -> FailedChange {
    FailedChange {
        problem,
        message: String::new(),
        random: 0.5,
    }
}

fn is_repair(writing: &mut Writing, recorded: &Recorded, generation: i64) -> bool {
    let turn = writing.turn(recorded, None, Some(generation), Timestamp::UNIX_EPOCH);
    turn == Turn::Now { is_repair: true }
}

#[test]
fn what_was_written_before_is_repaired_and_anything_else_is_new() {
    let mut writing = Writing::default();
    assert!(!is_repair(&mut writing, &example(), 1));
    let done = WriteOutcome::Done(version("8"));
    writing.ended(&write(), done, Some(1), Timestamp::UNIX_EPOCH);
    assert!(is_repair(&mut writing, &example(), 1));
    assert!(!is_repair(&mut writing, &example(), 2), "another spec");
    let changes: [fn(&mut Recorded); 4] = [
        |recorded| recorded.digest = None,
        |recorded| recorded.keys.push("more".into()),
        |recorded| recorded.value_changed_at = Some(Timestamp::UNIX_EPOCH),
        |recorded| recorded.tokens[0].lifetime.requested_at = Timestamp::UNIX_EPOCH,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut other = example();
        change(&mut other);
        assert!(!is_repair(&mut writing, &other, 1), "{n}");
    }
}

#[test]
fn a_version_whose_data_is_immutable_is_replaced_and_no_other() {
    let write = Write {
        replaces: Some(version("7")),
        ..write()
    };
    let now = Timestamp::UNIX_EPOCH;
    let mut writing = Writing::default();
    assert!(!writing.ended(&write, WriteOutcome::Immutable, Some(1), now));
    let mut turn =
        |replaces: Option<&ObjectVersion>| writing.turn(&write.recorded, replaces, Some(1), now);
    assert_eq!(turn(Some(&version("7"))), Turn::Replace(version("7")));
    let now = Turn::Now { is_repair: false };
    assert_eq!(turn(Some(&version("8"))), now);
    assert_eq!(turn(None), now);
}

#[test]
fn contents_are_trusted_in_the_version_that_was_read() {
    let target = |resource_version: &str| TargetMeta {
        version: version(resource_version),
        ..TargetMeta::default()
    };
    let mut writing = Writing::default();
    assert!(!writing.trusts(&target("7")));
    writing.read(&target("7"), true);
    assert!(writing.trusts(&target("7")));
    assert!(!writing.trusts(&target("8")));
}

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
            let outcome = WriteOutcome::Failed(failed(problem));
            writing.ended(&write(), outcome, Some(1), at(0));
        }
        assert!(writing.write_at(Some(1), at(10)).is_some(), "{problem:?}");
        assert_eq!(writing.retry_unanswered(at(10)), is_tried, "{problem:?}");
        let is_due = writing.write_at(Some(1), at(10)).is_none();
        assert_eq!(is_due, is_tried, "{problem:?}");
    }
}

#[test]
fn a_deletion_that_fails_is_tried_again_like_a_write_and_holds_up_none() {
    let at = |second| Timestamp::from_second(second).expect("a time");
    for (problem, is_hurried) in [
        (WriteProblem::Unanswered, true),
        (WriteProblem::Refused, false),
    ] {
        let mut writing = Writing::default();
        writing.not_deleted(Deletion::Former, failed(problem), Some(1), at(0));
        assert_eq!(writing.delete_at(Some(1), at(0)), Some(at(1)));
        assert_eq!(writing.delete_at(Some(1), at(1)), None);
        assert_eq!(writing.delete_at(Some(2), at(0)), None, "another spec");
        assert_eq!(writing.write_at(Some(1), at(0)), None);
        assert!(writing.failure.is_none());
        assert_eq!(writing.retry_unanswered(at(0)), is_hurried, "{problem:?}");
        let is_due = writing.delete_at(Some(1), at(0)).is_none();
        assert_eq!(is_due, is_hurried, "{problem:?}");
        // That of an immutable Secret has to precede a write.
        writing.not_deleted(Deletion::Immutable, failed(problem), Some(1), at(0));
        assert_eq!(writing.write_at(Some(1), at(0)), Some(at(1)));
    }
}

#[test]
fn the_first_repair_is_news_and_nothing_else() {
    let mut writing = Writing::default();
    let now = Timestamp::UNIX_EPOCH;
    let mut is_news = |generation: i64| {
        let done = WriteOutcome::Done(version("8"));
        writing.ended(&write(), done, Some(generation), now)
    };
    assert!(!is_news(1), "the first write");
    assert!(is_news(1));
    assert!(!is_news(1), "the second repair");
    assert!(!is_news(2), "another spec");
}

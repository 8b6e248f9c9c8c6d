//! Two days of ten thousand apps, for each way in which a repeated fetch may behave.

use scheduler_simulation::{
    Fault, FaultKind, HOUR, MINUTE, Millis, Plan, Repeat, Report, SECOND, simulate,
};

/// What the limits alone make ten thousand wait: 40 s at 250 calls a second, and some calls.
const BACKLOG: Millis = 45 * SECOND;

fn faults() -> Vec<Fault> {
    let fault = |kind, from: Millis, minutes: Millis| Fault {
        from,
        until: from + minutes * MINUTE,
        kind,
        site: "global",
    };
    vec![
        fault(FaultKind::Outage, 10 * HOUR, 60),
        fault(FaultKind::Throttling, 20 * HOUR, 30),
        fault(FaultKind::Ban, 28 * HOUR, 5),
        fault(FaultKind::Outage, 36 * HOUR + 17 * MINUTE, 3),
    ]
}

/// Newcomers in the middle of the first renewals, after the outage, and while it is throttled.
fn newcomers() -> Vec<Millis> {
    let first_renewals = 76 * MINUTE;
    let after_outage = 11 * HOUR + 5 * SECOND;
    vec![
        first_renewals,
        first_renewals + 10 * SECOND,
        after_outage,
        after_outage + 7 * SECOND,
    ]
}

fn run(repeat: Repeat, faults: Vec<Fault>) -> Report {
    let plan = Plan {
        faults,
        newcomers: newcomers(),
        ..Plan::of(repeat, 48)
    };
    let report = simulate(&plan);
    println!("{repeat:?}\n{report}");
    report
}

fn no_lockstep(report: &Report, from: Millis, until: Millis) {
    let (most, mean) = report.wave(from, until);
    assert!(
        f64::from(most) <= 3.0 * mean,
        "{most} calls in a second, {mean:.1} in the mean, from {from}"
    );
}

fn holds(repeat: Repeat) {
    let calm = run(repeat, Vec::new());
    assert_eq!(calm.failures, 0);
    assert!(calm.ratio() <= 1.1, "{}", calm.ratio());
    assert!(calm.busiest_second <= 250, "{}", calm.busiest_second);
    assert!(calm.longest_first <= BACKLOG, "{}", calm.longest_first);
    // Where only expiry brings a new token, it comes right after; all those of the cold start's 40 s
    // expire as they were minted.
    let gap = match repeat {
        Repeat::SameRemaining => 5 * SECOND,
        _ => 0,
    };
    assert!(calm.longest_gap <= gap, "{}", calm.longest_gap);
    assert!(calm.newcomers.iter().all(|waited| *waited <= SECOND));
    assert_eq!(calm.newcomers.len(), newcomers().len());
    let (after, length) = wave(repeat);
    no_lockstep(&calm, after, after + length);

    let rough = run(repeat, faults());
    assert!(rough.ratio() <= 1.1, "{}", rough.ratio());
    assert!(rough.busiest_second <= 250, "{}", rough.busiest_second);
    assert!(rough.longest_gap <= BACKLOG, "{}", rough.longest_gap);
    assert!(rough.newcomers.iter().all(|waited| *waited <= SECOND));
    let after_outage = 11 * HOUR + after;
    no_lockstep(&rough, after_outage, after_outage + length);
}

/// How long after they were all minted the apps renew, and within what time. Where only expiry
/// brings a new token, nothing may spread them but the limits: who waited would have none.
fn wave(repeat: Repeat) -> (Millis, Millis) {
    match repeat {
        Repeat::SameRemaining => (2 * HOUR, BACKLOG),
        _ => (70 * MINUTE, 15 * MINUTE),
    }
}

#[test]
fn same_token_extended() {
    holds(Repeat::SameExtended);
}

#[test]
fn same_token_with_what_remains() {
    holds(Repeat::SameRemaining);
}

#[test]
fn a_new_token_and_the_old_one_lives_on() {
    holds(Repeat::NewOverlap);
}

#[test]
fn a_new_token_and_the_old_one_is_revoked() {
    holds(Repeat::NewRevoked);
}

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

/// Calls are few, for each app and so for any number of them. Where early renewals bring nothing, each
/// app searches for the time when they do in its first lifetime, which two days do not make up for:
/// fewer apps are simulated for longer.
fn is_frugal(repeat: Repeat, two_days: &Report, faults: &[Fault]) {
    let searches = matches!(repeat, Repeat::SameRemaining | Repeat::SameThenOverlap);
    if !searches {
        assert!(two_days.ratio() <= 1.1, "{}", two_days.ratio());
        return;
    }
    let ten_days = simulate(&Plan {
        apps: 500,
        faults: faults.to_vec(),
        ..Plan::of(repeat, 240)
    });
    println!("{repeat:?}, ten days\n{ten_days}");
    assert!(ten_days.ratio() <= 1.1, "{}", ten_days.ratio());
}

fn holds(repeat: Repeat) {
    let calm = run(repeat, Vec::new());
    assert_eq!(calm.failures, 0);
    is_frugal(repeat, &calm, &[]);
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

    let mut faults = faults();
    if repeat == Repeat::SameThenOverlap {
        // In the minutes that all of them wait for.
        faults.push(Fault {
            from: 5 * HOUR + 50 * MINUTE,
            until: 5 * HOUR + 54 * MINUTE,
            kind: FaultKind::Outage,
            site: "global",
        });
    }
    let rough = run(repeat, faults.clone());
    is_frugal(repeat, &rough, &faults);
    assert!(rough.busiest_second <= 250, "{}", rough.busiest_second);
    assert!(rough.longest_gap <= BACKLOG, "{}", rough.longest_gap);
    assert!(rough.newcomers.iter().all(|waited| *waited <= SECOND));
    // In the minutes that a token changes in, only the limits spread renewals, as at expiry.
    if repeat != Repeat::SameThenOverlap {
        let after_outage = 11 * HOUR + after;
        no_lockstep(&rough, after_outage, after_outage + length);
    }
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
fn the_same_token_until_its_last_minutes_then_a_new_one() {
    holds(Repeat::SameThenOverlap);
}

#[test]
fn a_new_token_and_the_old_one_is_revoked() {
    holds(Repeat::NewRevoked);
}

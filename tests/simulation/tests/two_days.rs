//! Two days of ten thousand apps, for each behaviour of a repeated fetch.

use scheduler_simulation::{
    Fault, FaultKind, HOUR, MINUTE, Millis, Plan, Repeat, Report, SECOND, simulate,
};

/// How long ten thousand apps wait because of the limits alone: 40 s at 250 calls a second, and a margin.
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

/// Returns creation times in the middle of the first renewals and right after the outage.
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
        "{most} calls in a second, {mean:.1} on average, from {from}"
    );
}

/// Asserts that the apps need few calls. If an early renewal does not extend the lifetime, each app searches in its
/// first lifetime for the time from which it does. Two days are too short to make up for that, so fewer apps are
/// simulated for longer.
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
    // If there is a new token only after expiry, it comes right after. The tokens of the first 40 s expire at the
    // pace at which they were fetched.
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
        // An outage in the minutes that all apps wait for.
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
    // If all tokens change in the same minutes, only the limits spread the renewals, as at expiry.
    if repeat != Repeat::SameThenOverlap {
        let after_outage = 11 * HOUR + after;
        no_lockstep(&rough, after_outage, after_outage + length);
    }
}

/// Returns how long after the first tokens the apps renew, and within what time. If there is a new token only after
/// expiry, only the limits may spread the renewals, because an app that waited longer would have no token.
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

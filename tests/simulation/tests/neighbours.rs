//! Isolation: permanent failures of some corps, several sites, and a hostile namespace.

use scheduler_simulation::{
    Behaviour, Fault, FaultKind, Group, GroupReport, HOUR, MINUTE, Millis, Plan, Repeat, Report,
    SECOND, simulate,
};

/// Minimum remaining lifetime at a renewal: a third of two hours, less delays by jitter and limits.
const LIFE_LEFT: Millis = 10 * MINUTE;
/// Maximum time of a retry in the queue: two thousand first tokens take 8 s and have priority.
const QUEUED: Millis = 10 * SECOND;

fn run(hours: i64, groups: Vec<Group>, faults: Vec<Fault>) -> Report {
    let plan = Plan {
        apps: 0,
        groups,
        faults,
        ..Plan::of(Repeat::SameExtended, hours)
    };
    let report = simulate(&plan);
    for (group, shown) in plan.groups.iter().zip(&report.groups) {
        println!("{}/{}: {shown:?}", group.namespace, group.client);
    }
    report
}

fn is_unharmed(victims: &GroupReport, apps: usize, hours: i64) {
    let least = victims.least_life.expect("renewed");
    assert!(least >= LIFE_LEFT, "{least} ms of life were left");
    // Renewals come after two thirds of two hours, up to 5 % earlier.
    let renewals = usize::try_from(hours * 60 / 74).expect("few");
    assert!(
        victims.tokens <= apps * (renewals + 2),
        "{}",
        victims.tokens
    );
    assert!(
        victims.tokens >= apps * (renewals - 1),
        "{}",
        victims.tokens
    );
}

fn keeps_its_pace(group: &GroupReport) {
    assert_eq!(group.too_early, 0);
    assert!(group.latest <= QUEUED, "{} ms late", group.latest);
}

fn with(behaviour: Behaviour, group: Group) -> Group {
    Group { behaviour, ..group }
}

#[test]
fn corps_that_always_fail_keep_their_pace_beside_healthy_ones_of_their_client() {
    let of_client = |corp, corps| Group {
        corp,
        corps,
        ..Group::of("calm", "shared", 1)
    };
    let report = run(
        8,
        vec![
            of_client("good", 140),
            with(Behaviour::Fails("server.error", 500), of_client("bad", 60)),
            Group::of("other", "client", 500),
        ],
        Vec::new(),
    );
    is_unharmed(&report.groups[0], 140, 8);
    is_unharmed(&report.groups[2], 500, 8);
    keeps_its_pace(&report.groups[1]);
    // Seven within two minutes, then one every five minutes.
    let calls = report.groups[1].calls;
    assert!((60 * 95..=60 * 105).contains(&calls), "{calls}");
}

#[test]
fn a_corp_that_is_always_throttled_slows_no_renewal() {
    for (code, status) in [("systemBusy", 429), ("serviceBusy", 503)] {
        let report = run(
            6,
            vec![
                Group::of("calm", "client", 2000),
                // The same credentials succeed for another corp.
                Group {
                    corp: "good",
                    ..Group::of("hostile", "busy", 3)
                },
                with(
                    Behaviour::Fails(code, status),
                    Group::of("hostile", "busy", 3),
                ),
            ],
            Vec::new(),
        );
        is_unharmed(&report.groups[0], 2000, 6);
        keeps_its_pace(&report.groups[2]);
    }
}

#[test]
fn an_organisations_ban_leaves_the_others_of_its_app_alone() {
    let of_client = |corp, corps| Group {
        corp,
        corps,
        ..Group::of("vendor", "suite", 1)
    };
    let report = run(
        6,
        vec![
            of_client("good", 999),
            with(Behaviour::Fails("90005", 200), of_client("banned", 1)),
        ],
        Vec::new(),
    );
    is_unharmed(&report.groups[0], 999, 6);
    keeps_its_pace(&report.groups[1]);
}

#[test]
fn a_site_that_is_banned_or_away_leaves_the_other_site_alone() {
    let fault = |from: Millis, kind| Fault {
        from,
        until: from + 50 * MINUTE,
        kind,
        site: "global",
    };
    let faults = vec![
        fault(2 * HOUR, FaultKind::Ban),
        fault(4 * HOUR, FaultKind::Outage),
    ];
    let china = Group {
        site: "china",
        ..Group::of("calm", "china", 1000)
    };
    let global = Group::of("calm", "global", 1000);
    let report = run(8, vec![china, global], faults);
    is_unharmed(&report.groups[0], 1000, 8);
}

#[test]
fn a_hostile_namespace_takes_no_life_from_its_neighbours() {
    let hostile =
        |client, clients, behaviour| with(behaviour, Group::of("hostile", client, clients));
    let own = |client, behaviour| Group {
        corps: 50,
        ..hostile(client, 4, behaviour)
    };
    let report = run(
        5,
        vec![
            Group {
                corps: 5,
                ..Group::of("first", "victim", 40)
            },
            Group {
                corps: 5,
                corp: "second",
                ..Group::of("second", "victim", 40)
            },
            Group::of("third", "own", 100),
            // The victims' client_ids with a wrong secret and made-up corps; renewals are requested all the time.
            Group {
                corps: 100,
                corp: "made-up",
                secret: "wrong",
                forced_every: Some(10 * SECOND),
                ..hostile("victim", 25, Behaviour::Fails("invalid.client", 400))
            },
            own("banned", Behaviour::Fails("90001", 200)),
            own("busy", Behaviour::Fails("systemBusy", 429)),
            own("html", Behaviour::Html),
            own("tar", Behaviour::Hangs),
            own("broken", Behaviour::Fails("server.error", 500)),
        ],
        Vec::new(),
    );
    is_unharmed(&report.groups[0], 200, 5);
    is_unharmed(&report.groups[1], 200, 5);
    is_unharmed(&report.groups[2], 100, 5);
    for hostile in &report.groups[3..9] {
        assert_eq!(hostile.too_early, 0);
    }
    // Rejected credentials cost at most one call a minute, however many corps use them.
    let guesses = report.groups[3].calls;
    assert!(guesses <= 25 * 5 * 61, "{guesses}");
}

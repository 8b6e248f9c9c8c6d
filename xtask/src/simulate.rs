//! A long run of the simulation.

use clap::ValueEnum as _;
use scheduler_simulation::{Fault, FaultKind, HOUR, MINUTE, Plan, Repeat, simulate};

/// What to simulate.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// For how many hours.
    #[arg(long, default_value_t = 10 * 24)]
    hours: i64,
    /// How many apps.
    #[arg(long, default_value_t = 10_000)]
    apps: usize,
    /// The seed of the random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What a repeated fetch does. Default: each of the five, one after the other.
    #[arg(long, value_enum)]
    repeat: Option<Repeat>,
}

/// Prints a report of each way.
pub(crate) fn run(arguments: &Arguments) {
    let repeats = match arguments.repeat {
        Some(repeat) => vec![repeat],
        None => Repeat::value_variants().to_vec(),
    };
    // An outage of an hour each day, and a ban.
    let fault = |from, minutes, kind| Fault {
        from,
        until: from + minutes * MINUTE,
        kind,
        site: "global",
    };
    let days = 0..arguments.hours / 24 + 1;
    let faults: Vec<Fault> = days
        .flat_map(|day| {
            let start = day * 24 * HOUR;
            [
                fault(start + 10 * HOUR, 60, FaultKind::Outage),
                fault(start + 15 * HOUR, 30, FaultKind::Throttling),
                fault(start + 20 * HOUR, 5, FaultKind::Ban),
            ]
        })
        .collect();
    for repeat in repeats {
        println!(
            "{repeat:?}: simulating {} h of {} apps",
            arguments.hours, arguments.apps
        );
        let report = simulate(&Plan {
            apps: arguments.apps,
            seed: arguments.seed,
            faults: faults.clone(),
            ..Plan::of(repeat, arguments.hours)
        });
        println!("{report}");
    }
}

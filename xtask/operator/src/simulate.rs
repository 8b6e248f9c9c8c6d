//! A long run of the simulation.

use std::process::ExitCode;

use clap::ValueEnum as _;
use clap::builder::PossibleValue;
use scheduler_simulation::{Fault, FaultKind, HOUR, MINUTE, Plan, Repeat, simulate};
use xtask::{Failure, Simulation};

/// Simulates each behaviour, and prints a report.
pub(crate) fn run(arguments: &Simulation) -> Result<ExitCode, Failure> {
    let repeats = match &arguments.repeat {
        Some(repeat) => vec![named(repeat)?],
        None => Repeat::value_variants().to_vec(),
    };
    // Each day has an outage of an hour, throttling, and a ban.
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
            "{repeat:?}: simulating {} h with {} apps",
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
    Ok(ExitCode::SUCCESS)
}

fn named(repeat: &str) -> Result<Repeat, Failure> {
    let known = Repeat::value_variants().iter();
    let names: Vec<_> = known.filter_map(Repeat::to_possible_value).collect();
    let names: Vec<&str> = names.iter().map(PossibleValue::get_name).collect();
    let unknown = |_| format!("--repeat {repeat} is not one of {}", names.join(", "));
    Ok(Repeat::from_str(repeat, false).map_err(unknown)?)
}

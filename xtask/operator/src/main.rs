//! The project's commands that need the operator's types; `cargo xtask` runs them.

mod docs;
mod manifests;
mod reference;
mod simulate;
mod surface;

use std::process::ExitCode;

use clap::Parser;
use xtask::{OfOperator, exit_code};

#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: OfOperator,
}

fn main() -> ExitCode {
    exit_code(match Cli::parse().command {
        OfOperator::Manifests { check } => manifests::run(check),
        OfOperator::Docs {
            translated,
            external,
        } => docs::run(translated.as_deref(), external),
        OfOperator::Simulate(simulation) => simulate::run(&simulation),
    })
}

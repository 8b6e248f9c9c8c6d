//! Builds the consumers of docs/consumers, and runs them against the stub and a mounted Secret that changes.

mod languages;
mod mount;
mod scenarios;
mod world;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use futures::{StreamExt as _, stream};
use local_control_plane::Progress;
use tokio::runtime::Runtime;

use crate::{Failure, root};
use languages::Language;
use scenarios::{CALLS, SDK, Scenario};
use world::Program;

/// Number of concurrent scenarios, which mostly wait.
const AT_ONCE: usize = 4;

/// Arguments of the command.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Consumers to build and run. Default: all.
    #[arg(value_enum)]
    languages: Vec<Language>,
}

/// Builds and runs the consumers.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let languages = match arguments.languages.as_slice() {
        [] => <Language as clap::ValueEnum>::value_variants(),
        chosen => chosen,
    };
    let runtime = Runtime::new()?;
    let (mut passed, mut failed) = (0, 0);
    for language in languages {
        let progress = Progress::start(format!("building the consumer in {language}"));
        let built = language.build()?;
        progress.done();
        let sdk = built.sdk.as_ref().map(|program| (program, &SDK[..]));
        for (program, scenarios) in [(&built.call, &CALLS[..])].into_iter().chain(sdk) {
            let results = runtime.block_on(play(*language, program, scenarios));
            passed += results.iter().filter(|is_good| **is_good).count();
            failed += results.iter().filter(|is_good| !**is_good).count();
        }
    }
    println!("\nconsumers:\n{passed} passed, {failed} failed");
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

async fn play(language: Language, program: &Program, scenarios: &[Scenario]) -> Vec<bool> {
    let folder = root().join("target/consumers/mounts");
    let folder = folder.join(language.to_string());
    let plays = scenarios
        .iter()
        .map(|scenario| play_one(language, program, scenario, &folder));
    stream::iter(plays)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

async fn play_one(
    language: Language,
    program: &Program,
    (name, steps): &Scenario,
    folder: &Path,
) -> bool {
    let started = Instant::now();
    let result = steps(program, &folder.join(name)).await;
    let what = name.replace('_', " ");
    let seconds = started.elapsed().as_secs_f64();
    match &result {
        Ok(()) => println!("   ✓ {language}: {what} ({seconds:.1} s)"),
        Err(error) => println!("   ✗ {language}: {what}: {error}"),
    }
    result.is_ok()
}

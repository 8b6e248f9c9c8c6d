//! All tests in one run.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use local_control_plane::Version;

use crate::{Failure, cargo, cargo_program, environment, root};

/// Selects the test programs that need nothing but cargo.
const PURE: &[&str] = &["--workspace", "--all-targets"];
/// Selects the test program that runs the operator on a real API server. Without `--workspace`, crates would be rebuilt
/// with other features.
const CLUSTER: &[&str] = &["--workspace", "--test", "cluster"];
/// Number of threads. Most tests mostly wait.
const THREADS: &str = "16";
/// Tests of a hostile neighbour, which keep two cores busy while tokens that live for a minute must be renewed.
/// Each boots its own control plane.
const NEIGHBOUR: &str = "neighbour::";
const NEIGHBOUR_THREADS: &str = "2";
/// Tests whose outcome does not depend on the version of Kubernetes: of DingTalk's failures and their pace, of the
/// commands, the process, its connections, costs and metrics. They take half of the time.
const OF_ANY_VERSION: [&str; 15] = [
    NEIGHBOUR,
    "a_watch_that_is_silent_is_restarted",
    "bounds::",
    "commands::",
    "failures::",
    "load::",
    "logs::",
    "metrics::",
    "monitoring::",
    "network::",
    "order::",
    "processes::",
    "redaction::",
    "slow::",
    "thousand::",
];

/// Runs `cargo test` for the workspace. The tests boot control planes with the programs that their environment names.
pub(crate) fn run(
    kubernetes: Version,
    cluster: bool,
    arguments: &[OsString],
) -> Result<ExitCode, Failure> {
    let environment = environment::of(kubernetes)?;
    let evidence = root().join("target/evidence");
    if evidence.exists() {
        fs::remove_dir_all(&evidence)?;
    }
    let mut total = Total::default();
    let mut test = |programs, arguments: &[OsString], threads| {
        cargo_test(programs, arguments, threads, &environment, &mut total)
    };
    let calm = ["--", "--skip", NEIGHBOUR].map(OsString::from);
    let is_success = if cluster {
        let skip = OF_ANY_VERSION.iter().flat_map(|name| ["--skip", name]);
        let arguments: Vec<_> = ["--"].into_iter().chain(skip).map(OsString::from).collect();
        test(CLUSTER, &arguments, THREADS)?
    } else if arguments.is_empty() {
        let pure = test(PURE, &[], THREADS)?;
        let neighbour = [NEIGHBOUR].map(OsString::from);
        let calm = test(CLUSTER, &calm, THREADS)?;
        pure && calm && test(CLUSTER, &neighbour, NEIGHBOUR_THREADS)?
    } else {
        let pure = test(PURE, arguments, THREADS)?;
        test(CLUSTER, arguments, THREADS)? && pure
    };
    if total == Total::default() {
        return Err("no test ran: see above".into());
    }
    println!("\nall test programs, on Kubernetes {}:", kubernetes.minor());
    println!(
        "{} passed, {} failed, {} skipped",
        total.passed, total.failed, total.ignored
    );
    for test in fs::read_dir(&evidence).into_iter().flatten().flatten() {
        println!("evidence of a failed test: {}", test.path().display());
    }
    Ok(match is_success && total.failed == 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Runs `cargo test` once. Returns whether it succeeded.
fn cargo_test(
    programs: &[&str],
    arguments: &[OsString],
    threads: &str,
    environment: &[(&str, OsString)],
    total: &mut Total,
) -> Result<bool, Failure> {
    // The guard ends cargo and the tests when this process ends, no matter how.
    let mut child = cargo(&mut Command::new(std::env::current_exe()?))
        .args(["guard", "--"])
        .arg(cargo_program())
        .arg("test")
        .args(programs)
        .args(arguments)
        .env(
            "RUST_TEST_THREADS",
            std::env::var("RUST_TEST_THREADS").unwrap_or(threads.to_owned()),
        )
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&line)?;
            stdout.write_all(b"\n")?;
            stdout.flush()?;
            total.add(&String::from_utf8_lossy(&line));
        }
    }
    Ok(child.wait()?.success())
}

/// Sum of the results that the test programs print at their ends.
#[derive(Debug, Default, PartialEq)]
struct Total {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Total {
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_are_summed_up() {
        let mut total = Total::default();
        total.add("running 3 tests");
        total.add("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        total.add("test result: FAILED. 4 passed; 2 failed; 1 ignored; 0 measured; 9 filtered out; finished in 1.00s");
        assert_eq!(
            total,
            Total {
                passed: 7,
                failed: 2,
                ignored: 1
            }
        );
    }
}

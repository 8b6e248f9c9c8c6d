//! The project's commands. This crate does not depend on the operator's, so that a change there does not rebuild it.
//! The commands that need the operator's types are in `xtask/operator`.

#[cfg(test)]
mod argocd;
pub mod chart;
mod consumers;
mod demo;
mod e2e;
mod environment;
pub mod image;
pub mod layout;
mod of_operator;
mod release;
mod sbom;
mod test;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use local_control_plane::{Version, exec_bound, guard, supervise};
pub use of_operator::{OfOperator, Simulation};

/// The project's commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Watch the operator do its job on a real API server.
    Demo {
        /// Leave everything running at the end, until Ctrl-C.
        #[arg(long)]
        keep: bool,
    },
    /// Run all tests, including those on a real API server.
    Test {
        /// The Kubernetes version of the API server: 1.33 or 1.37.
        #[arg(long, default_value = "1.37", value_name = "VERSION")]
        kubernetes: Version,
        /// Run only tests that may depend on the version: those on a real API server, without the hostile neighbours.
        #[arg(long, conflicts_with = "arguments")]
        cluster: bool,
        /// Arguments for `cargo test`, such as a part of a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Print the environment of the tests on a real API server as shell commands, for `cargo test --test cluster`.
    Env {
        /// The Kubernetes version of the API server: 1.33 or 1.37.
        #[arg(long, default_value = "1.37", value_name = "VERSION")]
        kubernetes: Version,
    },
    /// Run the end-to-end test on a real node: images, installation, pods that read tokens, removal. Needs root.
    E2e,
    /// Run the part of `e2e` that needs the node's network.
    #[command(hide = true)]
    E2eScenario { folder: std::path::PathBuf },
    #[command(flatten)]
    OfOperator(OfOperator),
    /// Check the layout of the sources: no circular or upward dependencies, and nothing too long.
    Layout {
        /// Print counts instead.
        #[arg(long)]
        counts: bool,
    },
    /// Write the operator's software bill of materials, CycloneDX in JSON, to target/sbom.
    Sbom,
    /// Write the assets of a release: archives, chart, manifests, notes, checksums. See CONTRIBUTING.md, Releasing.
    Release(release::Arguments),
    /// Build the consumers of docs/consumers and run them against the stub and a changing Secret.
    Consumers(consumers::Arguments),
    /// Own a control plane; started by the other commands.
    #[command(hide = true)]
    Supervise { order: String },
    /// Run a command that must not outlive this process's parent.
    #[command(hide = true)]
    Guard {
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Become a command that ends with the process that started it.
    #[command(hide = true)]
    ExecBound {
        #[arg(long)]
        parent: u32,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

/// Runs the command in this process's arguments.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Supervise { order } => return supervise(&order),
        Command::Guard { command } => return guard(&command),
        Command::ExecBound { parent, command } => return exec_bound(parent, &command),
        Command::E2e => e2e::run(),
        Command::E2eScenario { folder } => e2e::run_scenario(&folder),
        Command::Demo { keep } => demo::run(keep),
        Command::Test {
            kubernetes,
            cluster,
            arguments,
        } => test::run(kubernetes, cluster, &arguments),
        Command::Env { kubernetes } => environment::print(kubernetes),
        Command::OfOperator(_) => of_operator::run(),
        Command::Layout { counts } => layout::run(counts),
        Command::Sbom => sbom::run(),
        Command::Release(arguments) => release::run(&arguments),
        Command::Consumers(arguments) => consumers::run(&arguments),
    };
    exit_code(result)
}

/// Returns the exit code of a command. Prints its error.
pub fn exit_code(result: Result<ExitCode, Failure>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Error of a command.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Returns the repository's root.
pub fn root() -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Makes a command of Cargo run as from a shell. The variables that `cargo run` sets for this process would make build
/// scripts run again, and everything that depends on them would be built twice.
fn cargo(command: &mut std::process::Command) -> &mut std::process::Command {
    let set_by_cargo = |name: &str| {
        [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(set_by_cargo) {
            command.env_remove(name);
        }
    }
    command.current_dir(root())
}

/// Returns the path of Cargo.
fn cargo_program() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

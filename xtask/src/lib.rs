//! The project's commands. Nothing here depends on the operator's crate, so that a change of it does not build
//! this one anew; the commands that need its types are in `xtask/operator`.

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
    /// Run all tests, those on a real API server included.
    Test {
        /// The Kubernetes version of the API server: 1.33 or 1.37.
        #[arg(long, default_value = "1.37", value_name = "VERSION")]
        kubernetes: Version,
        /// Only those on a real API server, without the hostile neighbours: what may depend on its version.
        #[arg(long, conflicts_with = "arguments")]
        cluster: bool,
        /// What to pass to `cargo test`, such as a part of a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Print the environment of the tests on a real API server, for a shell: then run `cargo test --test cluster`.
    Env {
        /// The Kubernetes version of the API server: 1.33 or 1.37.
        #[arg(long, default_value = "1.37", value_name = "VERSION")]
        kubernetes: Version,
    },
    /// The whole of it on a real node: image, install, pods that read tokens, uninstall. Needs root.
    E2e,
    /// The part of `e2e` that runs in the node's network.
    #[command(hide = true)]
    E2eScenario { folder: std::path::PathBuf },
    #[command(flatten)]
    OfOperator(OfOperator),
    /// Check the layout of `src`: no circles, no use upwards, nothing too long.
    Layout {
        /// Print what is counted instead.
        #[arg(long)]
        counts: bool,
    },
    /// Write the operator's software bill of materials, CycloneDX in JSON, to target/sbom.
    Sbom,
    /// Write what a release publishes: archives, chart, manifests, notes, checksums. See CONTRIBUTING.md, Releasing.
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

/// Runs the command that this process was started with.
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

/// The exit code of a command; says why it failed.
pub fn exit_code(result: Result<ExitCode, Failure>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a command says when it cannot do its job.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The repository's root.
pub fn root() -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Cargo, as if it was run from a shell: what `cargo run` sets for this process makes build
/// scripts run again, and what depends on them is then built twice.
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

/// Cargo's program.
fn cargo_program() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

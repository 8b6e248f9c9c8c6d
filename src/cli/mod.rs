//! The command line.

mod check;
mod explain;
mod output;
mod reasons;
mod renew;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kube::ResourceExt;
use thiserror::Error;

use crate::api::definitions;
use crate::dingtalk::{Client, ClientError, ClientOptions, Site};
use crate::operator::{CoreDumpError, LogsError, ServerError, forbid_core_dumps};

pub use reasons::reasons_markdown;

/// Exit code of a command that worked and found that something else does not.
const FOUND_A_PROBLEM: u8 = 3;
/// Exit code of a command that gave up waiting.
const TIMED_OUT: u8 = 4;

/// Keeps DingTalk access tokens in Kubernetes Secrets, valid at all times.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 all is well; 1 the command could not do its job; 2 wrong usage; \
                  3 it did, and found a problem (check, renew) or nothing (explain); 4 it gave up waiting (renew)."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator.
    Run(Box<run::RunArguments>),
    /// Print the CustomResourceDefinitions as YAML.
    Crd,
    /// Try an app's credentials against its site from here, and explain the answer. Writes nothing.
    ///
    /// It fetches a token as the operator does. Where DingTalk revokes the former token at each fetch,
    /// the one in the Secret is revoked by it: the answer says so, and what to do.
    Check(Box<check::CheckArguments>),
    /// Ask the operator for new tokens of an app now, and wait for them.
    Renew(renew::RenewArguments),
    /// Explain a code of DingTalk or a reason of a condition: what it means and what to do.
    Explain(explain::ExplainArguments),
}

/// Where DingTalk is, and whom to trust there.
#[derive(Debug, Args)]
struct SiteArguments {
    /// A DingTalk site that apps may name, as NAME=URL; repeat it for several.
    #[arg(
        long = "site",
        value_name = "NAME=URL",
        default_values = ["global=https://api.dingtalk.io", "china=https://api.dingtalk.com"]
    )]
    sites: Vec<Site>,
    /// PEM file with CA certificates to trust for the sites, beside the system's.
    #[arg(long, value_name = "FILE")]
    ca_bundle: Option<PathBuf>,
    /// For tests only: send client secrets over http://.
    #[arg(long)]
    allow_plain_http: bool,
}

impl SiteArguments {
    fn client(self) -> Result<Client, CliError> {
        let extra_ca = match self.ca_bundle {
            Some(path) => {
                Some(std::fs::read(&path).map_err(|source| CliError::CaBundle { path, source })?)
            }
            None => None,
        };
        // One provider for the whole process; a second call finds the first one's.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Client::new(ClientOptions {
            sites: self.sites,
            allow_plain_http: self.allow_plain_http,
            extra_ca,
        })?)
    }
}

/// Why a command failed.
#[derive(Debug, Error)]
pub enum CliError {
    /// The logs cannot be set up.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// The CA bundle cannot be read.
    #[error("read --ca-bundle {path}: {source}")]
    CaBundle {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A site is left to namespaces, but is none.
    #[error("--site-namespaces {site}: no --site has this name; there are {known}")]
    SiteNamespaces {
        /// What was named.
        site: String,
        /// What there is.
        known: String,
    },
    /// The client for DingTalk cannot be set up.
    #[error(transparent)]
    DingTalk(#[from] ClientError),
    /// There is no cluster to work with.
    #[error("find the cluster: {0}; set KUBECONFIG, or run it in a pod")]
    Kubeconfig(#[source] Box<kube::Error>),
    /// The kubeconfig cannot be used.
    #[error("find the cluster: {0}; set KUBECONFIG, or run it in a pod")]
    InferConfig(#[source] Box<kube::config::InferConfigError>),
    /// The server for probes or that for metrics cannot run.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The signals cannot be listened to.
    #[error("listen to signals: {0}")]
    Signals(#[source] std::io::Error),
    /// The app or one of its Secrets cannot be read or changed.
    #[error("{operation}: {source}")]
    Cluster {
        /// What was tried.
        operation: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// The app's credentials cannot be used.
    #[error("Secret {secret}: {source}: put the app's credentials there")]
    Credentials {
        /// The Secret.
        secret: String,
        /// What is wrong with it.
        source: crate::dingtalk::CredentialsError,
    },
    /// The app's site is none of those given.
    #[error(
        "site {site:?} of the app is not known here: give it with --site {site}=URL; there are {known}"
    )]
    UnknownSite {
        /// What the app names.
        site: String,
        /// What there is.
        known: String,
    },
    /// Nothing is fetched for the app.
    #[error("DingTalkApp {0} is suspended: set spec.suspend to false first")]
    Suspended(String),
    /// A core dump could hold secrets.
    #[error(transparent)]
    CoreDump(#[from] CoreDumpError),
    /// The result cannot be written as JSON.
    #[error("write the result as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The CRD cannot be written as YAML.
    #[error("write the CRD as YAML: {0}")]
    Crd(#[from] serde_yaml_ng::Error),
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// The command could not do its job.
    pub async fn execute(self) -> Result<ExitCode, CliError> {
        forbid_core_dumps()?;
        match self.command {
            Command::Run(arguments) => run::run(*arguments).await,
            Command::Crd => {
                for (_, yaml) in crds()? {
                    print!("---\n{yaml}");
                }
                Ok(ExitCode::SUCCESS)
            }
            Command::Check(arguments) => check::check(*arguments).await,
            Command::Renew(arguments) => renew::renew(arguments).await,
            Command::Explain(arguments) => explain::explain(&arguments),
        }
    }
}

/// The cluster that the environment names.
async fn cluster() -> Result<(kube::Client, String), CliError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = kube::Config::infer()
        .await
        .map_err(|source| CliError::InferConfig(Box::new(source)))?;
    let namespace = config.default_namespace.clone();
    let client =
        kube::Client::try_from(config).map_err(|source| CliError::Kubeconfig(Box::new(source)))?;
    Ok((client, namespace))
}

/// Turns an error of the API server into ours.
fn failed(operation: impl Into<String>) -> impl FnOnce(kube::Error) -> CliError {
    let operation = operation.into();
    move |source| CliError::Cluster {
        operation,
        source: Box::new(source),
    }
}

/// The CustomResourceDefinitions with their names, as `crds/` holds them.
pub fn crds() -> Result<Vec<(String, String)>, serde_yaml_ng::Error> {
    definitions()
        .iter()
        .map(|crd| Ok((crd.name_any(), serde_yaml_ng::to_string(crd)?)))
        .collect()
}

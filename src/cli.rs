//! The command line.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use kube::{CustomResourceExt, ResourceExt};
use thiserror::Error;
use tokio::sync::watch;
use tracing::info;

use crate::api::{DingTalkApp, DingTalkTokenReference};
use crate::controller;
use crate::dingtalk::{Client, ClientError, ClientOptions, Rates, Site};
use crate::operator::{self, HealthError, LogFormat, LogsError, Metrics};

/// A connection that says nothing for longer is given up, so that a list cannot hang. Watches hear
/// from the API server more often, and are started again after 295 s of silence anyway.
const READ_TIMEOUT: Duration = Duration::from_secs(330);

/// Keeps DingTalk access tokens in Kubernetes Secrets, valid at all times.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator.
    Run(Box<RunArguments>),
    /// Print the CustomResourceDefinitions as YAML.
    Crd,
}

#[derive(Debug, Args)]
struct RunArguments {
    /// A DingTalk site that apps may name, as NAME=URL; repeat it for several.
    #[arg(
        long = "site",
        value_name = "NAME=URL",
        default_values = ["global=https://api.dingtalk.io", "china=https://api.dingtalk.com"]
    )]
    sites: Vec<Site>,
    /// Leaves a site to some namespaces, as SITE=NAMESPACE[,NAMESPACE]; the others may not use it.
    #[arg(long = "site-namespaces", value_name = "SITE=NAMESPACES", value_parser = site_namespaces)]
    site_namespaces: Vec<(String, Vec<String>)>,
    /// A namespace to serve, with a Role there; repeat it for several. Default: all.
    #[arg(long = "watch-namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// PEM file with CA certificates to trust for the sites, beside the system's.
    #[arg(long, value_name = "FILE")]
    ca_bundle: Option<PathBuf>,
    /// Token requests per second with one client_id; DingTalk allows 20.
    #[arg(long, value_name = "RATE", default_value_t = Rates::default().per_client,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    client_rate: u32,
    /// Token requests in flight with one client_id.
    #[arg(long, value_name = "COUNT", default_value_t = Rates::default().in_flight_per_client,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    client_in_flight: u32,
    /// Token requests per second to one site; DingTalk bans an address above 500.
    #[arg(long, value_name = "RATE", default_value_t = Rates::default().per_site,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    site_rate: u32,
    /// Where to serve /healthz, /readyz and /metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080")]
    health_bind_address: SocketAddr,
    /// What to log: a level, or target=level pairs separated by commas.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log_level: String,
    /// How to log.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// For tests only: send client secrets over http://.
    #[arg(long)]
    allow_plain_http: bool,
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
    /// The server for probes cannot run.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// The signals cannot be listened to.
    #[error("listen to signals: {0}")]
    Signals(#[source] std::io::Error),
    /// The CRD cannot be written as YAML.
    #[error("write the CRD as YAML: {0}")]
    Crd(#[from] serde_yaml_ng::Error),
}

impl Cli {
    /// Does what the command line says.
    pub async fn execute(self) -> Result<(), CliError> {
        match self.command {
            Command::Run(arguments) => run(*arguments).await,
            Command::Crd => {
                for (_, yaml) in crds()? {
                    print!("---\n{yaml}");
                }
                Ok(())
            }
        }
    }
}

fn site_namespaces(text: &str) -> Result<(String, Vec<String>), String> {
    let format = || "write it as SITE=NAMESPACE[,NAMESPACE], such as china=hr,payroll".to_owned();
    let (site, namespaces) = text.split_once('=').ok_or_else(format)?;
    let namespaces: Vec<String> = namespaces
        .split(',')
        .filter(|namespace| !namespace.is_empty())
        .map(str::to_owned)
        .collect();
    match site.is_empty() || namespaces.is_empty() {
        true => Err(format()),
        false => Ok((site.to_owned(), namespaces)),
    }
}

/// Several flags for one site add up.
fn site_limits(
    flags: Vec<(String, Vec<String>)>,
    dingtalk: &Client,
) -> Result<HashMap<String, Vec<String>>, CliError> {
    let mut limits: HashMap<String, Vec<String>> = HashMap::new();
    for (site, namespaces) in flags {
        if !dingtalk.knows(&site) {
            let known = dingtalk.sites().collect::<Vec<_>>().join(", ");
            return Err(CliError::SiteNamespaces { site, known });
        }
        limits.entry(site).or_default().extend(namespaces);
    }
    Ok(limits)
}

/// The CustomResourceDefinitions with their names, as `crds/` holds them.
pub fn crds() -> Result<Vec<(String, String)>, serde_yaml_ng::Error> {
    [DingTalkApp::crd(), DingTalkTokenReference::crd()]
        .iter()
        .map(|crd| Ok((crd.name_any(), serde_yaml_ng::to_string(crd)?)))
        .collect()
}

async fn run(arguments: RunArguments) -> Result<(), CliError> {
    operator::init_logs(&arguments.log_level, arguments.log_format)?;
    // One provider for the whole process; a second call finds the first one's.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stop = operator::on_signal().map_err(CliError::Signals)?;
    let extra_ca = match arguments.ca_bundle {
        Some(path) => {
            Some(std::fs::read(&path).map_err(|source| CliError::CaBundle { path, source })?)
        }
        None => None,
    };
    let dingtalk = Client::new(ClientOptions {
        sites: arguments.sites,
        allow_plain_http: arguments.allow_plain_http,
        extra_ca,
    })?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        sites = dingtalk.sites().collect::<Vec<_>>().join(","),
        namespaces = arguments.namespaces.join(","),
        "starting"
    );
    let mut config = kube::Config::infer()
        .await
        .map_err(|source| CliError::InferConfig(Box::new(source)))?;
    config.read_timeout = Some(READ_TIMEOUT);
    let client =
        kube::Client::try_from(config).map_err(|source| CliError::Kubeconfig(Box::new(source)))?;
    let metrics = Arc::new(Metrics::default());
    let (ready, is_ready) = watch::channel(false);
    let address = arguments.health_bind_address;
    operator::serve(address, Arc::clone(&metrics), is_ready, stop.clone()).await?;
    let options = controller::Options {
        namespaces: arguments.namespaces,
        rates: Rates {
            per_client: arguments.client_rate,
            in_flight_per_client: arguments.client_in_flight,
            per_site: arguments.site_rate,
        },
        site_namespaces: site_limits(arguments.site_namespaces, &dingtalk)?,
        instance: std::env::var("HOSTNAME").unwrap_or_else(|_| crate::api::MANAGER.to_owned()),
    };
    controller::run(client, dingtalk, metrics, options, ready, stop).await;
    info!("stopped");
    Ok(())
}

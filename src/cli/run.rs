//! `run`: runs the operator.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::FutureExt as _;
use kube::client::ClientBuilder;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::buffer::BufferLayer;
use tracing::{error, info};

use super::error::{CliError, failed};
use super::flags::{BindAddress, namespace, object_name};
use super::sites::SiteArguments;
use crate::controller::{self, NamespaceLimits};
use crate::dingtalk::{Client, Rates};
use crate::operator::{
    self, Answers, Candidate, Leadership, LogFormat, Metrics, Outcome, PagesByWeight, Pulse,
    Replica,
};

/// Time-out for reading from a connection, so that a list cannot hang. Watches are restarted earlier, after
/// 295 s without an event.
const READ_TIMEOUT: Duration = Duration::from_secs(330);
/// Maximum number of requests that wait for the connection, as in the client library.
const REQUESTS_WAITING: usize = 1024;

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    sites: SiteArguments,
    /// Reserve a site for some namespaces, as SITE=NAMESPACE[,NAMESPACE]; others cannot use it.
    #[arg(long = "site-namespaces", value_name = "SITE=NAMESPACES", value_parser = site_namespaces)]
    site_namespaces: Vec<(String, Vec<String>)>,
    /// Prefix that is allowed for the keys of a target's labels and annotations, such as example.com/. Can be
    /// repeated. Default: no keys are allowed, because other controllers may act on them.
    #[arg(long = "target-metadata-prefix", value_name = "PREFIX",
        value_parser = clap::builder::NonEmptyStringValueParser::new())]
    metadata_prefixes: Vec<String>,
    /// Namespace to serve, in which the operator needs a Role. Can be repeated. Default: all namespaces.
    #[arg(long = "watch-namespace", value_name = "NAMESPACE", value_parser = namespace)]
    namespaces: Vec<String>,
    /// Token requests per second with one client_id; DingTalk allows 20.
    #[arg(long, value_name = "RATE", default_value_t = Rates::default().per_client,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    client_requests_per_second: u32,
    /// Token requests in flight with one client_id.
    #[arg(long, value_name = "COUNT", default_value_t = Rates::default().in_flight_per_client,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    client_requests_in_flight: u32,
    /// Token requests per second to one site; DingTalk bans an address above 500.
    #[arg(long, value_name = "RATE", default_value_t = Rates::default().per_site,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    site_requests_per_second: u32,
    /// Token requests in flight to one site.
    #[arg(long, value_name = "COUNT", default_value_t = Rates::default().in_flight_per_site,
          value_parser = clap::value_parser!(u32).range(1..))]
    site_requests_in_flight: u32,
    /// Maximum number of DingTalkApps to serve in a namespace, oldest first; 0 means no limit.
    #[arg(long, value_name = "COUNT", default_value_t = 5000)]
    max_apps_per_namespace: usize,
    /// Maximum number of corpIds to serve in a namespace, of the oldest DingTalkApps first; 0 means no limit.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    max_corps_per_namespace: usize,
    /// Maximum number of DingTalkTokenReferences to serve in a namespace, oldest first; 0 means no limit.
    #[arg(long, value_name = "COUNT", default_value_t = 5000)]
    max_references_per_namespace: usize,
    /// Whether replicas elect a leader. Several replicas without an election each fetch every token.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    leader_elect: bool,
    /// Name of the Lease for the election.
    #[arg(long, value_name = "NAME", default_value = crate::api::MANAGER, value_parser = object_name)]
    leader_elect_resource_name: String,
    /// Namespace of the Lease. Default: that of the pod or the kubeconfig.
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    leader_elect_resource_namespace: Option<String>,
    /// Address to serve /metrics on; 0 disables it.
    #[arg(long, value_name = "ADDRESS", default_value_t = BindAddress::every(8080))]
    metrics_bind_address: BindAddress,
    /// Address to serve /healthz and /readyz on; 0 disables them.
    #[arg(long, value_name = "ADDRESS", default_value_t = BindAddress::every(8081))]
    health_probe_bind_address: BindAddress,
    /// Whether metrics have one series per corpId instead of one per app.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    metrics_by_corp: bool,
    /// Log level, or target=level pairs separated by commas.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log_level: String,
    /// Log format.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

impl RunArguments {
    fn rates(&self) -> Rates {
        Rates {
            per_client: self.client_requests_per_second,
            in_flight_per_client: self.client_requests_in_flight,
            per_site: self.site_requests_per_second,
            in_flight_per_site: self.site_requests_in_flight,
        }
    }

    fn limits(&self) -> NamespaceLimits {
        NamespaceLimits {
            apps: or_no_limit(self.max_apps_per_namespace),
            corps: or_no_limit(self.max_corps_per_namespace),
            references: or_no_limit(self.max_references_per_namespace),
        }
    }
}

fn site_namespaces(text: &str) -> Result<(String, Vec<String>), &'static str> {
    let format = "write it as SITE=NAMESPACE[,NAMESPACE], such as china=hr,payroll";
    let (site, namespaces) = text.split_once('=').ok_or(format)?;
    let namespaces = namespaces.split(',').filter(|it| !it.is_empty());
    let namespaces: Vec<String> = namespaces.map(namespace).collect::<Result<_, _>>()?;
    match site.is_empty() || namespaces.is_empty() {
        true => Err(format),
        false => Ok((site.to_owned(), namespaces)),
    }
}

fn or_no_limit(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

/// Returns the namespaces for each reserved site. Combines several flags for the same site.
fn site_limits(
    flags: Vec<(String, Vec<String>)>,
    dingtalk: &Client,
) -> Result<HashMap<String, Vec<String>>, CliError> {
    let mut limits: HashMap<String, Vec<String>> = HashMap::new();
    for (site, namespaces) in flags {
        if dingtalk.host(&site).is_none() {
            let known = dingtalk.sites().collect::<Vec<_>>().join(", ");
            return Err(CliError::SiteNamespaces { site, known });
        }
        limits.entry(site).or_default().extend(namespaces);
    }
    Ok(limits)
}

pub(super) async fn run(arguments: RunArguments) -> Result<ExitCode, CliError> {
    operator::init_logs(&arguments.log_level, arguments.log_format)?;
    let stop = operator::on_signal().map_err(failed("cannot listen for signals"))?;
    launch(arguments, connect(), stop).await
}

/// Runs the operator in the cluster that `connecting` returns.
///
/// Whatever can fail comes before the election, since an error would leave the Lease taken.
async fn launch(
    arguments: RunArguments,
    connecting: impl Future<Output = Result<Cluster, CliError>>,
    stop: CancellationToken,
) -> Result<ExitCode, CliError> {
    let (rates, limits) = (arguments.rates(), arguments.limits());
    let dingtalk = arguments.sites.client()?;
    let site_namespaces = site_limits(arguments.site_namespaces, &dingtalk)?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        sites = dingtalk.sites().collect::<Vec<_>>().join(","),
        namespaces = arguments.namespaces.join(","),
        "starting"
    );
    let cluster = connecting.await?;
    let leadership = Arc::new(match arguments.leader_elect {
        true => Leadership::default(),
        false => Leadership::alone(),
    });
    let replica = Replica {
        leadership: Arc::clone(&leadership),
        watches: cluster.answers.watches,
    };
    let metrics = Arc::new(Metrics::new(arguments.metrics_by_corp, replica));
    let (ready, is_ready) = watch::channel(false);
    let pulse = Arc::new(Pulse::default());
    if let BindAddress(Some(address)) = arguments.metrics_bind_address {
        operator::serve_metrics(address, Arc::clone(&metrics), stop.clone()).await?;
    }
    if let BindAddress(Some(address)) = arguments.health_probe_bind_address {
        operator::serve_probes(address, is_ready, Arc::clone(&pulse), stop.clone()).await?;
    }
    let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| crate::api::MANAGER.to_owned());
    let candidate = arguments.leader_elect.then(|| Candidate {
        namespace: arguments
            .leader_elect_resource_namespace
            .unwrap_or(cluster.namespace),
        name: arguments.leader_elect_resource_name,
        // A restarted container has the same host name, so that it needs a random suffix.
        identity: format!("{instance}_{:016x}", rand::random::<u64>()),
    });
    let election = candidate.map(|it| Election::start(&cluster.client, it, &leadership, &stop));
    let options = controller::Options {
        pulse,
        outages: cluster.answers.outages,
        leadership,
        namespaces: arguments.namespaces,
        rates,
        limits,
        site_namespaces,
        metadata_prefixes: arguments.metadata_prefixes,
        instance,
    };
    controller::run(cluster.client, dingtalk, metrics, options, ready, stop).await;
    let outcome = match election {
        Some(election) => election.end().await,
        None => Outcome::Released,
    };
    Ok(exit_code(&outcome))
}

/// The connection to the API server.
struct Cluster {
    client: kube::Client,
    /// The operator's own namespace.
    namespace: String,
    /// What the API server's responses tell.
    answers: Answers,
}

async fn connect() -> Result<Cluster, CliError> {
    let mut config = kube::Config::infer()
        .await
        .map_err(|source| CliError::NoCluster(source.into()))?;
    config.read_timeout = Some(READ_TIMEOUT);
    let namespace = config.default_namespace.clone();
    // The operator retries failed calls itself.
    config.default_retry = false;
    let answers = Answers::default();
    let client = ClientBuilder::try_from(config)
        .map_err(|source| CliError::NoCluster(source.into()))?
        .with_layer(&answers)
        .with_layer(&BufferLayer::new(REQUESTS_WAITING))
        .with_layer(&PagesByWeight::default())
        .build();
    Ok(Cluster {
        client,
        namespace,
        answers,
    })
}

fn exit_code(outcome: &Outcome) -> ExitCode {
    match outcome {
        Outcome::Released => {
            info!("stopped");
            ExitCode::SUCCESS
        }
        Outcome::Lost { to } => {
            error!(
                leader = to,
                "Lease lost to another replica; exiting to restart as a standby"
            );
            ExitCode::FAILURE
        }
    }
}

/// The leader election, which outlasts the controller.
struct Election {
    done: CancellationToken,
    task: JoinHandle<Outcome>,
}

impl Election {
    /// Starts the election. Losing it cancels `stop`.
    fn start(
        client: &kube::Client,
        candidate: Candidate,
        leadership: &Arc<Leadership>,
        stop: &CancellationToken,
    ) -> Self {
        let done = CancellationToken::new();
        let election = operator::elect(
            client.clone(),
            candidate,
            Arc::clone(leadership),
            done.clone(),
        );
        let stop = stop.clone();
        let election = election.inspect(move |_| stop.cancel());
        Self {
            done,
            task: tokio::spawn(election),
        }
    }

    /// Releases the Lease, after all work in flight is done.
    async fn end(self) -> Outcome {
        self.done.cancel();
        // The task neither panics nor is aborted.
        self.task.await.unwrap_or(Outcome::Released)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use clap::Parser;
    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        run: RunArguments,
    }

    /// Launches the operator. Returns why it did not start, and the number of requests to the API server.
    async fn refused(flags: [&str; 2]) -> (String, usize) {
        let words = ["run", "--health-probe-bind-address=0"]
            .into_iter()
            .chain(flags);
        let flags = Flags::try_parse_from(words).expect("flags");
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let silent = tower::service_fn(move |_: Request<Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<Result<Response<Body>, http::Error>>()
        });
        let cluster = Cluster {
            client: kube::Client::new(silent, "ns"),
            namespace: "ns".to_owned(),
            answers: Answers::default(),
        };
        let stop = CancellationToken::new();
        let launched = launch(flags.run, async { Ok(cluster) }, stop).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let error = launched.expect_err("refused");
        (error.to_string(), requests.load(Ordering::Relaxed))
    }

    /// Regression: several namespaces in one flag were taken for one, which the operator could not watch.
    #[test]
    fn a_flag_takes_one_namespace_and_a_name_no_path() {
        for flag in [
            "--watch-namespace=hr,payroll",
            "--watch-namespace=",
            "--site-namespaces=china=hr;payroll",
            "--leader-elect-resource-namespace=a/b",
            "--leader-elect-resource-name=a/b",
        ] {
            assert!(Flags::try_parse_from(["run", flag]).is_err(), "{flag}");
        }
        let two = ["run", "--watch-namespace=hr", "--watch-namespace=payroll"];
        assert!(Flags::try_parse_from(two).is_ok());
        assert!(Flags::try_parse_from(["run", "--site-namespaces=china=hr,payroll"]).is_ok());
    }

    /// Regression: the operator had joined the election, and might leave a Lease that it had just taken.
    #[tokio::test]
    async fn what_cannot_start_does_not_join_the_election() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let taken = listener.local_addr().expect("an address").to_string();
        let anywhere = "--metrics-bind-address=127.0.0.1:0";
        let taken = format!("--metrics-bind-address={taken}");
        for (flags, named) in [
            (
                [anywhere, "--site-namespaces=chian=hr"],
                "--site-namespaces chian",
            ),
            (
                [taken.as_str(), "--site-namespaces=china=hr"],
                "--metrics-bind-address",
            ),
        ] {
            let (error, requests) = refused(flags).await;
            assert!(error.contains(named), "{error}");
            assert_eq!(requests, 0, "{flags:?}");
        }
    }
}

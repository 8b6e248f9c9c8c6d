//! The command line.

mod check;
mod explain;
mod flags;
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

pub use reasons::{causes_markdown, reasons_markdown};

/// The program's command line, for the list of its flags.
pub fn command_line() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

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
    /// A site that apps may name, beside or instead of a built-in one, as NAME=URL; repeat it for
    /// several.
    #[arg(long = "site", value_name = "NAME=URL")]
    sites: Vec<Site>,
    /// Whether apps may name the sites china (https://api.dingtalk.com) and global
    /// (https://api.dingtalk.io).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    builtin_sites: bool,
    /// PEM file with CA certificates to trust for the sites, beside the system's.
    #[arg(long, value_name = "FILE")]
    ca_bundle: Option<PathBuf>,
    /// For tests only: send client secrets over http://.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    allow_plain_http: bool,
}

impl SiteArguments {
    /// The sites of the flags, and the built-in ones that no flag replaces.
    fn sites(&self) -> Result<Vec<Site>, CliError> {
        let mut sites = self.sites.clone();
        for (index, site) in sites.iter().enumerate() {
            if sites[..index].iter().any(|other| other.name == site.name) {
                return Err(CliError::SiteTwice(site.name.clone()));
            }
        }
        if self.builtin_sites {
            let is_new = |built_in: &Site| !self.sites.iter().any(|it| it.name == built_in.name);
            sites.extend(Site::built_in().into_iter().filter(is_new));
        }
        match sites.is_empty() {
            true => Err(CliError::NoSite),
            false => Ok(sites),
        }
    }

    fn client(self) -> Result<Client, CliError> {
        let sites = self.sites()?;
        let extra_ca = match self.ca_bundle {
            Some(path) => {
                Some(std::fs::read(&path).map_err(|source| CliError::CaBundle { path, source })?)
            }
            None => None,
        };
        // One provider for the whole process; a second call finds the first one's.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Client::new(ClientOptions {
            sites,
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
    /// Two sites have one name.
    #[error("--site {0}: given twice")]
    SiteTwice(String),
    /// There is no site to call.
    #[error("--builtin-sites=false leaves no site: name at least one with --site NAME=URL")]
    NoSite,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        sites: SiteArguments,
    }

    fn sites(flags: &[&str]) -> Result<Vec<String>, CliError> {
        let flags = Flags::try_parse_from([&["x"], flags].concat()).expect("flags");
        let sites = flags.sites.sites()?.into_iter();
        Ok(sites
            .map(|site| format!("{}={}", site.name, site.url))
            .collect())
    }

    #[test]
    fn sites_add_to_the_built_in_ones_and_may_replace_them() {
        let built_in = [
            "china=https://api.dingtalk.com/",
            "global=https://api.dingtalk.io/",
        ];
        assert_eq!(sites(&[]).expect("sites"), built_in);
        let ours = sites(&["--site", "ours=https://dingtalk.example"]).expect("sites");
        assert_eq!(
            ours,
            [&["ours=https://dingtalk.example/"], &built_in[..]].concat()
        );
        let china = sites(&["--site=china=https://mirror.example"]).expect("sites");
        assert_eq!(china, ["china=https://mirror.example/", built_in[1]]);
        let alone = [
            "--builtin-sites=false",
            "--site=ours=https://dingtalk.example",
        ];
        assert_eq!(
            sites(&alone).expect("sites"),
            ["ours=https://dingtalk.example/"]
        );
        assert!(matches!(sites(&alone[..1]), Err(CliError::NoSite)));
        let twice = [
            "--site=a=https://one.example",
            "--site=a=https://two.example",
        ];
        assert!(matches!(sites(&twice), Err(CliError::SiteTwice(name)) if name == "a"));
    }

    #[test]
    fn a_boolean_flag_stands_alone_or_has_a_value_after_an_equals_sign() {
        let parsed = |flag: &str| {
            let flags = Flags::try_parse_from(["x", flag]);
            flags.map(|flags| flags.sites.builtin_sites).ok()
        };
        assert_eq!(parsed("--builtin-sites"), Some(true));
        assert_eq!(parsed("--builtin-sites=true"), Some(true));
        assert_eq!(parsed("--builtin-sites=false"), Some(false));
        assert_eq!(parsed("--builtin-sites=maybe"), None);
        assert!(Flags::try_parse_from(["x", "--builtin-sites", "false"]).is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}

//! Why a command fails.

use std::path::PathBuf;

use thiserror::Error;

use super::validate::manifests::ReadError;
use super::validate::rules::RuleError;
use crate::dingtalk::ClientError;
use crate::operator::{CoreDumpError, LogsError, ServerError};

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
    /// The kubeconfig or the context of the flags cannot be used.
    #[error("find the cluster: {0}; `kubectl config get-contexts` lists the contexts")]
    NamedKubeconfig(#[source] Box<kube::config::KubeconfigError>),
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
    /// The apps cannot be watched.
    #[error(
        "the renewal was asked for, but DingTalkApps of {scope} cannot be watched for the result: {source}"
    )]
    Watch {
        /// Where.
        scope: String,
        /// Why it failed.
        source: Box<kube::runtime::watcher::Error>,
    },
    /// The app's credentials cannot be used.
    #[error("Secret {secret}: {source}: put the app's credentials there")]
    Credentials {
        /// The Secret.
        secret: String,
        /// What is wrong with it.
        source: crate::dingtalk::CredentialsError,
    },
    /// Valid tokens could be revoked, and nobody was asked.
    #[error(
        "DingTalkApp {app}: DingTalk may revoke its valid tokens ({count}) when it gives others; nothing was \
         fetched. Add --yes if that may happen; `status` shows tokens and fetches nothing"
    )]
    LiveTokens {
        /// The app.
        app: String,
        /// How many.
        count: usize,
    },
    /// A person's answer cannot be read.
    #[error("read the answer: {0}")]
    Answer(#[source] std::io::Error),
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
    /// Manifests cannot be read.
    #[error(transparent)]
    Manifests(#[from] ReadError),
    /// A rule that manifests are checked by cannot be used.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The Chinese texts cannot be read.
    #[error("read the Chinese texts: {0}; use --lang en")]
    Translations(#[source] serde_yaml_ng::Error),
    /// The result or the CRD cannot be written as YAML.
    #[error("write YAML: {0}")]
    Yaml(#[from] serde_yaml_ng::Error),
    /// The command line cannot be completed.
    #[error("complete the command line: {0}")]
    Complete(#[source] std::io::Error),
    /// Standard output cannot be written.
    #[error("write the result: {0}")]
    Print(#[source] std::io::Error),
}

/// Turns an error of the API server into ours.
pub(super) fn failed(operation: impl Into<String>) -> impl FnOnce(kube::Error) -> CliError {
    let operation = operation.into();
    move |source| CliError::Cluster {
        operation,
        source: Box::new(source),
    }
}

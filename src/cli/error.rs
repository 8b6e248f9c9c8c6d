//! Errors of the commands.

use std::path::PathBuf;

use thiserror::Error;

use super::validate::manifests::ReadError;
use super::validate::rules::RuleError;
use crate::dingtalk::ClientError;
use crate::operator::{CoreDumpError, LogsError, ServerError};

/// A command failed.
#[derive(Debug, Error)]
pub enum CliError {
    /// The logs could not be set up.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// The CA bundle could not be read.
    #[error("cannot read --ca-bundle {path}: {source}")]
    CaBundle {
        /// Path from the flag.
        path: PathBuf,
        /// Reason.
        source: std::io::Error,
    },
    /// Two sites have the same name.
    #[error("--site {0} is given twice")]
    SiteTwice(String),
    /// No site is configured.
    #[error("--builtin-sites=false leaves no sites: add at least one with --site NAME=URL")]
    NoSite,
    /// `--site-namespaces` refers to an unknown site.
    #[error("--site-namespaces {site}: there is no such site; the known sites are {known}")]
    SiteNamespaces {
        /// The unknown site.
        site: String,
        /// The known sites.
        known: String,
    },
    /// The DingTalk client could not be created.
    #[error(transparent)]
    DingTalk(#[from] ClientError),
    /// The Kubernetes client could not be created.
    #[error("cannot connect to a cluster: {0}; set KUBECONFIG, or run this in a pod")]
    Kubeconfig(#[source] Box<kube::Error>),
    /// Neither a kubeconfig nor a pod's ServiceAccount can be used.
    #[error("cannot connect to a cluster: {0}; set KUBECONFIG, or run this in a pod")]
    InferConfig(#[source] Box<kube::config::InferConfigError>),
    /// The kubeconfig or context from the flags cannot be used.
    #[error("cannot connect to a cluster: {0}; `kubectl config get-contexts` lists the contexts")]
    NamedKubeconfig(#[source] Box<kube::config::KubeconfigError>),
    /// An HTTP server could not be started.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The signal handlers could not be set up.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
    /// A call to the API server failed.
    #[error("{operation}: {source}")]
    Cluster {
        /// Description of the error, such as "cannot read DingTalkApp hr/payroll".
        operation: String,
        /// Reason.
        source: Box<kube::Error>,
    },
    /// The API server dropped a list of apps twice before its last page.
    #[error(
        "cannot list DingTalkApps in {0}: the API server dropped the list twice before its last page was read; \
         try again, or select fewer of them"
    )]
    ListDropped(String),
    /// The apps cannot be watched.
    #[error(
        "the renewal was requested, but DingTalkApps in {scope} cannot be watched for the result: {source}"
    )]
    Watch {
        /// Namespace, or all of them.
        scope: String,
        /// Reason.
        source: Box<kube::runtime::watcher::Error>,
    },
    /// The credentials Secret is unusable.
    #[error("Secret {secret}: {source}: put the app's credentials there")]
    Credentials {
        /// Namespace and name of the Secret.
        secret: String,
        /// Reason.
        source: crate::dingtalk::CredentialsError,
    },
    /// A fetch might revoke valid tokens, and there is no terminal to ask for confirmation.
    #[error(
        "DingTalkApp {app} has valid tokens ({count}), which DingTalk may revoke when it issues new ones; \
         nothing was fetched. Add --yes to accept this, or use `status`, which shows the tokens and fetches \
         nothing"
    )]
    LiveTokens {
        /// Namespace and name of the app.
        app: String,
        /// Number of valid tokens.
        count: usize,
    },
    /// A fetch might revoke tokens in a Secret that cannot be read, and there is no terminal to ask for
    /// confirmation.
    #[error(
        "it is unknown whether DingTalkApp {app} has valid tokens, which DingTalk may revoke when it issues new \
         ones: Secret {secret} cannot be read: {why}; nothing was fetched. Add --yes to accept this, or use \
         `status`, which shows the tokens and fetches nothing"
    )]
    UnreadTokens {
        /// Namespace and name of the app.
        app: String,
        /// Name of the Secret.
        secret: String,
        /// Reason.
        why: String,
    },
    /// The user's confirmation could not be read.
    #[error("cannot read the answer: {0}")]
    Answer(#[source] std::io::Error),
    /// The app's site is not configured.
    #[error(
        "the app's site {site:?} is not known here: add it with --site {site}=URL; the known sites are {known}"
    )]
    UnknownSite {
        /// The app's site.
        site: String,
        /// The known sites.
        known: String,
    },
    /// The app is suspended.
    #[error("DingTalkApp {0} is suspended: set spec.suspend to false first")]
    Suspended(String),
    /// Core dumps, which would contain secrets, could not be disabled.
    #[error(transparent)]
    CoreDump(#[from] CoreDumpError),
    /// The result could not be written as JSON.
    #[error("cannot write the result as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Manifests could not be read.
    #[error(transparent)]
    Manifests(#[from] ReadError),
    /// A validation rule of a CustomResourceDefinition cannot be used.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The Chinese texts could not be read.
    #[error("cannot read the Chinese texts: {0}; use --lang en")]
    Translations(#[source] serde_yaml_ng::Error),
    /// The result or a CustomResourceDefinition could not be written as YAML.
    #[error("cannot write YAML: {0}")]
    Yaml(#[from] serde_yaml_ng::Error),
    /// A command line could not be completed.
    #[error("cannot complete the command line: {0}")]
    Complete(#[source] std::io::Error),
    /// Standard output could not be written.
    #[error("cannot write the result: {0}")]
    Print(#[source] std::io::Error),
}

/// Converts an error from the API server. `operation` describes the failed call.
pub(super) fn failed(operation: impl Into<String>) -> impl FnOnce(kube::Error) -> CliError {
    let operation = operation.into();
    move |source| CliError::Cluster {
        operation,
        source: Box::new(source),
    }
}

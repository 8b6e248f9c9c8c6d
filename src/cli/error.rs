//! Errors of the commands.

use std::error::Error as StdError;

use kube::config::KubeconfigError;
use thiserror::Error;

use crate::dingtalk::{ClientError, CredentialsError};
use crate::operator::{CoreDumpError, LogsError, ServerError, answer, login_error, said};

/// Any error; only its text matters.
type AnyError = Box<dyn StdError + Send + Sync>;

/// A command failed.
#[derive(Debug, Error)]
pub(super) enum CliError {
    /// `operation` describes the error, such as "cannot read DingTalkApp hr/payroll".
    #[error("{operation}: {}{}", said(source.as_ref()), advice(source.as_ref()))]
    Failed { operation: String, source: AnyError },
    #[error(transparent)]
    Logs(#[from] LogsError),
    #[error(transparent)]
    CoreDump(#[from] CoreDumpError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    DingTalk(#[from] ClientError),
    #[error("--site {0} is given twice")]
    SiteTwice(String),
    #[error("--builtin-sites=false leaves no sites: add at least one with --site NAME=URL")]
    NoSite,
    #[error("--site-namespaces {site}: there is no such site; the known sites are {known}")]
    SiteNamespaces { site: String, known: String },
    #[error(
        "the app's site {site:?} is not known here: add it with --site {site}=URL; the known sites are {known}"
    )]
    UnknownSite { site: String, known: String },
    /// Neither a kubeconfig nor a pod's ServiceAccount can be used.
    #[error("cannot connect to a cluster: {}; set KUBECONFIG, or run this in a pod", not_found(.0.as_ref(), is_pod()))]
    NoCluster(#[source] AnyError),
    /// The kubeconfig has no credentials, or cannot obtain them.
    #[error("cannot log in to the cluster: {}{}", said(.0.as_ref()), LOG_IN)]
    NoCredentials(#[source] AnyError),
    /// The kubeconfig or context from the flags cannot be used.
    #[error("cannot connect to a cluster: {}", unusable(.0))]
    NamedKubeconfig(#[source] Box<KubeconfigError>),
    #[error(
        "cannot list DingTalkApps in {0}: the API server dropped the list twice before its last page was read; \
         try again, or select fewer of them"
    )]
    ListDropped(String),
    #[error("Secret {secret}: {source}: put the app's credentials there")]
    Credentials {
        secret: String,
        source: CredentialsError,
    },
    /// There is no terminal to ask for confirmation.
    #[error(
        "DingTalkApp {app} has valid tokens ({count}), which DingTalk may revoke when it issues new ones; \
         nothing was fetched. Add --yes to accept this, or use `status`, which shows the tokens and fetches \
         nothing"
    )]
    LiveTokens { app: String, count: usize },
    /// There is no terminal to ask for confirmation.
    #[error(
        "it is unknown whether DingTalkApp {app} has valid tokens, which DingTalk may revoke when it issues new \
         ones: Secret {secret} cannot be read: {why}; nothing was fetched. Add --yes to accept this, or use \
         `status`, which shows the tokens and fetches nothing"
    )]
    UnreadTokens {
        app: String,
        secret: String,
        why: String,
    },
    #[error("DingTalkApp {0} is suspended: set spec.suspend to false first")]
    Suspended(String),
    #[error("cannot write the result as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("cannot write YAML: {0}")]
    Yaml(#[from] serde_yaml_ng::Error),
    #[error("cannot read the Chinese texts: {0}; use --lang en")]
    Translations(#[source] serde_yaml_ng::Error),
}

/// What to do if the API server does not accept the credentials, or there are none.
pub(super) const LOG_IN: &str = "; log in to the cluster again, or choose another context";

/// Whether Kubernetes has started this process.
fn is_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// Returns why no cluster was found. Outside of a pod, it does not matter what a pod would have.
fn not_found(error: &(dyn StdError + 'static), is_pod: bool) -> String {
    let kubeconfig = error.source().and_then(|it| it.downcast_ref());
    match kubeconfig {
        Some(error) if !is_pod => format!("{}, and this is no pod", unusable(error)),
        _ => said(error),
    }
}

/// Returns why a kubeconfig cannot be used.
fn unusable(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(source, path) => {
            format!("cannot read the kubeconfig {}: {source}", path.display())
        }
        KubeconfigError::LoadContext(name) => format!(
            "the kubeconfig has no context {name:?}; `kubectl config get-contexts` lists the contexts"
        ),
        other => said(other),
    }
}

/// Returns what to do about an error of the API server, if its message does not say so.
fn advice(error: &(dyn StdError + 'static)) -> &'static str {
    if login_error(error).is_some() {
        return LOG_IN;
    }
    if let Some(kube::Error::SerdeError(error)) = error.downcast_ref() {
        return match error.is_data() {
            true => "; use the same version as the operator",
            false => "; what answers is no API server: check the kubeconfig, and any proxy",
        };
    }
    match answer(error) {
        Some(status) if status.code == 401 => LOG_IN,
        // An object that does not exist has this reason, a resource that is not served has not.
        Some(status) if status.code == 404 && status.reason != "NotFound" => {
            "; install the CRDs: dingtalk-token-operator crd | kubectl apply --server-side -f -"
        }
        _ => "",
    }
}

/// Converts an error. `operation` describes what failed.
pub(super) fn failed<E: StdError + Send + Sync + 'static>(
    operation: impl Into<String>,
) -> impl FnOnce(E) -> CliError {
    let operation = operation.into();
    move |source| CliError::Failed {
        operation,
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use kube::core::Status;

    use super::*;

    #[derive(Debug, Error)]
    #[error("in-cluster: (no variable), kubeconfig: ({0})")]
    struct Inferred(#[source] KubeconfigError);

    /// Regression: a missing kubeconfig was told after the lack of a pod's variable, in Rust's notation.
    #[test]
    fn without_a_pod_only_the_kubeconfig_is_said_to_be_missing() {
        let missing = KubeconfigError::ReadConfig(ErrorKind::NotFound.into(), "/a/config".into());
        let error = Inferred(missing);
        assert_eq!(
            not_found(&error, false),
            "cannot read the kubeconfig /a/config: entity not found, and this is no pod"
        );
        assert!(not_found(&error, true).starts_with("in-cluster: (no variable)"));
    }

    /// Regression: the commands only said `Unauthorized` and `404 page not found`.
    #[test]
    fn what_the_api_server_does_not_say_is_advised() {
        let advised = |code, reason| {
            let status = Status::failure("what it says", reason).with_code(code);
            let error = failed("cannot list")(kube::Error::Api(status.boxed())).to_string();
            let advice = error.strip_prefix("cannot list: what it says");
            advice.expect(&error).to_owned()
        };
        assert_eq!(advised(401, "Unauthorized"), LOG_IN);
        assert!(advised(404, "Failed to parse error data").contains("install the CRDs"));
        let answered = |body: &str| {
            let error = serde_json::from_str::<u8>(body).expect_err("not a number");
            failed("cannot list")(kube::Error::SerdeError(error)).to_string()
        };
        assert!(answered("<html>").ends_with("check the kubeconfig, and any proxy"));
        assert!(answered("").ends_with("check the kubeconfig, and any proxy"));
        assert!(answered("\"text\"").ends_with("use the same version as the operator"));
        for (code, reason) in [(404, "NotFound"), (403, "Forbidden"), (503, "")] {
            assert_eq!(advised(code, reason), "");
        }
    }
}

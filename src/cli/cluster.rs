//! Flags for the cluster, and the connection to it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use http::Uri;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use thiserror::Error;
use tower::BoxError;
use tower::util::MapErrLayer;

use super::error::CliError;
use super::flags::namespace;
use crate::operator::login_error;

/// Time-out for reading from a connection. The API server itself ends a request after 60 s.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(65);

/// Flags for cluster and namespace, as in kubectl.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ClusterArguments {
    /// Namespace. Default: that of the context.
    #[arg(short, long, value_parser = namespace)]
    pub namespace: Option<String>,
    /// Context in the kubeconfig. Default: the current one.
    #[arg(long)]
    pub context: Option<String>,
    /// Kubeconfig file. Default: the files in KUBECONFIG, ~/.kube/config, or the pod's ServiceAccount.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub kubeconfig: Option<PathBuf>,
}

impl ClusterArguments {
    /// Returns the flags by which another command reaches the same cluster, each after a space.
    pub(super) fn repeated(&self) -> String {
        let context = self.context.iter().map(|it| format!(" --context {it}"));
        let kubeconfig = self.kubeconfig.iter();
        let kubeconfig = kubeconfig.map(|it| format!(" --kubeconfig {}", it.display()));
        context.chain(kubeconfig).collect()
    }
}

/// Returns a client for the cluster, and the namespace from the flags or the context.
pub(super) async fn cluster(arguments: &ClusterArguments) -> Result<(Client, String), CliError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = config(arguments).await?;
    let namespace = arguments
        .namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let server = host_and_port(&config.cluster_url);
    let named = MapErrLayer::new(move |source: BoxError| Unreached { server, source });
    let client = ClientBuilder::try_from(config).map_err(no_client)?;
    Ok((client.with_layer(&named).build(), namespace))
}

/// The API server did not respond.
#[derive(Debug, Error)]
#[error("cannot reach {server}")]
struct Unreached {
    /// Host and port of the API server.
    server: String,
    source: BoxError,
}

fn host_and_port(url: &Uri) -> String {
    let host = url.host().unwrap_or_default();
    let is_plain = url.scheme_str() == Some("http");
    let port = url.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
    format!("{host}:{port}")
}

/// Returns the error for a configuration that no client can use.
fn no_client(source: kube::Error) -> CliError {
    match login_error(&source) {
        Some(_) => CliError::NoCredentials(source.into()),
        None => CliError::NoCluster(source.into()),
    }
}

async fn config(arguments: &ClusterArguments) -> Result<Config, CliError> {
    let mut config = found(arguments).await?;
    config.read_timeout = Some(READ_TIMEOUT);
    // Otherwise, the time before a request would count.
    config.reset_reader_on_write = true;
    // The library retries in silence, for minutes, what an overloaded API server refuses.
    config.default_retry = false;
    Ok(config)
}

/// Returns the configuration that the flags or the environment name.
async fn found(arguments: &ClusterArguments) -> Result<Config, CliError> {
    let unusable = |source| CliError::NamedKubeconfig(Box::new(source));
    let kubeconfig = match (&arguments.kubeconfig, &arguments.context) {
        (Some(path), _) => Kubeconfig::read_from(path),
        (None, Some(_)) => Kubeconfig::read(),
        (None, None) => {
            return Config::infer()
                .await
                .map_err(|source| CliError::NoCluster(source.into()));
        }
    };
    let options = KubeConfigOptions {
        context: arguments.context.clone(),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(kubeconfig.map_err(unusable)?, &options)
        .await
        .map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = r#"{
        "apiVersion": "v1", "kind": "Config", "current-context": "first",
        "clusters": [
            {"name": "one", "cluster": {"server": "https://one.example"}},
            {"name": "two", "cluster": {"server": "https://two.example"}}
        ],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [
            {"name": "first", "context": {"cluster": "one", "user": "me"}},
            {"name": "second", "context": {"cluster": "two", "user": "me", "namespace": "hr"}}
        ]
    }"#;

    async fn reached(
        context: Option<&str>,
        namespace: Option<&str>,
    ) -> Result<[String; 2], CliError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        std::fs::write(&path, KUBECONFIG).expect("written");
        let arguments = ClusterArguments {
            namespace: namespace.map(str::to_owned),
            context: context.map(str::to_owned),
            kubeconfig: Some(path),
        };
        let server = config(&arguments).await?.cluster_url.to_string();
        Ok([server, cluster(&arguments).await?.1])
    }

    #[tokio::test]
    async fn flags_come_before_the_context_and_the_context_before_the_current_one() {
        let reached =
            async |context, namespace| reached(context, namespace).await.expect("a cluster");
        assert_eq!(
            reached(None, None).await,
            ["https://one.example/", "default"]
        );
        let second = ["https://two.example/", "hr"];
        assert_eq!(reached(Some("second"), None).await, second);
        let other = ["https://two.example/", "web"];
        assert_eq!(reached(Some("second"), Some("web")).await, other);
    }

    /// Regression: an API server that accepted a request and never answered held up a command for ever.
    #[tokio::test]
    async fn an_answer_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        std::fs::write(&path, KUBECONFIG).expect("written");
        let arguments = ClusterArguments {
            kubeconfig: Some(path),
            ..ClusterArguments::default()
        };
        let config = config(&arguments).await.expect("a configuration");
        assert_eq!(config.read_timeout, Some(READ_TIMEOUT));
        assert!(config.connect_timeout.is_some() && config.write_timeout.is_some());
        // Regression: `status` said nothing for minutes while the API server answered 503.
        assert!(!config.default_retry);
    }

    /// Regression: a refused connection did not say to which server.
    #[test]
    fn a_server_that_cannot_be_reached_is_named_without_credentials() {
        let server = |url: &'static str| host_and_port(&Uri::from_static(url));
        let secret = "https://me:secret@one.example/path";
        assert_eq!(server(secret), "one.example:443");
        assert_eq!(server("http://[::1]:8080"), "[::1]:8080");
        let refused = std::io::Error::other("Connection refused");
        let unreached = Unreached {
            server: server("https://one.example"),
            source: refused.into(),
        };
        let error = kube::Error::Service(unreached.into());
        let expected = "cannot reach one.example:443: Connection refused";
        assert_eq!(crate::operator::said(&error), expected);
    }

    /// Regression: advised commands would have reached the cluster of the current context.
    #[test]
    fn an_advised_command_reaches_the_same_cluster() {
        assert_eq!(ClusterArguments::default().repeated(), "");
        let arguments = ClusterArguments {
            namespace: Some("hr".to_owned()),
            context: Some("prod".to_owned()),
            kubeconfig: Some("/tmp/config".into()),
        };
        let expected = " --context prod --kubeconfig /tmp/config";
        assert_eq!(arguments.repeated(), expected);
    }

    /// Regression: the advice was to set KUBECONFIG, which was set.
    #[tokio::test]
    async fn a_credential_program_that_fails_is_no_missing_cluster() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        let exec = r#"{"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "false", "interactiveMode": "Never"
        }}"#;
        let text = KUBECONFIG.replace(r#"{"token": "t"}"#, exec);
        std::fs::write(&path, text).expect("written");
        let arguments = ClusterArguments {
            kubeconfig: Some(path),
            ..ClusterArguments::default()
        };
        let error = cluster(&arguments).await.err().expect("no credentials");
        let said = error.to_string();
        let expected = "cannot log in to the cluster: the kubeconfig's credential program ended with exit status: 1; \
                        log in to the cluster again, or choose another context";
        assert_eq!(said, expected);
    }

    #[tokio::test]
    async fn a_context_or_file_that_is_missing_is_named() {
        let error = reached(Some("third"), None)
            .await
            .expect_err("no such context");
        let said = error.to_string();
        assert!(
            said.contains("third") && said.contains("get-contexts"),
            "{said}"
        );
        let arguments = ClusterArguments {
            kubeconfig: Some("/no/such/file".into()),
            ..ClusterArguments::default()
        };
        let said = match config(&arguments).await {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert!(said.contains("/no/such/file"), "{said}");
    }
}

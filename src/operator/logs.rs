//! Structured logs on standard error.

use std::str::FromStr;

use clap::ValueEnum;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

/// Never logged, at any level: the client library logs a failed call that we log ourselves, and
/// the text of an answer that it cannot parse, which may be a Secret.
const SILENCED: [&str; 1] = ["kube_client::client=off"];

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging cannot be set up.
#[derive(Debug, Error)]
pub enum LogsError {
    /// The filter is malformed.
    #[error("--log-level {filter:?}: {source}; write a level such as debug, or target=level pairs")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
}

/// Logs what `filter` lets through, such as `info` or `dingtalk_token_operator=debug`.
pub fn init_logs(filter: &str, format: LogFormat) -> Result<(), LogsError> {
    let malformed = |source| LogsError::Filter {
        filter: filter.to_owned(),
        source,
    };
    let mut env_filter = EnvFilter::try_new(filter).map_err(malformed)?;
    for directive in SILENCED {
        env_filter = env_filter.add_directive(Directive::from_str(directive).map_err(malformed)?);
    }
    let logs = tracing_subscriber::fmt()
        .with_env_filter(env_filter)
        .with_writer(std::io::stderr);
    // Set once, at the start; a second time would be a bug that changes nothing.
    let _ = match format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            logs.with_ansi(colours).try_init()
        }
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    Ok(())
}

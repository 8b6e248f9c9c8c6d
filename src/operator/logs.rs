//! Sets up structured logs on standard error.

use std::str::FromStr;

use clap::ValueEnum;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

/// Never logged, at any level: the client library logs failed calls, which the operator logs itself, and
/// responses that it cannot parse, which may contain a Secret.
const SILENCED: [&str; 1] = ["kube_client::client=off"];

/// Format of the logs.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Logging could not be set up.
#[derive(Debug, Error)]
pub enum LogsError {
    /// The filter is invalid.
    #[error("--log-level {filter:?}: {source}; write a level such as debug, or target=level pairs")]
    Filter {
        /// Value of the flag.
        filter: String,
        /// Reason.
        source: tracing_subscriber::filter::ParseError,
    },
}

/// Sets up logging with a filter such as `info` or `dingtalk_token_operator=debug`.
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
    // This only fails if logging is already set up, which would be a harmless bug.
    let _ = match format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            logs.with_ansi(colours).try_init()
        }
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    Ok(())
}

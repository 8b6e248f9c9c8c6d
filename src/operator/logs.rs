//! Sets up structured logs on standard error.

use clap::ValueEnum;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Never logged, at any level: the client library logs failed calls, which the operator logs itself, and
/// responses that it cannot parse, which may contain a Secret.
const SILENCED: &str = "kube_client::client=off";

/// Format of the logs.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The filter of the logs is invalid.
#[derive(Debug, Error)]
#[error("--log-level {filter:?}: {source}; write a level such as debug, or target=level pairs")]
pub struct LogsError {
    filter: String,
    source: ParseError,
}

/// Sets up logging with a filter such as `info` or `dingtalk_token_operator=debug`.
pub fn init_logs(filter: &str, format: LogFormat) -> Result<(), LogsError> {
    let env_filter = EnvFilter::try_new(filter)
        .and_then(|parsed| Ok(parsed.add_directive(SILENCED.parse()?)))
        .map_err(|source| LogsError {
            filter: filter.to_owned(),
            source,
        })?;
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

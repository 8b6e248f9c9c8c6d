//! Sets up structured logs on standard error.

use clap::ValueEnum;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Never logged, at any level: the client library logs failed calls and watches, which the operator logs
/// itself, and responses that it cannot parse, which may contain a Secret.
const SILENCED: [&str; 2] = ["kube_client::client=off", "kube_runtime::watcher=off"];

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
    let env_filter = parsed(filter).map_err(|source| LogsError {
        filter: filter.to_owned(),
        source,
    })?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(env_filter)
        // Where standard error is closed, a report of that would panic.
        .log_internal_errors(false)
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

fn parsed(filter: &str) -> Result<EnvFilter, ParseError> {
    let mut parsed = EnvFilter::try_new(filter)?;
    for silenced in SILENCED {
        parsed = parsed.add_directive(silenced.parse()?);
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use tracing::{Level, enabled};

    use super::*;

    /// Regression: a watch without permission was logged twice.
    #[test]
    fn what_the_client_library_logs_of_failures_is_silenced_at_any_level() {
        let filter = parsed("trace,kube_runtime::watcher=trace").expect("a filter");
        let logs = tracing_subscriber::fmt().with_env_filter(filter).finish();
        tracing::subscriber::with_default(logs, || {
            assert!(!enabled!(target: "kube_client::client::builder", Level::ERROR));
            assert!(!enabled!(target: "kube_runtime::watcher", Level::ERROR));
            assert!(enabled!(target: "kube_runtime::controller", Level::TRACE));
        });
    }
}

//! Watches the apps until each renewal has an outcome.

use futures::{StreamExt as _, TryStreamExt as _};
use kube::Client;
use kube::runtime::watcher::{Config, Error, Event};
use kube::runtime::{WatchStreamExt as _, watcher};

use super::waiting::Waiting;
use crate::cli::apps::Scope;
use crate::cli::error::CliError;

/// What is watched.
pub(super) struct Watched {
    pub scope: Scope,
    /// Watches only the app of this name.
    pub name: Option<String>,
    /// Watches only the apps with these labels.
    pub selector: Option<String>,
}

/// Watches the apps until each renewal has an outcome, and prints the progress.
pub(super) async fn wait(
    client: Client,
    watched: &Watched,
    waiting: &mut Waiting,
) -> Result<(), CliError> {
    let config = Config {
        field_selector: watched
            .name
            .as_ref()
            .map(|name| format!("metadata.name={name}")),
        label_selector: watched.selector.clone(),
        ..Config::default()
    };
    let apps = watched.scope.api(client);
    let mut events = watcher(apps, config).default_backoff().boxed();
    while !waiting.is_over() {
        match events.try_next().await {
            Ok(Some(Event::Apply(app) | Event::InitApply(app))) => waiting.see(&app),
            Ok(Some(Event::Delete(app))) => waiting.lose(&app),
            Err(error) if is_final(&error) => {
                return Err(CliError::Watch {
                    scope: watched.scope.to_string(),
                    source: Box::new(error),
                });
            }
            // The watcher restarts a watch that has ended or failed.
            Ok(_) | Err(_) => {}
        }
        if let Some(progress) = waiting.progress() {
            eprintln!("{progress}");
        }
    }
    Ok(())
}

/// Whether the API server refuses the watch permanently.
fn is_final(error: &Error) -> bool {
    match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status)) => {
            matches!(status.code, 401 | 403 | 404)
        }
        _ => false,
    }
}

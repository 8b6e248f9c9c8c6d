//! Requests renewals, by an annotation on each app.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream};
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::outcome::{AppName, Outcome, Renewed};
use crate::api::{ANNOTATION_RENEW_REQUESTED_AT, MANAGER};
use crate::cli::apps::{App, Scope, read};
use crate::cli::error::{CliError, failed};

/// Maximum number of concurrent calls to the API server.
const CALLS_IN_FLIGHT: usize = 8;

/// An app, or why it is not renewed.
pub(super) type Asked = Result<App, Renewed>;

async fn all(calls: impl Iterator<Item = impl Future<Output = Asked>>) -> Vec<Asked> {
    stream::iter(calls)
        .buffer_unordered(CALLS_IN_FLIGHT)
        .collect()
        .await
}

pub(super) async fn read_all(client: &Client, namespace: &str, names: &[String]) -> Vec<Asked> {
    let names: BTreeSet<&String> = names.iter().collect();
    let reading = names.into_iter().map(|name| async move {
        let app = read(client.clone(), namespace, name).await;
        app.map_err(|error| Renewed {
            app: AppName {
                namespace: namespace.to_owned(),
                name: name.clone(),
            },
            outcome: Outcome::Failed(error),
        })
    });
    all(reading).await
}

/// Requests new tokens for each app that is not suspended.
pub(super) async fn ask(client: &Client, apps: Vec<Asked>, request: &str) -> Vec<Asked> {
    let asking = apps.into_iter().map(|app| async move {
        let app = app?;
        let name = AppName::of(&app);
        let outcome = match app.spec.suspend {
            true => Outcome::Suspended,
            false => match annotate(client, &name, request).await {
                Ok(()) => return Ok(app),
                Err(error) => Outcome::Failed(error),
            },
        };
        Err(Renewed { app: name, outcome })
    });
    all(asking).await
}

async fn annotate(client: &Client, app: &AppName, request: &str) -> Result<(), CliError> {
    let annotations = json!({ ANNOTATION_RENEW_REQUESTED_AT: request });
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    let parameters = PatchParams {
        field_manager: Some(format!("{MANAGER}-renew")),
        ..PatchParams::default()
    };
    let apps = Scope::Namespace(app.namespace.clone()).api(client.clone());
    let patched = apps.patch_metadata(&app.name, &parameters, &patch).await;
    patched.map_err(failed(format!("cannot annotate DingTalkApp {app}")))?;
    Ok(())
}

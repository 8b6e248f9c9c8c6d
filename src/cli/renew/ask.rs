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

/// The selected apps.
pub(super) struct Chosen {
    /// Apps to renew.
    pub apps: Vec<App>,
    /// Outcomes of apps that cannot be renewed.
    pub renewed: Vec<Renewed>,
}

impl Chosen {
    /// Sorts out suspended apps.
    pub(super) fn of(apps: Vec<App>) -> Self {
        let (suspended, apps): (Vec<App>, _) = apps.into_iter().partition(|app| app.spec.suspend);
        let renewed = suspended.iter().map(|app| Renewed {
            app: AppName::of(app),
            outcome: Outcome::Suspended,
        });
        Self {
            apps,
            renewed: renewed.collect(),
        }
    }
}

/// Reads apps by name.
pub(super) async fn read_all(client: &Client, namespace: &str, names: &[String]) -> Chosen {
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
    let read: Vec<Result<App, Renewed>> = stream::iter(reading)
        .buffer_unordered(CALLS_IN_FLIGHT)
        .collect()
        .await;
    let (mut apps, mut unread) = (Vec::new(), Vec::new());
    for result in read {
        match result {
            Ok(app) => apps.push(app),
            Err(error) => unread.push(error),
        }
    }
    let mut chosen = Chosen::of(apps);
    chosen.renewed.append(&mut unread);
    chosen
}

/// Requests new tokens for each app. Returns the apps for which this succeeded, and the other outcomes.
pub(super) async fn ask(
    client: &Client,
    apps: Vec<App>,
    request: &str,
) -> (Vec<App>, Vec<Renewed>) {
    let asking = apps.into_iter().map(|app| async move {
        let result = annotate(client, &AppName::of(&app), request).await;
        (app, result)
    });
    let answers: Vec<(App, Result<(), CliError>)> = stream::iter(asking)
        .buffer_unordered(CALLS_IN_FLIGHT)
        .collect()
        .await;
    let (mut asked, mut refused) = (Vec::new(), Vec::new());
    for (app, result) in answers {
        match result {
            Ok(()) => asked.push(app),
            Err(error) => refused.push(Renewed {
                app: AppName::of(&app),
                outcome: Outcome::Failed(error),
            }),
        }
    }
    (asked, refused)
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

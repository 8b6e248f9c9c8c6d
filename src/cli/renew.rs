//! `renew`: new tokens now.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde::Serialize;
use serde_json::json;

use super::flags::duration;
use super::output::{Output, coloured, print_items};
use super::{CliError, FOUND_A_PROBLEM, TIMED_OUT, cluster, failed};
use crate::api::{ANNOTATION_RENEW_REQUESTED_AT, CorpError, DingTalkApp, MANAGER};

/// Which app.
#[derive(Debug, Args)]
pub struct RenewArguments {
    /// The DingTalkApp.
    name: String,
    /// Its namespace. Default: the kubeconfig's.
    #[arg(short, long)]
    namespace: Option<String>,
    /// How long to wait for the result; a thousand corpIds take 100 seconds.
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = duration)]
    timeout: Duration,
    /// How to show the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// What came of one organisation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Renewed {
    corp_id: String,
    ok: bool,
    secret_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<CorpError>,
}

/// Sets the annotation and waits until the operator has acted upon it.
pub async fn renew(arguments: RenewArguments) -> Result<ExitCode, CliError> {
    let (client, namespace) = cluster().await?;
    let namespace = arguments.namespace.unwrap_or(namespace);
    let name = arguments.name.as_str();
    let apps: Api<DingTalkApp> = Api::namespaced(client, &namespace);
    let request = Timestamp::now().to_string();
    let app = apps
        .get(name)
        .await
        .map_err(failed(format!("read DingTalkApp {namespace}/{name}")))?;
    if app.spec.suspend {
        return Err(CliError::Suspended(format!("{namespace}/{name}")));
    }
    let annotations = json!({ ANNOTATION_RENEW_REQUESTED_AT: request });
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    let parameters = PatchParams {
        field_manager: Some(format!("{MANAGER}-renew")),
        ..PatchParams::default()
    };
    apps.patch_metadata(name, &parameters, &patch)
        .await
        .map_err(failed(format!("annotate DingTalkApp {namespace}/{name}")))?;
    eprintln!(
        "asked for new tokens of {} corpIds at {request}",
        app.spec.corp_ids.len()
    );
    let waiting = wait(&apps, name, &request);
    let Ok(done) = tokio::time::timeout(arguments.timeout, waiting).await else {
        eprintln!(
            "no result within {:?}: is the operator running, and does it serve namespace \
             {namespace}? The request stays; see kubectl describe dta {name}",
            arguments.timeout
        );
        return Ok(ExitCode::from(TIMED_OUT));
    };
    let all = results(&done?);
    if arguments.output == Output::Json {
        print_items(&all)?;
    } else {
        all.iter().for_each(show);
    }
    match all.iter().all(|renewed| renewed.ok) {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::from(FOUND_A_PROBLEM)),
    }
}

/// Follows the app until the request is handled; tells of each step.
async fn wait(apps: &Api<DingTalkApp>, name: &str, request: &str) -> Result<DingTalkApp, CliError> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut changes = watcher(apps.clone(), config)
        .default_backoff()
        .applied_objects()
        .boxed();
    let mut told = None;
    loop {
        let Ok(change) = changes.try_next().await else {
            continue;
        };
        let Some(app) = change else {
            // The watch begins anew by itself; it never ends.
            continue;
        };
        let Some(status) = &app.status else { continue };
        if status.last_handled_renew_request.as_deref() == Some(request) {
            return Ok(app);
        }
        let after = |at: &Option<String>| at.as_deref().is_some_and(|at| at >= &request[..19]);
        let done = status
            .corps
            .iter()
            .filter(|corp| after(&corp.last_renewal_time));
        let progress = (done.count(), status.corps.len());
        if progress.1 > 1 && told != Some(progress) {
            eprintln!("{} of {} have a new token", progress.0, progress.1);
            told = Some(progress);
        }
    }
}

fn results(app: &DingTalkApp) -> Vec<Renewed> {
    let corps = app.status.iter().flat_map(|status| &status.corps);
    corps
        .map(|corp| Renewed {
            corp_id: corp.corp_id.clone(),
            ok: corp.error.is_none(),
            secret_name: corp.secret_name.clone(),
            expires_at: corp.expiration_time.clone(),
            error: corp.error.clone(),
        })
        .collect()
}

fn show(renewed: &Renewed) {
    let corp_id = &renewed.corp_id;
    match &renewed.error {
        None => {
            let until = renewed.expires_at.as_deref().unwrap_or_default();
            println!(
                "{}{corp_id}  Secret {} holds a token that is valid until {until}",
                coloured("ok    ", true),
                renewed.secret_name
            );
        }
        Some(error) => {
            let code = error.code.as_deref().unwrap_or_default();
            let said = error.message.as_deref().unwrap_or_default();
            println!(
                "{}{corp_id}  {} {code}: {said}; see `explain {}`",
                coloured("fails ", false),
                error.reason,
                error.reason
            );
        }
    }
}

//! `check`: an app's credentials, tried from here.

use std::process::ExitCode;

use clap::Args;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde::Serialize;
use zeroize::Zeroizing;

use super::output::{Output, coloured, print_items};
use super::{CliError, FOUND_A_PROBLEM, SiteArguments, cluster, failed};
use crate::api::DingTalkApp;
use crate::dingtalk::{Client, Credentials, Failure, Minted};
use crate::plan::{self, Field, Shape};

/// Which app, and where its site is.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The DingTalkApp.
    name: String,
    /// Its namespace. Default: the kubeconfig's.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Only this corpId of the app; repeat it for several. Default: all.
    #[arg(long = "corp-id", value_name = "CORP_ID")]
    corp_ids: Vec<String>,
    #[command(flatten)]
    sites: SiteArguments,
    /// How to show the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// What came of one organisation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    corp_id: String,
    site: String,
    /// Shown once it has worked: where the keys of the Secret were mixed up, it is the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_token_as_in_secret: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    message: String,
}

/// Fetches a token for each organisation and says what came of it.
pub async fn check(arguments: CheckArguments) -> Result<ExitCode, CliError> {
    let dingtalk = arguments.sites.client()?;
    let (client, namespace) = cluster().await?;
    let namespace = arguments.namespace.unwrap_or(namespace);
    let apps: Api<DingTalkApp> = Api::namespaced(client.clone(), &namespace);
    let name = &arguments.name;
    let reading = failed(format!("read DingTalkApp {namespace}/{name}"));
    let app = apps.get(name).await.map_err(reading)?;
    let site = app.spec.site.as_str();
    if !dingtalk.knows(site) {
        let known = dingtalk.sites().collect::<Vec<_>>().join(", ");
        let site = site.to_owned();
        return Err(CliError::UnknownSite { site, known });
    }
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    let credentials = credentials(&secrets, &app, &namespace).await?;
    let mut all = Vec::new();
    let is_asked =
        |corp_id: &&String| arguments.corp_ids.is_empty() || arguments.corp_ids.contains(corp_id);
    for corp_id in app.spec.corp_ids.iter().filter(is_asked) {
        let checked = check_one(&dingtalk, &secrets, &app, corp_id, &credentials).await;
        if arguments.output == Output::Text {
            let word = if checked.ok { "ok    " } else { "fails " };
            println!(
                "{}{}  {}",
                coloured(word, checked.ok),
                checked.corp_id,
                checked.message
            );
        }
        all.push(checked);
    }
    if arguments.output == Output::Json {
        print_items(&all)?;
    } else if all.is_empty() {
        eprintln!("none of the corpIds given is one of DingTalkApp {namespace}/{name}");
    }
    match all.iter().all(|checked| checked.ok) && !all.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::from(FOUND_A_PROBLEM)),
    }
}

async fn credentials(
    secrets: &Api<Secret>,
    app: &DingTalkApp,
    namespace: &str,
) -> Result<Credentials, CliError> {
    let reference = &app.spec.credentials_secret_ref;
    let name = format!("{namespace}/{}", reference.name);
    let reading = failed(format!("read the credentials, Secret {name}"));
    let secret = secrets.get(&reference.name).await.map_err(reading)?;
    let data = secret.data.unwrap_or_default();
    let value = |key: &str| data.get(key).map(|value| Zeroizing::new(value.0.clone()));
    Credentials::read(
        &reference.client_id_key,
        &reference.client_secret_key,
        value,
    )
    .map_err(|source| CliError::Credentials {
        secret: name,
        source,
    })
}

async fn check_one(
    dingtalk: &Client,
    secrets: &Api<Secret>,
    app: &DingTalkApp,
    corp_id: &str,
    credentials: &Credentials,
) -> Checked {
    let present = token_in_secret(secrets, app, corp_id).await;
    let known = present.as_ref().map(|token| token.as_str());
    let site = app.spec.site.as_str();
    let answer = dingtalk
        .fetch(site, corp_id, credentials, known, false)
        .await;
    let checked = Checked {
        corp_id: corp_id.to_owned(),
        site: site.to_owned(),
        client_id: None,
        ok: answer.result.is_ok(),
        expires_in_seconds: None,
        same_token_as_in_secret: None,
        reason: None,
        code: None,
        http_status: None,
        message: String::new(),
    };
    match answer.result {
        Ok(minted) => {
            let is_same = known.map(|known| known == minted.token.expose());
            Checked {
                expires_in_seconds: Some(minted.expires_in.as_secs()),
                same_token_as_in_secret: is_same,
                client_id: Some(credentials.client_id.clone()),
                message: succeeded(&minted, is_same),
                ..checked
            }
        }
        Err(failure) => Checked {
            reason: Some(failure.reason.as_str()),
            message: explained(&failure, corp_id),
            code: failure.code,
            http_status: failure.http_status,
            ..checked
        },
    }
}

fn succeeded(minted: &Minted, is_same: Option<bool>) -> String {
    let seconds = minted.expires_in.as_secs();
    let compared = match is_same {
        Some(true) => "; it is the token that the Secret holds",
        Some(false) => {
            "; it is another than the Secret holds: if DingTalk has revoked that one by this, \
             `renew` replaces it"
        }
        None => "",
    };
    format!("DingTalk gave a token that is valid for {seconds} s{compared}")
}

fn explained(failure: &Failure, corp_id: &str) -> String {
    let reason = failure.reason.as_str();
    format!("{reason}: {}", plan::explain(failure, corp_id))
}

/// The token that the app's Secret holds; `None` where there is none or we may not read it.
async fn token_in_secret(
    secrets: &Api<Secret>,
    app: &DingTalkApp,
    corp_id: &str,
) -> Option<Zeroizing<String>> {
    let wanted = plan::wanted(app);
    let target = wanted
        .iter()
        .find(|target| target.corp_ids.iter().any(|id| id == corp_id))?;
    let secret = secrets.get_opt(&target.name).await.ok()??;
    let key = Shape::of(app.spec.target.layout).key(Field::AccessToken, corp_id);
    let value = secret.data?.remove(&key)?;
    String::from_utf8(value.0).ok().map(Zeroizing::new)
}

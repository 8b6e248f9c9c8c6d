//! DingTalkApps as the commands read them: by the fields that they show, so that one which only another
//! version can decode does not hide the others.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ApiResource, ListParams, Object};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};

use super::error::{CliError, failed};
use crate::api::{DingTalkApp, DingTalkAppStatus};

/// An app.
pub type App = Object<AppSpec, DingTalkAppStatus>;

/// The part of a spec that is shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AppSpec {
    /// The DingTalk site.
    pub site: String,
    /// The organisations.
    pub corp_ids: Vec<String>,
    /// Whether nothing is fetched.
    pub suspend: bool,
}

/// Where apps are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One namespace.
    Namespace(String),
    /// All namespaces.
    All,
}

impl Scope {
    /// The namespace, or all of them.
    pub fn of(namespace: String, is_all: bool) -> Self {
        match is_all {
            true => Self::All,
            false => Self::Namespace(namespace),
        }
    }

    /// The apps there.
    pub fn api(&self, client: Client) -> Api<App> {
        let kind = ApiResource::erase::<DingTalkApp>(&());
        match self {
            Self::Namespace(namespace) => Api::namespaced_with(client, namespace, &kind),
            Self::All => Api::all_with(client, &kind),
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Namespace(namespace) => write!(formatter, "namespace {namespace}"),
            Self::All => formatter.write_str("all namespaces"),
        }
    }
}

/// One app.
pub async fn read(client: Client, namespace: &str, name: &str) -> Result<App, CliError> {
    let apps = Scope::Namespace(namespace.to_owned()).api(client);
    let reading = failed(format!("read DingTalkApp {namespace}/{name}"));
    apps.get(name).await.map_err(reading)
}

/// All apps that match the label selector.
pub async fn list(
    client: Client,
    scope: &Scope,
    selector: Option<&str>,
) -> Result<Vec<App>, CliError> {
    let parameters = ListParams {
        label_selector: selector.map(str::to_owned),
        ..ListParams::default()
    };
    let listing = failed(format!("list DingTalkApps in {scope}"));
    let apps = scope.api(client).list(&parameters).await.map_err(listing)?;
    Ok(apps.items)
}

/// The condition of a type.
pub fn condition<'a>(app: &'a App, type_: &str) -> Option<&'a Condition> {
    let mut conditions = app.status.iter().flat_map(|status| &status.conditions);
    conditions.find(|condition| condition.type_ == type_)
}

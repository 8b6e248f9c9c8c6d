//! Reads DingTalkApps. Decodes only the fields that the commands need, so that an app which needs another
//! version of the operator does not hide the others.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ApiResource, ListParams, Object};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};

use super::error::{CliError, failed};
use super::pages::{all_pages, is_gone};
use crate::api::{DingTalkApp, DingTalkAppStatus};

/// An app, with only the fields that the commands need.
pub(super) type App = Object<AppSpec, DingTalkAppStatus>;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AppSpec {
    pub site: String,
    pub corp_ids: Vec<String>,
    pub suspend: bool,
}

/// The namespaces to list apps in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Namespace(String),
    All,
}

impl Scope {
    pub(super) fn of(namespace: String, is_all: bool) -> Self {
        match is_all {
            true => Self::All,
            false => Self::Namespace(namespace),
        }
    }

    pub(super) fn api(&self, client: Client) -> Api<App> {
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

pub(super) async fn read(client: Client, namespace: &str, name: &str) -> Result<App, CliError> {
    let apps = Scope::Namespace(namespace.to_owned()).api(client);
    let reading = failed(format!("cannot read DingTalkApp {namespace}/{name}"));
    apps.get(name).await.map_err(reading)
}

pub(super) async fn list(
    client: Client,
    scope: &Scope,
    selector: Option<&str>,
) -> Result<Vec<App>, CliError> {
    let parameters = ListParams {
        label_selector: selector.map(str::to_owned),
        ..ListParams::default()
    };
    let apps = scope.api(client);
    let listed = all_pages(parameters, async |page| apps.list(&page).await).await;
    listed.map_err(|error| match is_gone(&error) {
        true => CliError::ListDropped(scope.to_string()),
        false => failed(format!("cannot list DingTalkApps in {scope}"))(error),
    })
}

pub(super) fn condition<'a>(app: &'a App, type_: &str) -> Option<&'a Condition> {
    let mut conditions = app.status.iter().flat_map(|status| &status.conditions);
    conditions.find(|condition| condition.type_ == type_)
}

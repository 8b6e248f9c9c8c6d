//! Reads objects and rights from the cluster, as far as the user is allowed to.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, ResourceAttributes, SelfSubjectAccessReview,
};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::timeout;

use super::rights::{Account, Need, Right, Source};
use super::verdict::Unread;
use crate::api::{GROUP, MANAGER, definitions};
use crate::cli::apps::{App, Scope};
use crate::cli::pages::all_pages;
use crate::operator::{login_error, said};

/// Time-out for each call to the API server, and for each list.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const REVIEWS_AT_ONCE: usize = 8;

async fn call<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Unread> {
    match timeout(CALL_TIMEOUT, call).await {
        Err(_) => Err(Unread::Unavailable(format!(
            "time-out after {} s",
            CALL_TIMEOUT.as_secs()
        ))),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(match status.code {
            403 => Unread::Forbidden,
            404 => Unread::Missing,
            code => Unread::Answered {
                code,
                why: said(status.as_ref()),
            },
        }),
        Ok(Err(error)) => Err(unread(&error)),
    }
}

/// Returns the error of a call that the API server has not responded to.
fn unread(error: &kube::Error) -> Unread {
    if login_error(error).is_some() {
        return Unread::Unusable {
            why: said(error),
            advice: "log in to the cluster again",
        };
    }
    match error {
        kube::Error::SerdeError(_) => Unread::Unusable {
            why: format!("the response is not the API server's: {}", said(error)),
            advice: "check the kubeconfig, and any proxy",
        },
        _ => Unread::Unavailable(said(error)),
    }
}

/// Asks the API server for what everybody may read.
pub(super) async fn reach(client: &Client) -> Result<(), Unread> {
    call(client.apiserver_version()).await.map(|_| ())
}

/// The kind of each resource, and the schemas of its spec, from the API server and from this program.
///
/// Reads the OpenAPI document, since all authenticated users may read it, unlike the definitions themselves.
pub(super) async fn definitions_of(
    client: &Client,
) -> Vec<(String, Result<(Value, Value), Unread>)> {
    let mut found = Vec::new();
    for definition in definitions() {
        let kind = definition.spec.names.kind;
        let version = definition.spec.versions.into_iter().next();
        let Some(version) = version else { continue };
        let schema = version.schema.and_then(|it| it.open_api_v3_schema);
        let ours = serde_json::to_value(schema).unwrap_or_default();
        let theirs = schema_of(client, &format!("{GROUP}/{}", version.name), &kind).await;
        let schemas = theirs.map(|theirs| (spec_of(&theirs), spec_of(&ours)));
        found.push((kind, schemas));
    }
    found
}

/// Returns the published schema of a resource. It is published a moment after the resource is installed.
async fn schema_of(client: &Client, version: &str, kind: &str) -> Result<Value, Unread> {
    let installed = call(client.list_api_group_resources(version)).await?;
    if !installed.resources.iter().any(|it| it.kind == kind) {
        return Err(Unread::Missing);
    }
    let unpublished = || Unread::Answered {
        code: 404,
        why: "the schema is not published yet".to_owned(),
    };
    let request = http::Request::get(format!("/openapi/v3/apis/{version}")).body(Vec::new());
    let request = request.map_err(|error| Unread::Unavailable(error.to_string()))?;
    match call(client.request::<Value>(request)).await {
        Ok(document) => published(&document, kind).cloned().ok_or_else(unpublished),
        Err(Unread::Missing) => Err(unpublished()),
        Err(unread) => Err(unread),
    }
}

fn published<'a>(document: &'a Value, kind: &str) -> Option<&'a Value> {
    let schemas = document.pointer("/components/schemas")?.as_object()?;
    schemas.values().find(|schema| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        let mut kinds = kinds.into_iter().flatten();
        kinds.any(|it| it["kind"] == kind && it["group"] == GROUP)
    })
}

fn spec_of(schema: &Value) -> Value {
    schema
        .pointer("/properties/spec")
        .cloned()
        .unwrap_or_default()
}

pub(super) async fn deployments(
    client: &Client,
    namespace: &str,
) -> Result<Vec<Deployment>, Unread> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/name={MANAGER}"));
    call(all_pages(ours, async |page| api.list(&page).await)).await
}

pub(super) async fn lease(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<LeaseSpec, Unread> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    Ok(call(api.get(name)).await?.spec.unwrap_or_default())
}

pub(super) async fn own_name(client: &Client) -> Result<String, Unread> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = call(api.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
    let user = review.status.and_then(|it| it.user_info);
    Ok(user.and_then(|it| it.username).unwrap_or_default())
}

pub(super) async fn apps(client: &Client, scope: &Scope) -> Result<Vec<App>, Unread> {
    let api = scope.api(client.clone());
    call(all_pages(ListParams::default(), async |page| {
        api.list(&page).await
    }))
    .await
}

/// Returns those of the needed rights that the account lacks.
pub(super) async fn lacking(
    client: &Client,
    account: &Account,
    need: &Need<'_>,
) -> Result<Vec<Right>, Unread> {
    let reviews = need.rights.iter().map(|right| async move {
        // Roles cannot limit `create` to a name.
        let is_named = matches!(right.resource, "namespaces" | "leases") && right.verb != "create";
        let (resource, subresource) = match right.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (right.resource, None),
        };
        let attributes = ResourceAttributes {
            group: Some(right.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource,
            verb: Some(right.verb.to_owned()),
            namespace: Some(need.namespace.to_owned()),
            name: is_named.then(|| need.object.to_owned()),
            ..ResourceAttributes::default()
        };
        let may = may(client, account, need.namespace, attributes).await?;
        Ok((!may).then_some(*right))
    });
    let reviews = stream::iter(reviews).buffered(REVIEWS_AT_ONCE);
    let found: Vec<Option<Right>> = reviews.try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn may(
    client: &Client,
    account: &Account,
    namespace: &str,
    attributes: ResourceAttributes,
) -> Result<bool, Unread> {
    let parameters = PostParams::default();
    let status = match account.source {
        Source::Caller => {
            let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
            let mut review = SelfSubjectAccessReview::default();
            review.spec.resource_attributes = Some(attributes);
            call(api.create(&parameters, &review)).await?.status
        }
        Source::Deployment | Source::Assumed => {
            let api: Api<LocalSubjectAccessReview> = Api::namespaced(client.clone(), namespace);
            let groups = ["system:authenticated", "system:serviceaccounts"].map(str::to_owned);
            let own = format!("system:serviceaccounts:{}", account.namespace);
            let mut review = LocalSubjectAccessReview::default();
            review.metadata.namespace = Some(namespace.to_owned());
            review.spec.user = Some(account.to_string());
            review.spec.groups = Some(groups.into_iter().chain([own]).collect());
            review.spec.resource_attributes = Some(attributes);
            call(api.create(&parameters, &review)).await?.status
        }
    };
    Ok(status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use kube::client::AuthError;

    use super::*;

    /// Regression: expired credentials, and the page of a portal, were said to be no response.
    #[test]
    fn what_was_not_sent_and_what_others_answered_is_told_from_no_response() {
        let message = |error: &kube::Error| {
            let verdict = unread(error).verdict("cluster", "");
            format!("{}; {}", verdict.message, verdict.advice)
        };
        let login = kube::Error::Auth(AuthError::ExecPluginFailed);
        let login = message(&login);
        assert!(login.ends_with("; log in to the cluster again"), "{login}");
        let page = serde_json::from_str::<Value>("<html>").expect_err("no JSON");
        let page = message(&kube::Error::SerdeError(page));
        assert!(
            page.starts_with("the response is not the API server's: "),
            "{page}"
        );
        let silent = kube::Error::Service("timed out".into());
        let silent = message(&silent);
        assert!(
            silent.starts_with("no response from the API server: "),
            "{silent}"
        );
    }
}

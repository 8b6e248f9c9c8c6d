//! Reads objects and rights from the cluster, as far as the user is allowed to.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, ResourceAttributes, SelfSubjectAccessReview,
    SelfSubjectAccessReviewSpec, SubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use tokio::time::timeout;

use super::cluster::{Deployed, Led, ResourceFacts};
use super::rights::{Account, Right};
use super::verdict::Unread;
use crate::api::{GROUP, MANAGER, definitions};
use crate::cli::apps::{App, Scope};
use crate::cli::pages::all_pages;

/// Time-out for each call to the API server, and for each list.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of concurrent reviews of rights.
const REVIEWS_AT_ONCE: usize = 8;
/// Name of the operator's container.
const CONTAINER: &str = "operator";

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
            _ => Unread::Unavailable(status.message.clone()),
        }),
        Ok(Err(error)) => Err(Unread::Unavailable(error.to_string())),
    }
}

/// Returns the schemas of both resources' specs, from the API server and from this program.
///
/// Reads the OpenAPI document, since all authenticated users may read it, unlike the definitions themselves.
pub(super) async fn definitions_of(client: &Client) -> Vec<ResourceFacts> {
    let mut facts = Vec::new();
    for definition in definitions() {
        let kind = definition.spec.names.kind.clone();
        let version = definition.spec.versions.into_iter().next();
        let Some(version) = version else { continue };
        let path = format!("apis/{GROUP}/{}", version.name);
        let schema = version.schema.and_then(|it| it.open_api_v3_schema);
        let ours = serde_json::to_value(schema).unwrap_or_default();
        let theirs = schema_of(client, &path, &kind).await;
        let schemas = theirs.map(|theirs| (spec_of(&theirs), spec_of(&ours)));
        facts.push(ResourceFacts { kind, schemas });
    }
    facts
}

/// Returns the published schema of a resource. It is published a moment after the resource is installed.
async fn schema_of(client: &Client, path: &str, kind: &str) -> Result<Value, Unread> {
    let installed = get(client, &format!("/{path}")).await?;
    let mut resources = installed
        .get("resources")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    if !resources.any(|resource| resource["kind"] == kind) {
        return Err(Unread::Missing);
    }
    let unpublished = || Unread::Unavailable("the schema is not published yet".to_owned());
    match get(client, &format!("/openapi/v3/{path}")).await {
        Ok(document) => published(&document, kind).cloned().ok_or_else(unpublished),
        Err(Unread::Missing) => Err(unpublished()),
        Err(unread) => Err(unread),
    }
}

async fn get(client: &Client, path: &str) -> Result<Value, Unread> {
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(|error| Unread::Unavailable(error.to_string()))?;
    call(client.request::<Value>(request)).await
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

/// Returns the operator's Deployments in a namespace, and the ServiceAccount of the first one.
pub(super) async fn deployments(
    client: &Client,
    namespace: &str,
) -> Result<(Vec<Deployed>, Option<String>), Unread> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/name={MANAGER}"));
    let found = call(all_pages(ours, async |page| api.list(&page).await)).await?;
    let pod_spec = |it: &Deployment| it.spec.as_ref().and_then(|it| it.template.spec.clone());
    let account = found
        .first()
        .and_then(|it| pod_spec(it)?.service_account_name);
    let deployed = found.iter().map(|it| {
        let mut containers = pod_spec(it).map(|it| it.containers).into_iter().flatten();
        let container = containers.find(|it| it.name == CONTAINER);
        Deployed {
            name: it.name_any(),
            image: container.and_then(|it| it.image).unwrap_or_default(),
            wanted: it.spec.as_ref().and_then(|it| it.replicas).unwrap_or(1),
            ready: it
                .status
                .as_ref()
                .and_then(|it| it.ready_replicas)
                .unwrap_or(0),
        }
    });
    Ok((deployed.collect(), account))
}

/// Reads the Lease of the leader election.
pub(super) async fn lease(client: &Client, namespace: &str, name: &str) -> Result<Led, Unread> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let spec = call(api.get(name)).await?.spec.unwrap_or_default();
    Ok(Led {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed_at: spec.renew_time.map(|time| time.0),
        duration: SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(0).into()),
    })
}

/// Returns the user name of the caller.
pub(super) async fn own_name(client: &Client) -> Result<String, Unread> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = call(api.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
    let user = review.status.and_then(|it| it.user_info);
    Ok(user.and_then(|it| it.username).unwrap_or_default())
}

/// Lists apps.
pub(super) async fn apps(client: &Client, scope: &Scope) -> Result<Vec<App>, Unread> {
    let api = scope.api(client.clone());
    call(all_pages(ListParams::default(), async |page| {
        api.list(&page).await
    }))
    .await
}

/// Returns those of the `wanted` rights that the account lacks in a namespace. `object` is the name of the
/// Namespace or Lease that rights on these resources are limited to.
pub(super) async fn lacking(
    client: &Client,
    account: &Account,
    namespace: &str,
    wanted: &[Right],
    object: &str,
) -> Result<Vec<Right>, Unread> {
    let reviews = wanted.iter().map(|right| async move {
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
            namespace: Some(namespace.to_owned()),
            name: is_named.then(|| object.to_owned()),
            ..ResourceAttributes::default()
        };
        let may = may(client, account, namespace, attributes).await?;
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
    let status = match account {
        Account::Own(_) => {
            let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
            let spec = SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            };
            let review = SelfSubjectAccessReview {
                spec,
                ..Default::default()
            };
            call(api.create(&parameters, &review)).await?.status
        }
        Account::Other { namespace: of, .. } => {
            let api: Api<LocalSubjectAccessReview> = Api::namespaced(client.clone(), namespace);
            let groups = ["system:authenticated", "system:serviceaccounts"].map(str::to_owned);
            let own = format!("system:serviceaccounts:{of}");
            let spec = SubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                user: Some(account.user_name()),
                groups: Some(groups.into_iter().chain([own]).collect()),
                ..SubjectAccessReviewSpec::default()
            };
            let mut review = LocalSubjectAccessReview {
                spec,
                ..Default::default()
            };
            review.metadata.namespace = Some(namespace.to_owned());
            call(api.create(&parameters, &review)).await?.status
        }
    };
    Ok(status.is_some_and(|status| status.allowed))
}

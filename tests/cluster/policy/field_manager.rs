//! Nobody but the operator writes Secrets in its name, and nobody else is hindered.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{Account, MANAGER, allowed, change, refused, sandbox, secret};
use crate::support::Sandbox;

const NOT_THE_OPERATOR: &str = "only the operator writes as field manager";

fn managers(secret: &Secret) -> Vec<String> {
    let entries = secret.metadata.managed_fields.iter().flatten();
    entries.filter_map(|entry| entry.manager.clone()).collect()
}

#[tokio::test]
async fn nobody_else_writes_in_the_operators_name() {
    let sandbox = sandbox("policy-manager").await;
    let tenant = Account::of(&sandbox, "tenant").await;
    let operator = Account::of(&sandbox, "operator").await;
    tenant
        .until_refused(NOT_THE_OPERATOR, async || {
            let probe = tenant
                .create::<Secret>(MANAGER, secret("probe", None))
                .await;
            let _ = tenant.delete::<Secret>("probe").await;
            probe
        })
        .await;
    let created = operator
        .create::<Secret>(MANAGER, secret("ours", Some(MANAGER)))
        .await;
    let ours = allowed("the operator's own", created);
    let entries = ours.metadata.managed_fields.clone();

    let mut forged = secret("forged", Some(MANAGER));
    forged["metadata"]["managedFields"] = serde_json::to_value(&entries).expect("JSON");
    // Of a new object the API server takes no managedFields.
    let created = allowed("a body", tenant.create::<Secret>("tenant", forged).await);
    assert_eq!(managers(&created), ["tenant"]);
    let mut claimed = created;
    claimed.metadata.managed_fields.clone_from(&entries);
    let tenants = PostParams {
        field_manager: Some("tenant".to_owned()),
        dry_run: false,
    };
    let replaced = tenant
        .api::<Secret>()
        .replace("forged", &tenants, &claimed)
        .await;
    refused("a body with managedFields", NOT_THE_OPERATOR, replaced);
    let apply = PatchParams::apply(MANAGER).force();
    let applied = tenant
        .api::<Secret>()
        .patch("applied", &apply, &Patch::Apply(secret("applied", None)))
        .await;
    refused("an apply", NOT_THE_OPERATOR, applied);
    // Without a name of the field manager, it is the user agent's.
    let path = format!("/api/v1/namespaces/{}/secrets", sandbox.namespace);
    let request = http::Request::post(path)
        .header("Content-Type", "application/json")
        .header("User-Agent", format!("{MANAGER}/0.1.0"))
        .body(serde_json::to_vec(&secret("agent", None)).expect("JSON"))
        .expect("a request");
    refused(
        "a user agent",
        NOT_THE_OPERATOR,
        tenant.client.request::<Secret>(request).await,
    );

    // A value of the operator's Secret: whoever changes it becomes its manager, whatever they send.
    let mut changed = allowed("reading", tenant.api::<Secret>().get("ours").await);
    let other = k8s_openapi::ByteString(b"other".to_vec());
    changed
        .data
        .get_or_insert_default()
        .insert("access_token".to_owned(), other);
    let replaced = tenant
        .api::<Secret>()
        .replace("ours", &tenants, &changed)
        .await;
    let mut replaced = allowed("changing a value", replaced);
    assert_eq!(managers(&replaced), [MANAGER, "tenant"]);
    // And cannot give it back in the operator's name.
    replaced.metadata.managed_fields = entries;
    let replaced = tenant
        .api::<Secret>()
        .replace("ours", &tenants, &replaced)
        .await;
    refused("giving the value back", NOT_THE_OPERATOR, replaced);
}

#[tokio::test]
async fn an_account_of_the_operators_name_elsewhere_is_not_the_operator() {
    let (sandbox, elsewhere) = (
        sandbox("policy-name").await,
        sandbox("policy-impostor").await,
    );
    let bindings: Api<k8s_openapi::api::rbac::v1::ClusterRoleBinding> =
        Api::all(sandbox.client.clone());
    let granted = bindings
        .delete(&elsewhere.namespace, &DeleteParams::default())
        .await;
    granted.expect("no right to the name");
    let impostor = Account::of(&elsewhere, "operator").await;
    let tenant = Account::of(&elsewhere, "tenant").await;
    impostor
        .until_refused(NOT_THE_OPERATOR, async || {
            let probe = impostor
                .create::<Secret>(MANAGER, secret("probe", Some(MANAGER)))
                .await;
            let _ = tenant.delete::<Secret>("probe").await;
            probe
        })
        .await;
}

#[tokio::test]
async fn whoever_owns_a_namespace_goes_on_as_before() {
    let sandbox = sandbox("policy-others").await;
    let tenant = Account::of(&sandbox, "tenant").await;
    let operator = Account::of(&sandbox, "operator").await;
    tenant
        .until_refused(NOT_THE_OPERATOR, async || {
            let probe = tenant
                .create::<Secret>(MANAGER, secret("probe", None))
                .await;
            let _ = tenant.delete::<Secret>("probe").await;
            probe
        })
        .await;
    // Of a thousand organisations.
    let mut large = secret("large", Some(MANAGER));
    for number in 0..2_000 {
        large["data"][format!("ding{number:04}.access_token")] = json!("dG9rZW4=");
    }
    allowed(
        "a large Secret",
        operator.create::<Secret>(MANAGER, large).await,
    );
    let label = json!({"metadata": {"labels": {"team": "hr"}, "annotations": {"a": "2"}}});
    allowed(
        "a label on it",
        tenant.merge::<Secret>("kubectl-edit", "large", label).await,
    );
    allowed(
        "a value of it",
        tenant
            .merge::<Secret>("kubectl-edit", "large", change())
            .await,
    );
    allowed("deleting it", tenant.delete::<Secret>("large").await);

    // The garbage collector takes what has lost its owner, and an owner reference away.
    let is_left = outlives_its_owner(&sandbox, &tenant, &operator, DeleteParams::default()).await;
    assert!(!is_left, "collected");
    let orphaned = DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..Default::default()
    };
    // It takes a Secret that it has not come to see before its owner goes.
    for _ in 0..10 {
        if outlives_its_owner(&sandbox, &tenant, &operator, orphaned.clone()).await {
            return;
        }
    }
    panic!("never orphaned");
}

/// Whether a Secret of the operator's is there, and nobody's, after its owner was deleted in this way.
async fn outlives_its_owner(
    sandbox: &Sandbox,
    tenant: &Account<'_>,
    operator: &Account<'_>,
    how: DeleteParams,
) -> bool {
    let name = format!("owned-{:08x}", rand::random::<u32>());
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let owner = allowed(
        "an owner",
        tenant.create::<ConfigMap>("tenant", owner).await,
    );
    let mut possession = secret(&name, Some(MANAGER));
    possession["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner.metadata.uid}]);
    allowed(
        "an owned Secret",
        operator.create::<Secret>(MANAGER, possession).await,
    );
    let deleted = tenant.api::<ConfigMap>().delete(&name, &how).await;
    allowed("deleting the owner", deleted);
    let what = "what becomes of a Secret whose owner is gone";
    sandbox
        .eventually(what, async || {
            let secret = sandbox.api::<Secret>().get_opt(&name).await.ok()?;
            let is_owned = |secret: &Secret| secret.metadata.owner_references.is_some();
            match secret {
                None => Some(false),
                Some(secret) => (!is_owned(&secret)).then_some(true),
            }
        })
        .await
}

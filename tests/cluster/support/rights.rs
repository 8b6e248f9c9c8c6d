//! Permissions in a test's namespace.

use std::fs;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use super::Sandbox;
use super::yaml::{document, policies};

impl Sandbox {
    /// Creates the namespace, and an account for the operator with the rights of `deploy/rbac/role.yaml` in it.
    pub(super) async fn grant(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let object = |value: Value| serde_json::from_value(value).expect("an object");
        let namespace = object(json!({"metadata": {"name": self.namespace}}));
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .expect("a namespace");
        let accounts: Api<ServiceAccount> = self.api();
        let account: ServiceAccount =
            serde_json::from_value(json!({"metadata": {"name": "operator"}})).expect("an account");
        accounts
            .create(&PostParams::default(), &account)
            .await
            .expect("an account");
        let election = document(
            include_str!("../../../deploy/base/leader-election.yaml"),
            "Role",
        );
        let election_role = election["metadata"]["name"].as_str().expect("a name");
        self.apply::<Role>(election_role, election.clone()).await;
        self.bind("Role", election_role).await;
        self.bind("ClusterRole", "dingtalk-token-operator").await;
        self.bind_field_manager().await;
        for (group, verb, resource) in [
            ("dingtalk-token-operator.github.io", "list", "dingtalkapps"),
            ("coordination.k8s.io", "create", "leases"),
        ] {
            let attributes = json!({
                "namespace": self.namespace, "group": group, "verb": verb, "resource": resource,
            });
            let attributes = json!({"resourceAttributes": attributes});
            self.until_permitted(&attributes, true).await;
        }
        let use_it = json!({"path": "/dingtalk-token-operator/field-manager", "verb": "use"});
        self.until_permitted(&json!({"nonResourceAttributes": use_it}), true)
            .await;
        let kubeconfig = self.kubeconfig_of("operator").await;
        fs::write(self.operator_kubeconfig(), kubeconfig.to_string()).expect("written");
    }

    /// Waits until the API server knows whether the operator is permitted to do this: it learns of each binding a while
    /// after it was made. `attributes` are a SubjectAccessReview's.
    pub async fn until_permitted(&self, attributes: &Value, is_permitted: bool) {
        let mut spec = attributes.clone();
        let account = format!("system:serviceaccount:{}:operator", self.namespace);
        spec["user"] = account.into();
        let review = json!({"metadata": {}, "spec": spec});
        let review: SubjectAccessReview = serde_json::from_value(review).expect("a review");
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let what = format!("permitted: {is_permitted}, to the operator: {attributes}");
        self.eventually(&what, async || {
            let answer = reviews.create(&PostParams::default(), &review).await;
            let status = answer.expect("an answer").status;
            (status.expect("a status").allowed == is_permitted).then_some(())
        })
        .await;
    }

    /// Allows the operator to write with its own field manager.
    async fn bind_field_manager(&self) {
        let mut binding = policies()
            .into_iter()
            .find(|object| object["kind"] == "ClusterRoleBinding")
            .expect("a binding");
        binding["metadata"]["name"] = json!(self.namespace);
        binding["subjects"] =
            json!([{"kind": "ServiceAccount", "name": "operator", "namespace": self.namespace}]);
        let binding: ClusterRoleBinding = serde_json::from_value(binding).expect("a binding");
        Api::<ClusterRoleBinding>::all(self.client.clone())
            .create(&PostParams::default(), &binding)
            .await
            .expect("bound");
    }

    /// Applies the ClusterRole of a YAML text, without a binding. Returns its name.
    pub async fn install_role(&self, text: &str) -> String {
        let role = document(text, "ClusterRole");
        let name = role["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        let roles: Api<ClusterRole> = Api::all(self.client.clone());
        roles
            .patch(
                &name,
                &PatchParams::apply("test").force(),
                &Patch::Apply(role),
            )
            .await
            .expect("the role");
        name
    }

    /// Grants the operator the rights of a role in this namespace.
    pub async fn bind(&self, kind: &str, name: &str) {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": self.namespace}],
        });
        self.apply::<RoleBinding>(name, binding).await;
    }

    /// Returns a client with the rights of a ServiceAccount of this namespace.
    pub async fn as_account(&self, name: &str) -> Client {
        let kubeconfig = self.kubeconfig_of(name).await;
        let kubeconfig = serde_json::from_value(kubeconfig).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default())
            .await
            .expect("a config");
        Client::try_from(config).expect("a client")
    }

    /// Returns a kubeconfig with the rights of a ServiceAccount of this namespace.
    pub async fn kubeconfig_of(&self, account: &str) -> Value {
        let request = serde_json::from_value(json!({"metadata": {}, "spec": {"audiences": []}}))
            .expect("a token request");
        let token = self
            .api::<ServiceAccount>()
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .expect("a token")
            .status
            .expect("a status")
            .token;
        let admin = fs::read(&self.kubeconfig).expect("a kubeconfig");
        let mut kubeconfig: Value = serde_json::from_slice(&admin).expect("JSON");
        kubeconfig["users"] = json!([{"name": "admin", "user": {"token": token}}]);
        kubeconfig
    }
}

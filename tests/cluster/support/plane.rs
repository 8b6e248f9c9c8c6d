//! Control planes with everything that the operator needs in a cluster.

use std::sync::OnceLock;

use dingtalk_token_operator::api::definitions;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, TypeMeta};
use kube::runtime::{conditions, wait::await_condition};
use kube::{Api, Client, Config, ResourceExt};
use local_control_plane::ControlPlane;

use super::programs::{assets, xtask};
use super::waiting::PATIENCE;
use super::yaml::{deployed, policies};

/// A control plane with the CRDs, the admission policies and the operator's role.
pub struct Plane {
    pub control_plane: ControlPlane,
}

impl Plane {
    pub async fn start() -> Self {
        let plane = Self::boot();
        plane.install().await;
        plane
    }

    fn boot() -> Self {
        let control_plane = ControlPlane::start(&xtask(), assets()).expect("a control plane");
        Self { control_plane }
    }

    pub async fn client(&self) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = kube::config::Kubeconfig::read_from(self.control_plane.kubeconfig())
            .expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default())
            .await
            .expect("a config");
        Client::try_from(config).expect("a client")
    }

    async fn install_policies(&self, client: &Client) {
        let apply = PatchParams::apply("test").force();
        for object in policies() {
            // Each test binds its own account.
            if object["kind"] == "ClusterRoleBinding" {
                continue;
            }
            let types: TypeMeta = serde_json::from_value(object.clone()).expect("types");
            let kind = GroupVersionKind::try_from(&types).expect("a kind");
            let kind = ApiResource::from_gvk(&kind);
            let name = object["metadata"]["name"].as_str().expect("a name");
            Api::<DynamicObject>::all_with(client.clone(), &kind)
                .patch(name, &apply, &Patch::Apply(&object))
                .await
                .expect("a policy");
        }
    }

    async fn install(&self) {
        let client = self.client().await;
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        let apply = PatchParams::apply("test").force();
        for crd in definitions() {
            crds.patch(&crd.name_any(), &apply, &Patch::Apply(&crd))
                .await
                .expect("the CRD");
            let established = conditions::is_crd_established();
            tokio::time::timeout(
                PATIENCE,
                await_condition(crds.clone(), &crd.name_any(), established),
            )
            .await
            .expect("established in time")
            .expect("established");
        }
        self.install_policies(&client).await;
        let roles: Api<ClusterRole> = Api::all(client);
        roles
            .patch(
                "dingtalk-token-operator",
                &apply,
                &Patch::Apply(deployed("ClusterRole")),
            )
            .await
            .expect("the role");
    }
}

/// Returns the control plane that most tests share. It ends with the test program.
pub async fn shared_plane() -> &'static Plane {
    static PLANE: OnceLock<Plane> = OnceLock::new();
    static INSTALLED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let plane = PLANE.get_or_init(Plane::boot);
    INSTALLED.get_or_init(|| plane.install()).await;
    plane
}

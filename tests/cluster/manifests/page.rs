//! The patches that docs/installing.md shows.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::overlay;
use crate::support::documents;

const PAGE: &str = include_str!("../../../docs/installing.md");
const DEPLOYMENT: &str = "Deployment/dingtalk-token-operator/dingtalk-token-operator";
const POLICY: &str = "NetworkPolicy/dingtalk-token-operator/dingtalk-token-operator";

/// What kustomize makes of the page's examples with patches, in their order, over `deploy/cluster-wide`.
fn patched() -> Vec<BTreeMap<String, Value>> {
    let blocks = PAGE.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split_once("\n```"));
    let patches = blocks.filter(|(block, _)| block.starts_with("patches:\n"));
    let overlays = patches.map(|(block, _)| {
        let mut fields = documents(block).remove(0);
        fields["resources"] = json!(["../../deploy/cluster-wide"]);
        overlay(&fields)
    });
    overlays.collect()
}

#[test]
fn each_patch_of_the_page_has_its_effect() {
    let overlays: [BTreeMap<String, Value>; 3] = patched().try_into().expect("three examples");
    let [flags, egress, metrics] = &overlays;

    let pod = &flags[DEPLOYMENT]["spec"]["template"]["spec"];
    let operator = &pod["containers"][0];
    assert_eq!(operator["args"], json!(["run", "--log-format=json"]));
    let proxy = json!([{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}]);
    assert_eq!(operator["env"], proxy);
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));

    let rules = |overlay: &BTreeMap<String, Value>| overlay[POLICY]["spec"]["egress"].clone();
    let tcp = |port: u16| json!({"protocol": "TCP", "port": port});
    let to = ["203.0.113.0/24", "10.0.0.1/32"].map(|cidr| json!({"ipBlock": {"cidr": cidr}}));
    let expected = json!({"ports": [tcp(443), tcp(6443), tcp(3128)], "to": to});
    assert_eq!(rules(egress)[1], expected);
    assert_eq!(rules(egress)[0], rules(metrics)[0], "DNS to anywhere");

    let peer = json!({"matchLabels": {"kubernetes.io/metadata.name": "observability"}});
    let from = &metrics[POLICY]["spec"]["ingress"][0]["from"];
    assert_eq!(*from, json!([{"namespaceSelector": peer}]));
}

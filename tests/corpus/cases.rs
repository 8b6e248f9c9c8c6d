//! Manifests that the API server takes, and manifests that it refuses, with what it says of them.
//!
//! The cluster tests send them to a real one; `validate` has to agree.

use serde_json::{Value, json};

/// A manifest.
pub struct Case {
    /// The object.
    pub object: Value,
    /// A part of what it is refused with; empty if it is taken.
    pub refused: &'static str,
}

/// A `DingTalkApp` whose spec has these fields beside those that it needs.
pub fn app(name: &str, fields: &Value) -> Value {
    let mut app = json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
        "metadata": {"name": name},
        "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": ["ding1"]},
    });
    for (field, value) in fields.as_object().into_iter().flatten() {
        app["spec"][field] = value.clone();
    }
    app
}

/// A `DingTalkTokenReference` whose spec has these fields beside those that it needs.
pub fn reference(name: &str, fields: &Value) -> Value {
    let mut reference = json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkTokenReference",
        "metadata": {"name": name},
        "spec": {"appRef": {"namespace": "hr", "name": "payroll"}},
    });
    for (field, value) in fields.as_object().into_iter().flatten() {
        reference["spec"][field] = value.clone();
    }
    reference
}

/// Manifests with every field of a spec.
pub fn full() -> [Value; 2] {
    let labels = json!({"example.com/team": "hr"});
    let app = app(
        "full",
        &json!({
            "credentialsSecretRef": {"name": "credentials", "clientIdKey": "id", "clientSecretKey": "secret"},
            "renewBefore": "1h30m",
            "referenceGrants": [{"namespace": "reports"}],
            "rolloutRestartTargets": [{"kind": "Deployment", "name": "web"}],
            "suspend": true,
            "target": {
                "name": "token", "layout": "Single", "propagation": "Periodic", "deletionPolicy": "Retain",
                "labels": labels, "annotations": labels, "template": {"data": {"env": "{{ access_token }}"}},
            },
        }),
    );
    let target = json!({"name": "token", "labels": labels, "annotations": labels});
    [app, reference("full", &json!({ "target": target }))]
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = full()
        .into_iter()
        .map(|object| Case {
            object,
            refused: "",
        })
        .collect();
    cases.extend(apps().into_iter().map(|(fields, refused)| Case {
        object: app("a", &fields),
        refused,
    }));
    cases.extend(references().into_iter().map(|(fields, refused)| Case {
        object: reference("a", &fields),
        refused,
    }));
    let per_corp = json!({"target": {"layout": "PerCorp"}});
    cases.push(Case {
        object: app(&"x".repeat(250), &json!({})),
        refused: "set spec.target.name",
    });
    cases.push(Case {
        object: app(&"x".repeat(183), &per_corp),
        refused: "<name>-token-<corpId>",
    });
    cases.push(Case {
        object: reference(&"x".repeat(183), &json!({})),
        refused: "set spec.target.name",
    });
    cases.extend(metadata().into_iter().map(|(metadata, refused)| {
        let mut object = app("", &json!({}));
        object["metadata"] = metadata;
        Case { object, refused }
    }));
    cases
}

/// The metadata of an app, and what it is refused with.
fn metadata() -> Vec<(Value, &'static str)> {
    let start = "metadata.generateName: ";
    vec![
        (json!({"generateName": "a-"}), ""),
        (json!({"name": "", "generateName": "a-"}), ""),
        (json!({"generateName": "x".repeat(253)}), ""),
        (json!({"generateName": "x".repeat(254)}), start),
        (json!({"generateName": "A_"}), start),
        (json!({"generateName": "a."}), start),
        (json!({"generateName": "--"}), "metadata."),
        (json!({"name": "a", "generateName": "A_"}), start),
        (
            json!({"name": "a", "labels": {"example.com/team": "HR_1"}}),
            "",
        ),
        (
            json!({"name": "a", "labels": {"team": "a b"}}),
            "metadata.labels",
        ),
        (
            json!({"name": "a", "labels": {"a b": "x"}}),
            "metadata.labels",
        ),
        (json!({"name": "a", "annotations": {"Note": "a b"}}), ""),
        (
            json!({"name": "a", "annotations": {"a b": ""}}),
            "metadata.annotations",
        ),
    ]
}

/// What an app's spec has, and what it is refused with.
fn apps() -> Vec<(Value, &'static str)> {
    let many: Vec<String> = (0..1001).map(|n| format!("ding{n}")).collect();
    let no_duration = "a duration of at least one second, such as 40m";
    vec![
        (json!({}), ""),
        (json!({"corpIds": []}), "at least 1"),
        (
            json!({"corpIds": ["a", "b"]}),
            "or set target.layout to Combined",
        ),
        (json!({"corpIds": many}), "must have at most 1000 items"),
        (json!({"corpIds": ["a", "a"]}), "Duplicate value"),
        (json!({"corpIds": ["a b"]}), "a corpId has 1 to 64 letters"),
        (json!({"corpIds": ["x".repeat(65)]}), "Too long"),
        (json!({"renewBefore": "soon"}), no_duration),
        (json!({"renewBefore": "-5m"}), no_duration),
        (json!({"renewBefore": "0s"}), no_duration),
        (json!({"renewBefore": "900ms"}), no_duration),
        (json!({"renewBefore": "1.5h"}), no_duration),
        (json!({"renewBefore": "1h30m"}), ""),
        (json!({"site": null}), "spec.site: Required value"),
        (json!({"site": "China"}), "not a site's name"),
        (
            json!({"target": {"template": {"data": {"expires_at": "x"}}}}),
            "cannot set access_token, expires_at or corp_id",
        ),
        (
            json!({"target": {"layout": "PerCorp", "template": {"data": {"corp_id": "x"}}}}),
            "cannot set access_token, expires_at or corp_id",
        ),
        (
            json!({
                "corpIds": ["a", "b"],
                "target": {"layout": "Combined", "template": {"data": {"b.access_token": "x"}}},
            }),
            "cannot set <corpId>.access_token",
        ),
        (
            json!({
                "corpIds": ["a", "b"],
                "target": {"layout": "Combined", "template": {"data": {"c.access_token": "x", "access_token": "x"}}},
            }),
            "",
        ),
        (
            json!({"target": {"labels": {"app.kubernetes.io/managed-by": "x"}}}),
            "are reserved",
        ),
        (
            json!({"target": {"labels": {"app.kubernetes.io/part-of": "hr"}}}),
            "",
        ),
        (
            json!({"target": {"name": "credentials"}}),
            "is the credentials Secret",
        ),
        (json!({"target": {"name": "Upper"}}), "not a Secret's name"),
        (json!({"target": {"name": "x".repeat(254)}}), "Too long"),
        (json!({"target": {"layout": "Round"}}), "Unsupported value"),
        (
            json!({"target": {"labels": {"kubernetes.io/x": "y"}}}),
            "are reserved",
        ),
        (json!({"target": {"labels": {"x": "a b"}}}), "not a label"),
        (
            json!({"target": {"labels": {"example.com/team": "hr"}}}),
            "",
        ),
        (
            json!({"target": {"annotations": {"dingtalk-token-operator.github.io/owner": "y"}}}),
            "are reserved",
        ),
        (
            json!({"credentialsSecretRef": {"name": "a-token"}}),
            "which the operator never writes",
        ),
        (json!({"credentialsSecretRef": {}}), "Required value"),
        (
            json!({"credentialsSecretRef": {"name": "x", "clientIdKey": "a/b"}}),
            "not a key of a Secret",
        ),
        (
            json!({"corpIds": ["a", "B"], "target": {"layout": "PerCorp"}}),
            "use layout Combined for other corpIds",
        ),
        (
            json!({"target": {"layout": "PerCorp", "name": "x".repeat(189)}}),
            "188 characters at most",
        ),
        (
            json!({
                "corpIds": ["a", "b"], "target": {"layout": "PerCorp", "name": "t"},
                "credentialsSecretRef": {"name": "t-b"},
            }),
            "is the credentials Secret",
        ),
        (
            json!({"corpIds": ["a", "B"], "target": {"layout": "Combined"}}),
            "",
        ),
        (
            json!({"target": {"template": {"data": {"a/b": "x"}}}}),
            "not a key of a Secret",
        ),
        (
            json!({"rolloutRestartTargets": [{"kind": "Pod", "name": "x"}]}),
            "supported values",
        ),
        (
            json!({"referenceGrants": [{"namespace": "*"}]}),
            "without wildcards",
        ),
        (
            json!({"credentialsSecretRef": {"name": "Upper"}}),
            "not a Secret's name",
        ),
        (
            json!({"credentialsSecretRef": {"name": "x", "clientSecretKey": "a/b"}}),
            "not a key of a Secret",
        ),
        (
            json!({"target": {"annotations": {"a b": "x"}}}),
            "not an annotation",
        ),
        (
            json!({"rolloutRestartTargets": [{"kind": "DaemonSet", "name": "Upper"}]}),
            "not a workload's name",
        ),
        (
            json!({"referenceGrants": [{"namespace": "x"}, {"namespace": "x"}]}),
            "Duplicate value",
        ),
        (
            json!({"rolloutRestartTargets": [
                {"kind": "DaemonSet", "name": "x"}, {"kind": "Deployment", "name": "x"},
            ]}),
            "",
        ),
        (json!({"target": null, "renewBefore": null}), ""),
        (json!({"corpIds": null}), "Required value"),
        (json!({"corpIds": [null]}), "must be of type string"),
        (json!({"suspend": "yes"}), "must be of type boolean"),
        (json!({"sites": "china"}), "unknown field"),
        (
            json!({"target": {"template": {"date": {}}}}),
            "unknown field",
        ),
    ]
}

/// What a reference's spec has, and what it is refused with.
fn references() -> Vec<(Value, &'static str)> {
    vec![
        (json!({}), ""),
        (json!({"appRef": null}), "Required value"),
        (
            json!({"appRef": {"namespace": "hr", "name": "Upper"}}),
            "not a DingTalkApp's name",
        ),
        (
            json!({"appRef": {"namespace": "h.r", "name": "payroll"}}),
            "not a namespace",
        ),
        (json!({"target": {"name": "Upper"}}), "not a Secret's name"),
        (json!({"target": {"name": "x".repeat(189)}}), "Too long"),
        (
            json!({"target": {"labels": {"k8s.io/x": "y"}}}),
            "are reserved",
        ),
        (json!({"target": {"labels": {"x": "a b"}}}), "not a label"),
        (
            json!({"target": {"annotations": {"k8s.io/x": "y"}}}),
            "are reserved",
        ),
        (
            json!({"target": {"annotations": {"a b": "y"}}}),
            "not an annotation",
        ),
        (json!({"target": {"layout": "Single"}}), "unknown field"),
    ]
}

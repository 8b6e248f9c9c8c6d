//! Findings that the operator would report.

use super::*;

#[test]
fn what_the_operator_would_report_is_said_if_the_files_tell() {
    let secret = |data: Value| {
        let metadata = json!({"name": "credentials"});
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
    };
    let said = |objects: &[Value]| {
        let found = found(objects);
        assert!(
            found.iter().all(|it| it.severity == Severity::Reported),
            "{found:?}"
        );
        found
            .iter()
            .map(|it| line(it, false))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let payroll = app("payroll", &json!({}));
    let good = secret(json!({"client_id": "dingx", "client_secret": "hidden"}));
    assert_eq!(said(&[payroll.clone(), good]), "");
    let lacking = said(&[secret(json!({"client_id": "dingx"})), payroll.clone()]);
    assert!(
        lacking.contains("key \"client_secret\" is missing"),
        "{lacking}"
    );
    assert!(lacking.contains("CredentialsKeyMissing"), "{lacking}");
    let wrong = said(&[
        secret(json!({"client_id": "dingx", "client_secret": "hid den"})),
        payroll,
    ]);
    assert!(
        wrong.contains("CredentialsInvalid") && !wrong.contains("hid den"),
        "{wrong}"
    );
    let template = json!({"target": {"template": {"data": {"env": "{{ access_tokn }}"}}}});
    let template = said(&[app("a", &template)]);
    // Regression: the field's path was said twice.
    let place = ": spec.target.template.data[\"env\"]: line 1, column 4: ";
    assert!(template.contains(place), "{template}");
    assert!(template.contains("InvalidTemplate"), "{template}");
    let shared = |name: &str| app(name, &json!({"target": {"name": "token"}}));
    let shared = said(&[shared("a"), shared("b")]);
    assert!(
        shared.contains("DingTalkApp b: spec.target.name: DingTalkApp a also writes"),
        "{shared}"
    );
}

#[test]
fn a_reference_needs_a_grant_of_the_app_that_it_names() {
    let reference = in_namespace(cases::reference("copy", &json!({})), "reports");
    let payroll =
        |grants: Value| in_namespace(app("payroll", &json!({"referenceGrants": grants})), "hr");
    let granted = payroll(json!([{"namespace": "reports"}]));
    assert!(found(&[granted, reference.clone()]).is_empty());
    let said = line(&found(&[payroll(json!([])), reference.clone()])[0], false);
    assert!(
        said.contains("no spec.referenceGrants entry for namespace reports"),
        "{said}"
    );
    assert!(
        found(&[reference]).is_empty(),
        "the app is not in the files"
    );
}

/// Regression: it counted for an object of another kind with the same name, too.
#[test]
fn a_finding_counts_for_its_object_alone() {
    let template = json!({"target": {"template": {"data": {"env": "{{ access_tokn }}"}}}});
    let items = [app("x", &template), cases::reference("x", &json!({}))];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let report = report_of(&[file(&[list])]);
    assert_eq!((report.valid, report.invalid), (1, 1), "{report:?}");
}

#[test]
fn of_several_objects_with_one_name_the_first_counts() {
    let secret = |data: Value| {
        let metadata = json!({"name": "credentials"});
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
    };
    let good = secret(json!({"client_id": "dingx", "client_secret": "hidden"}));
    let lacking = secret(json!({"client_id": "dingx"}));
    let payroll = app("payroll", &json!({}));
    assert!(found(&[good.clone(), lacking.clone(), payroll.clone()]).is_empty());
    assert_eq!(found(&[lacking, good, payroll]).len(), 1);
}

fn in_namespace(mut object: Value, namespace: &str) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object
}

/// Regression: it counted for an app with the same name in another namespace, too.
#[test]
fn a_finding_names_and_counts_for_the_namespace_of_its_object() {
    let template = json!({"target": {"template": {"data": {"env": "{{ access_tokn }}"}}}});
    let items = [
        in_namespace(app("x", &json!({})), "hr"),
        in_namespace(app("x", &template), "web"),
    ];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let report = report_of(&[file(&[list])]);
    assert_eq!((report.valid, report.invalid), (1, 1), "{report:?}");
    let said = line(&report.items[0], false);
    assert!(said.contains("document 1, DingTalkApp web/x: "), "{said}");
    let json = serde_json::to_value(&report.items[0]).expect("JSON");
    assert_eq!(json["namespace"], "web");
}

/// Regression: all apps with generated names counted as one.
#[test]
fn apps_with_generated_names_do_not_share_a_target() {
    let generated = |fields: Value| {
        let mut app = app("", &fields);
        app["metadata"] = json!({"generateName": "a-"});
        app
    };
    let named = || generated(json!({"target": {"name": "token"}}));
    let found = found(&[
        named(),
        named(),
        app("b", &json!({"target": {"name": "token"}})),
    ]);
    let said: Vec<String> = found.iter().map(|it| line(it, false)).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    for said in said {
        let owner = "the DingTalkApp in x.yaml, document 1, also writes the Secret token";
        assert!(said.contains(owner), "{said}");
    }
    let default = || generated(json!({}));
    assert!(
        super::found(&[default(), default()]).is_empty(),
        "their names differ"
    );
    let same = || app("b", &json!({"target": {"name": "token"}}));
    assert!(super::found(&[same(), same()]).is_empty(), "one app, twice");
}

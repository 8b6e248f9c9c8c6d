use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use super::manifests::File;
use super::*;
use crate::api::definitions;
use crate::cli::validate::schema::{apply_defaults, field, items, property};
use cases::{Case, app, cases, full};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrBool,
};
use serde_json::Value;
use violations::violations;

#[path = "../../../tests/corpus/cases.rs"]
mod cases;
mod reported;
#[path = "../../../tests/corpus/violations.rs"]
mod violations;

fn schema_of(kind: &str) -> JSONSchemaProps {
    let mut definitions = definitions().into_iter();
    let definition = definitions.find(|it| it.spec.names.kind == kind);
    let version = definition.expect(kind).spec.versions.remove(0);
    let schema = version.schema.and_then(|it| it.open_api_v3_schema);
    schema.expect("a schema")
}

fn file(objects: &[Value]) -> File {
    let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
    File {
        name: "x.yaml".to_owned(),
        text: texts.join("\n---\n"),
    }
}

fn report_of(files: &[File]) -> Report {
    let documents: Vec<Document> = files.iter().flat_map(documents).collect();
    report(&documents).expect("rules")
}

fn found(objects: &[Value]) -> Vec<Finding> {
    report_of(&[file(objects)]).items
}

#[test]
fn what_the_api_server_refuses_is_refused_in_its_words() {
    for Case { object, refused } in cases() {
        let found = found(std::slice::from_ref(&object));
        let refusals = found.iter().filter(|it| it.severity == Severity::Refused);
        let lines: Vec<String> = refusals.map(|it| line(it, false)).collect();
        assert_eq!(lines.is_empty(), refused.is_empty(), "{object}: {lines:?}");
        assert!(
            lines.concat().contains(refused),
            "{refused:?} for {object}: {lines:?}"
        );
    }
}

/// The rules that a value meets, each by its place and its message.
fn met(value: &Value, schema: &JSONSchemaProps, path: &str, rules: &mut BTreeSet<String>) {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        if !rule.rule.contains("oldSelf") {
            rules.insert(format!(
                "{path}: {}",
                rule.message.as_deref().unwrap_or_default()
            ));
        }
    }
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                if let Some(property) = property(schema, name) {
                    met(value, property, &field(path, name), rules);
                }
            }
        }
        Value::Array(list) => {
            let items = items(schema).expect("items");
            for item in list {
                met(item, items, &format!("{path}[]"), rules);
            }
        }
        _ => {}
    }
}

#[test]
fn every_rule_has_a_manifest_that_it_takes_and_one_that_it_refuses() {
    for full in full() {
        let kind = full["kind"].as_str().expect("a kind").to_owned();
        let schema = schema_of(&kind);
        let mut all = BTreeSet::new();
        met(&full, &schema, "", &mut all);
        assert!(all.len() > 5, "{all:?}");
        assert!(
            found(std::slice::from_ref(&full)).is_empty(),
            "all rules take {full}"
        );
        let refused = cases().into_iter().map(|it| it.object);
        let refused = refused.filter(|object| object["kind"] == *kind);
        let refused: BTreeSet<String> = refused
            .flat_map(|object| found(&[object]))
            .map(|it| format!("{}: {}", it.path.replace("[0]", "[]"), it.message))
            .collect();
        let missing: Vec<&String> = all.difference(&refused).collect();
        assert_eq!(missing, Vec::<&String>::new(), "no manifest violates these");
    }
}

/// The rules of a schema wherever they stand.
fn count_rules(schema: &JSONSchemaProps) -> usize {
    let own = schema.x_kubernetes_validations.iter().flatten();
    let own = own.filter(|rule| !rule.rule.contains("oldSelf")).count();
    let properties = schema
        .properties
        .iter()
        .flatten()
        .map(|(_, it)| count_rules(it));
    own + properties.sum::<usize>() + items(schema).map_or(0, count_rules)
}

#[test]
fn the_full_manifests_have_every_field_and_so_meet_every_rule() {
    for full in full() {
        let schema = schema_of(full["kind"].as_str().expect("a kind"));
        let mut all = BTreeSet::new();
        met(&full, &schema, "", &mut all);
        assert_eq!(all.len(), count_rules(&schema), "{all:?}");
    }
}

#[test]
fn a_violation_of_each_constraint_is_refused() {
    let mut count = 0;
    for full in full() {
        let schema = schema_of(full["kind"].as_str().expect("a kind"));
        for (what, object) in violations(&full, &schema) {
            assert!(
                !found(std::slice::from_ref(&object)).is_empty(),
                "{what}: {object}"
            );
            count += 1;
        }
    }
    assert!(count > 60, "{count}");
}

/// The schema without what is checked; anything left would be ignored.
fn unchecked(schema: &JSONSchemaProps, path: &str, left: &mut Vec<String>) {
    let mut rest = schema.clone();
    let properties = rest.properties.take();
    let items = rest.items.take();
    let values = rest.additional_properties.take();
    for rule in rest.x_kubernetes_validations.take().iter().flatten() {
        let mut rule = rule.clone();
        rule.rule = String::new();
        rule.message = None;
        if rule != Default::default() {
            left.push(format!("{path}: {rule:?}"));
        }
    }
    rest.type_ = None;
    rest.title = None;
    rest.description = None;
    rest.required = None;
    rest.default = None;
    rest.enum_ = None;
    (rest.min_length, rest.max_length) = (None, None);
    (rest.min_items, rest.max_items) = (None, None);
    (rest.min_properties, rest.max_properties) = (None, None);
    rest.x_kubernetes_list_type = None;
    rest.x_kubernetes_list_map_keys = None;
    if rest != JSONSchemaProps::default() {
        left.push(format!("{path}: {rest:?}"));
    }
    for (name, property) in properties
        .iter()
        .flatten()
        .filter(|(name, _)| *name != "status")
    {
        unchecked(property, &field(path, name), left);
    }
    if let Some(items) = schema::items(&JSONSchemaProps {
        items,
        ..Default::default()
    }) {
        unchecked(items, &format!("{path}[]"), left);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = values {
        assert!(
            values.x_kubernetes_validations.is_none(),
            "{path}: rules of values"
        );
        unchecked(&values, &format!("{path}.*"), left);
    }
}

#[test]
fn nothing_that_a_schema_demands_is_left_unchecked() {
    for kind in ["DingTalkApp", "DingTalkTokenReference"] {
        let mut left = Vec::new();
        unchecked(&schema_of(kind), "", &mut left);
        assert_eq!(left, Vec::<String>::new());
    }
}

#[test]
fn defaults_are_filled_in_where_something_stands_to_hold_them() {
    let mut app = app(
        "a",
        &json!({"credentialsSecretRef": {"name": "x"}, "target": null}),
    );
    apply_defaults(&mut app, &schema_of("DingTalkApp"));
    assert_eq!(
        app["spec"]["credentialsSecretRef"]["clientIdKey"],
        "client_id"
    );
    assert_eq!(app["spec"]["target"]["layout"], "Single");
    assert_eq!(app["spec"]["suspend"], false);
    assert!(app["spec"].get("renewBefore").is_none());
}

#[test]
fn a_missing_field_hides_no_rule_of_another() {
    let wrong = json!({"site": "China", "corpIds": null, "renewBefore": "soon"});
    let found = found(&[app("a", &wrong)]);
    let paths: Vec<&str> = found.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["spec.corpIds", "spec.renewBefore", "spec.site"]);
}

#[test]
fn metadata_and_the_type_of_an_object_are_checked() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut object = app("a", &json!({}));
        change(&mut object);
        found(&[object])
            .iter()
            .map(|it| line(it, false))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(refused(&|_| {}), "");
    for (wrong, said) in [
        (json!({}), "metadata.name: Required value"),
        (json!({"name": "A"}), "metadata.name: not a name"),
        (
            json!({"name": "a", "namespace": "a.b"}),
            "metadata.namespace: not a namespace",
        ),
        (
            json!({"name": "a", "label": {}}),
            "metadata.label: unknown field: did you mean labels?",
        ),
        (
            json!({"name": "a", "labels": {"x": 1}}),
            "metadata.labels.x: invalid type",
        ),
    ] {
        let refused = refused(&|it| it["metadata"] = wrong.clone());
        assert!(refused.contains(said), "{said} in {refused}");
    }
    let version = refused(&|it| it["apiVersion"] = json!("dingtalk-token-operator.github.io/v1"));
    assert!(
        version.contains("apiVersion: is not served: write dingtalk-"),
        "{version}"
    );
    let kind = refused(&|it| it["kind"] = json!("DingtalkApp"));
    assert!(kind.contains("kind: not a kind of"), "{kind}");
    let generated = refused(&|it| it["metadata"] = json!({"generateName": "a-"}));
    assert_eq!(generated, "");
}

#[test]
fn other_kinds_are_counted_and_what_is_no_yaml_is_a_finding() {
    let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
    let objects = [
        config_map,
        app("a", &json!({})),
        app("b", &json!({"site": "China"})),
    ];
    let broken = File {
        name: "broken.yaml".to_owned(),
        text: "a: [\n".to_owned(),
    };
    let report = report_of(&[file(&objects), broken]);
    let shown = shown(&report, false);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines[2],
        "1 valid, 2 with findings, 1 of other kinds skipped"
    );
    assert!(
        lines[0].contains("x.yaml, document 3, DingTalkApp b: spec.site: not a site's name"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("broken.yaml, document 1: not YAML: "),
        "{lines:?}"
    );
}

/// Regression: they were counted as objects of other kinds.
#[test]
fn what_is_no_object_is_a_finding() {
    let text = "[{kind: DingTalkApp}]\n---\nkind:DingTalkApp\n---\n3\n---\n\
                {kind: List, items: [null, true]}\n---\n# empty\n";
    let name = "x.yaml".to_owned();
    let report = report_of(&[File {
        name,
        text: text.to_owned(),
    }]);
    assert_eq!((report.invalid, report.skipped), (5, 0), "{report:?}");
    let lines: Vec<String> = report.items.iter().map(|it| line(it, false)).collect();
    let expected = "fails x.yaml, document 1: must be of type object, but is of type array: write each object \
                    as a document of its own, with a line --- between them";
    assert_eq!(lines[0], expected);
    let types = ["array", "string", "integer", "null", "boolean"];
    for (line, of) in lines.iter().zip(types) {
        assert!(line.contains(&format!("is of type {of}: ")), "{line}");
    }
    assert!(lines[1].ends_with("write each field as `name: value`, with a space after the colon"));
    assert!(lines[4].contains("document 4: "), "{}", lines[4]);
}

/// Regression: a folder without manifests was valid, for example one with a wrong name.
#[test]
fn a_path_without_any_object_is_a_problem_and_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| fs::write(path(name), text).expect("written");
    for name in ["none", "empty", "good"] {
        fs::create_dir(path(name)).expect("a folder");
    }
    write("none/readme.txt", "kind: DingTalkApp");
    write("empty/a.yaml", "# nothing\n---\n");
    write("good/a.yaml", "# nothing\n");
    write("good/b.json", &app("a", &json!({})).to_string());
    let validated = |names: &[&str]| {
        let files = names.iter().map(|name| path(name)).collect();
        let output = Output::Json;
        let code = validate(&ValidateArguments { files, output });
        code.expect("it ran") == ExitCode::SUCCESS
    };
    assert!(validated(&["good"]));
    for names in [
        &["none"][..],
        &["empty"],
        &["empty/a.yaml"],
        &["good", "none"],
    ] {
        assert!(!validated(names), "{names:?}");
    }
    let said = nothing_in(&path("none"));
    assert!(said.contains("none: of a folder, only"), "{said}");
    let said = nothing_in(&path("empty/a.yaml"));
    assert!(said.ends_with("empty/a.yaml"), "{said}");
}

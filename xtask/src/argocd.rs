//! Tests of the health checks for Argo CD, in Lua as in Argo CD.

use mlua::{Lua, Table, Value as LuaValue};
use serde_json::{Value, json};

use crate::root;

const KINDS: [&str; 2] = ["DingTalkApp", "DingTalkTokenReference"];

fn check(kind: &str) -> String {
    let file = root().join("deploy/argocd/health.yaml");
    let text = std::fs::read_to_string(file).expect("the checks");
    let patch: Value = serde_yaml_ng::from_str(&text).expect("YAML");
    let key = format!("resource.customizations.health.dingtalk-token-operator.github.io_{kind}");
    let check = patch["data"][&key].as_str();
    check.expect("a check of this kind").to_owned()
}

fn lua_value(lua: &Lua, value: &Value) -> LuaValue {
    let table = |pairs: Vec<(LuaValue, LuaValue)>| {
        let table = lua.create_table_from(pairs);
        LuaValue::Table(table.expect("a table"))
    };
    let text = |text: &str| LuaValue::String(lua.create_string(text).expect("a text"));
    match value {
        Value::Null => LuaValue::Nil,
        Value::Bool(is_true) => LuaValue::Boolean(*is_true),
        Value::Number(number) => LuaValue::Number(number.as_f64().expect("a number")),
        Value::String(value) => text(value),
        Value::Array(items) => {
            let items = items.iter().zip(1..);
            let items = items.map(|(item, at)| (LuaValue::Integer(at), lua_value(lua, item)));
            table(items.collect())
        }
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, field)| (text(name), lua_value(lua, field)));
            table(fields.collect())
        }
    }
}

/// Returns the status and message of an object's health.
fn health(kind: &str, object: &Value) -> (String, String) {
    let lua = Lua::new();
    let object = lua_value(&lua, object);
    lua.globals().set("obj", object).expect("set");
    let health: Table = lua.load(check(kind)).eval().expect("a health");
    let field = |name: &str| health.get::<String>(name).expect("a text");
    (field("status"), field("message"))
}

/// Returns an object of generation 2 with these conditions of the generation `observed`.
fn object(observed: i64, conditions: &[(&str, &str, &str)]) -> Value {
    let condition = |(type_, status, reason): &(&str, &str, &str)| json!({"type": type_, "status": status, "reason": reason, "message": format!("{type_}: {reason}")});
    let conditions: Vec<Value> = conditions.iter().map(condition).collect();
    json!({
        "metadata": {"name": "payroll", "generation": 2},
        "status": {"observedGeneration": observed, "conditions": conditions},
    })
}

#[test]
fn argo_cd_is_told_how_apps_and_references_fare() {
    let valid = ("Ready", "True", "TokensValid");
    for kind in KINDS {
        for (conditions, status, message) in [
            (&[valid][..], "Healthy", "Ready: TokensValid"),
            (
                &[
                    ("Ready", "True", "RenewalFailing"),
                    ("Renewed", "False", "Throttled"),
                ],
                "Healthy",
                "Ready: RenewalFailing",
            ),
            (
                &[("Ready", "Unknown", "Pending")],
                "Progressing",
                "Ready: Pending",
            ),
            (
                &[("Ready", "False", "TokenExpired")],
                "Degraded",
                "Ready: TokenExpired",
            ),
            (
                &[valid, ("Stalled", "True", "InvalidCredentials")],
                "Degraded",
                "Stalled: InvalidCredentials",
            ),
            (
                &[valid, ("Renewed", "Unknown", "Suspended")],
                "Suspended",
                "Renewed: Suspended",
            ),
            (
                &[("Stalled", "True", "UnsupportedSpec")],
                "Degraded",
                "Stalled: UnsupportedSpec",
            ),
        ] {
            let found = health(kind, &object(2, conditions));
            let expected = (status.to_owned(), message.to_owned());
            assert_eq!(found, expected, "{kind}, {conditions:?}");
        }
        // Conditions of a former spec do not apply to the current one.
        assert_eq!(health(kind, &object(1, &[valid])).0, "Progressing");
        let new = json!({"metadata": {"name": "payroll", "generation": 1}});
        assert_eq!(health(kind, &new).0, "Progressing");
    }
}

#[test]
fn argo_cd_understands_the_statuses_that_a_release_left() {
    let text = include_str!("../../tests/golden/v1/status.yaml");
    let objects = serde_yaml_ng::Deserializer::from_str(text);
    let objects = objects
        .map(|object| <Value as serde::Deserialize>::deserialize(object).expect("an object"));
    let apps = objects.filter(|object| object["kind"] == "DingTalkApp");
    let found: Vec<(String, String)> = apps
        .map(|app| {
            let name = app["metadata"]["name"].as_str().expect("a name");
            (name.to_owned(), health("DingTalkApp", &app).0)
        })
        .collect();
    let expected = [
        ("banned", "Degraded"),
        ("throttled", "Healthy"),
        ("quota", "Degraded"),
        ("refused", "Healthy"),
        ("late", "Healthy"),
    ];
    let expected = expected.map(|(name, status)| (name.to_owned(), status.to_owned()));
    assert_eq!(found, expected);
}

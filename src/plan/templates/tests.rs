use super::*;

fn app(layout: &str, data: &serde_json::Value) -> DingTalkApp {
    let corps = if layout == "Shared" {
        vec!["ding1", "ding2"]
    } else {
        vec!["ding1"]
    };
    serde_json::from_value(serde_json::json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
        "metadata": {"name": "payroll", "namespace": "hr"},
        "spec": {"credentialsSecretRef": {"name": "credentials"}, "corpIds": corps,
            "target": {"layout": layout, "data": data}},
    }))
    .expect("an app")
}

fn held(corp_id: &str) -> Held {
    let at = |second| jiff::Timestamp::from_second(second).expect("a time");
    Held {
        token: AccessToken::new(format!("token-of-{corp_id}")).expect("a token"),
        record: TokenRecord {
            site: "global".into(),
            client_id: "dingapp".into(),
            corp_id: corp_id.into(),
            lifetime: Lifetime {
                minted_at: at(0),
                expires_at: at(7200),
            },
            credentials: ObjectVersion::default(),
        },
    }
}

fn rendered(layout: &str, template: &str) -> String {
    let templates =
        Templates::of(&app(layout, &serde_json::json!({"key": template}))).expect("usable");
    let (one, two) = (held("ding1"), held("ding2"));
    let tokens: &[&Held] = if layout == "Shared" {
        &[&one, &two]
    } else {
        &[&one]
    };
    let shape = Shape::of(if layout == "Shared" {
        Layout::Shared
    } else {
        Layout::Single
    });
    let values = templates.render(shape, "global", tokens).expect("rendered");
    values[0].1.to_string()
}

fn refused(data: &serde_json::Value) -> String {
    Templates::of(&app("Single", data))
        .expect_err("refused")
        .to_string()
}

#[test]
fn json_dotenv_and_a_header() {
    assert_eq!(
        rendered(
            "Single",
            r#"{"token": {{ access_token|tojson }}, "expires": {{ expires_at_unix }}}"#
        ),
        r#"{"token": "token-of-ding1", "expires": 7200}"#
    );
    assert_eq!(
        rendered(
            "Single",
            "DINGTALK_TOKEN={{ access_token }}\nDINGTALK_CLIENT_ID={{ client_id }}\nDINGTALK_SITE={{ site }}\n"
        ),
        "DINGTALK_TOKEN=token-of-ding1\nDINGTALK_CLIENT_ID=dingapp\nDINGTALK_SITE=global\n"
    );
    assert_eq!(
        rendered(
            "Single",
            "x-acs-dingtalk-access-token: {{ access_token }}\r\n"
        ),
        "x-acs-dingtalk-access-token: token-of-ding1\r\n"
    );
    assert_eq!(
        rendered(
            "Shared",
            "{% for corp in corps %}{{ corp.corp_id }}={{ corp.access_token }} until {{ corp.expires_at }}\n{% endfor %}"
        ),
        "ding1=token-of-ding1 until 1970-01-01T02:00:00Z\nding2=token-of-ding2 until 1970-01-01T02:00:00Z\n"
    );
    let json = rendered("Shared", "{{ corps|tojson }}");
    let corps: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(corps[1]["access_token"], "token-of-ding2");
}

#[test]
fn what_cannot_be_used_is_refused_with_line_and_column() {
    let at = |template: &str| refused(&serde_json::json!({"k": template}));
    let said = at("ok\n  {{ access_token");
    assert!(said.contains("line 2, column"), "{said}");
    let said = at("a\nb {{ acces_token }}");
    assert!(said.contains("line 2, column 6"), "{said}");
    assert!(said.contains("undefined"), "{said}");
    let said = at("{{ access_token|b64 }}");
    assert!(
        said.contains("line 1, column") && said.contains("b64"),
        "{said}"
    );
    let said = at("x {% set a = access_token %}");
    assert!(
        said.contains("line 1, column 3") && said.contains("\"set\""),
        "{said}"
    );
    for unavailable in [
        "{% macro m() %}{% endmacro %}",
        "{%- include 'x' %}",
        "{{ access_token ~ access_token }}",
        "{{ 'a' * 1000 }}",
        "{{ access_token + 'x' }}",
        "{% for c in corps recursive %}{% endfor %}",
        "{{ range(10) }}",
    ] {
        at(unavailable);
    }
}

#[test]
fn a_key_of_the_layout_is_refused() {
    let said = refused(&serde_json::json!({"access_token": "x"}));
    assert!(said.contains("\"access_token\""), "{said}");
    let shared = |key: &str| Templates::of(&app("Shared", &serde_json::json!({key: "x"})));
    assert!(shared("ding1.access_token").is_err());
    assert!(shared("ding3.access_token").is_ok());
    assert!(shared("access_token").is_ok());
}

#[test]
fn time_and_output_are_bounded() {
    let nested = "{% for a in access_token %}".repeat(5) + "x" + &"{% endfor %}".repeat(5);
    let said = refused(&serde_json::json!({"k": nested}));
    assert!(said.contains("takes too long"), "{said}");
    let doubling = format!("{{{{ access_token{} }}}}", "|tojson".repeat(60));
    let said = refused(&serde_json::json!({"k": doubling}));
    assert!(said.contains("too much text"), "{said}");
}

#[test]
fn an_error_with_a_real_token_does_not_show_it() {
    let template = "{% if expires_at_unix > 0 %}{{ access_token|length|upper }}{% endif %}";
    let templates =
        Templates::of(&app("Single", &serde_json::json!({"k": template}))).expect("usable");
    let held = held("ding1");
    let error = templates.render(Shape::One, "global", &[&held]);
    if let Err(error) = error {
        assert!(!error.to_string().contains("token-of"), "{error}");
    }
    let template = "{% if expires_at_unix > 0 %}{{ access_token[access_token] }}{% endif %}";
    let templates =
        Templates::of(&app("Single", &serde_json::json!({"k": template}))).expect("usable");
    let error = templates
        .render(Shape::One, "global", &[&held])
        .expect_err("no such item");
    assert!(!error.to_string().contains("token-of"), "{error}");
}

#[test]
fn the_signature_changes_with_key_and_text() {
    let signature = |key: &str, text: &str| {
        let templates =
            Templates::of(&app("Single", &serde_json::json!({key: text}))).expect("usable");
        templates.signature().to_owned()
    };
    assert_eq!(signature("a", "x"), signature("a", "x"));
    assert_ne!(signature("a", "x"), signature("a", "y"));
    assert_ne!(signature("a", "x"), signature("b", "x"));
    let none = Templates::of(&app("Single", &serde_json::json!({}))).expect("usable");
    assert_eq!(none.signature(), "");
}

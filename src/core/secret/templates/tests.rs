mod bounds;
mod refused;

use super::*;

pub(super) fn app(layout: &str, data: &serde_json::Value) -> DingTalkApp {
    let corps = if layout == "Combined" {
        vec!["ding1", "ding2"]
    } else {
        vec!["ding1"]
    };
    serde_json::from_value(serde_json::json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
        "metadata": {"name": "payroll", "namespace": "hr"},
        "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": corps,
            "target": {"layout": layout, "template": {"data": data}}},
    }))
    .expect("an app")
}

pub(super) fn held(corp_id: &str) -> Held {
    let at = |second| jiff::Timestamp::from_second(second).expect("a time");
    Held {
        token: AccessToken::new(format!("token-of-{corp_id}")).expect("a token"),
        record: TokenRecord {
            site: "global".into(),
            client_id: "dingapp".into(),
            corp_id: corp_id.into(),
            lifetime: Lifetime {
                requested_at: at(0),
                expires_at: at(7200),
            },
            credentials: ObjectVersion::default(),
            answers: None,
        },
    }
}

fn rendered(layout: &str, template: &str) -> String {
    let templates =
        Templates::of(&app(layout, &serde_json::json!({"key": template}))).expect("usable");
    let (one, two) = (held("ding1"), held("ding2"));
    let tokens: &[&Held] = if layout == "Combined" {
        &[&one, &two]
    } else {
        &[&one]
    };
    let values = templates.render(tokens);
    values[0].1.to_string()
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
            "Combined",
            "{% for corp in corps %}{{ corp.corp_id }}={{ corp.access_token }} until {{ corp.expires_at }}\n{% endfor %}"
        ),
        "ding1=token-of-ding1 until 1970-01-01T02:00:00Z\nding2=token-of-ding2 until 1970-01-01T02:00:00Z\n"
    );
    let json = rendered("Combined", "{{ corps|tojson }}");
    let corps: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(corps[1]["access_token"], "token-of-ding2");
}

#[test]
fn whatever_the_list_has_is_rendered() {
    for (layout, template, expected) in [
        ("Single", "{{ corp_id|upper }}", "DING1"),
        ("Single", "{{ corp_id|upper|lower|tojson }}", "\"ding1\""),
        ("Single", "{{ access_token|length }}", "14"),
        ("Single", "{{ expires_at_unix|tojson }}", "7200"),
        ("Single", "{{ '{{' }}{{ 1 }}{# a comment #}", "{{1"),
        ("Single", "{% raw %}{{ x }}{% endraw %}\n", "{{ x }}\n"),
        ("Single", "a {{- ' ' -}} b", "a b"),
        (
            "Single",
            "{% if site == 'china' %}c{% elif site == \"global\" %}g{% else %}o{% endif %}",
            "g",
        ),
        (
            "Single",
            "{% if not (site != 'global' or client_id == '') and true %}y{% endif %}",
            "y",
        ),
        (
            "Single",
            "{% if expires_at_unix == '7200' %}y{% else %}n{% endif %}",
            "n",
        ),
        (
            "Combined",
            "{% for c in corps %}{{ loop.index }}{% if not loop.last %},{% endif %}{% endfor %}",
            "1,2",
        ),
        (
            "Combined",
            "{% for c in corps %}{% if loop.first %}{{ corps|length }}{% endif %}{% endfor %}",
            "2",
        ),
        (
            "Combined",
            "{% if corps == 2 %}{{ site }}{{ client_id }}{% endif %}",
            "globaldingapp",
        ),
    ] {
        assert_eq!(rendered(layout, template), expected, "{template}");
    }
}

#[test]
fn a_key_of_the_layout_is_refused() {
    let said = Templates::of(&app("Single", &serde_json::json!({"access_token": "x"})));
    let said = said.expect_err("refused").to_string();
    let layout = "layout Single writes the key \"access_token\" itself";
    assert!(said.contains(layout), "{said}");
    let shared = |key: &str| Templates::of(&app("Combined", &serde_json::json!({key: "x"})));
    assert!(shared("ding1.access_token").is_err());
    assert!(shared("ding3.access_token").is_ok());
    assert!(shared("access_token").is_ok());
}

/// Regression: another order of `spec.corpIds`, which is a set, was only written with the next
/// renewal.
#[test]
fn the_order_of_corp_ids_does_not_show() {
    let data = serde_json::json!({"key": "{% for corp in corps %}{{ corp.corp_id }} {% endfor %}"});
    let templates = Templates::of(&app("Combined", &data)).expect("usable");
    let (one, two) = (held("ding1"), held("ding2"));
    for tokens in [[&one, &two], [&two, &one]] {
        assert_eq!(templates.render(&tokens)[0].1.as_str(), "ding1 ding2 ");
    }
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

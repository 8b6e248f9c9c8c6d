//! Templates that make much of little.

use std::fmt::Write as _;

use dingtalk_token_operator::core::Templates;
use serde_json::{Value, json};

use super::generator::{Generator, TEMPLATE_MAX};
use super::ground::{Ground, HOSTILE_SECRET, app, credentials};
use super::is_chosen;

const CREDENTIALS: &str = "templates";
/// Organisations that the generated templates loop over. Those of all apps together are fewer than a
/// namespace may have, so that every app is served.
const CORPS: usize = 100;
const GENERATED_APPS: usize = 20;
/// The schema's limit for an app.
const TEMPLATES_OF_AN_APP: usize = 16;
/// Apps of many parts: as many as there is room for in a namespace, by the weight of their specs.
const APPS_OF_PARTS: usize = 120;
/// Apps whose templates take many steps, and their organisations.
const APPS_OF_STEPS: usize = 4;
const CORPS_OF_STEPS: usize = 500;
/// Apps whose templates make much text.
const APPS_OF_TEXT: usize = 24;
/// Apps whose templates would never come to an end.
const APPS_OF_LOOPS: usize = 4;

/// `for` over a list of one list is an assignment: each level is ten times the one before, by the
/// names `a`, `b`, `c` and so on.
fn tree(levels: u8, inside: &str) -> String {
    nested(levels, 10, 1, inside)
}

/// Two such trees that are equal and have no node in common, `TREE` and `OTHER`.
fn trees(inside: &str) -> String {
    nested(6, 100, 2, inside)
}

fn nested(levels: u8, width: usize, count: usize, inside: &str) -> String {
    let roots = [b'a', b'A'];
    let mut elements = ["1".to_owned(), "1".to_owned()];
    let mut template = String::new();
    for level in 0..levels {
        for (root, element) in roots.iter().zip(&mut elements).take(count) {
            let list = vec![element.as_str(); width].join(",");
            *element = char::from(root + level).to_string();
            let _ = write!(template, "{{%for {element} in [[{list}]]%}}");
        }
    }
    let inside = inside.replace("TREE", &elements[0]);
    let inside = inside.replace("OTHER", &elements[1]);
    template + &inside + &"{%endfor%}".repeat(usize::from(levels) * count)
}

/// A loop over the corps within another, so many times.
fn loops(levels: usize, inside: &str) -> String {
    let mut template = String::new();
    for level in 0..levels {
        let _ = write!(template, "{{%for c{level} in corps%}}");
    }
    template + inside + &"{%endfor%}".repeat(levels)
}

/// Every template that ended the operator, held it up, or got past what should refuse it.
fn known() -> Vec<(&'static str, String)> {
    let far = "{{(['}}'] * 4000000000)|tojson}}".to_owned();
    let hidden = |what: &str| format!("{{% raw %}}{{{{{{% endraw %}}{what}");
    let corps = "{{corps|tojson}}".repeat(TEMPLATE_MAX / "{{corps|tojson}}".len());
    vec![
        ("tojson", tree(9, "{{TREE|tojson}}")),
        ("shorter", tree(7, "{{TREE|tojson}}")),
        ("print", tree(9, "{{TREE}}")),
        ("length", tree(9, "{{TREE|length}}")),
        ("upper", tree(9, "{{TREE|upper}}")),
        ("equal", trees("{%if TREE==OTHER%}x{%endif%}")),
        ("in", trees("{%if TREE in [OTHER]%}x{%endif%}")),
        ("less", trees("{{TREE < OTHER}}")),
        ("times", far.clone()),
        ("times-text", "{{('}}' * 4000000000)|upper}}".to_owned()),
        (
            "joined",
            format!("{{{{ '}}}}' ~ {} }}}}", "'x' ~ ".repeat(500) + "'x'"),
        ),
        (
            "hidden-set",
            hidden("{% set a = ['x'] * 1000000000 %}{{ a }}"),
        ),
        (
            "hidden-macro",
            hidden("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
        ),
        ("comment", format!("{{# {{{{ #}}{far}")),
        ("corps", corps),
        ("loops", loops(8, "{{c7.access_token|upper|lower|tojson}}")),
        (
            "deep",
            format!("{{{{ {}{} }}}}", "[".repeat(1500), "]".repeat(1500)),
        ),
        (
            "parentheses",
            format!("{{{{ {}site{} }}}}", "(".repeat(1500), ")".repeat(1500)),
        ),
        // They need no end to be read.
        ("condition", "{%if ".to_owned() + &"(".repeat(4090)),
        ("ifs", "{%if 1%}".repeat(TEMPLATE_MAX / "{%if 1%}".len())),
        ("not", format!("{{{{ {}site }}}}", "not ".repeat(1000))),
        ("filters", format!("{{{{ site{} }}}}", "|trim".repeat(800))),
        (
            "range",
            "{% for a in range(4000000000) %}x{% endfor %}".to_owned(),
        ),
    ]
}

/// As many times as fit.
fn filled(start: &str, piece: &str, end: &str) -> String {
    let pieces = (TEMPLATE_MAX - start.len() - end.len()) / piece.len();
    format!("{start}{}{end}", piece.repeat(pieces))
}

/// As many keys as an app may have, each with this template.
pub fn in_all_keys(template: &str) -> Value {
    let keys = (0..TEMPLATES_OF_AN_APP).map(|key| (format!("key{key}"), template.into()));
    Value::Object(keys.collect())
}

fn spec(layout: &str, corp_ids: &[String], data: &Value) -> Value {
    json!({"corpIds": corp_ids, "target": {"layout": layout, "template": {"data": data}}})
}

/// Apps of which each bound refuses some, whatever the others allow. They have no credentials:
/// nothing has to be fetched first.
fn alone() -> Vec<Value> {
    let without = |name: String, spec: &Value| app(&name, "there-are-none", spec);
    let one = ["template0".to_owned()];
    let many: Vec<String> = (0..CORPS_OF_STEPS)
        .map(|corp| format!("step{corp}"))
        .collect();
    let known = known().into_iter().map(|(name, template)| {
        let spec = spec("Single", &one, &json!({"key": template}));
        without(format!("known-{name}"), &spec)
    });
    let piece = "{{c.expires_at|upper|lower|trim|tojson}}";
    let steps = in_all_keys(&filled(
        "{%for c in corps%}{%if 0%}{%else%}",
        piece,
        "{%endif%}{%endfor%}",
    ));
    let steps = spec("Combined", &many, &steps);
    let steps = (0..APPS_OF_STEPS).map(|number| without(format!("steps-{number}"), &steps));
    let parts = spec(
        "Single",
        &one,
        &in_all_keys(&filled("", "{%if 1 or 1%}a{%endif%}", "")),
    );
    let parts = (0..APPS_OF_PARTS).map(|number| without(format!("parts-{number}"), &parts));
    let endless = json!({"key": loops(8, "{{c7.access_token|upper|lower|tojson}}")});
    let endless = spec("Combined", &many[..CORPS], &endless);
    let endless = (0..APPS_OF_LOOPS).map(|number| without(format!("endless-{number}"), &endless));
    known.chain(steps).chain(endless).chain(parts).collect()
}

/// Apps that get tokens.
fn with_tokens(seed: u64, corp_ids: &[String]) -> Vec<Value> {
    let mut generator = Generator::new(seed);
    let generated = (0..GENERATED_APPS).map(|number| {
        let data = generator.templates(TEMPLATES_OF_AN_APP);
        let name = format!("generated-{number}");
        app(&name, CREDENTIALS, &spec("Combined", corp_ids, &data))
    });
    let generated: Vec<Value> = generated.collect();
    let known = known().into_iter().map(|(name, template)| {
        let spec = spec("Combined", corp_ids, &json!({"key": template}));
        app(&format!("rendered-{name}"), CREDENTIALS, &spec)
    });
    let text = filled("{%for c in corps%}", "x", "{%endfor%}");
    let text = spec("Combined", corp_ids, &in_all_keys(&text));
    let text = (0..APPS_OF_TEXT).map(|number| app(&format!("text-{number}"), CREDENTIALS, &text));
    generated.into_iter().chain(known).chain(text).collect()
}

pub async fn begin(ground: &Ground) {
    let corp_ids: Vec<String> = (0..CORPS).map(|corp| format!("template{corp}")).collect();
    let ids: Vec<&str> = corp_ids.iter().map(String::as_str).collect();
    ground.stub().register(CREDENTIALS, HOSTILE_SECRET, &ids);
    ground
        .attempt_all([credentials(CREDENTIALS, CREDENTIALS, HOSTILE_SECRET)])
        .await;
    let apps = with_tokens(ground.seed, &corp_ids)
        .into_iter()
        .chain(alone());
    ground.attempt_all(apps.filter(is_chosen_app)).await;
}

fn is_chosen_app(app: &Value) -> bool {
    app["metadata"]["name"].as_str().is_some_and(is_chosen)
}

pub async fn round(ground: &Ground, second: u64) {
    // The operator has to look at the worst ones again.
    let known = known().into_iter().map(|(name, _)| format!("known-{name}"));
    let steps = (0..APPS_OF_STEPS).map(|number| format!("steps-{number}"));
    let patch = json!({"spec": {"renewBefore": format!("{}s", 1_000 + second)}});
    ground.patch_apps(known.chain(steps), &patch).await;
}

#[test]
fn every_known_template_fits_the_schema() {
    for (name, template) in known() {
        assert!(template.len() <= TEMPLATE_MAX, "{name}: {}", template.len());
    }
}

/// An attack that is refused as a whole tries out the parser alone.
#[test]
fn most_generated_templates_are_accepted() {
    let corp_ids: Vec<String> = (0..CORPS).map(|corp| format!("template{corp}")).collect();
    let mut generator = Generator::new(1);
    let is_accepted = |_: &i32| {
        let data = generator.templates(TEMPLATES_OF_AN_APP);
        let fits = |template: &Value| template.as_str().is_some_and(|it| it.len() <= TEMPLATE_MAX);
        assert!(data.as_object().is_some_and(|data| data.values().all(fits)));
        let app = app(
            "generated",
            CREDENTIALS,
            &spec("Combined", &corp_ids, &data),
        );
        let app = serde_json::from_value(app).expect("an app");
        Templates::of(&app).is_ok()
    };
    let accepted = (0..100).filter(is_accepted).count();
    assert!(accepted > 50, "{accepted} of 100");
}

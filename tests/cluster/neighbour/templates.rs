//! Templates that make much of little.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::generator::{Generator, TEMPLATE_MAX};
use super::ground::{Ground, HOSTILE_SECRET, app, credentials};
use super::is_chosen;

const CREDENTIALS: &str = "templates";
/// Organisations that the generated templates loop over.
const CORPS: usize = 100;
const GENERATED_APPS: usize = 30;
/// The schema's limit for an app.
const TEMPLATES_OF_AN_APP: usize = 16;
/// Every so many seconds, the operator is made to look at the worst ones again.
const AGAIN: u64 = 5;

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
        ("loops", loops(8, "{{c0.access_token|upper|lower|tojson}}")),
        (
            "deep",
            format!("{{{{ {}{} }}}}", "[".repeat(1500), "]".repeat(1500)),
        ),
        (
            "parentheses",
            format!("{{{{ {}site{} }}}}", "(".repeat(1500), ")".repeat(1500)),
        ),
        ("not", format!("{{{{ {}site }}}}", "not ".repeat(1000))),
        ("filters", format!("{{{{ site{} }}}}", "|trim".repeat(800))),
        (
            "range",
            "{% for a in range(4000000000) %}x{% endfor %}".to_owned(),
        ),
    ]
}

pub async fn begin(ground: &Ground) {
    let corp_ids: Vec<String> = (0..CORPS).map(|corp| format!("template{corp}")).collect();
    let ids: Vec<&str> = corp_ids.iter().map(String::as_str).collect();
    ground.stub().register(CREDENTIALS, HOSTILE_SECRET, &ids);
    ground
        .attempt_all([credentials(CREDENTIALS, CREDENTIALS, HOSTILE_SECRET)])
        .await;
    let spec = |layout: &str, corp_ids: &[String], data: &Value| json!({"corpIds": corp_ids, "target": {"layout": layout, "template": {"data": data}}});
    let mut generator = Generator::new(ground.seed);
    let generated = (0..GENERATED_APPS).map(|number| {
        let templates = (0..TEMPLATES_OF_AN_APP)
            .map(|key| (format!("key{key}"), Value::from(generator.template())))
            .collect::<Map<_, _>>();
        let spec = spec("Combined", &corp_ids, &templates.into());
        app(&format!("generated-{number}"), CREDENTIALS, &spec)
    });
    let generated = generated.filter(is_chosen_app);
    ground.attempt_all(generated.collect::<Vec<_>>()).await;
    // Without credentials: nothing has to be fetched first.
    let alone = known().into_iter().map(|(name, template)| {
        let spec = spec("Single", &corp_ids[..1], &json!({"key": template}));
        app(&format!("known-{name}"), "there-are-none", &spec)
    });
    let alone = alone.filter(is_chosen_app);
    ground.attempt_all(alone).await;
    let with_tokens = known().into_iter().map(|(name, template)| {
        let spec = spec("Combined", &corp_ids, &json!({"key": template}));
        app(&format!("rendered-{name}"), CREDENTIALS, &spec)
    });
    let with_tokens = with_tokens.filter(is_chosen_app);
    ground.attempt_all(with_tokens).await;
}

fn is_chosen_app(app: &Value) -> bool {
    app["metadata"]["name"].as_str().is_some_and(is_chosen)
}

pub async fn round(ground: &Ground, second: u64) {
    if second.is_multiple_of(AGAIN) {
        let names = known().into_iter();
        let names = names.map(|(name, _)| format!("known-{name}"));
        let annotations = json!({"example.com/again": second.to_string()});
        ground.annotate_apps(names, &annotations).await;
    }
}

#[test]
fn every_known_template_fits_the_schema() {
    for (name, template) in known() {
        assert!(template.len() <= TEMPLATE_MAX, "{name}: {}", template.len());
    }
    let mut generator = Generator::new(1);
    assert!((0..100).all(|_| generator.template().len() <= TEMPLATE_MAX));
}

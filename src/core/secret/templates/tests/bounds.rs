//! Every template is either refused or cheap.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use strum::VariantNames as _;

use super::super::render::{Output, write};
use super::super::tree::Attribute;
use super::super::{PARTS_MAX, STEPS_MAX, Templates};
use super::{app, held};
use crate::api::DingTalkApp;
use crate::core::secret::assembly::{Assembly, Offered};
use crate::core::secret::shape::Shape;
use crate::core::secret::write::SECRET_SIZE_MAX;
use crate::core::token::record::Held;
use crate::dingtalk::AccessToken;

/// Longest template that the schema allows.
const LENGTH_MAX: usize = 4096;

#[test]
fn what_takes_too_long_or_writes_too_much_is_refused_with_all_corps() {
    let shared = |corps: usize, template: &str| {
        let mut app = app("Combined", &serde_json::json!({"k": template}));
        app.spec.corp_ids = (0..corps).map(|n| format!("ding{n}")).collect();
        Templates::of(&app).map_err(|error| error.to_string())
    };
    let every = |body: &str| format!("{{% for c in corps %}}{body}{{% endfor %}}");
    // No output, but work.
    let busy = every(&"{% if c.corp_id == 'x' %}{% endif %}".repeat(100));
    assert!(shared(999, &busy).is_ok());
    let said = shared(1000, &busy).expect_err("too many steps");
    assert!(
        said.contains("200001 steps") && said.contains("the 200000 allowed"),
        "{said}"
    );
    let large = every(&"x".repeat(1048));
    assert!(shared(1000, &large).is_ok());
    let said = shared(1000, &every(&"x".repeat(1049))).expect_err("too much");
    assert!(said.contains("1049000 bytes"), "{said}");
    let with = |more: usize| shared(1000, &(large.clone() + &"y".repeat(more)));
    assert!(with(576).is_ok(), "a Secret may be as large as that");
    assert!(with(577).is_err());
    // All templates of a Secret count together.
    let mut both = app("Combined", &serde_json::json!({"a": large, "b": large}));
    both.spec.corp_ids = (0..600).map(|n| format!("ding{n}")).collect();
    assert!(Templates::of(&both).is_err());
}

#[test]
fn parts_and_nesting_are_bounded() {
    let single = |texts: [String; 2]| {
        let [one, other] = texts;
        Templates::of(&app("Single", &serde_json::json!({"a": one, "b": other})))
            .map_err(|error| error.to_string())
    };
    let parts = |count: usize| "{{1}}".repeat(count);
    assert!(single([parts(500), parts(500)]).is_ok());
    let said = single([parts(501), parts(500)]).expect_err("too many parts");
    assert!(said.contains("1001 parts"), "{said}");
    let nested = |depth: usize| "{% if site %}".repeat(depth) + &"{% endif %}".repeat(depth);
    let in_parentheses = |depth: usize| {
        format!(
            "{{% if {}1{} %}}{{% endif %}}",
            "(".repeat(depth),
            ")".repeat(depth)
        )
    };
    assert!(single([nested(8), in_parentheses(8)]).is_ok());
    assert!(single([nested(9), String::new()]).is_err());
    assert!(single([String::new(), in_parentheses(9)]).is_err());
}

/// Counts what rendering does.
#[derive(Default)]
struct Counted {
    steps: u64,
    bytes: usize,
}

impl Output for Counted {
    fn push(&mut self, text: &str) {
        self.bytes += text.len();
    }

    fn step(&mut self) {
        self.steps += 1;
    }
}

fn tokens(app: &DingTalkApp, token_length: usize) -> Vec<Held> {
    let token = |corp_id: &String| {
        let mut held = held(corp_id);
        held.token = AccessToken::new("\"".repeat(token_length)).expect("a token");
        held.record.client_id = "c".repeat(128);
        held
    };
    app.spec.corp_ids.iter().map(token).collect()
}

/// Generates a variable, or an attribute of the loop's corp within a loop.
fn variable(is_inside: bool) -> BoxedStrategy<String> {
    let outside = ["site", "client_id"].map(str::to_owned);
    let attributes = Attribute::VARIANTS.iter().map(|name| format!("c.{name}"));
    let inside = attributes.chain(["loop.index", "site"].map(str::to_owned));
    match is_inside {
        true => prop::sample::select(inside.collect::<Vec<_>>()).boxed(),
        false => prop::sample::select(outside.to_vec()).boxed(),
    }
}

fn condition(is_inside: bool) -> BoxedStrategy<String> {
    let constant = prop::sample::select(vec!["'x'", "''", "0", "1", "true", "'}}'", "'{% set %}'"]);
    let leaf = (
        variable(is_inside),
        prop::sample::select(vec!["==", "!="]),
        constant,
    )
        .prop_map(|(variable, operator, constant)| format!("{variable}{operator}{constant}"));
    let leaf = prop_oneof![leaf, variable(is_inside)];
    leaf.prop_recursive(3, 40, 8, |inner| {
        prop_oneof![
            inner.clone().prop_map(|it| format!("not({it})")),
            prop::collection::vec(inner.clone(), 1..8).prop_map(|it| it.join(" or ")),
            prop::collection::vec(inner, 1..8).prop_map(|it| it.join(" and ")),
        ]
    })
    .boxed()
}

fn piece(is_inside: bool) -> BoxedStrategy<String> {
    let filters = prop::sample::select(vec!["tojson", "upper", "lower", "trim", "length"]);
    let value = (variable(is_inside), prop::collection::vec(filters, 0..=4)).prop_map(
        |(variable, filters)| {
            let chain = [vec![variable.as_str()], filters].concat().join("|");
            format!("{{{{{chain}}}}}")
        },
    );
    let leaf = prop_oneof![
        4 => value,
        1 => (0..2000_usize).prop_map(|length| "x".repeat(length)),
        1 => (0..100_usize).prop_map(|length| format!("{{{{'{}'}}}}", " ".repeat(length))),
        1 => Just("{% raw %}{{ [}} {% set %}{% endraw %}".to_owned()),
        1 => Just("{#- {{ -#}".to_owned()),
        1 => Just("{%if true%}{%endif%}".to_owned()),
    ];
    leaf.prop_recursive(3, 30, 6, move |inner| {
        let body = prop::collection::vec(inner, 0..6).prop_map(|it| it.concat());
        (
            condition(is_inside),
            condition(is_inside),
            body.clone(),
            body,
        )
            .prop_map(|(one, other, body, otherwise)| {
                format!(
                    "{{%if {one}%}}{body}{{%elif {other}%}}{otherwise}{{%else%}}{body}{{%endif%}}"
                )
            })
    })
    .boxed()
}

/// Generates a template of the allowed forms, one of which is repeated as often as there is room.
fn template() -> impl Strategy<Value = String> {
    let pieces = |is_inside| {
        (
            prop::collection::vec(piece(is_inside), 1..4),
            prop_oneof![3 => 1..4_usize, 1 => 4..400_usize],
        )
            .prop_map(|(pieces, times)| {
                let body = pieces.concat();
                let room = (LENGTH_MAX - 60) / body.len().max(1);
                body.repeat(times.min(room.max(1)))
            })
    };
    prop_oneof![
        4 => pieces(true).prop_map(|body| format!("{{%for c in corps%}}{body}{{%endfor%}}")),
        1 => pieces(true).prop_map(|body| format!("{{%if site%}}{{%for c in corps%}}{body}{{%endfor%}}{{%endif%}}")),
        1 => pieces(false),
        1 => Just("{{corps|tojson}}".to_owned()),
    ]
    .prop_filter("the schema allows it", |template| template.len() <= LENGTH_MAX)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// With 1,000 corps, templates are refused before anything is fetched, or take a bounded number
    /// of steps and no more memory than a Secret has.
    #[test]
    fn an_accepted_template_is_cheap(
        templates in prop_oneof![3 => prop::collection::vec(template(), 1..3), 1 => prop::collection::vec(template(), 3..16)],
        token_length in prop_oneof![9 => 30..100_usize, 1 => 1..700_usize],
    ) {
        static ACCEPTED: Mutex<(u32, Duration)> = Mutex::new((0, Duration::ZERO));
        let keys = templates.iter().enumerate().map(|(n, text)| (format!("k{n}"), text.as_str().into()));
        let data: serde_json::Map<String, serde_json::Value> = keys.collect();
        let mut app = app("Combined", &data.into());
        app.spec.corp_ids = (0..1000).map(|n| format!("{n:0>64}")).collect();
        let templates = match Templates::of(&app) {
            Ok(templates) => std::sync::Arc::new(templates),
            Err(error) => {
                let said = error.to_string();
                let is_of_bounds = ["allowed", "may hold", "is nested deeper", "are nested deeper"];
                prop_assert!(is_of_bounds.iter().any(|it| said.contains(it)), "{}", said);
                return Ok(());
            }
        };
        let held = tokens(&app, token_length);
        let tokens: Vec<&Held> = held.iter().collect();
        let mut counted = Counted::default();
        for (_, nodes) in &templates.nodes {
            write(nodes, templates.scope(&tokens), &mut counted);
        }
        prop_assert!(counted.steps <= templates.steps(1000));
        prop_assert!(templates.steps(1000) <= STEPS_MAX && templates.steps(1) <= PARTS_MAX);
        prop_assert_eq!(counted.bytes, templates.size(&tokens));
        let offered = |held: &Held| Offered { held: held.clone(), is_in_secret: false };
        let assembly = Assembly {
            generation: Some(1),
            templates: std::sync::Arc::clone(&templates),
            shape: Shape::Many,
            tokens: held.iter().map(offered).collect(),
        };
        let started = Instant::now();
        let assembled = assembly.assemble();
        let took = started.elapsed();
        if let Some(contents) = assembled.contents() {
            prop_assert!(contents.data.size() <= SECRET_SIZE_MAX);
            for (key, value) in &contents.data.0 {
                let is_rendered = key.starts_with('k');
                prop_assert!(!is_rendered || value.capacity() == value.len(), "{}", key);
            }
        }
        let mut accepted = ACCEPTED.lock().expect("no panic");
        accepted.0 += 1;
        if took > accepted.1 {
            accepted.1 = took;
            println!("{} accepted so far, the slowest took {took:?} for 1,000 corps", accepted.0);
        }
    }

    /// The parser terminates on any text within a small stack.
    #[test]
    fn any_text_is_parsed_within_a_small_stack(
        words in prop::collection::vec(prop::sample::select(vec![
            "{{", "}}", "{%", "%}", "{#", "#}", "-", "+", "'", "\"", "\\", "(", ")", "[", "]", "{", "}",
            "if ", "elif ", "else", "endif", "for ", " in ", "corps", "endfor", "not ", "and ", "or ",
            "raw", "endraw", "site", "c", ".", ",", ":", "|", "tojson", "==", "~", "1", "1e9", "é",
            " ", "\n", "\r", "{% if site %}", "{% for c in corps %}", "{% raw %}", "{% endraw %}",
        ]), 0..600),
        times in 1..50_usize,
    ) {
        let text: String = words.concat().repeat(times).chars().take(LENGTH_MAX).collect();
        let parse = move || {
            for shape in [Shape::One, Shape::Many] {
                if let Err(refusal) = super::super::parse::parse(&text, shape) {
                    assert!(refusal.detail.len() < 300, "{}", refusal.detail);
                }
            }
        };
        let small = std::thread::Builder::new().stack_size(256 * 1024);
        small.spawn(parse).expect("a thread").join().expect("no panic");
    }
}

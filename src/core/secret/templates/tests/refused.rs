//! What templates cannot contain.

use super::{Templates, app};

#[test]
fn what_cannot_be_used_is_refused_with_line_and_column() {
    for (template, at, why) in [
        (
            "ok\n  {{ access_token",
            "line 2, column 18",
            "}} was expected",
        ),
        (
            "a\nb {{ acces_token }}",
            "line 2, column 6",
            "only access_token,",
        ),
        ("{{ access_token|b64 }}", "line 1, column 17", "\"b64\""),
        (
            "x {% set a = access_token %}",
            "line 1, column 6",
            "\"set\"",
        ),
        (
            "é {{ access_token ~ corp_id }}",
            "line 1, column 19",
            "{{ a }}{{ b }}",
        ),
        ("{{ 'a' * 1000 }}", "line 1, column 8", "operators"),
        ("{{ range(10) }}", "line 1, column 4", "\"range\""),
        ("{{ site('x') }}", "line 1, column 8", "calls"),
        (
            "{{ site|tojson(indent=4) }}",
            "line 1, column 15",
            "no arguments",
        ),
        ("{{ site[0] }}", "line 1, column 8", "items"),
        ("{{ site and site }}", "line 1, column 9", "{% if … %} only"),
        ("{{ site.x }}", "line 1, column 8", "attributes"),
        ("{{ site is defined }}", "line 1, column 9", "tests"),
        (
            "{{ 'a' if site else 'b' }}",
            "line 1, column 8",
            "{% if … %}",
        ),
        ("{{ 'a'|upper }}", "line 1, column 4", "constant"),
        (
            "{{ site|trim|trim|trim|trim|trim }}",
            "line 1, column 4",
            "more than 4",
        ),
        (
            "{% if site|length == 3 %}{% endif %}",
            "line 1, column 11",
            "filter in a condition",
        ),
        (
            "{% if expires_at_unix > 3 %}{% endif %}",
            "line 1, column 23",
            "only == and !=",
        ),
        (
            "{% if 'a' in site %}{% endif %}",
            "line 1, column 11",
            "only == and !=",
        ),
        (
            "{% if site == site == site %}{% endif %}",
            "line 1, column 20",
            "once in each part",
        ),
        ("{% if site %}", "line 1, column 14", "{% endif %}"),
        ("{% endif %}", "line 1, column 4", "without its beginning"),
        (
            "{% for c in corps %}{% endfor %}",
            "line 1, column 13",
            "Combined only",
        ),
        ("{{ corps|tojson }}", "line 1, column 4", "Combined only"),
        ("{{ loop.index }}", "line 1, column 4", "\"loop\""),
        ("{{ 99999999999999999999 }}", "line 1, column 4", "integer"),
        ("{{ 1.5 }}", "line 1, column 4", "float"),
        ("{{ none }}", "line 1, column 4", "\"none\""),
        ("{{ \"x }}", "line 1", "end of string"),
    ] {
        let said = refused_by("Single", template);
        assert!(
            said.contains(at) && said.contains(why),
            "{template}: {said}"
        );
    }
    for (template, why) in [
        (
            "{{ access_token }}",
            "write {% for corp in corps %}{{ corp.access_token }}{% endfor %}",
        ),
        (
            "{% for c in corps %}{{ corp_id }}{% endfor %}",
            "write c.corp_id",
        ),
        (
            "{% for c in corps %}{{ other }}{% endfor %}",
            "only corps, client_id",
        ),
        ("{{ other }}", "only corps, client_id"),
        (
            "{% for c in corps %}{{ c }}{% endfor %}",
            "only c.access_token",
        ),
        (
            "{% for c in corps %}{{ c.client_secret }}{% endfor %}",
            "only c.access_token",
        ),
        (
            "{% for c in corps %}{{ loop.length }}{% endfor %}",
            "only loop.first",
        ),
        (
            "{% for c in corps %}{{ corps|tojson }}{% endfor %}",
            "outside of it",
        ),
        (
            "{% for c in corps %}{% for d in corps %}{% endfor %}{% endfor %}",
            "within a loop",
        ),
        (
            "{% for c in corps %}{% if site %}{% for d in corps %}",
            "within a loop",
        ),
        ("{% for c in corps %}{% else %}{% endfor %}", "no else"),
        ("{% for site in corps %}{% endfor %}", "cannot be called"),
        ("{% for loop in corps %}{% endfor %}", "cannot be called"),
        ("{% for a, b in corps %}{% endfor %}", "calls, tuples"),
        ("{% for c in corps recursive %}{% endfor %}", "only form"),
        ("{% for c in corps if c.corp_id %}{% endfor %}", "only form"),
        ("{% for c in corps|upper %}{% endfor %}", "only form"),
        ("{% for c in client_id %}{% endfor %}", "only form"),
        ("{% for c in [1] %}{% endfor %}", "lists"),
        ("{{ corps }}", "corps|tojson"),
        ("{{ corps|tojson|tojson }}", "corps|tojson"),
        ("{{ c.corp_id }}", "\"c\" is not available"),
    ] {
        let said = refused_by("Combined", template);
        assert!(said.contains(why), "{template}: {said}");
    }
    for statement in [
        "set x = 1",
        "set x",
        "macro m()",
        "call m()",
        "include 'x'",
        "import 'x' as y",
        "from 'x' import y",
        "extends 'x'",
        "block x",
        "with x = 1",
        "do m()",
        "filter upper",
        "autoescape true",
        "break",
        "continue",
        "endraw",
        "endset",
        "",
    ] {
        refused_by("Single", &format!("{{% {statement} %}}"));
        refused_by("Combined", &format!("{{%- {statement} -%}}"));
    }
}

fn refused_by(layout: &str, template: &str) -> String {
    Templates::of(&app(layout, &serde_json::json!({"k": template})))
        .map(|_| template)
        .expect_err("refused")
        .to_string()
}

/// Each of these once cost gigabytes, or looked like something that was allowed.
#[test]
fn what_could_grow_is_refused() {
    let lists = |levels: usize| {
        let first = "{% for a0 in [[1,1,1,1,1,1,1,1,1,1]] %}".to_owned();
        let further = (1..levels).map(|level| {
            let former = vec![format!("a{}", level - 1); 10].join(",");
            format!("{{% for a{level} in [[{former}]] %}}")
        });
        let text: Vec<String> = std::iter::once(first).chain(further).collect();
        text.concat() + "{{ a0|tojson }}" + &"{% endfor %}".repeat(levels)
    };
    for template in [
        lists(3),
        lists(9),
        lists(9).replace("{{ a0|tojson }}", "{% if a8 == a8 %}{% endif %}"),
        "{{ (['}}'] * 4000000000)|tojson }}".into(),
        "{{ ('}}' * 4000000000)|length }}".into(),
        "{% raw %}{{{% endraw %}{% set a = [1] %}".into(),
        "{% raw %}{%{% endraw %}{% set a = 'x' * 9 %}".into(),
        "{{ '{% raw %}' }}{% set a = 1 %}{{ '{% endraw %}' }}".into(),
        "{# {% raw %} #}{% set a = 1 %}{# {% endraw %} #}".into(),
        "{{ [[[access_token,access_token],[access_token]]]|tojson }}".into(),
        "{{ {'a': {'b': access_token}}|tojson }}".into(),
        "{{ (access_token,access_token)|tojson }}".into(),
        "{{ 10 ** 10 ** 10 }}".into(),
        format!("{{{{ {}1 }}}}", "-".repeat(4088)),
        format!("{{{{ {}1{} }}}}", "(".repeat(2000), ")".repeat(2000)),
        format!(
            "{{% if {}1{} %}}{{% endif %}}",
            "(".repeat(2000),
            ")".repeat(2000)
        ),
        "{% if site %}".repeat(300),
        format!("{{{{ access_token{} }}}}", "|tojson".repeat(60)),
        "{% for a in access_token %}".repeat(5) + "x" + &"{% endfor %}".repeat(5),
    ] {
        for layout in ["Single", "Combined"] {
            let said = refused_by(layout, &template);
            assert!(said.len() < 500, "{said}");
        }
    }
}

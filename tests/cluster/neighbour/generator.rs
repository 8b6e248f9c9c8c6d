//! Templates from the grammar that users are allowed: text, values, filters, conditions, a loop over
//! the corps.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

/// The schema's limit for a template, in characters.
pub const TEMPLATE_MAX: usize = 4096;
/// How deep conditions are nested: less than is allowed, since most are to be accepted.
const DEPTH_MAX: u32 = 5;
/// What the templates of an app have room for together, in characters.
const LENGTHS: [usize; 4] = [500, 2_000, 4_000, 16_000];
const OUTSIDE: [&str; 2] = ["client_id", "site"];
const INSIDE: [&str; 6] = [
    "corp.access_token",
    "corp.corp_id",
    "corp.expires_at",
    "corp.expires_at_unix",
    "loop.first",
    "loop.index",
];
const FILTERS: [&str; 5] = ["tojson", "upper", "lower", "trim", "length"];

pub struct Generator(SmallRng);

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// The templates of an app, for so many keys at most.
    pub fn templates(&mut self, keys_max: usize) -> Value {
        let keys = self.0.random_range(1..=keys_max);
        let length = *LENGTHS.choose(&mut self.0).unwrap_or(&TEMPLATE_MAX) / keys;
        let template = |key| (format!("key{key}"), self.template(length).into());
        Value::Object((0..keys).map(template).collect())
    }

    /// One template, about as long as this.
    fn template(&mut self, length: usize) -> String {
        let mut template = self.text();
        while template.len() < length.min(TEMPLATE_MAX) {
            let piece = self.piece(0, false);
            if template.len() + piece.len() > TEMPLATE_MAX {
                break;
            }
            template.push_str(&piece);
        }
        template
    }

    fn piece(&mut self, depth: u32, is_in_loop: bool) -> String {
        match self
            .0
            .random_range(0..if depth < DEPTH_MAX { 7 } else { 3 })
        {
            0 => self.text(),
            1 => format!("{{{{ {} }}}}", self.value(is_in_loop)),
            2 => format!("{{% raw %}}{}{{% endraw %}}", self.text()),
            3 | 4 => {
                let condition = self.condition(is_in_loop);
                let (yes, no) = (
                    self.body(depth + 1, is_in_loop),
                    self.body(depth + 1, is_in_loop),
                );
                format!("{{% if {condition} %}}{yes}{{% else %}}{no}{{% endif %}}")
            }
            // There is no loop within a loop.
            _ if is_in_loop => self.text(),
            5 => "{{ corps|tojson }}".to_owned(),
            _ => {
                let body = self.body(depth + 1, true);
                format!("{{% for corp in corps %}}{body}{{% endfor %}}")
            }
        }
    }

    fn body(&mut self, depth: u32, is_in_loop: bool) -> String {
        let pieces = self.0.random_range(1..=2);
        (0..pieces).map(|_| self.piece(depth, is_in_loop)).collect()
    }

    fn text(&mut self) -> String {
        let length = self.0.random_range(1..40);
        let one = |_| *b"abc \n\"{}%#<>=".choose(&mut self.0).unwrap_or(&b'x') as char;
        let text: String = (0..length).map(one).collect();
        // What would open a tag is none of the grammar's text; it may stand before a tag, too.
        text.replace('{', "{ ")
    }

    fn variable(&mut self, is_in_loop: bool) -> &'static str {
        let is_of_corp = is_in_loop && self.0.random_bool(0.7);
        let names: &[&str] = if is_of_corp { &INSIDE } else { &OUTSIDE };
        names.choose(&mut self.0).copied().unwrap_or("site")
    }

    fn value(&mut self, is_in_loop: bool) -> String {
        let mut value = self.variable(is_in_loop).to_owned();
        for _ in 0..self.0.random_range(0..3) {
            value.push('|');
            value.push_str(FILTERS.choose(&mut self.0).unwrap_or(&"tojson"));
        }
        value
    }

    fn condition(&mut self, is_in_loop: bool) -> String {
        let (one, other) = (self.variable(is_in_loop), self.variable(is_in_loop));
        match self.0.random_range(0..5) {
            0 => one.to_owned(),
            1 => format!("not {one}"),
            2 => format!("{one} == {other}"),
            3 => format!(
                "{one} != '{}' or ({other} and not false)",
                self.0.random_range(0..10)
            ),
            _ => format!("{one} == {}", self.0.random_range(0..10)),
        }
    }
}

//! Templates from the grammar that users are allowed: text, variables, filters, loops over the
//! corps, conditions.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// The schema's limit for a template, in characters.
pub const TEMPLATE_MAX: usize = 4096;
const DEPTH_MAX: u32 = 5;
const OUTSIDE: [&str; 3] = ["client_id", "site", "corps"];
const INSIDE: [&str; 5] = ["access_token", "expires_at", "corp_id", "client_id", "site"];
const FILTERS: [&str; 5] = ["tojson", "upper", "lower", "trim", "length"];

pub struct Generator(SmallRng);

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// One template, as long as the schema takes it.
    pub fn template(&mut self) -> String {
        let mut template = String::new();
        while template.len() < TEMPLATE_MAX {
            let piece = self.piece(0, None);
            if template.len() + piece.len() > TEMPLATE_MAX {
                break;
            }
            template.push_str(&piece);
        }
        template
    }

    /// A piece within the loop whose variable this is.
    fn piece(&mut self, depth: u32, within: Option<u32>) -> String {
        let is_deep = depth >= DEPTH_MAX;
        match self.0.random_range(0..if is_deep { 2 } else { 6 }) {
            0 => self.text(),
            1 => format!("{{{{ {} }}}}", self.expression(within)),
            2 | 3 => {
                let body = self.body(depth + 1, Some(depth));
                format!("{{% for c{depth} in corps %}}{body}{{% endfor %}}")
            }
            4 => {
                let condition = self.condition(within);
                let (yes, no) = (self.body(depth + 1, within), self.body(depth + 1, within));
                format!("{{% if {condition} %}}{yes}{{% else %}}{no}{{% endif %}}")
            }
            _ => format!("{{% raw %}}{}{{% endraw %}}", self.text()),
        }
    }

    fn body(&mut self, depth: u32, within: Option<u32>) -> String {
        let pieces = self.0.random_range(1..=3);
        (0..pieces).map(|_| self.piece(depth, within)).collect()
    }

    fn text(&mut self) -> String {
        let length = self.0.random_range(1..40);
        let one = |_| *b"abc \n\"{}%#<>=".choose(&mut self.0).unwrap_or(&b'x') as char;
        let text: String = (0..length).map(one).collect();
        // What would open a tag is none of the grammar's text.
        text.replace('{', "{ ")
    }

    fn variable(&mut self, within: Option<u32>) -> String {
        match within {
            Some(depth) if self.0.random_bool(0.7) => {
                let field = INSIDE[..3].choose(&mut self.0).unwrap_or(&"corp_id");
                format!("c{depth}.{field}")
            }
            _ => (*OUTSIDE.choose(&mut self.0).unwrap_or(&"site")).to_owned(),
        }
    }

    fn expression(&mut self, within: Option<u32>) -> String {
        let mut expression = self.variable(within);
        for _ in 0..self.0.random_range(0..3) {
            // Not every one fits its value: such a template is refused, which is as good.
            let filter = FILTERS.choose(&mut self.0).unwrap_or(&"tojson");
            expression.push('|');
            expression.push_str(filter);
        }
        expression
    }

    fn condition(&mut self, within: Option<u32>) -> String {
        let variable = self.variable(within);
        match self.0.random_range(0..3) {
            0 => variable,
            1 => format!("not {variable}"),
            _ => format!("{variable} == \"{}\"", self.0.random_range(0..10)),
        }
    }
}

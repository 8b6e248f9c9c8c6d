//! Keys that users add to a Secret by templates, in a sandbox that is bounded in time and output.
//!
//! What could make much of little is not there: no `set`, `macro` or other statement that keeps
//! text, no operators that join text, no filter without a budget. What is left takes time and room
//! in proportion to fuel and template.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::value::{Value, ViaDeserialize};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, context};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::data::{Shape, hexadecimal};
use super::{Held, Lifetime, ObjectVersion, TokenRecord};
use crate::api::{DingTalkApp, KEY_ACCESS_TOKEN, KEY_CORP_ID, KEY_EXPIRES_AT, Layout};
use crate::dingtalk::AccessToken;

/// A Secret holds no more, so no value can.
const OUTPUT_MAX: usize = 1024 * 1024;
/// Instructions of the engine that a template may take: a long one without a loop has some hundreds,
const FUEL_BASE: u64 = 5_000;
/// and one round of a loop over the corps some tens.
const FUEL_PER_CORP: u64 = 60;
/// The statements that keep no text.
const STATEMENTS: [&str; 8] = [
    "if", "elif", "else", "endif", "for", "endfor", "raw", "endraw",
];

/// Why templates cannot be used. Nothing in it comes from a token.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// The key is one of the layout's.
    #[error(
        "spec.target.data[{key:?}], line 1, column 1: layout {layout:?} writes the key {key:?} itself: name this one otherwise"
    )]
    Overrides {
        /// The key.
        key: String,
        /// The layout.
        layout: Layout,
    },
    /// It is no template, or uses what is not there.
    #[error("spec.target.data[{key:?}], line {line}, column {column}: {detail}")]
    Invalid {
        /// The key.
        key: String,
        /// From 1 on.
        line: usize,
        /// From 1 on, in characters.
        column: usize,
        /// What is wrong.
        detail: String,
    },
}

/// The templates of an app, parsed and tried.
#[derive(Default)]
pub struct Templates {
    /// None where there are no templates: thousands of apps need no engine each.
    engine: Option<Box<Engine>>,
    keys: Vec<String>,
    signature: String,
}

struct Engine {
    environment: Environment<'static>,
    spent: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(&self.keys).finish()
    }
}

impl Templates {
    /// The templates of `app`, tried with tokens that are none.
    ///
    /// # Errors
    /// The first one that cannot be used, by the order of its key.
    pub fn of(app: &DingTalkApp) -> Result<Self, TemplateError> {
        if app.spec.target.data.is_empty() {
            return Ok(Self::default());
        }
        let (mut environment, spent) = sandbox();
        let layout = app.spec.target.layout;
        let mut hash = Sha256::new();
        for (key, source) in &app.spec.target.data {
            if is_of_layout(layout, key, &app.spec.corp_ids) {
                let key = key.clone();
                return Err(TemplateError::Overrides { key, layout });
            }
            check_statements(key, source)?;
            environment
                .add_template_owned(key.clone(), source.clone())
                .map_err(|error| invalid(key, source, &error, true))?;
            for part in [key.as_bytes(), source.as_bytes()] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        let keys: Vec<String> = app.spec.target.data.keys().cloned().collect();
        let digest = hexadecimal(&hash.finalize()[..8]);
        let templates = Self {
            engine: Some(Box::new(Engine { environment, spent })),
            signature: format!("{}@{digest}", keys.join(",")),
            keys,
        };
        templates.try_out(app)?;
        Ok(templates)
    }

    /// The keys that they make, and a digest of their texts; empty without templates.
    pub fn signature(&self) -> &str {
        &self.signature
    }

    /// The values for these tokens.
    ///
    /// # Errors
    /// The first template that fails with them.
    pub fn render(
        &self,
        shape: Shape,
        site: &str,
        tokens: &[&Held],
    ) -> Result<Vec<(String, Zeroizing<String>)>, TemplateError> {
        self.render_each(shape, site, tokens, false)
    }

    fn render_each(
        &self,
        shape: Shape,
        site: &str,
        tokens: &[&Held],
        are_examples: bool,
    ) -> Result<Vec<(String, Zeroizing<String>)>, TemplateError> {
        let Some(engine) = &self.engine else {
            return Ok(Vec::new());
        };
        let variables = variables(shape, site, tokens);
        let fuel = FUEL_BASE + FUEL_PER_CORP * tokens.len() as u64;
        let render = |key: &String| {
            let mut environment = engine.environment.clone();
            environment.set_fuel(Some(fuel));
            engine.spent.store(0, Ordering::Relaxed);
            let mut output = Bounded(Zeroizing::new(Vec::new()));
            let template = environment
                .get_template(key)
                .map_err(|error| invalid(key, "", &error, are_examples))?;
            template
                .render_captured_to(variables.clone(), &mut output)
                .map_err(|error| invalid(key, template.source(), &error, are_examples))?;
            let text = String::from_utf8(output.0.to_vec()).unwrap_or_default();
            Ok((key.clone(), Zeroizing::new(text)))
        };
        self.keys.iter().map(render).collect()
    }

    /// What would fail with every token fails here, before anything is fetched.
    fn try_out(&self, app: &DingTalkApp) -> Result<(), TemplateError> {
        let shape = Shape::of(app.spec.target.layout);
        let Some(token) = AccessToken::new("0123456789abcdef0123456789abcdef".to_owned()) else {
            return Ok(());
        };
        let example = |corp_id: &String| Held {
            token: token.clone(),
            record: TokenRecord {
                site: app.spec.site.clone(),
                client_id: "dingexample".to_owned(),
                corp_id: corp_id.clone(),
                lifetime: Lifetime {
                    minted_at: jiff::Timestamp::UNIX_EPOCH,
                    expires_at: jiff::Timestamp::UNIX_EPOCH,
                },
                credentials: ObjectVersion::default(),
            },
        };
        let examples: Vec<Held> = app.spec.corp_ids.iter().take(2).map(example).collect();
        let tokens: Vec<&Held> = match shape {
            Shape::One => examples.iter().take(1).collect(),
            Shape::Many => examples.iter().collect(),
        };
        self.render_each(shape, &app.spec.site, &tokens, true)
            .map(drop)
    }
}

fn is_of_layout(layout: Layout, key: &str, corp_ids: &[String]) -> bool {
    match layout {
        Layout::Single | Layout::PerCorp => {
            [KEY_ACCESS_TOKEN, KEY_CORP_ID, KEY_EXPIRES_AT].contains(&key)
        }
        Layout::Shared => [KEY_ACCESS_TOKEN, KEY_EXPIRES_AT].iter().any(|end| {
            key.strip_suffix(end)
                .and_then(|start| start.strip_suffix('.'))
                .is_some_and(|corp_id| corp_ids.iter().any(|wanted| wanted == corp_id))
        }),
    }
}

fn sandbox() -> (Environment<'static>, Arc<AtomicUsize>) {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_debug(true);
    environment.set_keep_trailing_newline(true);
    environment.set_recursion_limit(16);
    let spent = Arc::new(AtomicUsize::new(0));
    let budget = {
        let spent = Arc::clone(&spent);
        move |text: String| {
            let total = spent.fetch_add(text.len(), Ordering::Relaxed) + text.len();
            match total <= 2 * OUTPUT_MAX {
                true => Ok(text),
                false => Err(minijinja::Error::new(
                    ErrorKind::InvalidOperation,
                    "the filters make too much text",
                )),
            }
        }
    };
    let bounded = budget.clone();
    environment.add_filter("tojson", move |value: ViaDeserialize<serde_json::Value>| {
        bounded(serde_json::to_string(&value.0).unwrap_or_default())
    });
    let bounded = budget.clone();
    environment.add_filter("upper", move |text: &str| bounded(text.to_uppercase()));
    let bounded = budget.clone();
    environment.add_filter("lower", move |text: &str| bounded(text.to_lowercase()));
    environment.add_filter("trim", move |text: &str| budget(text.trim().to_owned()));
    environment.add_filter("length", |value: &Value| value.len().unwrap_or_default());
    (environment, spent)
}

fn variables(shape: Shape, site: &str, tokens: &[&Held]) -> Value {
    let one = |held: &&Held| {
        context! {
            access_token => held.token.expose(),
            expires_at => held.record.lifetime.expires_at.to_string(),
            expires_at_unix => held.record.lifetime.expires_at.as_second(),
            corp_id => held.record.corp_id,
        }
    };
    let client_id = tokens.first().map(|held| held.record.client_id.as_str());
    let common = context! { client_id, site };
    match (shape, tokens.first()) {
        (Shape::One, Some(held)) => context! { ..common, ..one(held) },
        _ => {
            let corps: Vec<Value> = tokens.iter().map(one).collect();
            context! { corps, ..common }
        }
    }
}

/// Refuses what the module's text says is not there.
fn check_statements(key: &str, source: &str) -> Result<(), TemplateError> {
    let refuse = |offset: usize, detail: String| {
        let (line, column) = position(source, offset);
        let key = key.to_owned();
        Err(TemplateError::Invalid {
            key,
            line,
            column,
            detail,
        })
    };
    let mut from = 0;
    while let Some(start) = source[from..].find('{').map(|at| from + at) {
        let rest = &source[start..];
        from = start + 1;
        let (is_statement, end) = match rest.as_bytes().get(1) {
            Some(b'%') => (true, "%}"),
            Some(b'{') => (false, "}}"),
            _ => continue,
        };
        let inside = &rest[2..rest.find(end).unwrap_or(rest.len()).max(2)];
        if is_statement {
            let word: String = inside
                .trim_start_matches(['-', '+'])
                .trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if !STATEMENTS.contains(&word.as_str()) {
                let detail = format!(
                    "statement {word:?} is not available: only if, for and raw are, with their ends"
                );
                return refuse(start, detail);
            }
            if inside.contains("recursive") {
                return refuse(start, "a loop cannot be recursive".to_owned());
            }
        }
        let is_operator = |c: char| ['~', '*', '+'].contains(&c);
        let signs = inside.trim_start_matches(['-', '+']).trim_end_matches('+');
        if let Some(sign) = signs.chars().find(|c| is_operator(*c)) {
            let at = start + inside.find(sign).unwrap_or_default() + 2;
            let detail = format!(
                "operator {sign:?} is not available: write the parts one after the other, as in {{{{ a }}}}{{{{ b }}}}"
            );
            return refuse(at, detail);
        }
        from = start + 2 + inside.len();
    }
    Ok(())
}

/// `are_examples`: only then what the engine says cannot contain a token.
fn invalid(key: &str, source: &str, error: &minijinja::Error, are_examples: bool) -> TemplateError {
    let (line, column) = match error.range() {
        Some(range) => position(source, range.start),
        None => (error.line().unwrap_or(1), 1),
    };
    let kind = match error.kind() {
        ErrorKind::OutOfFuel => "the template takes too long".to_owned(),
        ErrorKind::WriteFailure => format!("the value is larger than {OUTPUT_MAX} bytes"),
        kind => kind.to_string(),
    };
    let detail = match error.detail().filter(|_| are_examples) {
        Some(detail) if error.kind() != ErrorKind::WriteFailure => format!("{kind}: {detail}"),
        _ => kind,
    };
    TemplateError::Invalid {
        key: key.to_owned(),
        line,
        column,
        detail,
    }
}

/// Line and column of a byte, both from 1 on.
fn position(source: &str, offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// Takes so many bytes and no more.
struct Bounded(Zeroizing<Vec<u8>>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_MAX {
            return Err(io::Error::other("too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;

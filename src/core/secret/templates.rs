//! Keys that users add to a Secret by templates.
//!
//! A small subset of Jinja, bounded by construction: what the parser accepts takes steps in
//! proportion to the template and the corps, and the size of its output is computed before any of
//! it is kept.

mod parse;
mod refusal;
mod render;
mod tree;

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use thiserror::Error;
use zeroize::Zeroizing;

use self::refusal::{Refusal, refuse};
use self::render::Scope;
use self::tree::Node;
use crate::api::{DingTalkApp, Layout};
use crate::core::secret::data::digest;
use crate::core::secret::recorded::TOKENS_MAX;
use crate::core::secret::shape::Shape;
use crate::core::secret::write::SECRET_SIZE_MAX;
use crate::core::token::record::{Held, ObjectVersion, TokenRecord};
use crate::core::token::schedule::Lifetime;
use crate::dingtalk::AccessToken;

/// Most steps that all templates of a Secret may take: some milliseconds. With 1,000 corps, that is
/// 200 values, filters and conditions for each.
const STEPS_MAX: u64 = 200_000;
/// Most parts that all templates of a Secret may have. They are kept parsed, at about 200 bytes
/// each.
const PARTS_MAX: u64 = 1000;

/// Why templates cannot be used. Contains nothing that comes from a token.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// It is not a template, or uses what is not available.
    #[error("spec.target.template.data[{key:?}], line {line}, column {column}: {detail}")]
    Invalid {
        key: String,
        /// Line, starting at 1.
        line: usize,
        /// Column in characters, starting at 1.
        column: usize,
        detail: String,
    },
    /// The templates are too long.
    #[error(
        "spec.target.template.data: the templates have {parts} parts (a text, value, filter or condition each), more than the {PARTS_MAX} allowed"
    )]
    TooManyParts { parts: u64 },
    /// Rendering would take too many steps.
    #[error(
        "spec.target.template.data: for {corps} corpIds the templates take {steps} steps (a text, value, filter or condition each), more than the {STEPS_MAX} allowed: write less within {{% for %}}, or divide the corpIds among several DingTalkApps"
    )]
    TooManySteps { corps: usize, steps: u64 },
    /// The output would be too large.
    #[error(
        "spec.target.template.data: for {corps} corpIds the templates make at least {size} bytes, more than the {SECRET_SIZE_MAX} that a Secret may hold: write less within {{% for %}}, or divide the corpIds among several DingTalkApps"
    )]
    TooLarge { corps: usize, size: usize },
}

/// An app's templates, parsed and checked.
#[derive(Default)]
pub struct Templates {
    site: String,
    nodes: Vec<(String, Vec<Node>)>,
    signature: String,
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = self.nodes.iter().map(|(key, _)| key);
        formatter.debug_list().entries(keys).finish()
    }
}

impl Templates {
    /// Returns no templates, which is what most apps have.
    pub fn none() -> &'static Result<Arc<Self>, TemplateError> {
        static NONE: LazyLock<Result<Arc<Templates>, TemplateError>> =
            LazyLock::new(|| Ok(Arc::default()));
        &NONE
    }

    /// Parses the templates of `app` and checks them with dummy tokens.
    ///
    /// # Errors
    /// The first template, by key, that cannot be used.
    pub fn of(app: &DingTalkApp) -> Result<Self, TemplateError> {
        if app.spec.target.template.data.is_empty() {
            return Ok(Self::default());
        }
        let layout = app.spec.target.layout;
        let shape = Shape::of(layout);
        let sources = &app.spec.target.template.data;
        let mut nodes_by_key = Vec::with_capacity(sources.len());
        for (key, source) in sources {
            let parsed = match is_of_layout(shape, key, &app.spec.corp_ids) {
                true => refuse(0, overrides_message(layout, key)),
                false => parse::parse(source, shape),
            };
            let nodes = parsed.map_err(|Refusal { offset, detail }| {
                let (line, column) = position(source, offset);
                TemplateError::Invalid {
                    key: key.clone(),
                    line,
                    column,
                    detail,
                }
            })?;
            nodes_by_key.push((key.clone(), nodes));
        }
        let digest = digest(sources);
        let templates = Self {
            site: app.spec.site.clone(),
            nodes: nodes_by_key,
            signature: digest.get(..16).unwrap_or_default().to_owned(),
        };
        templates.try_out(app)?;
        Ok(templates)
    }

    /// Whether there are no templates.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns the keys that the templates make.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|(key, _)| key.as_str())
    }

    /// Returns a digest of their keys and texts; empty without templates.
    pub fn signature(&self) -> &str {
        &self.signature
    }

    /// Returns the size of all values for these tokens, in bytes.
    pub fn size(&self, tokens: &[&Held]) -> usize {
        let tokens = by_corp_id(tokens);
        let mut size = 0;
        for (_, nodes) in &self.nodes {
            render::write(nodes, self.scope(&tokens), &mut size);
        }
        size
    }

    /// Returns the values for these tokens. The caller must have checked [`Templates::size`].
    pub fn render(&self, tokens: &[&Held]) -> Vec<(String, Zeroizing<String>)> {
        let tokens = by_corp_id(tokens);
        let scope = self.scope(&tokens);
        let value = |(key, nodes): &(String, Vec<Node>)| {
            let mut size = 0;
            render::write(nodes, scope, &mut size);
            // Allocated at its final size, because growing leaves copies of tokens in memory.
            let mut text = Zeroizing::new(String::with_capacity(size));
            render::write(nodes, scope, &mut text);
            (key.clone(), text)
        };
        self.nodes.iter().map(value).collect()
    }

    fn scope<'a>(&'a self, tokens: &'a [&'a Held]) -> Scope<'a> {
        Scope {
            site: &self.site,
            tokens,
            index: 0,
        }
    }

    fn steps(&self, corps: usize) -> u64 {
        let nodes = self.nodes.iter();
        let steps = nodes.map(|(_, nodes)| tree::steps(nodes, corps as u64));
        steps.fold(0, u64::saturating_add)
    }

    /// Refuses what would be too much with all tokens, before anything is fetched.
    fn try_out(&self, app: &DingTalkApp) -> Result<(), TemplateError> {
        let corp_ids = app.spec.corp_ids.iter();
        let corp_ids: Vec<&String> = match Shape::of(app.spec.target.layout) {
            Shape::One => Vec::from_iter(corp_ids.max_by_key(|corp_id| corp_id.len())),
            Shape::Many => corp_ids.take(TOKENS_MAX).collect(),
        };
        let examples = corp_ids.iter().filter_map(|corp_id| example(app, corp_id));
        let examples: Vec<Held> = examples.collect();
        let tokens: Vec<&Held> = examples.iter().collect();
        let corps = tokens.len();
        let parts = self.steps(1);
        if parts > PARTS_MAX {
            return Err(TemplateError::TooManyParts { parts });
        }
        let steps = self.steps(corps);
        if steps > STEPS_MAX {
            return Err(TemplateError::TooManySteps { corps, steps });
        }
        let size = self.size(&tokens);
        if size > SECRET_SIZE_MAX {
            return Err(TemplateError::TooLarge { corps, size });
        }
        Ok(())
    }
}

/// Sorts tokens by corpId: `spec.corpIds` is a set, so its order must not show in a Secret.
fn by_corp_id<'a>(tokens: &[&'a Held]) -> Vec<&'a Held> {
    let mut tokens = tokens.to_vec();
    tokens.sort_by(|one, other| one.record.corp_id.cmp(&other.record.corp_id));
    tokens
}

/// Returns a dummy token.
fn example(app: &DingTalkApp, corp_id: &str) -> Option<Held> {
    Some(Held {
        token: AccessToken::new("0123456789abcdef0123456789abcdef".to_owned())?,
        record: TokenRecord {
            site: app.spec.site.clone(),
            client_id: "dingexample".to_owned(),
            corp_id: corp_id.to_owned(),
            lifetime: Lifetime {
                requested_at: Timestamp::UNIX_EPOCH,
                expires_at: Timestamp::UNIX_EPOCH,
            },
            credentials: ObjectVersion::default(),
            answers: None,
        },
    })
}

fn is_of_layout(shape: Shape, key: &str, corp_ids: &[String]) -> bool {
    let mut fields = shape.fields().iter();
    fields.any(|field| match shape {
        Shape::One => shape.key(*field, "") == key,
        Shape::Many => shape
            .corp_id(*field, key)
            .is_some_and(|corp_id| corp_ids.iter().any(|wanted| wanted == corp_id)),
    })
}

fn overrides_message(layout: Layout, key: &str) -> String {
    format!("layout {layout:?} writes the key {key:?} itself: give this one another name")
}

/// Returns line and column of a byte, both starting at 1.
fn position(source: &str, offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or(source);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

#[cfg(test)]
mod tests;

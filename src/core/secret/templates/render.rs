//! Renders a template for given tokens. This cannot fail: the parser only accepts what has a value.

use zeroize::Zeroizing;

use super::tree::{Attribute, Condition, Filter, Node, Operand, Position, Variable};
use crate::core::token::record::Held;

/// Receives a template's text.
pub(super) trait Output {
    fn push(&mut self, text: &str);

    /// Called at each step.
    fn step(&mut self) {}
}

/// Keeps the text.
impl Output for Zeroizing<String> {
    fn push(&mut self, text: &str) {
        self.push_str(text);
    }
}

/// Only counts bytes.
impl Output for usize {
    fn push(&mut self, text: &str) {
        *self = self.saturating_add(text.len());
    }
}

/// The values of variables.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) site: &'a str,
    /// The tokens, sorted by corpId.
    pub(super) tokens: &'a [&'a Held],
    /// Index of the current token.
    pub(super) index: usize,
}

enum Scalar<'a> {
    Borrowed(&'a str),
    Owned(Zeroizing<String>),
    Number(i64),
    Truth(bool),
}

pub(super) fn write(nodes: &[Node], scope: Scope<'_>, output: &mut dyn Output) {
    for node in nodes {
        output.step();
        match node {
            Node::Text(text) => output.push(text),
            Node::Value(variable, filters) => {
                let mut value = scope.value(*variable);
                for filter in filters {
                    output.step();
                    value = value.filtered(*filter);
                }
                value.with_text(|text| output.push(text));
            }
            Node::If(branches, otherwise) => {
                let mut branches = branches.iter();
                let chosen = branches.find(|(condition, _)| condition.holds(scope, output));
                let body = chosen.map_or(otherwise, |(_, body)| body);
                write(body, scope, output);
            }
            Node::For(body) => {
                for index in 0..scope.tokens.len() {
                    write(body, Scope { index, ..scope }, output);
                }
            }
        }
    }
}

impl Condition {
    fn holds(&self, scope: Scope<'_>, output: &mut dyn Output) -> bool {
        output.step();
        match self {
            Self::IsTrue(operand) => operand.value(scope).is_true(),
            Self::Equals(one, other) => one.value(scope).equals(&other.value(scope)),
            Self::Not(inner) => !inner.holds(scope, output),
            Self::All(parts) => parts.iter().all(|part| part.holds(scope, output)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(scope, output)),
        }
    }
}

impl Operand {
    fn value<'a>(&'a self, scope: Scope<'a>) -> Scalar<'a> {
        match self {
            Self::Variable(variable) => scope.value(*variable),
            Self::Text(text) => Scalar::Borrowed(text),
            Self::Number(number) => Scalar::Number(*number),
            Self::Truth(truth) => Scalar::Truth(*truth),
        }
    }
}

impl<'a> Scope<'a> {
    fn value(self, variable: Variable) -> Scalar<'a> {
        let Some(held) = self.tokens.get(self.index) else {
            return Scalar::Borrowed("");
        };
        let record = &held.record;
        match variable {
            Variable::ClientId => Scalar::Borrowed(&record.client_id),
            Variable::Site => Scalar::Borrowed(self.site),
            Variable::CorpCount => Scalar::count(self.tokens.len()),
            Variable::Corp(Attribute::AccessToken) => Scalar::Borrowed(held.token.expose()),
            Variable::Corp(Attribute::CorpId) => Scalar::Borrowed(&record.corp_id),
            Variable::Corp(Attribute::ExpiresAt) => {
                Scalar::Owned(Zeroizing::new(record.lifetime.expires_at.to_string()))
            }
            Variable::Corp(Attribute::ExpiresAtUnix) => {
                Scalar::Number(record.lifetime.expires_at.as_second())
            }
            Variable::Loop(Position::First) => Scalar::Truth(self.index == 0),
            Variable::Loop(Position::Last) => Scalar::Truth(self.index + 1 == self.tokens.len()),
            Variable::Loop(Position::Index) => Scalar::count(self.index + 1),
        }
    }
}

impl Scalar<'_> {
    fn count(count: usize) -> Self {
        Self::Number(i64::try_from(count).unwrap_or(i64::MAX))
    }

    fn with_text<T>(&self, then: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Borrowed(text) => then(text),
            Self::Owned(text) => then(text),
            Self::Number(number) => then(&number.to_string()),
            Self::Truth(truth) => then(if *truth { "true" } else { "false" }),
        }
    }

    fn is_true(&self) -> bool {
        match self {
            Self::Truth(truth) => *truth,
            Self::Number(number) => *number != 0,
            Self::Borrowed(_) | Self::Owned(_) => self.with_text(|text| !text.is_empty()),
        }
    }

    /// As in Jinja, `1 == '1'` is false.
    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one == other,
            (Self::Truth(one), Self::Truth(other)) => one == other,
            (Self::Borrowed(_) | Self::Owned(_), Self::Borrowed(_) | Self::Owned(_)) => {
                self.with_text(|one| other.with_text(|other| one == other))
            }
            _ => false,
        }
    }

    fn filtered<'a>(self, filter: Filter) -> Scalar<'a> {
        let owned = |text: String| Scalar::Owned(Zeroizing::new(text));
        let is_text = matches!(self, Self::Borrowed(_) | Self::Owned(_));
        self.with_text(|text| match filter {
            Filter::ToJson if is_text => owned(serde_json::to_string(text).unwrap_or_default()),
            Filter::ToJson => owned(text.to_owned()),
            Filter::Upper => owned(text.to_uppercase()),
            Filter::Lower => owned(text.to_lowercase()),
            Filter::Trim => owned(text.trim().to_owned()),
            Filter::Length => Scalar::count(text.chars().count()),
        })
    }
}

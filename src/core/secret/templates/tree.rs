//! The parts that a template can consist of. Rendering them takes a number of steps that is known
//! beforehand, and no memory beyond the output.

use strum::{EnumString, VariantNames};

/// A part of a template.
#[derive(Debug, PartialEq)]
pub(super) enum Node {
    Text(Box<str>),
    /// A value, passed through filters.
    Value(Variable, Vec<Filter>),
    /// The body of the first condition that holds, else the last body.
    If(Vec<(Condition, Vec<Node>)>, Vec<Node>),
    /// The body, once for each corp.
    For(Vec<Node>),
}

/// A value that a template can use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Variable {
    ClientId,
    Site,
    CorpCount,
    /// An attribute of the loop's current corp, or of the only one.
    Corp(Attribute),
    Loop(Position),
}

/// An attribute of a corp, by its name in templates.
#[derive(Clone, Copy, Debug, PartialEq, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Attribute {
    AccessToken,
    ExpiresAt,
    ExpiresAtUnix,
    CorpId,
}

impl Attribute {
    pub(super) fn named(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

/// An attribute of `loop`, by its name in templates.
#[derive(Clone, Copy, Debug, PartialEq, EnumString)]
#[strum(serialize_all = "lowercase")]
pub(super) enum Position {
    First,
    Last,
    /// Starts at 1.
    Index,
}

/// A filter, by its name in templates.
#[derive(Clone, Copy, Debug, PartialEq, EnumString)]
#[strum(serialize_all = "lowercase")]
pub(super) enum Filter {
    ToJson,
    Upper,
    Lower,
    Trim,
    Length,
}

/// One side of a comparison.
#[derive(Debug, PartialEq)]
pub(super) enum Operand {
    Variable(Variable),
    Text(Box<str>),
    Number(i64),
    Truth(bool),
}

#[derive(Debug, PartialEq)]
pub(super) enum Condition {
    IsTrue(Operand),
    Equals(Operand, Operand),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

/// Returns an upper bound on rendering's steps, whatever the values are.
pub(super) fn steps(nodes: &[Node], corps: u64) -> u64 {
    let step = |node: &Node| match node {
        Node::Text(_) => 1,
        Node::Value(_, filters) => 1 + filters.len() as u64,
        Node::If(branches, otherwise) => {
            let branch = |(condition, body): &(Condition, Vec<Node>)| {
                condition.steps().saturating_add(steps(body, corps))
            };
            let branches = branches.iter().map(branch).fold(1, u64::saturating_add);
            branches.saturating_add(steps(otherwise, corps))
        }
        Node::For(body) => corps.saturating_mul(steps(body, corps)).saturating_add(1),
    };
    nodes.iter().map(step).fold(0, u64::saturating_add)
}

impl Condition {
    fn steps(&self) -> u64 {
        let inner: u64 = match self {
            Self::IsTrue(_) | Self::Equals(..) => 0,
            Self::Not(inner) => inner.steps(),
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::steps).sum(),
        };
        1 + inner
    }
}

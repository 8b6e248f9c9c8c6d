//! Parses a template. Everything that is allowed has a rule here, and nothing else is accepted.
//!
//! Only the tokenizer is minijinja's. Its parser allows far more, and its recursion is bounded by
//! the input only: four thousand minus signs overflow a thread's stack.

use std::iter::Peekable;

use minijinja::machinery::{Span, Token, WhitespaceConfig, tokenize};

use super::refusal::{
    CORPS_FORMS, Parsed, Refusal, attributes_of, no_corps, refuse, refused_statement,
    refused_token, shown, unknown,
};
use super::tree::{Attribute, Condition, Filter, Node, Operand, Position, Variable};
use crate::core::secret::shape::Shape;

/// Deepest nesting of `if` and parentheses.
const DEPTH_MAX: usize = 8;
/// Longest chain of filters.
const FILTERS_MAX: usize = 4;
/// Names that a loop variable cannot have, besides those of attributes.
const RESERVED: [&str; 11] = [
    "and",
    "client_id",
    "corps",
    "false",
    "in",
    "loop",
    "none",
    "not",
    "or",
    "site",
    "true",
];
/// The template that `corps|tojson` stands for: a list of all corps as JSON.
const ALL_AS_JSON: &str = "[{% for corp in corps %}{\"access_token\":{{ corp.access_token|tojson }},\
    \"corp_id\":{{ corp.corp_id|tojson }},\"expires_at\":{{ corp.expires_at|tojson }},\
    \"expires_at_unix\":{{ corp.expires_at_unix }}}{% if not loop.last %},{% endif %}{% endfor %}]";

/// Parses a template of a Secret of this shape.
pub(super) fn parse(source: &str, shape: Shape) -> Parsed<Vec<Node>> {
    let whitespace = WhitespaceConfig {
        keep_trailing_newline: true,
        ..WhitespaceConfig::default()
    };
    let mut parser = Parser {
        tokens: tokenize(source, false, Default::default(), whitespace).peekable(),
        end: source.len(),
        shape,
        corp: None,
    };
    let (nodes, _) = parser.nodes(&[], 0)?;
    Ok(nodes)
}

struct Parser<'s, T: Iterator<Item = Result<(Token<'s>, Span), minijinja::Error>>> {
    tokens: Peekable<T>,
    end: usize,
    shape: Shape,
    /// Name of the loop variable, within a loop.
    corp: Option<&'s str>,
}

impl<'s, T: Iterator<Item = Result<(Token<'s>, Span), minijinja::Error>>> Parser<'s, T> {
    /// Parses nodes up to the end, or up to a statement of `ends`, whose name is consumed and
    /// returned.
    fn nodes(&mut self, ends: &[&str], depth: usize) -> Parsed<(Vec<Node>, &'s str)> {
        let mut nodes = Vec::new();
        while let Some((token, at)) = self.next()? {
            match token {
                Token::TemplateData(text) => nodes.push(Node::Text(text.into())),
                Token::VariableStart => self.output(&mut nodes)?,
                Token::BlockStart => {
                    let (word, at) = self.name("a statement: if or for")?;
                    match word {
                        word if ends.contains(&word) => return Ok((nodes, word)),
                        "if" if depth == DEPTH_MAX => {
                            return refuse(at, format!("if is nested deeper than {DEPTH_MAX}"));
                        }
                        "if" => nodes.push(self.condition_statement(depth + 1)?),
                        "for" => nodes.push(self.loop_statement(at, depth)?),
                        word => return refuse(at, refused_statement(word, ends)),
                    }
                }
                token => return refuse(at, refused_token(&token, "text")),
            }
        }
        match ends.last() {
            Some(end) => refuse(self.end, format!("the template ends before {{% {end} %}}")),
            None => Ok((nodes, "")),
        }
    }

    /// Parses the rest of `{% if … %}`, including its end.
    fn condition_statement(&mut self, depth: usize) -> Parsed<Node> {
        let mut branches = Vec::new();
        loop {
            let condition = self.any(0)?;
            self.expect(|token| matches!(token, Token::BlockEnd), "%}")?;
            let (body, word) = self.nodes(&["elif", "else", "endif"], depth)?;
            branches.push((condition, body));
            let otherwise = match word {
                "elif" => continue,
                "else" => {
                    self.expect(|token| matches!(token, Token::BlockEnd), "%}")?;
                    self.nodes(&["endif"], depth)?.0
                }
                _ => Vec::new(),
            };
            self.expect(|token| matches!(token, Token::BlockEnd), "%}")?;
            return Ok(Node::If(branches, otherwise));
        }
    }

    /// Parses the rest of `{% for … %}`, including its end.
    fn loop_statement(&mut self, at: usize, depth: usize) -> Parsed<Node> {
        if self.corp.is_some() {
            return refuse(at, "a loop within a loop is not available");
        }
        let (name, at) = self.name("a name for the loop's corp")?;
        if RESERVED.contains(&name) || Attribute::named(name).is_some() {
            return refuse(at, format!("the loop's corp cannot be called {name:?}"));
        }
        let form = "{% for corp in corps %} is the only form of a loop";
        for word in ["in", "corps"] {
            let (found, at) = self.name(form)?;
            if found != word {
                return refuse(at, form);
            }
            if word == "corps" && self.shape != Shape::Many {
                return refuse(at, no_corps());
            }
        }
        if !matches!(self.peek(), Some(Token::BlockEnd)) {
            return refuse(self.offset(), form);
        }
        self.expect(|token| matches!(token, Token::BlockEnd), "%}")?;
        self.corp = Some(name);
        let (body, _) = self.nodes(&["endfor"], depth)?;
        self.corp = None;
        self.expect(|token| matches!(token, Token::BlockEnd), "%}")?;
        Ok(Node::For(body))
    }

    /// Parses the rest of `{{ … }}`.
    fn output(&mut self, nodes: &mut Vec<Node>) -> Parsed<()> {
        let at = self.offset();
        let operand = self.operand()?;
        let mut filters = self.filters()?;
        self.expect(|token| matches!(token, Token::VariableEnd), "}}")?;
        let variable = match operand {
            _ if filters.len() > FILTERS_MAX => {
                return refuse(at, format!("more than {FILTERS_MAX} filters in a row"));
            }
            Operand::Variable(variable) => variable,
            _ if !filters.is_empty() => {
                return refuse(at, "a filter on a constant: write the text that results");
            }
            Operand::Text(text) => {
                nodes.push(Node::Text(text));
                return Ok(());
            }
            Operand::Number(number) => {
                nodes.push(Node::Text(number.to_string().into()));
                return Ok(());
            }
            Operand::Truth(truth) => {
                nodes.push(Node::Text(truth.to_string().into()));
                return Ok(());
            }
        };
        if variable == Variable::CorpCount {
            match filters.first() {
                Some(Filter::ToJson) if filters.len() == 1 && self.corp.is_none() => {
                    nodes.extend(parse(ALL_AS_JSON, self.shape)?);
                    return Ok(());
                }
                Some(Filter::Length) => drop(filters.remove(0)),
                _ => return refuse(at, CORPS_FORMS),
            }
        }
        nodes.push(Node::Value(variable, filters));
        Ok(())
    }

    fn filters(&mut self) -> Parsed<Vec<Filter>> {
        let mut filters = Vec::new();
        while matches!(self.peek(), Some(Token::Pipe)) {
            self.next()?;
            let (name, at) = self.name("a filter")?;
            filters.push(match name {
                "tojson" => Filter::ToJson,
                "upper" => Filter::Upper,
                "lower" => Filter::Lower,
                "trim" => Filter::Trim,
                "length" => Filter::Length,
                _ => {
                    let name = shown(name);
                    let detail = format!(
                        "filter {name:?} is not available: only tojson, upper, lower, trim and length are"
                    );
                    return refuse(at, detail);
                }
            });
            if matches!(self.peek(), Some(Token::ParenOpen)) {
                return refuse(self.offset(), "filters take no arguments here");
            }
        }
        Ok(filters)
    }

    /// Parses a condition: parts joined by `or`.
    fn any(&mut self, depth: usize) -> Parsed<Condition> {
        let mut parts = vec![self.all(depth)?];
        while matches!(self.peek(), Some(Token::Ident("or"))) {
            self.next()?;
            parts.push(self.all(depth)?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Condition::Any(parts),
        })
    }

    /// Parses parts joined by `and`.
    fn all(&mut self, depth: usize) -> Parsed<Condition> {
        let mut parts = vec![self.part(depth)?];
        while matches!(self.peek(), Some(Token::Ident("and"))) {
            self.next()?;
            parts.push(self.part(depth)?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Condition::All(parts),
        })
    }

    /// Parses a scalar, a comparison or a condition in parentheses, possibly negated.
    fn part(&mut self, depth: usize) -> Parsed<Condition> {
        let mut is_negated = false;
        while matches!(self.peek(), Some(Token::Ident("not"))) {
            self.next()?;
            is_negated = !is_negated;
        }
        let condition = if matches!(self.peek(), Some(Token::ParenOpen)) {
            if depth == DEPTH_MAX {
                let detail = format!("parentheses are nested deeper than {DEPTH_MAX}");
                return refuse(self.offset(), detail);
            }
            self.next()?;
            let inner = self.any(depth + 1)?;
            self.expect(|token| matches!(token, Token::ParenClose), ")")?;
            inner
        } else {
            self.comparison()?
        };
        Ok(match is_negated {
            true => Condition::Not(Box::new(condition)),
            false => condition,
        })
    }

    fn comparison(&mut self) -> Parsed<Condition> {
        let left = self.operand()?;
        let is_equal = match self.peek() {
            Some(Token::Eq) => true,
            Some(Token::Ne) => false,
            Some(Token::Pipe) => {
                return refuse(self.offset(), "a filter in a condition is not available");
            }
            _ => return Ok(Condition::IsTrue(left)),
        };
        self.next()?;
        let equals = Condition::Equals(left, self.operand()?);
        Ok(match is_equal {
            true => equals,
            false => Condition::Not(Box::new(equals)),
        })
    }

    /// Parses a variable, an attribute or a constant.
    fn operand(&mut self) -> Parsed<Operand> {
        let expected = "a variable or a constant";
        let Some((token, at)) = self.next()? else {
            return refuse(
                self.end,
                format!("the template ends, {expected} was expected"),
            );
        };
        let name = match token {
            Token::Str(text) => return Ok(Operand::Text(text.into())),
            Token::String(text) => return Ok(Operand::Text(text)),
            Token::Int(number) => {
                return match i64::try_from(number) {
                    Ok(number) => Ok(Operand::Number(number)),
                    Err(_) => refuse(at, "a number this large is not available"),
                };
            }
            Token::Ident(name) => name,
            token => return refuse(at, refused_token(&token, expected)),
        };
        let variable = match (name, self.shape) {
            ("true", _) => return Ok(Operand::Truth(true)),
            ("false", _) => return Ok(Operand::Truth(false)),
            ("client_id", _) => Variable::ClientId,
            ("site", _) => Variable::Site,
            ("corps", Shape::Many) => Variable::CorpCount,
            ("loop", _) if self.corp.is_some() => self.position()?,
            (name, _) if self.corp == Some(name) => self.attribute(name)?,
            (name, shape) => match Attribute::named(name).filter(|_| shape == Shape::One) {
                Some(attribute) => Variable::Corp(attribute),
                None => return refuse(at, unknown(name, shape, self.corp)),
            },
        };
        Ok(Operand::Variable(variable))
    }

    fn position(&mut self) -> Parsed<Variable> {
        let available = "of loop, only loop.first, loop.last and loop.index are available";
        self.expect_dot(available)?;
        let (name, at) = self.name(available)?;
        Ok(Variable::Loop(match name {
            "first" => Position::First,
            "last" => Position::Last,
            "index" => Position::Index,
            _ => return refuse(at, available),
        }))
    }

    fn attribute(&mut self, corp: &str) -> Parsed<Variable> {
        let available = attributes_of(corp);
        self.expect_dot(&available)?;
        let (name, at) = self.name(&available)?;
        match Attribute::named(name) {
            Some(attribute) => Ok(Variable::Corp(attribute)),
            None => refuse(at, available),
        }
    }

    fn expect_dot(&mut self, available: &str) -> Parsed<()> {
        match self.peek() {
            Some(Token::Dot) => self.next().map(drop),
            _ => refuse(self.offset(), available),
        }
    }

    fn expect(&mut self, is: impl Fn(&Token<'_>) -> bool, expected: &str) -> Parsed<()> {
        match self.next()? {
            Some((token, _)) if is(&token) => Ok(()),
            Some((token, at)) => refuse(at, refused_token(&token, expected)),
            None => refuse(
                self.end,
                format!("the template ends, {expected} was expected"),
            ),
        }
    }

    fn name(&mut self, expected: &str) -> Parsed<(&'s str, usize)> {
        match self.next()? {
            Some((Token::Ident(name), at)) => Ok((name, at)),
            Some((token, at)) => refuse(at, refused_token(&token, expected)),
            None => refuse(
                self.end,
                format!("the template ends, {expected} was expected"),
            ),
        }
    }

    /// Returns the next token and its offset.
    fn next(&mut self) -> Parsed<Option<(Token<'s>, usize)>> {
        match self.tokens.next() {
            Some(Ok((token, span))) => Ok(Some((token, span.start_offset as usize))),
            Some(Err(error)) => Err(Refusal {
                offset: error.range().map_or(self.end, |range| range.start),
                detail: error.detail().unwrap_or("not a template").to_owned(),
            }),
            None => Ok(None),
        }
    }

    fn peek(&mut self) -> Option<&Token<'s>> {
        match self.tokens.peek() {
            Some(Ok((token, _))) => Some(token),
            _ => None,
        }
    }

    /// Returns the offset of the next token.
    fn offset(&mut self) -> usize {
        match self.tokens.peek() {
            Some(Ok((_, span))) => span.start_offset as usize,
            _ => self.end,
        }
    }
}

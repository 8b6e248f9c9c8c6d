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
use super::tree::{Attribute, Condition, Filter, Node, Operand, Variable};
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
                Token::VariableStart => nodes.extend(self.output()?),
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
        if !self.takes(|token| matches!(token, Token::BlockEnd)) {
            return refuse(self.offset(), form);
        }
        self.corp = Some(name);
        let (body, _) = self.nodes(&["endfor"], depth)?;
        self.corp = None;
        self.expect(|token| matches!(token, Token::BlockEnd), "%}")?;
        Ok(Node::For(body))
    }

    /// Parses the rest of `{{ … }}`.
    fn output(&mut self) -> Parsed<Vec<Node>> {
        let at = self.offset();
        let operand = self.operand()?;
        let mut filters = self.filters()?;
        self.expect(|token| matches!(token, Token::VariableEnd), "}}")?;
        if filters.len() > FILTERS_MAX {
            return refuse(at, format!("more than {FILTERS_MAX} filters in a row"));
        }
        Ok(vec![match operand {
            Operand::Variable(Variable::CorpCount) => match filters.first() {
                Some(Filter::ToJson) if filters.len() == 1 && self.corp.is_none() => {
                    return parse(ALL_AS_JSON, self.shape);
                }
                Some(Filter::Length) => Node::Value(Variable::CorpCount, filters.split_off(1)),
                _ => return refuse(at, CORPS_FORMS),
            },
            Operand::Variable(variable) => Node::Value(variable, filters),
            _ if !filters.is_empty() => {
                return refuse(at, "a filter on a constant: write the text that results");
            }
            Operand::Text(text) => Node::Text(text),
            Operand::Number(number) => Node::Text(number.to_string().into()),
            Operand::Truth(truth) => Node::Text(truth.to_string().into()),
        }])
    }

    fn filters(&mut self) -> Parsed<Vec<Filter>> {
        let mut filters = Vec::new();
        while self.takes(|token| matches!(token, Token::Pipe)) {
            let (name, at) = self.name("a filter")?;
            let Ok(filter) = name.parse() else {
                let name = shown(name);
                let detail = format!(
                    "filter {name:?} is not available: only tojson, upper, lower, trim and length are"
                );
                return refuse(at, detail);
            };
            filters.push(filter);
            if let Some((Token::ParenOpen, at)) = self.peek() {
                return refuse(at, "filters take no arguments here");
            }
        }
        Ok(filters)
    }

    /// Parses a condition: parts joined by `and`, and those by `or`.
    fn any(&mut self, depth: usize) -> Parsed<Condition> {
        self.joined("or", Condition::Any, |parser| {
            parser.joined("and", Condition::All, |parser| parser.part(depth))
        })
    }

    fn joined(
        &mut self,
        word: &str,
        join: fn(Vec<Condition>) -> Condition,
        part: impl Fn(&mut Self) -> Parsed<Condition>,
    ) -> Parsed<Condition> {
        let mut parts = vec![part(self)?];
        while self.takes(|token| matches!(token, Token::Ident(name) if *name == word)) {
            parts.push(part(self)?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => join(parts),
        })
    }

    /// Parses a scalar, a comparison or a condition in parentheses, possibly negated.
    fn part(&mut self, depth: usize) -> Parsed<Condition> {
        let mut is_negated = false;
        while self.takes(|token| matches!(token, Token::Ident("not"))) {
            is_negated = !is_negated;
        }
        let condition = if let Some((Token::ParenOpen, at)) = self.peek() {
            if depth == DEPTH_MAX {
                let detail = format!("parentheses are nested deeper than {DEPTH_MAX}");
                return refuse(at, detail);
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
            Some((Token::Eq, _)) => true,
            Some((Token::Ne, _)) => false,
            Some((Token::Pipe, at)) => {
                return refuse(at, "a filter in a condition is not available");
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
        let (token, at) = self.token(expected)?;
        let name = match token {
            Token::Str(text) => return Ok(Operand::Text(text.into())),
            Token::String(text) => return Ok(Operand::Text(text)),
            Token::Int(number) => {
                let number = i64::try_from(number).map(Operand::Number);
                return number.or_else(|_| refuse(at, "a number this large is not available"));
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
        let (name, at) = self.attribute_name(available)?;
        let position = name.parse().map(Variable::Loop);
        position.or_else(|_| refuse(at, available))
    }

    fn attribute(&mut self, corp: &str) -> Parsed<Variable> {
        let available = attributes_of(corp);
        let (name, at) = self.attribute_name(&available)?;
        let attribute = name.parse().map(Variable::Corp);
        attribute.or_else(|_| refuse(at, available))
    }

    fn attribute_name(&mut self, available: &str) -> Parsed<(&'s str, usize)> {
        match self.takes(|token| matches!(token, Token::Dot)) {
            true => self.name(available),
            false => refuse(self.offset(), available),
        }
    }

    fn expect(&mut self, is: impl Fn(&Token<'_>) -> bool, expected: &str) -> Parsed<()> {
        match self.token(expected)? {
            (token, _) if is(&token) => Ok(()),
            (token, at) => refuse(at, refused_token(&token, expected)),
        }
    }

    fn name(&mut self, expected: &str) -> Parsed<(&'s str, usize)> {
        match self.token(expected)? {
            (Token::Ident(name), at) => Ok((name, at)),
            (token, at) => refuse(at, refused_token(&token, expected)),
        }
    }

    /// Takes the next token if it is the right one.
    fn takes(&mut self, is: impl Fn(&Token<'_>) -> bool) -> bool {
        let next = self
            .tokens
            .next_if(|next| next.as_ref().is_ok_and(|(token, _)| is(token)));
        next.is_some()
    }

    /// Returns the next token and its offset, or refuses the end of the template.
    fn token(&mut self, expected: &str) -> Parsed<(Token<'s>, usize)> {
        match self.next()? {
            Some(next) => Ok(next),
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

    fn peek(&mut self) -> Option<(&Token<'s>, usize)> {
        let (token, span) = self.tokens.peek()?.as_ref().ok()?;
        Some((token, span.start_offset as usize))
    }

    /// Returns the offset of the next token.
    fn offset(&mut self) -> usize {
        let end = self.end;
        self.peek().map_or(end, |(_, at)| at)
    }
}

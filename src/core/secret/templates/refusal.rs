//! Messages for refused templates: what is not available, and what to write instead.

use std::borrow::Cow;

use minijinja::machinery::Token;
use strum::VariantNames as _;

use super::tree::Attribute;
use crate::core::secret::shape::Shape;

/// Why a template is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Offset in bytes.
    pub(super) offset: usize,
    /// What is not available, and what to write instead.
    pub(super) detail: String,
}

/// The outcome of parsing a part of a template.
pub(super) type Parsed<T> = Result<T, Refusal>;

pub(super) const CORPS_FORMS: &str =
    "the list corps is available in {% for corp in corps %}, and outside of it as corps|tojson";

/// Refuses what is at this offset.
pub(super) fn refuse<T>(offset: usize, detail: impl Into<String>) -> Parsed<T> {
    let detail = detail.into();
    Err(Refusal { offset, detail })
}

/// Shortens a name for display.
pub(super) fn shown(name: &str) -> Cow<'_, str> {
    let cut = name.char_indices().nth(40);
    match cut.and_then(|(at, _)| name.get(..at)) {
        Some(start) => format!("{start}…").into(),
        None => name.into(),
    }
}

/// Lists names, as in `a, b and c`.
fn listed(mut names: Vec<String>) -> String {
    let last = names.pop().unwrap_or_default();
    match names.is_empty() {
        true => last,
        false => format!("{} and {last}", names.join(", ")),
    }
}

/// Explains that there is no list of corps.
pub(super) fn no_corps() -> String {
    let names = Attribute::VARIANTS.iter().map(ToString::to_string);
    format!(
        "the list corps is available with layout Combined only: use {}",
        listed(names.collect())
    )
}

/// Explains which attributes the loop's corp has.
pub(super) fn attributes_of(corp: &str) -> String {
    let corp = shown(corp);
    let names = Attribute::VARIANTS.iter();
    let names = names.map(|name| format!("{corp}.{name}"));
    format!("of a corp, only {} are available", listed(names.collect()))
}

/// Explains why a name is not a value.
pub(super) fn unknown(name: &str, shape: Shape, corp: Option<&str>) -> String {
    let name = shown(name);
    match (shape, corp) {
        (Shape::One, _) if name == "corps" => no_corps(),
        (Shape::One, _) => {
            let names = Attribute::VARIANTS.iter().chain(&["client_id", "site"]);
            let names = listed(names.map(ToString::to_string).collect());
            format!("{name:?} is not available: only {names} are")
        }
        (Shape::Many, Some(corp)) if Attribute::named(&name).is_some() => {
            format!(
                "{name:?} is an attribute of a corp here: write {}.{name}",
                shown(corp)
            )
        }
        (Shape::Many, None) if Attribute::named(&name).is_some() => format!(
            "{name:?} is an attribute of a corp with layout Combined: write {{% for corp in corps %}}{{{{ corp.{name} }}}}{{% endfor %}}"
        ),
        (Shape::Many, _) => format!(
            "{name:?} is not available: only corps, client_id and site are, and the loop's corp within a loop"
        ),
    }
}

/// Explains why `{% word %}` is refused while one of `ends` was expected.
pub(super) fn refused_statement(word: &str, ends: &[&str]) -> String {
    match (word, ends.last()) {
        ("else" | "elif", Some(&"endfor")) => "a loop has no else here".to_owned(),
        ("else" | "elif" | "endif" | "endfor", Some(end)) => {
            format!("statement {word:?} where {{% {end} %}} was expected")
        }
        ("else" | "elif" | "endif" | "endfor", None) => {
            format!("statement {word:?} without its beginning")
        }
        _ => format!(
            "statement {:?} is not available: only if, for and raw are, with their ends",
            shown(word)
        ),
    }
}

/// Explains why a token is refused while something else was expected.
pub(super) fn refused_token(token: &Token<'_>, expected: &str) -> String {
    let instead = match token {
        Token::Tilde | Token::Plus | Token::Minus | Token::Mul | Token::Pow => {
            "operators are not available: write the parts one after the other, as in {{ a }}{{ b }}"
        }
        Token::Div | Token::FloorDiv | Token::Mod => "operators are not available",
        Token::Gt | Token::Gte | Token::Lt | Token::Lte | Token::Ident("in") => {
            "of comparisons, only == and != are available"
        }
        Token::Eq | Token::Ne => "a comparison is available once in each part of {% if … %} only",
        Token::Ident("is") => "tests are not available: compare with ==",
        Token::Ident("if" | "else") => {
            "if within an expression is not available: write {% if … %}…{% else %}…{% endif %}"
        }
        Token::Ident("and" | "or" | "not") => "conditions are available in {% if … %} only",
        Token::BracketOpen | Token::BracketClose => {
            "lists, items and slices are not available: write {% for corp in corps %}"
        }
        Token::BraceOpen | Token::BraceClose => "maps are not available",
        Token::ParenOpen | Token::ParenClose | Token::Comma | Token::Colon | Token::Assign => {
            "calls, tuples, arguments and assignments are not available"
        }
        Token::Dot => "only the loop's corp and loop have attributes",
        _ => return format!("{token} where {expected} was expected"),
    };
    format!("{token}: {instead}")
}

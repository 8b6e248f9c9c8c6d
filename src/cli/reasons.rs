//! Explanations of all reasons, causes and error codes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;
use strum::IntoEnumIterator as _;

use crate::api::{Cause, Reason};
use crate::dingtalk::{LEGACY, LegacyRow, Row, Scope, Signal, TABLE, UNREACHABLE, look_up_legacy};

/// Explanation of a reason, cause or error code.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explained {
    /// The reason or cause; for error codes of the older API, the code.
    pub reason: Cow<'static, str>,
    /// Host of the API that returns the code, if the operator does not call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<&'static str>,
    pub meaning: Cow<'static, str>,
    /// Error codes and HTTP statuses with this reason.
    pub signals: Vec<String>,
    /// Class of the failure; `None` if it is not a failed fetch.
    pub class: Option<&'static str>,
    pub pace: Cow<'static, str>,
    /// What is paused until then.
    pub holds_back: Cow<'static, str>,
    pub advice: Cow<'static, str>,
}

impl Explained {
    fn of_row(row: &Row) -> Self {
        let (class, pace) = row.class.words();
        Self {
            reason: row.reason.as_str().into(),
            meaning: row.reason.meaning().into(),
            signals: row.signals.iter().map(|signal| shown(*signal)).collect(),
            class: Some(class),
            pace: pace.into(),
            holds_back: match row.scope {
                Scope::Corp => "only this corpId with this client_id",
                Scope::ClientId => "all tokens of this client_id",
                Scope::Site => "all tokens of this site, once several namespaces have seen it",
            }
            .into(),
            advice: row.advice.into(),
            ..Self::default()
        }
    }

    fn of_reason(reason: Reason, advice: &'static str) -> Self {
        Self {
            reason: reason.as_str().into(),
            meaning: reason.meaning().into(),
            pace: "as soon as the cause of the problem changes".into(),
            holds_back: "see the message".into(),
            advice: advice.into(),
            ..Self::default()
        }
    }

    fn of_cause(cause: Cause) -> Self {
        Self {
            reason: cause.as_str().into(),
            meaning: cause.meaning().into(),
            holds_back: "none".into(),
            advice: "no action needed: this is why a token was fetched or a Secret written".into(),
            ..Self::default()
        }
    }

    fn of_legacy(code: &str, row: &LegacyRow) -> Self {
        Self {
            reason: code.to_owned().into(),
            api: Some(LEGACY_API),
            meaning: row.meaning.into(),
            signals: row.codes.iter().map(|it| format!("errcode {it}")).collect(),
            holds_back: "none".into(),
            advice: row.advice.into(),
            ..Self::default()
        }
    }
}

/// Returns explanations of all reasons.
pub(super) fn all() -> Vec<Explained> {
    let rows = TABLE.iter().chain([&UNREACHABLE]).map(Explained::of_row);
    let others =
        Reason::iter().filter_map(|reason| Some(Explained::of_reason(reason, reason.advice()?)));
    rows.chain(others).collect()
}

/// Host of the API that returns the codes of `LEGACY`.
const LEGACY_API: &str = "oapi.dingtalk.com";

/// Returns the explanations of an error code, HTTP status, reason or cause. Ignores case for reasons and causes.
///
/// There are several for a number that is, for example, both an error code and an HTTP status.
pub(super) fn find(asked: &str) -> Vec<Explained> {
    let asked = asked.trim();
    let first = |matches: &dyn Fn(&Signal) -> bool| {
        let mut rows = TABLE.iter();
        rows.find(|row| row.signals.iter().any(matches))
    };
    let by_code = first(&|signal| signal.matches_code(asked));
    let status = http_status(asked);
    let by_status = status.and_then(|status| first(&|signal| signal.matches_status(status)));
    let is_new = |row: &&Row| by_code.is_none_or(|known| !std::ptr::eq(known, *row));
    let rows = by_code.into_iter().chain(by_status.filter(is_new));
    let legacy = look_up_legacy(asked).map(|row| Explained::of_legacy(asked, row));
    let numbers: Vec<Explained> = rows.map(Explained::of_row).chain(legacy).collect();
    if !numbers.is_empty() {
        return numbers;
    }
    let causes = Cause::iter().map(Explained::of_cause);
    let all = all().into_iter().chain(causes);
    all.filter(|explained| explained.reason.eq_ignore_ascii_case(asked))
        .collect()
}

/// Returns the HTTP status in a text such as `503` or `HTTP 503`.
fn http_status(asked: &str) -> Option<u16> {
    let number = match asked.split_once(' ') {
        Some((word, number)) if word.eq_ignore_ascii_case("HTTP") => number,
        _ => asked,
    };
    let status = number.trim().parse::<u16>().ok();
    status.filter(|status| (200..600).contains(status))
}

/// Returns all explanations that `explain` can print.
#[cfg(test)]
pub fn everything() -> Vec<Explained> {
    let causes = Cause::iter().map(Explained::of_cause);
    let legacy = LEGACY.iter().flat_map(|row| {
        let codes = row.codes.iter();
        codes.map(|code| Explained::of_legacy(code, row))
    });
    all().into_iter().chain(causes).chain(legacy).collect()
}

const SUGGESTIONS: usize = 5;

/// Returns suggestions for an unknown name: names that begin with it or, if there are none, names that differ
/// in a few letters.
pub(super) fn nearest(asked: &str) -> Vec<&'static str> {
    let asked = asked.trim().to_lowercase();
    // Numbers that differ in a digit are unrelated.
    if asked.len() < 2 || asked.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    let codes = TABLE.iter().flat_map(|row| row.signals);
    let codes = codes.filter_map(|signal| match signal {
        Signal::Code(code) => Some(*code),
        _ => None,
    });
    let reasons = Reason::iter().map(Reason::as_str);
    let causes = Cause::iter().map(Cause::as_str);
    let names: BTreeSet<&str> = codes.chain(reasons).chain(causes).collect();
    let begins = |name: &&str| name.to_lowercase().starts_with(&asked);
    let mut found: Vec<&str> = names.iter().copied().filter(begins).collect();
    if found.is_empty() {
        let distance = |name: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &asked);
        let mut near: Vec<(usize, &str)> = names
            .into_iter()
            .map(|name| (distance(name), name))
            .filter(|(distance, name)| *distance <= name.len() / 3)
            .collect();
        near.sort_unstable();
        found = near.into_iter().map(|(_, name)| name).collect();
    }
    found.truncate(SUGGESTIONS);
    found
}

fn shown(signal: Signal) -> String {
    match signal {
        Signal::Code(code) => code.to_owned(),
        Signal::CodeContains(part) => format!("…{part}…"),
        Signal::LimitNames(family, name) => format!("…{family}…{name}…"),
        Signal::CodePrefix(start) => format!("{start}…"),
        Signal::CodeRange(first, last) => format!("{first} to {last}"),
        Signal::Status(0, _) => "a success without a usable token".to_owned(),
        Signal::Status(first, last) if first == last => format!("HTTP {first}"),
        Signal::Status(first, last) => format!("other HTTP {first} to {last}"),
    }
}

/// Returns a section for each reason, for the documentation.
pub fn reasons_markdown() -> String {
    let mut sections: Vec<(Cow<str>, Vec<Explained>)> = Vec::new();
    for explained in all() {
        match sections.iter_mut().find(|(it, _)| *it == explained.reason) {
            Some((_, section)) => section.push(explained),
            None => sections.push((explained.reason.clone(), vec![explained])),
        }
    }
    let sections = sections.iter().map(|(reason, rows)| {
        let meaning = rows.first().map_or("", |first| &first.meaning);
        let answers = match rows.as_slice() {
            [only] if only.class.is_none() => format!("**What to do:** {}.\n", only.advice),
            rows => answers_markdown(rows),
        };
        format!("## {reason}\n\n{}.\n\n{answers}", sentence(meaning))
    });
    sections.collect::<Vec<_>>().join("\n")
}

/// Returns a table of DingTalk's responses with a reason.
fn answers_markdown(rows: &[Explained]) -> String {
    let mut text = String::from(
        "| DingTalk's response | what to do | next attempt | paused until then |\n|---|---|---|---|\n",
    );
    for row in rows {
        let code = |it: &String| match it.contains(' ') {
            true => it.clone(),
            false => format!("`{it}`"),
        };
        let signals: Vec<String> = row.signals.iter().map(code).collect();
        let signals = match signals.is_empty() {
            true => "none".to_owned(),
            false => signals.join(", "),
        };
        let _ = writeln!(
            text,
            "| {signals} | {} | {} | {} |",
            row.advice, row.pace, row.holds_back
        );
    }
    text
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// Returns the section of the older API's codes, for the documentation.
pub fn legacy_markdown() -> String {
    let mut text = format!(
        "## Codes of the older API\n\nThe operator does not call `{LEGACY_API}`. Programs that do may \
         receive these codes in `errcode` or `sub_code`.\n\n| errcode | meaning | what to do |\n|---|---|---|\n"
    );
    for row in LEGACY {
        let codes: Vec<String> = row.codes.iter().map(|code| format!("`{code}`")).collect();
        let codes = codes.join(", ");
        let _ = writeln!(text, "| {codes} | {} | {} |", row.meaning, row.advice);
    }
    text
}

/// Returns the table of causes, for the documentation.
pub fn causes_markdown() -> String {
    let mut text = String::from("| cause | meaning |\n|---|---|\n");
    for cause in Cause::iter() {
        let _ = writeln!(text, "| `{}` | {} |", cause.as_str(), cause.meaning());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_every_reason_is_explained() {
        for row in TABLE {
            for signal in row.signals {
                if let Signal::Code(code) = signal {
                    assert_eq!(find(code)[0].reason, row.reason.as_str(), "{code}");
                }
            }
        }
        for explained in all() {
            let found = find(&explained.reason);
            assert!(!found.is_empty(), "{}", explained.reason);
            assert!(!explained.meaning.is_empty() && !explained.advice.is_empty());
        }
        assert_eq!(
            find("Forbidden.AccessDenied.QpmLimitForApi")[0].reason,
            "Throttled"
        );
        let suite = &find("Forbidden.AccessDenied.QpsLimitForSuitekeyAndOrgAndApi")[0];
        assert_eq!(
            (&*suite.reason, &*suite.holds_back),
            ("Throttled", "only this corpId with this client_id")
        );
        assert_eq!(find("90010")[0].holds_back, "all tokens of this client_id");
        assert!(find("never.heard.of.it").is_empty());
    }

    #[test]
    fn a_code_that_programs_meet_is_explained_beside_what_it_means_to_the_operator() {
        let found = find("40001");
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].reason, "InvalidCredentials");
        assert_eq!((found[0].api, found[1].api), (None, Some(LEGACY_API)));
        let expired = &find("42001")[0];
        assert!(expired.meaning.contains("expired"), "{expired:?}");
        assert!(expired.advice.contains("read the token"), "{expired:?}");
    }

    /// Regression: HTTP statuses, and names with white space around them, were not known.
    #[test]
    fn http_statuses_are_explained_beside_codes_with_the_same_number() {
        let reasons = |asked: &str| -> Vec<_> {
            let found = find(asked).into_iter();
            found.map(|it| it.reason.into_owned()).collect()
        };
        for (asked, reason) in [
            ("429", "Throttled"),
            ("503", "ServerError"),
            (" HTTP 503\n", "ServerError"),
            ("http 403", "RequestRejected"),
            ("302", "RequestRejected"),
            ("405", "RequestRejected"),
            ("200", "InvalidResponse"),
            ("\tsuspended ", "Suspended"),
            (" 40014", "40014"),
            ("88", "88"),
        ] {
            assert_eq!(reasons(asked), [reason], "{asked}");
        }
        assert_eq!(
            find("405").len(),
            1,
            "the code and the status are in one row"
        );
        let found = find("404");
        assert_eq!(found.len(), 2, "{found:?}");
        assert_ne!(found[0].class, found[1].class);
        for unknown in ["42", "600", "40015", "HTTP", ""] {
            assert!(find(unknown).is_empty(), "{unknown}");
        }
    }

    #[test]
    fn what_is_not_known_has_neighbours_by_prefix_or_by_letters() {
        assert_eq!(nearest("secretc"), ["SecretConflict", "SecretContested"]);
        assert_eq!(nearest(" IpNotAlowed\n"), ["IpNotAllowed"]);
        assert_eq!(nearest("invalid.cleint").first(), Some(&"invalid.client"));
        assert!(nearest("nonsense").is_empty());
        assert!(nearest("40015").is_empty(), "a number is no word");
    }

    #[test]
    fn the_documentation_names_every_signal_and_code() {
        let text = reasons_markdown();
        for signal in TABLE.iter().flat_map(|row| row.signals) {
            assert!(text.contains(&shown(*signal)), "{signal:?}");
        }
        let text = legacy_markdown();
        for code in LEGACY.iter().flat_map(|row| row.codes) {
            assert!(text.contains(&format!("`{code}`")), "{code}");
        }
    }
}

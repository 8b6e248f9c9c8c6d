//! `explain`: explains codes, reasons and causes.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::chinese::Translations;
use super::error::CliError;
use super::exit::verdict;
use super::output::{Output, print_note};
use super::reasons::{Explained, find, nearest};

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// An error code of DingTalk, such as invalid.client, 90002 or 40014, an HTTP status, such as 503, a reason,
    /// such as SecretConflict, or a cause, such as RenewalDue.
    #[arg(allow_hyphen_values = true)]
    code: String,
    /// Language of the explanation.
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Language {
    /// English.
    #[default]
    En,
    /// Chinese.
    Zh,
}

pub(super) const LABELS: [&str; 7] = [
    "means       ",
    "do          ",
    "class       ",
    "next try    ",
    "holds back  ",
    "seen as     ",
    "answer of   ",
];

/// Messages about unknown names. The first follows the name, the last has the suggestions in place of the braces.
pub(super) const UNKNOWN: [&str; 3] = [
    " is not a known code, HTTP status, reason or cause. ",
    "Look it up in DingTalk's list of error codes. For unknown codes, the operator uses the HTTP status of the \
     response; its message contains both.",
    "Did you mean {}?",
];

pub(super) fn explain(arguments: &ExplainArguments) -> Result<ExitCode, CliError> {
    let asked = &arguments.code;
    let texts = match arguments.lang {
        Language::En => Translations::default(),
        Language::Zh => Translations::chinese().map_err(CliError::Translations)?,
    };
    let found = find(asked).into_iter();
    let found: Vec<Explained> = found.map(|it| texts.explained(it)).collect();
    arguments.output.print_items(&found, || {
        let parts: Vec<String> = found.iter().map(|it| shown(it, &texts)).collect();
        parts.join("\n")
    })?;
    if found.is_empty() {
        print_note(&unknown(asked, &nearest(asked), &texts));
    }
    Ok(verdict(!found.is_empty()))
}

fn unknown(asked: &str, nearest: &[&str], texts: &Translations) -> String {
    let [is_unknown, look_up, suggested] = UNKNOWN.map(|text| texts.text(text));
    match nearest.is_empty() {
        true => format!("{asked:?}{is_unknown}{look_up}"),
        false => {
            let suggested = suggested.replace("{}", &nearest.join(", "));
            format!("{asked:?}{is_unknown}{suggested}")
        }
    }
}

fn shown(explained: &Explained, texts: &Translations) -> String {
    let [means, advice, class, pace, holds_back, signals, api] =
        LABELS.map(|label| texts.text(label));
    let mut lines = vec![
        explained.reason.to_string(),
        format!("  {means}{}", explained.meaning),
        format!("  {advice}{}", explained.advice),
    ];
    if let Some(known) = explained.class {
        lines.push(format!("  {class}{}", texts.text(known)));
        lines.push(format!("  {pace}{}", explained.pace));
        lines.push(format!("  {holds_back}{}", explained.holds_back));
    }
    if !explained.signals.is_empty() {
        lines.push(format!("  {signals}{}", explained.signals.join(", ")));
    }
    if let Some(known) = explained.api {
        lines.push(format!("  {api}{known}"));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_shown_in_either_language() {
        let found = find("42001");
        let english = shown(&found[0], &Translations::default());
        assert!(
            english.starts_with("42001\n  means       the access token"),
            "{english}"
        );
        assert!(
            english.ends_with("  answer of   oapi.dingtalk.com\n"),
            "{english}"
        );
        let chinese = Translations::chinese().expect("texts");
        let shown = shown(&chinese.explained(found[0].clone()), &chinese);
        assert!(shown.contains("含义"), "{shown}");
        assert!(shown.contains("access_token 已过期"), "{shown}");
        assert!(!shown.contains("means"), "{shown}");
    }

    #[test]
    fn what_is_not_known_names_its_neighbours_or_where_to_look() {
        let said = |asked, texts: &Translations| unknown(asked, &nearest(asked), texts);
        let english = Translations::default();
        assert_eq!(
            said("Banne", &english),
            "\"Banne\" is not a known code, HTTP status, reason or cause. Did you mean Banned?"
        );
        let far = said("nonsense", &english);
        assert!(far.contains("DingTalk's list of error codes"), "{far}");
        // Regression: it was said in English.
        let chinese = Translations::chinese().expect("texts");
        let near = said("Banne", &chinese);
        assert!(
            near.contains("\" 不是已知的") && near.ends_with(" Banned？"),
            "{near}"
        );
        assert!(!said("nonsense", &chinese).contains("operator uses"));
    }
}

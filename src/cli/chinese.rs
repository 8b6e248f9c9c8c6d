//! Chinese explanations, from the same translations as the documentation.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::reasons::Explained;

const TEXTS: &str = include_str!("../../docs/zh-CN/texts.yaml");

#[derive(Deserialize)]
struct Texts {
    reasons: Vec<Translation>,
    explain: Vec<Translation>,
}

#[derive(Deserialize)]
struct Translation {
    en: String,
    zh: String,
}

/// Translations by their English texts. Without any, all texts are English.
#[derive(Default)]
pub(super) struct Translations(BTreeMap<String, String>);

impl Translations {
    /// Reads the Chinese translations that are built into the program.
    pub(super) fn chinese() -> Result<Self, serde_yaml_ng::Error> {
        let Texts { reasons, explain } = serde_yaml_ng::from_str(TEXTS)?;
        let pairs = reasons.into_iter().chain(explain);
        Ok(Self(pairs.map(|it| (it.en, it.zh)).collect()))
    }

    /// Returns the translation of a text, or the text itself if there is none, as for codes.
    pub(super) fn text<'a>(&'a self, english: &'a str) -> &'a str {
        self.0.get(english).map_or(english, String::as_str)
    }

    /// Translates an explanation, except for its names and class, which programs rely on.
    pub(super) fn explained(&self, english: Explained) -> Explained {
        let text = |text: Cow<'static, str>| Cow::Owned(self.text(&text).to_owned());
        let signals = english.signals.iter();
        Explained {
            meaning: text(english.meaning),
            pace: text(english.pace),
            holds_back: text(english.holds_back),
            advice: text(english.advice),
            signals: signals.map(|it| self.text(it).to_owned()).collect(),
            ..english
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::explain::{LABELS, UNKNOWN};
    use crate::cli::reasons::everything;

    #[test]
    fn every_text_that_explain_prints_has_a_translation() {
        let chinese = Translations::chinese().expect("texts");
        let mut missing: BTreeSet<String> = BTreeSet::new();
        let mut check = |text: &str| {
            if !text.is_empty() && !chinese.0.contains_key(text) {
                missing.insert(text.to_owned());
            }
        };
        for text in LABELS.iter().chain(&UNKNOWN) {
            check(text);
        }
        for explained in everything() {
            check(&explained.meaning);
            check(&explained.advice);
            check(&explained.pace);
            check(&explained.holds_back);
            check(explained.class.unwrap_or_default());
            let words = explained.signals.iter();
            let words = words.filter(|it| it.contains(' ') && !it.starts_with("errcode "));
            for signal in words {
                check(signal);
            }
        }
        assert_eq!(missing, BTreeSet::new());
    }

    #[test]
    fn no_translation_is_left_of_what_explain_no_longer_says() {
        let texts: Texts = serde_yaml_ng::from_str(TEXTS).expect("texts");
        let own = LABELS.iter().chain(&UNKNOWN);
        let mut said: BTreeSet<String> = own.map(|it| (*it).to_owned()).collect();
        for explained in everything() {
            said.extend(explained.class.map(str::to_owned));
            let texts = [
                explained.meaning,
                explained.advice,
                explained.pace,
                explained.holds_back,
            ];
            said.extend(texts.map(Cow::into_owned));
        }
        let unused = texts.explain.iter().map(|it| it.en.as_str());
        let unused: Vec<&str> = unused.filter(|text| !said.contains(*text)).collect();
        assert_eq!(unused, Vec::<&str>::new());
    }
}

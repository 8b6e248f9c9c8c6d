//! Redacts external texts before they reach logs, statuses and events.

use std::cell::LazyCell;
use std::collections::HashSet;

use secrecy::{ExposeSecret, SecretString};

/// Maximum length of a redacted text, in bytes.
const TEXT_MAX: usize = 256;
/// Number of consecutive bytes of a secret that a text must not contain. Shorter parts occur by chance.
const TELLING: usize = 8;
/// Number of consecutive letters and digits that are taken for an unknown token. Tokens of 32 have been
/// observed; the IDs in DingTalk's messages are shorter or contain hyphens.
const OPAQUE: usize = 24;

/// Drops external texts that may contain a secret.
pub struct Redactor<'a> {
    secrets: Vec<&'a str>,
    public: Vec<&'a str>,
}

impl<'a> Redactor<'a> {
    /// Creates a redactor.
    ///
    /// Texts that contain one of `secrets`, in whole, in part or encoded, are dropped. Texts in `public`
    /// are never taken for an unknown token.
    pub fn new(
        secrets: impl IntoIterator<Item = &'a str>,
        public: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            secrets: secrets.into_iter().collect(),
            public: public.into_iter().collect(),
        }
    }

    /// Returns the text as one line of at most 256 bytes; `None` if it may contain a secret or is empty.
    pub fn clean(&self, text: &str) -> Option<String> {
        if self.tells(text) {
            return None;
        }
        let line = visible(text);
        let line = line.trim();
        let mut ends = (1..=TEXT_MAX.min(line.len())).rev();
        ends.find_map(|end| line.get(..end)).map(str::to_owned)
    }

    fn tells(&self, text: &str) -> bool {
        // Invisible characters between the parts of a secret must not hide it.
        let is_seen = |c: &char| !is_invisible(*c) && !c.is_control();
        let folded: String = text.chars().filter(is_seen).collect();
        let folded = folded.to_lowercase();
        let words: String = text
            .chars()
            .filter(|c| is_seen(c) || c.is_whitespace())
            .collect();
        // Collected only if there is a secret to look for: texts may be large.
        let parts = LazyCell::new(|| {
            let parts = folded.as_bytes().windows(TELLING);
            parts.collect::<HashSet<&[u8]>>()
        });
        self.is_given_away(&folded, |part| parts.contains(part)) || self.looks_like_a_token(&words)
    }

    /// Whether `folded`, which must be lower case, contains a secret or a part of one.
    ///
    /// `is_in_text` is asked about each part of each secret, so it must not search the text: both may be
    /// large.
    fn is_given_away(&self, folded: &str, mut is_in_text: impl FnMut(&[u8]) -> bool) -> bool {
        self.secrets
            .iter()
            .flat_map(|secret| encodings(secret))
            .any(|encoded| gives_away(folded, encoded.expose_secret(), &mut is_in_text))
    }

    fn looks_like_a_token(&self, text: &str) -> bool {
        text.split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|run| run.len() >= OPAQUE && run.contains(|c: char| c.is_ascii_digit()))
            .any(|run| !self.public.iter().any(|public| public.contains(run)))
    }
}

/// Returns the text as one line, without invisible characters, which could reverse or hide parts of it.
pub fn visible(text: &str) -> String {
    text.chars()
        .filter(|c| !is_invisible(*c))
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Whether `c` is a format character (Cf), a line or paragraph separator (Zl, Zp), or default-ignorable
/// (variation selectors, tags, fillers).
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether `folded` contains `secret` or [`TELLING`] consecutive bytes of it. Both must be lower case.
fn gives_away(folded: &str, secret: &str, is_in_text: impl FnMut(&[u8]) -> bool) -> bool {
    // A part of a short secret reveals too little to be worth dropping a message.
    match secret.len() < 2 * TELLING {
        true => folded.contains(secret),
        false => secret.as_bytes().windows(TELLING).any(is_in_text),
    }
}

/// Returns the secret and its encodings (Base64, JSON, percent), in lower case. Each is made when it is
/// asked for, because together they may take many times the memory of the secret.
fn encodings(secret: &str) -> impl Iterator<Item = SecretString> {
    let encode: [fn(&str) -> String; 4] = [str::to_lowercase, base64, json, percent];
    encode
        .into_iter()
        .map(move |encode| encode(secret))
        .filter(|text| !text.is_empty())
        .map(SecretString::from)
}

fn base64(secret: &str) -> String {
    let bytes = k8s_openapi::ByteString(secret.as_bytes().to_vec());
    let base64 = serde_json::to_string(&bytes).unwrap_or_default();
    base64.trim_matches(['"', '=']).to_lowercase()
}

fn json(secret: &str) -> String {
    let json = serde_json::to_string(secret).unwrap_or_default();
    json.trim_matches('"').to_lowercase()
}

fn percent(secret: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC);
    percent.to_string().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "aB3/xyz+0123456789LMNOP";

    fn redactor() -> Redactor<'static> {
        Redactor::new([SECRET], ["ding9f50b15bccd16741deadbeef"])
    }

    #[test]
    fn a_text_with_the_secret_in_any_dress_is_dropped_whole() {
        for text in [
            format!("wrong secret {SECRET}!"),
            SECRET.to_uppercase(),
            "starts with 0123456789LM only".to_owned(),
            "aB3%2Fxyz%2B0123456789LMNOP".to_owned(),
            "base64 YUIzL3h5eiswMTIzNDU2Nzg5TE1OT1A=".to_owned(),
        ] {
            assert_eq!(redactor().clean(&text), None, "{text}");
        }
        let quoted = Redactor::new([r#"a"b\c"d"e"#], []);
        assert_eq!(quoted.clean(r#"it was "a\"b\\c\"d\"e""#), None, "JSON");
        let parts = Redactor::new(["a/b+c/d+e/f+g/h+i"], []);
        let percent = "it was a%2Fb%2Bc%2Fd%2Be%2Ff%2Bg%2Fh%2Bi";
        assert_eq!(parts.clean(percent), None, "percent");
    }

    #[test]
    fn a_token_that_we_do_not_know_is_dropped_by_its_looks() {
        assert_eq!(
            redactor().clean("old token q7w8e9r0t1y2u3i4o5p6a7s8d9f0g1h2"),
            None
        );
        assert!(
            redactor()
                .clean("corp ding9f50b15bccd16741deadbeef unknown")
                .is_some()
        );
        assert!(
            redactor()
                .clean("id 4F2A9C1E-77B0-7F4D-9A11-C0FFEE77ABCD")
                .is_some()
        );
    }

    #[test]
    fn the_rest_is_one_line_of_at_most_256_bytes() {
        assert_eq!(redactor().clean("a\nb\u{7}c").as_deref(), Some("a b c"));
        let long = redactor().clean(&"\u{4e2d}".repeat(200)).expect("shown");
        assert_eq!(long.len(), 255);
        assert_eq!(redactor().clean("  "), None);
    }

    const UNSEEN: [char; 16] = [
        '\u{ad}',
        '\u{61c}',
        '\u{180e}',
        '\u{200b}',
        '\u{200d}',
        '\u{200e}',
        '\u{2028}',
        '\u{2029}',
        '\u{202e}',
        '\u{2060}',
        '\u{2066}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{fffb}',
        '\u{e0041}',
        '\u{e0100}',
    ];

    #[test]
    fn what_nobody_sees_is_not_shown() {
        for unseen in UNSEEN {
            let text = format!("{unseen}in{unseen}valid client{unseen}");
            let shown = redactor().clean(&text);
            assert_eq!(shown.as_deref(), Some("invalid client"), "{unseen:?}");
            assert_eq!(redactor().clean(&unseen.to_string()), None);
        }
    }

    #[test]
    fn what_nobody_sees_hides_no_secret() {
        let split = |text: &str, unseen: char| -> String {
            text.chars().flat_map(|c| [c, unseen]).collect()
        };
        for unseen in UNSEEN
            .into_iter()
            .chain(['\u{0}', '\u{7}', '\u{1b}', '\u{7f}', '\u{9b}'])
        {
            let text = format!("wrong: {}", split(SECRET, unseen));
            assert_eq!(redactor().clean(&text), None, "{unseen:?}");
            let unknown = split("0123456789abcdef0123456789abcdef", unseen);
            assert_eq!(redactor().clean(&unknown), None, "{unseen:?}");
        }
        assert_eq!(redactor().clean(&split(SECRET, '\n')), None);
    }

    /// Regression: each part of a secret was compared with each position of the text, which took seconds
    /// where a template had made the secret large.
    #[test]
    fn a_large_secret_costs_as_much_as_secret_and_text_together() {
        let secret = "0123456-".repeat(1 << 17) + "the-end!";
        let redactor = Redactor::new([secret.as_str()], []);
        let text = "refused ".repeat(38);
        let mut asked = 0;
        let is_in_text = |_: &[u8]| {
            asked += 1;
            false
        };
        assert!(!redactor.is_given_away(&text, is_in_text));
        let linear = secret.len() + text.len();
        assert!((secret.len()..10 * linear).contains(&asked), "{asked}");
        assert!(redactor.clean(&text).is_some());
        assert_eq!(redactor.clean(&format!("{text}the-end!")), None);
    }

    #[test]
    fn a_short_secret_is_compared_whole() {
        let redactor = Redactor::new(["pw"], []);
        assert_eq!(redactor.clean("the pw is wrong"), None);
        assert!(redactor.clean("invalid client").is_some());
        let part_of = |secret: &str| Redactor::new([secret], []).clean("it has 12345678");
        assert!(part_of("12345678abcdefg").is_some(), "of 15 bytes");
        assert_eq!(part_of("12345678abcdefgh"), None, "of 16 bytes");
    }
}

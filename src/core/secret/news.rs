//! How what is written differs from what a Secret held.

use jiff::Timestamp;

use crate::core::secret::listed::listed;
use crate::core::secret::recorded::Recorded;
use crate::core::token::record::TokenRecord;

/// Most corps that a log line names.
const CORPS_NAMED_MAX: usize = 10;

/// What a write changes in a Secret, for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// When the first of the tokens that it held expires.
    pub former_expires_at: Option<Timestamp>,
    /// How many tokens have a value that it did not hold.
    pub new_tokens: usize,
    /// Their corps; `None` if there are none.
    pub new_corp_ids: Option<String>,
}

impl News {
    /// Compares what is written with what the Secret is known to hold. `has_new_value` tells whether
    /// the value of a token changed with its record.
    pub(crate) fn of(
        written: &Recorded,
        former: Option<&Recorded>,
        has_new_value: impl Fn(&TokenRecord, &TokenRecord) -> bool,
    ) -> Self {
        let is_new = |token: &&TokenRecord| {
            let old = former.and_then(|former| former.token(&token.corp_id));
            let old = old.filter(|old| old.site == token.site);
            old.is_none_or(|old| !old.is_same_token(token) && has_new_value(old, token))
        };
        let new: Vec<&TokenRecord> = written.tokens.iter().filter(is_new).collect();
        let corp_ids = new.iter().map(|token| token.corp_id.as_str());
        Self {
            former_expires_at: former.and_then(Recorded::expires_at),
            new_tokens: new.len(),
            new_corp_ids: (!new.is_empty()).then(|| listed(corp_ids, CORPS_NAMED_MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::secret::state::example;

    #[test]
    fn what_is_new_is_counted_and_the_first_are_named() {
        let template = example();
        let of = |corps: usize, requested: i64| {
            let mut recorded = template.clone();
            let token = recorded.tokens.remove(0);
            recorded.tokens = (10..10 + corps)
                .map(|number| {
                    let mut token = token.clone();
                    token.corp_id = format!("ding{number}");
                    token.lifetime.requested_at += jiff::SignedDuration::from_secs(requested);
                    token
                })
                .collect();
            recorded
        };
        let first = News::of(&of(12, 0), None, |_, _| false);
        assert_eq!((first.new_tokens, first.former_expires_at), (12, None));
        let named = first.new_corp_ids.expect("some");
        assert!(named.starts_with("ding10, ding11, "), "{named}");
        assert!(named.ends_with("ding19 and 2 more"), "{named}");
        let (former, renewed) = (of(2, 0), of(2, 60));
        let news = |is_changed| News::of(&renewed, Some(&former), |_, _| is_changed);
        assert_eq!(news(true).new_corp_ids.as_deref(), Some("ding10, ding11"));
        assert_eq!(
            (news(false).new_tokens, news(false).new_corp_ids),
            (0, None)
        );
        assert_eq!(news(false).former_expires_at, former.expires_at());
        let same = News::of(&former, Some(&former), |_, _| true);
        assert_eq!(same.new_tokens, 0);
        let mut of_site = former.clone();
        for token in &mut of_site.tokens {
            token.site = "another".to_owned();
        }
        let moved = News::of(&of_site, Some(&former), |_, _| false);
        assert_eq!(moved.new_tokens, 2);
    }
}

//! Takes over a token that was fetched, or found, since the last look.

use jiff::SignedDuration;

use crate::core::app::decision::Decision;
use crate::core::app::view::Target;
use crate::core::secret::data::Data;
use crate::core::secret::recorded::Recorded;
use crate::core::token::attempt::Former;
use crate::core::token::record::{Held, TokenRecord};
use crate::dingtalk::AccessToken;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

impl Decision<'_, '_> {
    /// Takes over a corp's newest token if it is not shown yet. Returns whether the value in the
    /// Secret must be read first, to know whether it is another one.
    pub(super) fn take_newer(&mut self, target: &Target<'_>, corp_id: &str) -> bool {
        let (view, now) = (self.view, self.now);
        let in_secret = target.token(view, corp_id);
        let corp = self.memory.corp(corp_id);
        let newer = corp.newer(
            &self.memory.uid,
            self.known(),
            in_secret,
            view.app.spec.suspend,
            view.tokens,
            now,
        );
        let Some(newer) = newer else { return false };
        let recorded = target.recorded.as_ref();
        let is_unread = corp.held.is_none() && in_secret.is_some();
        // During shutdown there is no time to read: what is not written is lost.
        if is_unread && !view.is_ending && recorded.is_some_and(Recorded::is_whole) {
            return true;
        }
        let record = recorded
            .and_then(|recorded| recorded.token(corp_id))
            .filter(|record| corp.believes(record, now));
        let former = Former {
            record,
            has_same_value: has_value(recorded, record, &newer.held.token),
        };
        let restarted_for = self.memory.restarts.restarted_for;
        let corp = self.memory.corp_mut(corp_id);
        let before = corp.value_changed_at;
        let is_new = corp.take(newer, former, now);
        // Another corp's token may have been requested at the same time or later, and workloads
        // restarted for it.
        if let Some(changed_at) = corp.value_changed_at.filter(|at| before != Some(*at))
            && let Some(restarted_for) = restarted_for.filter(|at| *at <= now)
        {
            corp.value_changed_at = Some(changed_at.max(restarted_for + SECOND));
        }
        self.memory.happened.value_changed |= is_new;
        false
    }
}

/// Whether the recorded token has this value, judged by the Secret's digest.
pub(in crate::core) fn has_value(
    recorded: Option<&Recorded>,
    record: Option<&TokenRecord>,
    token: &AccessToken,
) -> bool {
    let (Some(recorded), Some(record)) = (recorded, record) else {
        return false;
    };
    let held = Held {
        token: token.clone(),
        record: record.clone(),
    };
    let data = Data::as_recorded(recorded, &held);
    data.is_some_and(|data| Some(data.digest()) == recorded.digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::secret::recorded::written_keys;
    use crate::core::secret::shape::Shape;
    use crate::core::secret::state::example;

    #[test]
    fn the_digest_of_a_secret_tells_whether_it_holds_a_tokens_value() {
        let record = example().tokens.remove(0);
        let token = |value: &str| AccessToken::new(value.to_owned()).expect("a token");
        let held = Held {
            token: token("t1"),
            record: record.clone(),
        };
        let keys = written_keys(Shape::One, std::iter::empty());
        let recorded = Recorded::of(keys, vec![record.clone()]).expect("a shape");
        let recorded = Recorded {
            digest: Some(Data::of(Shape::One, [&held]).digest()),
            ..recorded
        };
        let has = |value: &str| has_value(Some(&recorded), Some(&record), &token(value));
        assert!(has("t1"));
        assert!(!has("t2"));
        assert!(!has_value(None, Some(&record), &held.token));
        assert!(!has_value(Some(&recorded), None, &held.token));
    }
}

//! Tokens that outlive the apps that wanted them.

use super::*;
use crate::core::token::tokens::kept::KEPT_MAX;

/// Returns what an app shows that comes at this time.
fn shown(second: i64, tokens: &mut Tokens) -> Option<String> {
    let mut app = App::new("one", tokens);
    app.look(false, tokens, at(second)).map(str::to_owned)
}

#[test]
fn what_is_fetched_for_an_app_that_has_gone_is_kept_until_it_expires() {
    for (second, value) in [(7199, Some("t1")), (7200, None)] {
        let (mut tokens, mut one, mut two) = two();
        let pending = one.begin(&mut tokens).expect("due");
        one.leaves(&mut tokens);
        two.leaves(&mut tokens);
        succeed(&pending, "t1", 0, &mut tokens);
        assert_eq!(shown(second, &mut tokens).as_deref(), value);
    }
}

#[test]
fn what_an_app_has_not_written_or_not_taken_over_when_it_goes_is_kept() {
    for (is_taken, is_written) in [(false, false), (true, false), (true, true)] {
        let (mut tokens, mut one, _) = two();
        let pending = one.begin(&mut tokens).expect("due");
        succeed(&pending, "t1", 0, &mut tokens);
        if is_taken {
            one.look(false, &tokens, at(0));
        }
        one.corp.unwritten_since.take_if(|_| is_written);
        one.leaves(&mut tokens);
        tokens.leave(pending.token, &AppRef::new("two"));
        let value = shown(1, &mut tokens);
        assert_eq!(value.is_none(), is_written, "{is_taken} {is_written}");
    }
}

/// Apps that come and go leave no more than that many tokens behind, the last to expire.
#[test]
fn the_tokens_that_are_kept_have_a_bound_and_go_when_they_have_expired() {
    let mut tokens = Tokens::default();
    let mut fetch = |client_id: String, second: i64| {
        let name = TokenName {
            site: "global".into(),
            client_id,
            corp_id: "ding1".into(),
            fingerprint: Fingerprint::default(),
        };
        let (key, mut corp) = (AppRef::new("one"), Corp::default());
        corp.want(Some(name), &key, Interest::Active, &mut tokens);
        let mut app = App { name: "one", corp };
        let pending = app.begin(&mut tokens).expect("due");
        succeed(&pending, "t1", second, &mut tokens);
        app.leaves(&mut tokens);
        (tokens.all.len(), tokens.ids.len(), tokens.kept.len())
    };
    for round in 0..3000 {
        let kept = usize::try_from(round + 1).expect("few").min(KEPT_MAX);
        assert_eq!(fetch(format!("client{round}"), round), (kept, kept, kept));
    }
    assert_eq!(fetch("last".to_owned(), 20_000), (1, 1, 1));
}

//! One token, and the apps that want it.

mod failing;
mod kept;
mod others;

use std::time::Duration;

use super::*;
use crate::api::{Cause, CredentialsSecretRef};
use crate::core::{Corp, Former, KnownCredentials, TokenRecord};
use crate::dingtalk::{AccessToken, Failure, UNREACHABLE};

const START: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).expect("a time")
}

fn known() -> KnownCredentials {
    KnownCredentials {
        reference: CredentialsSecretRef {
            name: "credentials".into(),
            client_id_key: "client_id".into(),
            client_secret_key: "client_secret".into(),
        },
        client_id: "a".into(),
        version: ObjectVersion::default(),
        fingerprint: Fingerprint::default(),
    }
}

/// An app, and what it shows.
struct App {
    name: &'static str,
    corp: Corp,
}

impl App {
    fn new(name: &'static str, tokens: &mut Tokens) -> Self {
        let mut app = Self {
            name,
            corp: Corp::default(),
        };
        app.wants(Interest::Active, tokens);
        app
    }

    fn wants(&mut self, interest: Interest, tokens: &mut Tokens) {
        let name = TokenName {
            site: "global".into(),
            client_id: "a".into(),
            corp_id: "ding1".into(),
            fingerprint: Fingerprint::default(),
        };
        let key = AppRef::new(self.name);
        self.corp.want(Some(name), &key, interest, tokens);
    }

    fn leaves(&mut self, tokens: &mut Tokens) {
        self.corp.leave(&AppRef::new(self.name), tokens);
    }

    fn begin(&self, tokens: &mut Tokens) -> Option<PendingFetch> {
        self.begin_in("hr", tokens)
    }

    fn begin_in(&self, namespace: &str, tokens: &mut Tokens) -> Option<PendingFetch> {
        let token = self.corp.token().expect("wanted");
        let ended = self.corp.attempts(tokens).ended();
        tokens.begin(token, ended, namespace, |id| self.pending(id))
    }

    fn pending(&self, id: FetchId) -> PendingFetch {
        PendingFetch {
            id,
            token: self.corp.token().expect("wanted"),
            app: format!("hr/{}", self.name).into(),
            uid: self.name.to_owned(),
            credentials: ObjectVersion::default(),
            reference: known().reference,
            why: Cause::FirstToken.into(),
            generation: None,
            renew_before: None,
            former: None,
            since: at(0),
        }
    }

    /// Takes over a newer token, and returns the value that is shown.
    fn look(&mut self, is_suspended: bool, tokens: &Tokens, now: Timestamp) -> Option<&str> {
        self.look_beside(None, is_suspended, tokens, now)
    }

    fn look_beside(
        &mut self,
        in_secret: Option<&TokenRecord>,
        is_suspended: bool,
        tokens: &Tokens,
        now: Timestamp,
    ) -> Option<&str> {
        let known = known();
        let newer = self.corp.newer(
            self.name,
            Some(&known),
            in_secret,
            is_suspended,
            tokens,
            now,
        );
        if let Some(newer) = newer {
            let former = Former {
                record: in_secret,
                has_same_value: false,
            };
            self.corp.take(newer, former, now);
        }
        self.corp.held.as_ref().map(|held| held.token.expose())
    }

    fn next(&mut self, tokens: &Tokens, now: Timestamp) -> Option<Timestamp> {
        let lifetime = self.corp.held.as_ref().map(|held| held.record.lifetime);
        self.corp.next_fetch(self.name, lifetime, None, tokens, now)
    }
}

fn response(value: &str, life: u64) -> TokenResponse {
    TokenResponse {
        token: AccessToken::new(value.to_owned()).expect("a token"),
        expires_in: Duration::from_secs(life),
    }
}

fn succeed(pending: &PendingFetch, value: &str, second: i64, tokens: &mut Tokens) -> Vec<String> {
    let subscribers = tokens.succeeded(pending, response(value, 7200), at(second), at(second));
    let mut names: Vec<String> = subscribers.into_iter().map(|app| app.name).collect();
    names.sort();
    names
}

fn fail(pending: &PendingFetch, second: i64, tokens: &mut Tokens) {
    let attempt = FailedAttempt {
        failure: Failure::of(&UNREACHABLE),
        life_left: None,
        is_site_down: false,
        random: 0.5,
    };
    tokens.failed(pending, attempt, at(second));
}

fn two() -> (Tokens, App, App) {
    let mut tokens = Tokens::default();
    let one = App::new("one", &mut tokens);
    let two = App::new("two", &mut tokens);
    (tokens, one, two)
}

#[test]
fn what_one_app_fetches_all_have_and_nobody_fetches_beside_it() {
    let (mut tokens, mut one, mut two) = two();
    let pending = one.begin(&mut tokens).expect("due");
    assert!(two.begin(&mut tokens).is_none(), "it is under way");
    assert_eq!(succeed(&pending, "t1", 0, &mut tokens), ["one", "two"]);
    assert_eq!(one.look(false, &tokens, at(0)), Some("t1"));
    assert_eq!(two.look(false, &tokens, at(0)), Some("t1"));
    assert_eq!(one.corp.why, Some(Cause::FirstToken.into()));
    assert_eq!(two.corp.why, Some(Why::shared_by("hr/one")));
    // An app that comes later finds the token.
    let mut three = App::new("three", &mut tokens);
    assert_eq!(three.look(false, &tokens, at(10)), Some("t1"));
    assert_eq!(three.look(false, &tokens, at(7200)), Some("t1"));
    let mut four = App::new("four", &mut tokens);
    assert_eq!(four.look(false, &tokens, at(7200)), None, "it has expired");
}

#[test]
fn a_failure_is_everybodys_and_so_is_the_wait_after_it() {
    let (mut tokens, mut one, mut two) = two();
    let pending = one.begin(&mut tokens).expect("due");
    fail(&pending, 0, &mut tokens);
    let retry_at = one.next(&tokens, at(0)).expect("it waits");
    assert!(retry_at > at(0));
    assert_eq!(two.next(&tokens, at(0)), Some(retry_at));
    assert!(two.corp.attempts(&tokens).failing().is_some());
}

/// Regression: two apps that shared a token with a short lifetime called in turn, up to the
/// client's rate.
#[test]
fn the_floor_between_two_fetches_is_the_tokens() {
    let (mut tokens, mut one, mut two) = two();
    let pending = one.begin(&mut tokens).expect("due");
    tokens.succeeded(&pending, response("t1", 1), at(0), at(0));
    for app in [&mut one, &mut two] {
        app.look(false, &tokens, at(0));
        assert_eq!(app.next(&tokens, at(0)), Some(at(5)));
    }
}

/// Regression: an app that came and went, or the corp in its spec, had its token fetched each time.
#[test]
fn a_token_that_is_forgotten_and_wanted_again_keeps_its_pace() {
    let (mut tokens, mut one, mut two) = two();
    two.leaves(&mut tokens);
    let pending = one.begin(&mut tokens).expect("due");
    fail(&pending, 0, &mut tokens);
    one.leaves(&mut tokens);
    two.wants(Interest::Active, &mut tokens);
    assert_eq!(two.corp.attempts(&tokens).floor(), Some(at(5)));
    let pending = two.begin(&mut tokens).expect("due");
    fail(&pending, 5, &mut tokens);
    two.leaves(&mut tokens);
    one.wants(Interest::Active, &mut tokens);
    assert_eq!(one.corp.attempts(&tokens).floor(), Some(at(10)));
    let token = one.corp.token().expect("wanted");
    let other = TokenName {
        corp_id: "ding2".into(),
        ..tokens.get(token).expect("wanted").name().clone()
    };
    let key = AppRef::new("one");
    let token = tokens.join(other, &key, Interest::Active, None);
    let pending = |id| PendingFetch {
        token,
        ..one.pending(id)
    };
    let pending = tokens.begin(token, FetchId::default(), "hr", pending);
    one.leaves(&mut tokens);
    assert_eq!(tokens.forgotten.len(), 1);
    succeed(&pending.expect("due"), "t2", 10, &mut tokens);
    assert!(tokens.forgotten.is_empty(), "only the latest are kept");
}

#[test]
fn a_suspended_app_is_left_alone_but_for_what_it_had_asked_for() {
    let (mut tokens, mut one, mut two) = two();
    two.wants(Interest::Suspended, &mut tokens);
    let pending = one.begin(&mut tokens).expect("due");
    succeed(&pending, "t1", 0, &mut tokens);
    assert_eq!(two.look(true, &tokens, at(0)), None);
    two.wants(Interest::Active, &mut tokens);
    assert_eq!(two.look(false, &tokens, at(1)), Some("t1"));
    // The fetch may have revoked the token that is shown.
    let pending = two.begin(&mut tokens).expect("due");
    two.wants(Interest::Suspended, &mut tokens);
    assert!(tokens.wants(&pending), "the other app wants it");
    succeed(&pending, "t2", 100, &mut tokens);
    assert_eq!(two.look(true, &tokens, at(100)), Some("t2"));
    assert_eq!(one.look(false, &tokens, at(100)), Some("t2"));
}

#[test]
fn a_queued_fetch_that_no_app_wants_any_more_is_not_made() {
    let (mut tokens, mut one, mut two) = two();
    let pending = one.begin(&mut tokens).expect("due");
    one.leaves(&mut tokens);
    assert!(tokens.wants(&pending));
    two.wants(Interest::Suspended, &mut tokens);
    assert!(!tokens.wants(&pending));
    assert_eq!(tokens.dropped(&pending, "hr"), [AppRef::new("two")]);
    assert!(two.begin(&mut tokens).is_some(), "none is under way");
}

/// A corp that is removed and added again during its fetch gets no second one.
#[test]
fn a_token_lives_until_its_fetch_has_ended() {
    let (mut tokens, mut one, mut two) = two();
    let pending = one.begin(&mut tokens).expect("due");
    one.leaves(&mut tokens);
    two.leaves(&mut tokens);
    let mut again = App::new("one", &mut tokens);
    assert!(again.begin(&mut tokens).is_none());
    assert_eq!(succeed(&pending, "t1", 0, &mut tokens), ["one"]);
    assert_eq!(again.look(false, &tokens, at(0)), Some("t1"));
    let id = again.corp.token().expect("wanted");
    again.corp.unwritten_since = None;
    again.leaves(&mut tokens);
    assert!(tokens.get(id).is_none());
    assert!(tokens.ids.is_empty());
}

#[test]
fn what_was_decided_before_a_fetch_ended_is_not_acted_upon() {
    let (mut tokens, one, two) = two();
    let pending = one.begin(&mut tokens).expect("due");
    let token = two.corp.token().expect("wanted");
    let ended = two.corp.attempts(&tokens).ended();
    succeed(&pending, "t1", 0, &mut tokens);
    let late = tokens.begin(token, ended, "hr", |_| unreachable!("it is not queued"));
    assert!(late.is_none());
}

#[test]
fn a_request_for_renewal_is_answered_by_whichever_fetch_was_queued_after_it() {
    let (mut tokens, mut one, mut two) = two();
    let early = one.begin(&mut tokens).expect("due");
    two.corp.follow_request(Some("now"), &tokens);
    succeed(&early, "t1", 0, &mut tokens);
    two.corp.follow_request(Some("now"), &tokens);
    assert_eq!(two.corp.request_done, None, "it was queued before");
    let later = one.begin(&mut tokens).expect("due");
    fail(&later, 10, &mut tokens);
    two.corp.follow_request(Some("now"), &tokens);
    assert_eq!(two.corp.request_done.as_deref(), Some("now"));
    one.look(false, &tokens, at(10));
    let answers = one.corp.held.expect("t1").record.answers;
    assert_eq!(answers, None, "it asked for nothing");
}

/// Regression: after a restart of the operator, workloads were not restarted for a token that
/// another app had fetched.
#[test]
fn another_value_than_that_of_the_secret_is_a_change() {
    let (mut tokens, one, mut two) = two();
    let in_secret = TokenRecord {
        site: "global".into(),
        client_id: "a".into(),
        corp_id: "ding1".into(),
        lifetime: lifetime(at(-100), Duration::from_secs(7200)),
        credentials: ObjectVersion::default(),
        answers: None,
    };
    let pending = one.begin(&mut tokens).expect("due");
    succeed(&pending, "t1", 0, &mut tokens);
    let shown = two.look_beside(Some(&in_secret), false, &tokens, at(0));
    assert_eq!(shown, Some("t1"));
    assert_eq!(two.corp.value_changed_at, Some(at(0)));
    // A token that was fetched earlier is older than the one in a new app's Secret.
    let newer = TokenRecord {
        lifetime: lifetime(at(1), Duration::from_secs(7200)),
        ..in_secret
    };
    let mut three = App::new("three", &mut tokens);
    let shown = three.look_beside(Some(&newer), false, &tokens, at(1));
    assert_eq!(shown, None);
}

/// A namespace that shares a token with a busy one does not wait in that one's turn.
#[test]
fn each_namespace_has_a_turn_of_its_own_for_one_and_the_same_fetch() {
    let (mut tokens, mut one, mut two) = two();
    let slow = one.begin_in("hr", &mut tokens).expect("due");
    let fast = two.begin_in("payroll", &mut tokens).expect("due");
    assert_eq!(slow.id, fast.id);
    assert!(two.begin_in("payroll", &mut tokens).is_none());
    assert_eq!(succeed(&fast, "t1", 0, &mut tokens), ["one", "two"]);
    assert_eq!(two.corp.attempts(&tokens).ended(), fast.id);
    assert!(!tokens.wants(&slow), "it is not made once more");
    assert_eq!(one.look(false, &tokens, at(0)), Some("t1"));
    assert_eq!(two.look(false, &tokens, at(0)), Some("t1"));
    // Even if it were, it would count once.
    fail(&slow, 1, &mut tokens);
    assert!(one.corp.attempts(&tokens).failing().is_none());
}

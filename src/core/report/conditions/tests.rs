use super::*;
use crate::api::{CorpError, GrantedNamespace};
use crate::core::app::memory::Memory;
use crate::core::app::view::Settled;
use crate::core::token::tokens::Tokens;

fn problem(reason: Reason, message: &str) -> Problem {
    Problem {
        reason,
        message: message.to_owned(),
        error: CorpError::default(),
        needs_a_person: false,
    }
}

#[test]
fn the_secret_is_shown_for_every_layout() {
    let shown = |layout: &str| {
        let app = serde_json::from_value(serde_json::json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": "payroll"},
            "spec": {
                "credentialsSecretRef": {"name": "credentials"}, "site": "global",
                "corpIds": ["ding1"], "target": {"layout": layout},
            },
        }));
        secret_shown(&app.expect("an app"))
    };
    assert_eq!(shown("Single"), "payroll-token");
    assert_eq!(shown("Combined"), "payroll-token");
    assert_eq!(shown("PerCorp"), "payroll-token-*");
}

#[test]
fn a_reason_is_named_only_where_it_is_that_of_all() {
    let (throttled, banned) = (
        problem(Reason::Throttled, "t"),
        problem(Reason::Banned, "b"),
    );
    let alike = [("ding1", throttled.clone()), ("ding2", throttled.clone())];
    assert_eq!(summary(&alike, 3).0, Reason::Throttled);
    let mixed = [
        ("ding1", throttled.clone()),
        ("ding2", throttled),
        ("ding3", banned),
    ];
    let (reason, message) = summary(&mixed, 3);
    assert_eq!(reason, Reason::CorpsFailing);
    assert!(
        message.starts_with("3 of 3 corpIds fail: t | t | b"),
        "{message}"
    );
}

#[test]
fn the_first_three_problems_are_named_and_the_others_counted() {
    let said = |count: usize| {
        let problems = ["p1", "p2", "p3", "p4", "p5"].map(|it| (it, problem(Reason::Banned, it)));
        summary(&problems[..count], 9).1
    };
    assert_eq!(said(2), "2 of 9 corpIds fail: p1 | p2");
    assert_eq!(said(3), "3 of 9 corpIds fail: p1 | p2 | p3");
    assert_eq!(
        said(5),
        "5 of 9 corpIds fail: p1 | p2 | p3 | and 2 more, see status.corps"
    );
}

/// The outcomes of several corps at the same time are one write, and soon.
#[test]
fn the_outcomes_of_one_burst_are_written_together() {
    let status = |corps: &[&str], renewed: &str| -> DingTalkAppStatus {
        let corps = corps.iter().map(|error| {
            let error = match *error {
                "" => serde_json::Value::Null,
                reason => serde_json::json!({"reason": reason, "sinceTime": ""}),
            };
            serde_json::json!({"corpId": "ding1", "secretName": "token", "error": error})
        });
        let condition = serde_json::json!({"type": "Renewed", "status": renewed, "reason": "R",
            "message": "", "lastTransitionTime": "2026-11-24T00:00:00Z"});
        let status =
            serde_json::json!({"corps": corps.collect::<Vec<_>>(), "conditions": [condition]});
        serde_json::from_value(status).expect("a status")
    };
    let at = |second| Timestamp::from_second(second).expect("a time");
    let news = |is_fetching| StatusNews {
        written_at: Some(at(0)),
        since: at(100),
        is_fetching,
    };
    let before = status(&["", "", ""], "True");
    let first = status(&["ServerError", "", ""], "False");
    let write =
        |current, is_fetching, now| write_status_at(&before, current, news(is_fetching), at(now));
    assert_eq!(write(&first, true, 100), Some(at(103)), "two may follow");
    assert_eq!(write(&first, true, 103), None);
    assert_eq!(write(&first, false, 101), None, "none will");
    let only = status(&["ServerError"], "False");
    assert_eq!(write(&only, true, 100), None);
    let news_of_a_clock_ahead = StatusNews {
        written_at: Some(at(3600)),
        since: at(100),
        is_fetching: false,
    };
    let write_at = write_status_at(&before, &first, news_of_a_clock_ahead, at(100));
    assert_eq!(write_at, None, "the clock was set back since");
    // What somebody waits for is not held back.
    let still = status(&["ServerError", "", ""], "True");
    assert_eq!(write(&still, false, 5), Some(at(10)));
    let changes: [fn(&mut DingTalkAppStatus); 3] = [
        |status| status.observed_generation = Some(2),
        |status| status.last_handled_renew_request = Some("now".to_owned()),
        |status| {
            status.granted_namespaces = vec![GrantedNamespace {
                namespace: "web".to_owned(),
                uid: "n1".to_owned(),
            }];
        },
    ];
    for change in changes {
        let mut current = still.clone();
        change(&mut current);
        let write_at = write_status_at(&before, &current, news(false), at(5));
        assert_eq!(write_at, None);
    }
}

#[test]
fn the_next_attempt_and_words_of_an_unchanged_failure_are_written_once_a_minute() {
    let status = |reason: &str, http_status: Option<i32>, message: &str, next: &str| {
        let error = serde_json::json!({"reason": reason, "sinceTime": "", "httpStatus": http_status,
            "message": message, "requestId": message});
        let status = serde_json::json!({"conditions": [], "corps": [{"corpId": "ding1",
            "secretName": "token", "nextAttemptTime": next, "error": error}]});
        serde_json::from_value::<DingTalkAppStatus>(status).expect("a status")
    };
    let at = |second| Timestamp::from_second(second).expect("a time");
    let news = StatusNews {
        written_at: Some(at(0)),
        since: at(10),
        is_fetching: false,
    };
    let write = |one: &DingTalkAppStatus, other: &DingTalkAppStatus| {
        let later = write_status_at(one, other, news, at(10));
        assert!(later.is_none_or(|later| later == at(60)));
        later.is_none()
    };
    let answered = |message, next| status("ServerError", Some(500), message, next);
    assert!(!write(&answered("a", "1"), &answered("b", "2")));
    let unreachable = |message, next| status("EndpointUnreachable", None, message, next);
    assert!(!write(&unreachable("a", "1"), &unreachable("b", "2")));
    // Its own words are news.
    let own = |message, next| status("SecretWriteFailed", None, message, next);
    assert!(write(&own("a", "1"), &own("b", "1")));
    assert!(!write(&own("a", "1"), &own("a", "2")));
    assert!(write(&answered("a", "1"), &unreachable("a", "1")));
    assert!(write(&DingTalkAppStatus::default(), &answered("a", "1")));
}

/// Returns the status at the second 100 of an app whose corps are as given, with a spec changed by
/// `change`.
fn status_at_100(corps: Vec<CorpSettled>, change: fn(&mut DingTalkApp)) -> DingTalkAppStatus {
    let corp_ids: Vec<String> = (1..=corps.len()).map(|n| format!("ding{n}")).collect();
    let app = serde_json::from_value(serde_json::json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
        "metadata": {"name": "payroll"},
        "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": corp_ids},
    }));
    let mut app: DingTalkApp = app.expect("an app");
    change(&mut app);
    let settled = Settled {
        corps,
        ..Settled::default()
    };
    let now = Timestamp::from_second(100).expect("a time");
    let at_rest = AtRest {
        app: &app,
        settled: &settled,
        memory: &Memory::new(&app, now),
        tokens: &Tokens::default(),
        previous: &DingTalkAppStatus::default(),
        now,
    };
    at_rest.status()
}

/// Returns a corp whose token expires at this second, if it has one.
fn corp(expires_at: Option<i64>) -> CorpSettled {
    let at = |second| Timestamp::from_second(second).expect("a time");
    CorpSettled {
        secret: "token".to_owned(),
        in_secret: expires_at.map(|expires_at| Lifetime {
            requested_at: at(0),
            expires_at: at(expires_at),
        }),
        ..CorpSettled::default()
    }
}

/// Returns status, reason and message of the condition at this index, with the message's link cut off.
fn told(status: &DingTalkAppStatus, index: usize) -> (&str, &str, &str) {
    let condition = &status.conditions[index];
    let message = condition.message.split("; see http").next();
    let message = message.unwrap_or_default();
    (&condition.status, &condition.reason, message)
}

#[test]
fn a_token_counts_as_valid_until_the_second_in_which_it_expires() {
    let ready = |corps: &[i64]| {
        let corps = corps.iter().map(|expires_at| corp(Some(*expires_at)));
        let status = status_at_100(corps.collect(), |_| {});
        let (is_ready, reason, message) = told(&status, 0);
        let ready = format!("{is_ready} {reason}: {message}");
        (status.tokens.unwrap_or_default(), ready)
    };
    let is = |tokens: &str, ready: &str| (tokens.to_owned(), ready.to_owned());
    let valid =
        "True TokensValid: Secret token holds a token that is valid until 1970-01-01T00:01:41Z";
    assert_eq!(ready(&[101]), is("1/1", valid));
    let expired = "False TokenExpired: the token in Secret token expired at 1970-01-01T00:01:40Z";
    assert_eq!(ready(&[100]), is("0/1", expired));
    let valid =
        "True TokensValid: all 2 corpIds have a valid token, the first until 1970-01-01T00:01:41Z";
    assert_eq!(ready(&[200, 101]), is("2/2", valid));
    let expired =
        "False TokenExpired: 1 of 2 corpIds have a valid token; without: ding2, see status.corps";
    assert_eq!(ready(&[200, 100]), is("1/2", expired));
}

#[test]
fn what_has_no_token_yet_is_pending() {
    let alone = status_at_100(vec![corp(None)], |_| {});
    assert_eq!(told(&alone, 0), ("Unknown", "Pending", FIRST));
    assert_eq!(told(&alone, 1), ("Unknown", "Pending", FIRST));
    let one_of_two = status_at_100(vec![corp(Some(200)), corp(None)], |_| {});
    let ready = "1 of 2 corpIds have a valid token; without: ding2, see status.corps";
    assert_eq!(told(&one_of_two, 0), ("Unknown", "Pending", ready));
    let renewed = "the first token of 1 corpIds is being fetched";
    assert_eq!(told(&one_of_two, 1), ("Unknown", "Pending", renewed));
    let all = status_at_100(vec![corp(Some(200)), corp(Some(200))], |_| {});
    assert_eq!(told(&all, 1).1, "RenewalSucceeded");
    let suspended = status_at_100(vec![corp(Some(200))], |app| app.spec.suspend = true);
    let message = "spec.suspend is set: no token is fetched";
    assert_eq!(told(&suspended, 1), ("Unknown", "Suspended", message));
}

#[test]
fn former_credentials_are_named_as_far_as_they_are_known() {
    let message = |client_ids: &[&str]| {
        let corps = client_ids.iter().map(|client_id| CorpSettled {
            former_client_id: Some((*client_id).to_owned()).filter(|id| id != "present"),
            ..corp(Some(200))
        });
        let status = status_at_100(corps.collect(), |_| {});
        let (.., message) = told(&status, 0);
        message
            .split_once("; ")
            .map(|(_, former)| former.to_owned())
    };
    let is = |message: &str| Some(message.to_owned());
    assert_eq!(message(&["present"]), None);
    assert_eq!(message(&[""]), is("it was fetched with former credentials"));
    let named = "it was fetched with former credentials (client_id a)";
    assert_eq!(message(&["a"]), is(named));
    let named = "3 of the tokens were fetched with former credentials (client_id a, b)";
    assert_eq!(message(&["b", "a", "present", "a"]), is(named));
    let named = "3 of the tokens were fetched with former credentials (client_id a, b, c)";
    assert_eq!(message(&["a", "b", "c"]), is(named));
    let named =
        "4 of the tokens were fetched with former credentials (client_id a, b, c and others)";
    assert_eq!(message(&["a", "b", "c", "d"]), is(named));
}

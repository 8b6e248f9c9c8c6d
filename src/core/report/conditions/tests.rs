use super::*;
use crate::api::{CorpError, GrantedNamespace};

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

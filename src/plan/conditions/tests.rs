use super::*;
use crate::api::CorpError;

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

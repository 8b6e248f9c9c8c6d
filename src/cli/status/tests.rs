//! Output of `status` at a fixed time.

use serde_json::{Value, json};

use super::table::from_now;
use super::*;
use crate::cli::apps::App;

const NOW: &str = "2026-11-23T02:00:00Z";

fn now() -> Timestamp {
    NOW.parse().expect("a time")
}

fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": format!("what {reason} says"),
        "lastTransitionTime": "2026-11-23T01:30:00Z",
    })
}

fn app(name: &str, status: &Value) -> AppReport {
    report(&json!({
        "metadata": {
            "name": name, "namespace": "hr", "generation": 2,
            "creationTimestamp": "2026-11-20T02:00:00Z",
        },
        "spec": {"site": "china", "corpIds": ["ding1"]},
        "status": status,
    }))
}

fn report(app: &Value) -> AppReport {
    let app: App = serde_json::from_value(app.clone()).expect("an app");
    AppReport::of(&app, now())
}

fn ready() -> AppReport {
    app(
        "payroll",
        &json!({
            "observedGeneration": 2, "tokens": "1/1", "secret": "payroll-token",
            "expirationTime": "2026-11-23T03:12:00Z", "nextAttemptTime": "2026-11-23T02:32:00Z",
            "conditions": [
                condition("Ready", "True", "TokensValid"),
                condition("Renewed", "True", "RenewalSucceeded"),
            ],
            "corps": [{
                "corpId": "ding1", "secretName": "payroll-token",
                "expirationTime": "2026-11-23T03:12:00Z", "lastRenewalTime": "2026-11-23T01:12:00Z",
                "lastRenewalCause": "RenewalDue", "nextAttemptTime": "2026-11-23T02:32:00Z",
            }],
        }),
    )
}

fn failing_corp(corp_id: &str) -> Value {
    json!({
        "corpId": corp_id, "secretName": "expenses-token",
        "nextAttemptTime": "2026-11-23T02:04:30Z",
        "error": {
            "reason": "AppNotAuthorized", "code": "unauthorized.client", "httpStatus": 401,
            "requestId": "r1", "message": "no\u{1b}[2J", "sinceTime": "2026-11-23T01:46:00Z",
        },
    })
}

fn well_corp(corp_id: &str) -> Value {
    json!({
        "corpId": corp_id, "secretName": "expenses-token",
        "expirationTime": "2026-11-23T03:12:00Z", "lastRenewalTime": "2026-11-23T01:12:00Z",
        "nextAttemptTime": "2026-11-23T02:32:00Z",
    })
}

fn failing(corps: &[Value]) -> AppReport {
    app(
        "expenses",
        &json!({
            "observedGeneration": 2, "tokens": "1/2", "secret": "expenses-token",
            "expirationTime": "2026-11-23T03:12:00Z", "nextAttemptTime": "2026-11-23T02:04:30Z",
            "conditions": [
                condition("Ready", "False", "TokenExpired"),
                condition("Renewed", "False", "AppNotAuthorized"),
            ],
            "corps": corps,
        }),
    )
}

fn expired_unnoticed() -> AppReport {
    app(
        "stale",
        &json!({
            "observedGeneration": 1, "tokens": "1/1", "secret": "stale-token",
            "expirationTime": "2026-11-23T01:59:00Z", "nextAttemptTime": "2026-11-23T01:20:00Z",
            "conditions": [condition("Ready", "True", "TokensValid")],
        }),
    )
}

fn unseen() -> AppReport {
    app("new", &Value::Null)
}

const TABLE: &str = "\
NAME       READY     TOKENS   EXPIRES IN   NEXT RENEWAL   FAILING FOR   REASON
payroll    True      1/1      72m          32m            -             TokensValid
expenses   False     1/2      72m          4m30s          14m           AppNotAuthorized
stale      False     1/1      expired      overdue 40m    -             TokenExpired
new        Unknown   -        -            -              -             -
";

#[test]
fn a_table_says_what_is_left_what_comes_and_what_fails() {
    let corps = [well_corp("ding1"), failing_corp("ding2")];
    let apps = [ready(), failing(&corps), expired_unnoticed(), unseen()];
    assert_eq!(table(&apps, View::default(), now()), TABLE);
    let ready: Vec<bool> = apps.iter().map(AppReport::is_ready).collect();
    assert_eq!(ready, [true, false, false, false]);
}

/// Regression: a renewal that a stopped operator had missed was said to be made now, until the token expired.
#[test]
fn a_renewal_that_did_not_come_is_overdue() {
    let shown = |time: &str| from_now(Some(time), now()).expect("a time");
    assert_eq!(shown("2026-11-23T02:00:01Z"), "1s");
    assert_eq!(shown("2026-11-23T01:58:01Z"), "now");
    assert_eq!(shown("2026-11-23T01:30:00Z"), "overdue 30m");
}

#[test]
fn all_namespaces_and_wide_add_columns() {
    let view = View {
        namespace: true,
        ..view(true)
    };
    let text = table(&[ready()], view, now());
    assert!(text.starts_with("NAMESPACE   NAME "), "{text}");
    assert!(text.contains("hr          payroll "), "{text}");
    assert!(text.ends_with("china   payroll-token   3d\n"), "{text}");
}

fn view(wide: bool) -> View {
    View {
        wide,
        program: Program::Plugin,
        ..View::default()
    }
}

const DETAIL: &str = "\
DingTalkApp hr/expenses
  ready    False, AppNotAuthorized
  says     what AppNotAuthorized says
  site     china
  tokens   1/2 valid, in expenses-token, the first until 2026-11-23T03:12:00Z (72m)
  next     2026-11-23T02:04:30Z (4m30s)
  failing  since 2026-11-23T01:46:00Z (14m)

CORPID   SECRET           VALID UNTIL            LEFT   RENEWED   NEXT    REASON             CODE
ding2    expenses-token   -                      -      -         4m30s   AppNotAuthorized   unauthorized.client
ding1    expenses-token   2026-11-23T03:12:00Z   72m    48m ago   32m     -                  -

What to do:
  kubectl dingtalk explain AppNotAuthorized
";

#[test]
fn one_app_is_shown_with_its_corps_those_that_fail_first_and_what_to_do() {
    let app = failing(&[well_corp("ding1"), failing_corp("ding2")]);
    assert_eq!(detail(&app, view(false), now()), DETAIL);
    let wide = detail(&app, view(true), now());
    for part in ["REQUEST ID", "401", "r1", "no [2J"] {
        assert!(wide.contains(part), "{part}: {wide}");
    }
}

/// Regression: a selector with a typo passed as a gate.
#[test]
fn nothing_found_is_a_problem() {
    assert!(!is_well(&[]));
}

#[test]
fn an_app_that_is_well_needs_nothing_done() {
    let text = detail(&ready(), view(false), now());
    assert!(!text.contains("What to do"), "{text}");
    let text = detail(&unseen(), view(false), now());
    assert!(text.contains("Unknown, nothing reported"), "{text}");
    assert!(!text.contains("What to do"), "{text}");
    let text = detail(&expired_unnoticed(), view(false), now());
    assert!(text.contains("of an earlier spec"), "{text}");
    assert!(text.contains("explain TokenExpired"), "{text}");
}

#[test]
fn of_a_thousand_corps_those_that_fail_are_shown_and_the_others_counted() {
    let mut corps: Vec<Value> = (0..998).map(|n| well_corp(&format!("well{n}"))).collect();
    corps.extend([failing_corp("bad1"), failing_corp("bad2")]);
    let text = detail(&failing(&corps), view(false), now());
    let (bad, well) = (text.find("bad2   "), text.find("well0 "));
    assert!(bad.is_some() && bad < well, "{text}");
    assert!(
        text.contains("… and 950 more (-o wide shows all)\n"),
        "{text}"
    );
    assert!(
        text.contains("explain AppNotAuthorized   # 2 corpIds"),
        "{text}"
    );
    let all = detail(&failing(&corps), view(true), now());
    assert!(all.contains("well997") && !all.contains(" more "), "{all}");
    let corps: Vec<Value> = (0..60).map(|n| failing_corp(&format!("bad{n}"))).collect();
    let text = detail(&failing(&corps), view(false), now());
    assert!(text.contains("… and 10 more, 10 of them failing"), "{text}");
}

#[test]
fn a_suspended_app_says_so() {
    let mut suspended = json!({
        "metadata": {"name": "paused", "namespace": "hr"},
        "spec": {"site": "china", "suspend": true, "layoutOfALaterVersion": {"x": 1}},
        "status": {"expirationTime": "2026-11-23T03:00:00Z", "conditions": [
            condition("Ready", "True", "TokensValid"), condition("Renewed", "Unknown", "Suspended"),
        ]},
    });
    let app = report(&suspended);
    assert_eq!(
        (app.is_ready(), app.reason.as_deref()),
        (true, Some("Suspended"))
    );
    assert!(detail(&app, view(false), now()).contains("set spec.suspend to false"));
    suspended["status"]["conditions"][0] = condition("Ready", "Unknown", "Pending");
    assert_eq!(report(&suspended).reason.as_deref(), Some("Suspended"));
    suspended["status"]["conditions"][0] = condition("Ready", "False", "TokenExpired");
    let app = report(&suspended);
    assert_eq!(
        (app.is_ready(), app.reason.as_deref()),
        (false, Some("TokenExpired"))
    );
    assert_eq!(
        app.failing_since_time.as_deref(),
        Some("2026-11-23T01:30:00Z")
    );
}

#[test]
fn programs_get_times_seconds_and_every_corp() {
    let value = serde_json::to_value(ready()).expect("JSON");
    assert_eq!(value["secondsLeft"], 4320);
    assert_eq!(value["corps"][0]["secondsLeft"], 4320);
    assert_eq!(value["corps"][0]["corpId"], "ding1");
    assert_eq!(value["ready"], "True");
    assert!(value.get("failingSinceTime").is_none());
}

//! Selection of apps, the wait for their results, and the output.

use clap::Parser;
use serde_json::{Value, json};

use super::outcome::{AppName, Outcome};
use super::shown::late;
use super::*;
use crate::api::ANNOTATION_RENEW_REQUESTED_AT;
use crate::cli::cluster::READ_TIMEOUT;

const REQUEST: &str = "2026-11-23T02:00:00.123456Z";

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    renew: RenewArguments,
}

fn parsed(line: &str) -> Option<RenewArguments> {
    let words = ["renew"].into_iter().chain(line.split_whitespace());
    Flags::try_parse_from(words).ok().map(|flags| flags.renew)
}

#[test]
fn apps_are_named_or_chosen_and_never_both() {
    for (line, selection) in [
        ("payroll", Selection::One),
        ("payroll expenses", Selection::Several),
        ("-A", Selection::Matching),
        ("--all -n hr", Selection::Matching),
        ("-l team=hr -A", Selection::Matching),
    ] {
        assert_eq!(parsed(line).expect(line).selection(), selection, "{line}");
    }
    for line in [
        "",
        "-n hr",
        "payroll/status",
        "dta/payroll",
        "payroll -A",
        "payroll --all",
        "payroll -l a=b",
        "--all -l a=b",
        "-A -n hr",
    ] {
        assert!(parsed(line).is_none(), "{line}");
    }
}

#[test]
fn one_app_is_watched_alone() {
    let watched = |line: &str| {
        let watched = parsed(line).expect(line).watched();
        (watched.field_selector, watched.label_selector)
    };
    let payroll = Some("metadata.name=payroll".to_owned());
    assert_eq!(watched("payroll"), (payroll, None));
    assert_eq!(watched("payroll expenses"), (None, None));
    assert_eq!(watched("-l team=hr"), (None, Some("team=hr".to_owned())));
}

#[test]
fn a_watch_ends_before_the_time_out_for_reading() {
    let watched = parsed("payroll").expect("arguments").watched();
    let seconds = watched.timeout.expect("a bound");
    assert!(u64::from(seconds) + 5 < READ_TIMEOUT.as_secs());
}

fn app(name: &str, corps: &[(&str, &str)], handled: Option<&str>) -> App {
    let corps = corps.iter().map(|(corp_id, renewed)| {
        let mut corp = json!({
            "corpId": corp_id, "secretName": format!("{name}-token"), "lastRenewalTime": renewed,
            "expirationTime": "2026-11-23T04:00:00Z",
        });
        if corp_id.starts_with("bad") {
            corp["error"] = json!({
                "reason": "AppNotAuthorized", "code": "unauthorized.client", "message": "no",
                "sinceTime": "2026-11-23T02:00:01Z",
            });
        }
        corp
    });
    let corps: Vec<Value> = corps.collect();
    let corp_ids: Vec<&Value> = corps.iter().map(|corp| &corp["corpId"]).collect();
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "hr"},
        "spec": {"site": "china", "corpIds": corp_ids},
        "status": {"lastHandledRenewRequest": handled, "corps": corps},
    }))
    .expect("an app")
}

fn request() -> Request {
    Request {
        text: REQUEST.to_owned(),
        ends_at: "2026-11-23T02:05:00Z".parse().expect("a time"),
    }
}

const BEFORE: &str = "2026-11-23T01:00:00Z";
const AFTER: &str = "2026-11-23T02:00:00Z";

#[test]
fn the_wait_ends_once_every_app_has_a_result() {
    let apps = [
        app("one", &[("ding1", BEFORE), ("ding2", BEFORE)], None),
        app("two", &[("ding3", BEFORE)], None),
        app("three", &[("ding4", BEFORE)], None),
    ];
    let mut waiting = Waiting::new(&apps, request());
    assert_eq!(waiting.to_string(), "4 corpIds of 3 DingTalkApps");
    assert_eq!(waiting.progress(), None);
    waiting.see(&app(
        "one",
        &[("ding1", AFTER), ("ding2", BEFORE)],
        Some("another"),
    ));
    let told = waiting.progress();
    assert_eq!(told.as_deref(), Some("1 of 4 have a new token"));
    assert_eq!(waiting.progress(), None, "told once");
    waiting.see(&app(
        "one",
        &[("ding1", AFTER), ("ding2", AFTER)],
        Some(REQUEST),
    ));
    waiting.see(&app("stranger", &[("ding9", AFTER)], Some(REQUEST)));
    waiting.end(&AppName::of(&apps[1]), Outcome::Deleted);
    assert!(!waiting.is_over());
    waiting.see(&app("three", &[("ding4", AFTER)], Some(REQUEST)));
    assert!(waiting.is_over());
    let outcomes: Vec<String> = waiting
        .outcomes()
        .map(|it| format!("{} {:?}", it.app, it.problem()))
        .collect();
    let expected = [
        "hr/one None",
        "hr/three None",
        "hr/two Some(\"deleted during the renewal\")",
    ];
    assert_eq!(outcomes, expected);
}

#[test]
fn what_has_no_result_is_late_and_one_app_is_counted_by_its_corps() {
    let apps = [app("one", &[("ding1", BEFORE)], None)];
    let waiting = Waiting::new(&apps, request());
    assert_eq!(waiting.to_string(), "1 corpId");
    let renewed: Vec<Renewed> = waiting.outcomes().collect();
    let said = late(&renewed, Duration::from_secs(1), " --context x").expect("late");
    assert!(
        said.contains("within 1s: is the operator running")
            && said.contains("dta one -n hr --context x"),
        "{said}"
    );
    assert_eq!(shown(&renewed, view(Selection::One, false)), "");
}

/// Regression: of two requests for an app, the first was said to have no result.
#[test]
fn a_request_that_another_has_replaced_ends_with_it() {
    let handled = |handled: &str, current: &str| {
        let mut app = app("one", &[("ding1", AFTER)], Some(handled));
        let annotation = (ANNOTATION_RENEW_REQUESTED_AT.to_owned(), current.to_owned());
        app.metadata.annotations = Some([annotation].into());
        app
    };
    let (before, later) = ("2026-11-23T01:00:00Z", "2026-11-23T02:00:01Z");
    let asked = app("one", &[("ding1", BEFORE)], Some(before));
    for (app, is_over) in [
        (handled(REQUEST, REQUEST), true),
        (handled(REQUEST, later), true),
        (handled(later, later), true),
        (handled(before, later), false),
        // The annotation was put back.
        (handled(before, before), false),
    ] {
        let mut waiting = Waiting::new(std::slice::from_ref(&asked), request());
        waiting.see(&app);
        assert_eq!(waiting.is_over(), is_over, "{app:?}");
    }
}

fn renewed(name: &str, outcome: Outcome) -> Renewed {
    let app = AppName {
        namespace: "hr".to_owned(),
        name: name.to_owned(),
    };
    Renewed { app, outcome }
}

fn done(name: &str, corp_ids: &[&str]) -> Renewed {
    let corps: Vec<(&str, &str)> = corp_ids.iter().map(|id| (*id, AFTER)).collect();
    let status = app(name, &corps, Some(REQUEST)).status.expect("a status");
    renewed(name, Outcome::Done(status.corps))
}

fn view(selection: Selection, wide: bool) -> View {
    View {
        selection,
        namespace: false,
        wide,
        colours: false,
        program: Program::Plugin,
    }
}

const BY_APP: &str = "\
NAME       RESULT      RENEWED   VALID UNTIL            REASON
payroll    ok          1/1       2026-11-23T04:00:00Z   -
expenses   fails       1/2       2026-11-23T04:00:00Z   AppNotAuthorized
paused     suspended   -         -                      spec.suspend is set
slow       late        -         -                      no result in time

What to do:
  kubectl dingtalk explain AppNotAuthorized
";

#[test]
fn several_apps_are_a_table_and_one_is_a_line_for_each_corp() {
    let all = [
        done("payroll", &["ding1"]),
        done("expenses", &["ding2", "bad1"]),
        renewed("paused", Outcome::Suspended),
        renewed("slow", Outcome::Late),
    ];
    assert_eq!(shown(&all, view(Selection::Several, false)), BY_APP);
    let wide = shown(&all, view(Selection::Several, true));
    assert!(wide.contains("expenses   bad1     fails "), "{wide}");
    let alone = shown(&all[1..2], view(Selection::One, false));
    let expected = "ok    ding2  Secret expenses-token holds a token that is valid until \
                    2026-11-23T04:00:00Z\nfails bad1  AppNotAuthorized unauthorized.client: no; see \
                    `kubectl dingtalk explain AppNotAuthorized`\n";
    assert_eq!(alone, expected);
}

/// Regression: nothing was printed.
#[test]
fn one_app_without_a_result_says_why() {
    let said = |outcome| shown(&[renewed("payroll", outcome)], view(Selection::One, false));
    assert_eq!(
        said(Outcome::Deleted),
        "fails hr/payroll  deleted during the renewal\n"
    );
    let refused = Outcome::Refused("UnsupportedSpec: too\nnew".to_owned());
    assert_eq!(
        said(refused),
        "fails hr/payroll  UnsupportedSpec: too new\n"
    );
}

/// Regression: only messages were cleaned.
#[test]
fn nothing_in_a_status_steers_the_terminal() {
    let mut all = [done("payroll", &["ding1", "bad1"])];
    if let Outcome::Done(corps) = &mut all[0].outcome {
        corps[0].secret_name = "a\x1b[2J".to_owned();
        let error = corps[1].error.as_mut().expect("an error");
        error.code = Some("\u{202e}code".to_owned());
    }
    let shown = shown(&all, view(Selection::One, false));
    assert!(!shown.contains(['\x1b', '\u{202e}']), "{shown:?}");
    assert_eq!(shown.lines().count(), 2);
}

/// Regression: the time-out held for the wait alone.
#[tokio::test]
async fn the_time_out_is_that_of_the_whole_command() {
    for line in ["payroll --timeout 10ms", "--all --timeout 10ms"] {
        let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, http::Error>>()
        });
        let client = Client::new(silent, "hr");
        let arguments = parsed(line).expect(line);
        let program = Program::Operator;
        let code = renew_with(client, "hr", &arguments, program, Instant::now()).await;
        let code = format!("{:?}", code.expect("a code"));
        assert_eq!(code, format!("{:?}", ExitCode::from(TIMED_OUT)), "{line}");
    }
}

#[test]
fn programs_get_an_item_for_each_corp_and_for_each_app_without_a_result() {
    let all = [
        done("payroll", &["ding1", "bad1"]),
        renewed("paused", Outcome::Suspended),
    ];
    let items = serde_json::to_value(items(&all)).expect("JSON");
    assert_eq!(
        items[0],
        json!({
            "namespace": "hr", "name": "payroll", "corpId": "ding1", "ok": true,
            "secretName": "payroll-token", "expiresAt": "2026-11-23T04:00:00Z",
        })
    );
    assert_eq!(items[1]["error"]["reason"], "AppNotAuthorized");
    let paused =
        json!({"namespace": "hr", "name": "paused", "ok": false, "problem": "spec.suspend is set"});
    assert_eq!(items[2], paused);
}

#[test]
fn the_worst_result_is_the_exit_code() {
    let code = |all: &[Renewed], selection| format!("{:?}", exit_code(all, selection));
    let is = |code: u8| format!("{:?}", ExitCode::from(code));
    let well = || done("payroll", &["ding1"]);
    let suspended = || renewed("paused", Outcome::Suspended);
    assert_eq!(code(&[well()], Selection::One), is(0));
    assert_eq!(code(&[well(), suspended()], Selection::Matching), is(0));
    assert_eq!(code(&[well(), suspended()], Selection::Several), is(3));
    assert_eq!(
        code(&[well(), done("x", &["bad1"])], Selection::Matching),
        is(3)
    );
    for outcome in [
        Outcome::Deleted,
        Outcome::Unselected,
        Outcome::Refused(String::new()),
    ] {
        let all = [well(), renewed("x", outcome)];
        assert_eq!(code(&all, Selection::Matching), is(3), "{all:?}");
    }
    let late = || renewed("x", Outcome::Late);
    assert_eq!(
        code(&[late(), done("x", &["bad1"])], Selection::Matching),
        is(4)
    );
    let failed = renewed("x", Outcome::Failed(CliError::NoSite));
    assert_eq!(code(&[late(), failed], Selection::Several), is(1));
}

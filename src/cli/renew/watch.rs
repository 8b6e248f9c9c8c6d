//! Watches the apps until each renewal has an outcome.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::Client;
use kube::runtime::watcher::{Config, Error, Event};
use kube::runtime::{WatchStreamExt as _, watcher};

use super::outcome::{AppName, Outcome};
use super::waiting::Waiting;
use crate::cli::apps::Scope;
use crate::cli::error::{CliError, failed};
use crate::cli::output::print_note;
use crate::dingtalk::visible;
use crate::operator::said;

/// How long the operator may take to report what has changed since the request.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Duration of a call that watches, in seconds. It ends before the time-out for reading.
pub(super) const WATCH_SECONDS: u32 = 50;

/// Watches the apps until each renewal has an outcome, and prints the progress.
pub(super) async fn wait(
    client: Client,
    scope: &Scope,
    watched: Config,
    waiting: &mut Waiting,
) -> Result<(), CliError> {
    let has_labels = watched.label_selector.is_some();
    let apps = scope.api(client.clone());
    let mut events = watcher(apps, watched).default_backoff().boxed();
    let mut listed = BTreeSet::new();
    let mut told = None;
    let mut settled = pin!(tokio::time::sleep(SETTLED_AFTER));
    while !waiting.is_over() {
        let event = tokio::select! {
            event = events.try_next() => event,
            () = &mut settled, if !waiting.is_settled() => {
                waiting.settle();
                continue;
            }
        };
        match event {
            Ok(Some(Event::Apply(app))) => waiting.see(&app),
            Ok(Some(Event::Delete(app))) => {
                lose(&client, has_labels, waiting, &AppName::of(&app)).await;
            }
            Ok(Some(Event::Init)) => listed.clear(),
            Ok(Some(Event::InitApply(app))) => {
                waiting.see(&app);
                listed.insert(AppName::of(&app));
            }
            Ok(Some(Event::InitDone)) => {
                for app in waiting.missing(&listed) {
                    lose(&client, has_labels, waiting, &app).await;
                }
            }
            Err(error) if is_final(&error) => {
                let watching = failed(format!(
                    "the renewal was requested, but DingTalkApps in {scope} cannot be watched for the result"
                ));
                return Err(watching(error));
            }
            // The watcher restarts a watch that has ended or failed.
            Ok(None) => {}
            Err(error) => {
                if let Some(line) = retried(&error, scope, &mut told) {
                    print_note(&line);
                }
            }
        }
        if let Some(progress) = waiting.progress() {
            print_note(&progress);
        }
    }
    Ok(())
}

/// Records that an app is no longer watched: it was deleted, or no longer has the labels, if there are any.
async fn lose(client: &Client, has_labels: bool, waiting: &mut Waiting, name: &AppName) {
    if !waiting.awaits(name) {
        return;
    }
    if !has_labels {
        waiting.end(name, Outcome::Deleted);
        return;
    }
    let apps = Scope::Namespace(name.namespace.clone()).api(client.clone());
    let outcome = match apps.get_opt(&name.name).await {
        Ok(Some(present)) => {
            waiting.see(&present);
            Outcome::Unselected
        }
        Ok(None) => Outcome::Deleted,
        Err(error) => {
            let reading = failed(format!("cannot read DingTalkApp {name}"));
            Outcome::Failed(reading(error))
        }
    };
    waiting.end(name, outcome);
}

/// Whether the API server refuses the watch permanently.
fn is_final(error: &Error) -> bool {
    match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status)) => {
            matches!(status.code, 401 | 403 | 404)
        }
        _ => false,
    }
}

/// Returns the line about a watch that failed and is tried again; `None` if the last line says the same, or if
/// the watch has only grown too old.
fn retried(error: &Error, scope: &Scope, told: &mut Option<String>) -> Option<String> {
    if matches!(error, Error::WatchError(status) if status.code == 410) {
        return None;
    }
    let line = format!(
        "cannot watch DingTalkApps in {scope}, trying again: {}",
        visible(&said(error))
    );
    (told.as_ref() != Some(&line)).then(|| told.insert(line).clone())
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::apps::App;
    use crate::cli::renew::request;

    const REQUEST: &str = "2026-11-23T02:00:00.123456Z";

    fn app(uid: &str, handled: Option<&str>) -> Value {
        json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": "payroll", "namespace": "hr", "uid": uid},
            "spec": {"site": "china", "corpIds": ["ding1"]},
            "status": {"lastHandledRenewRequest": handled},
        })
    }

    /// Returns a client of an API server that gives this answer to all requests.
    fn client(code: u16, answer: Value) -> Client {
        let server = tower::service_fn(move |_: Request<Body>| {
            let body = Body::from(answer.to_string().into_bytes());
            let response = Response::builder().status(code).body(body);
            async move { response }
        });
        Client::new(server, "hr")
    }

    fn waiting() -> (Waiting, AppName) {
        let app: App = serde_json::from_value(app("1", None)).expect("an app");
        let request = request::Request {
            text: REQUEST.to_owned(),
            ends_at: "2026-11-23T02:05:00Z".parse().expect("a time"),
        };
        let name = AppName::of(&app);
        (Waiting::new(&[app], request), name)
    }

    /// Loses sight of an app while the API server gives this answer. Returns why there is no result.
    async fn lost(has_labels: bool, code: u16, answer: Value) -> Option<String> {
        let (mut waiting, name) = waiting();
        lose(&client(code, answer), has_labels, &mut waiting, &name).await;
        assert!(waiting.is_over());
        let renewed = waiting.outcomes().next();
        renewed.expect("an outcome").problem()
    }

    /// Regression: the command waited until its time-out.
    #[tokio::test]
    async fn an_app_that_was_deleted_while_nothing_was_watched_is_said_to_be_deleted() {
        for items in [json!([]), json!([app("2", None)])] {
            let list = json!({
                "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkAppList",
                "metadata": {"resourceVersion": "1"}, "items": items,
            });
            let (mut waiting, _) = waiting();
            let scope = Scope::Namespace("hr".to_owned());
            let watched = Config::default();
            let ended = wait(client(200, list), &scope, watched, &mut waiting);
            let ended = tokio::time::timeout(Duration::from_secs(5), ended).await;
            assert!(matches!(ended, Ok(Ok(()))), "{items}");
            let problem = waiting.outcomes().next().expect("an outcome").problem();
            assert_eq!(problem.as_deref(), Some("deleted during the renewal"));
        }
    }

    /// Regression: while the API server was away, the command said nothing until its time-out.
    #[test]
    fn a_watch_that_fails_is_told_once_for_each_reason() {
        let failed = |code, message: &str| {
            let status = kube::core::Status::failure(message, "x").with_code(code);
            Error::WatchError(status.boxed())
        };
        let mut told = None;
        let mut said = |error| retried(&error, &Scope::All, &mut told);
        let line = said(failed(503, "no\x1betcd")).expect("a line");
        let expected = "cannot watch DingTalkApps in all namespaces, trying again: no etcd";
        assert_eq!(line, expected);
        assert_eq!(said(failed(503, "no\x1betcd")), None, "the same");
        assert!(said(failed(500, "other")).is_some());
        assert_eq!(said(failed(410, "too old")), None);
    }

    /// Regression: an app whose labels were changed was said to be deleted.
    #[tokio::test]
    async fn an_app_that_is_no_longer_selected_is_not_said_to_be_deleted() {
        let said = lost(true, 200, app("1", None)).await.expect("no result");
        assert!(said.contains("labels no longer match"), "{said}");
        let handled = lost(true, 200, app("1", Some(REQUEST))).await;
        assert_eq!(handled, None, "it has a result");
        let absent =
            json!({"status": "Failure", "message": "no", "reason": "NotFound", "code": 404});
        let forbidden =
            json!({"status": "Failure", "message": "no", "reason": "Forbidden", "code": 403});
        let deleted = Some("deleted during the renewal".to_owned());
        assert_eq!(lost(true, 404, absent).await, deleted);
        assert_eq!(lost(true, 200, app("2", None)).await, deleted, "anew");
        assert_eq!(lost(false, 403, forbidden.clone()).await, deleted);
        let said = lost(true, 403, forbidden).await.expect("no result");
        assert!(
            said.contains("cannot read DingTalkApp hr/payroll"),
            "{said}"
        );
    }
}

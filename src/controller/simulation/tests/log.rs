//! What the log says about renewals.

use std::io::{Result, Write};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tracing::Dispatch;
use tracing::subscriber::{NoSubscriber, with_default};

use super::*;
use crate::controller::simulation::site::Repeat;

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The lines that a history logs, as with `--log-format=json`.
struct Log(Vec<Value>);

impl Log {
    fn of(history: impl FnOnce()) -> Self {
        // With only one subscriber, the first thread that reaches a line decides whether it is
        // logged at all, and other tests log nothing.
        let _second = Dispatch::new(NoSubscriber::new());
        let text = Text::default();
        let writer = text.clone();
        let log = tracing_subscriber::fmt().json().flatten_event(true);
        with_default(log.with_writer(move || writer.clone()).finish(), history);
        let text = text.0.lock().expect("no panic");
        let text = str::from_utf8(&text).expect("text");
        let line = |line| serde_json::from_str(line).expect("a line");
        Self(text.lines().map(line).collect())
    }

    /// Returns an app's lines with this message.
    fn lines(&self, app: &str, message: &str) -> Vec<&Value> {
        let lines = self.0.iter();
        let lines = lines.filter(|line| line["name"] == app && line["message"] == message);
        lines.collect()
    }
}

fn causes<'a>(lines: &[&'a Value]) -> Vec<&'a str> {
    let cause = |line: &&'a Value| line["cause"].as_str().expect("a cause");
    lines.iter().map(cause).collect()
}

fn time(line: &Value, field: &str) -> Timestamp {
    let text = line[field].as_str().unwrap_or_else(|| panic!("{line}"));
    text.parse().expect("a time")
}

/// Asserts that every fetch names the token that it replaced, and that its value changed.
fn is_chain(fetched: &[&Value]) {
    for pair in fetched.windows(2) {
        assert_eq!(
            pair[1]["former_expires_at"], pair[0]["expires_at"],
            "{pair:?}"
        );
        assert_eq!(pair[1]["value_changed"], true, "{pair:?}");
    }
}

/// Returns a world whose site returns another token each time.
fn with_new_tokens(life: SignedDuration) -> World {
    let mut world = with_credentials(1, None);
    world.site.repeat = Repeat::Beside;
    world.site.life = life;
    world
}

#[test]
fn three_renewals_within_a_minute_each_have_their_cause_in_the_log() {
    let log = Log::of(|| {
        let mut world = with_new_tokens(SignedDuration::from_hours(2));
        world.apply("payroll", &json!({}));
        world.run(10 * MINUTE);
        world.renew("payroll");
        world.run(MINUTE / 6);
        let clients = &mut world.site.clients;
        clients.insert("client".to_owned(), "next".to_owned());
        world.store.put_credentials("credentials", "client", "next");
        world.run(MINUTE / 6);
        world.die();
        world.store.lose("payroll-token");
        world.run(10 * MINUTE);
    });
    let fetched = log.lines("payroll", "token fetched");
    let expected = [
        "FirstToken",
        "RenewalRequested",
        "CredentialsChanged",
        "TargetMissing",
    ];
    assert_eq!(causes(&fetched), expected);
    assert_eq!(causes(&log.lines("payroll", "Secret written")), expected);
    is_chain(&fetched[..3]);
    // A new process does not know what a deleted Secret held.
    assert_eq!(fetched[3]["former_expires_at"], Value::Null);
    // All tokens have the same lifetime, so they were requested as far apart as they expire.
    let took = time(fetched[3], "expires_at").duration_since(time(fetched[1], "expires_at"));
    assert!(took < SignedDuration::from_mins(1), "{took}");
    for line in &fetched {
        let named = ["kind", "namespace", "corp_id", "site"].map(|field| line[field].as_str());
        let app = ["DingTalkApp", NAMESPACE, "ding1", "china"];
        assert_eq!(named, app.map(Some), "{line}");
        assert_eq!(line["credentials_secret"], "credentials", "{line}");
        assert_eq!(line["generation"], 1, "{line}");
    }
    let versions = fetched.iter().map(|line| &line["credentials_version"]);
    let versions: Vec<&Value> = versions.collect();
    assert!(versions[0] == versions[1] && versions[1] != versions[2]);
    for line in log.lines("payroll", "Secret written") {
        assert_eq!(line["corp_id"], "ding1", "{line}");
    }
}

/// Regression: after a restart, every value counted as a changed one.
#[test]
fn a_renewal_after_a_restart_says_whether_the_value_changed() {
    for (repeat, is_changed) in [(Repeat::Extended, false), (Repeat::Beside, true)] {
        let log = Log::of(|| {
            let mut world = with_credentials(1, None);
            world.site.repeat = repeat;
            world.apply("payroll", &json!({}));
            world.run(10 * MINUTE);
            world.die();
            world.run(10 * MINUTE);
            world.renew("payroll");
            world.run(10 * MINUTE);
        });
        let fetched = log.lines("payroll", "token fetched");
        assert_eq!(causes(&fetched), ["FirstToken", "RenewalRequested"]);
        assert_eq!(fetched[1]["value_changed"], is_changed, "{}", fetched[1]);
    }
}

/// Fetches due to short lifetimes or failures are distinguishable from requested ones.
#[test]
fn renewals_of_a_short_life_and_after_a_failure_are_told_apart_in_the_log() {
    let log = Log::of(|| {
        let mut world = with_new_tokens(SignedDuration::from_secs(30));
        world.apply("payroll", &json!({}));
        world.run(MINUTE);
        world.site.life = SignedDuration::from_hours(2);
        let until = world.now() + SignedDuration::from_secs(25);
        world.site.answer = Some((("server.error", 500), until));
        world.run(10 * MINUTE);
    });
    let fetched = log.lines("payroll", "token fetched");
    is_chain(&fetched);
    let found = causes(&fetched);
    assert!(
        found.starts_with(&["FirstToken", "RenewalDue", "RenewalDue"]),
        "{found:?}"
    );
    assert_eq!(found.last(), Some(&"RetryDue"), "{found:?}");
    assert!(
        found[1..found.len() - 1]
            .iter()
            .all(|it| *it == "RenewalDue"),
        "{found:?}"
    );
    for pair in fetched.windows(2) {
        let gained = time(pair[1], "expires_at").duration_since(time(pair[0], "expires_at"));
        assert!(gained > SignedDuration::from_secs(10), "{pair:?}");
    }
    let failed = log.lines("payroll", "token fetch failed");
    let found = causes(&failed);
    assert_eq!(found[0], "RenewalDue");
    let is_retry = |cause: &&str| *cause == "RetryDue";
    assert!(found[1..].iter().all(is_retry), "{found:?}");
    assert!(failed.iter().all(|line| line["reason"] == "ServerError"));
}

/// The log shows when a Secret changes without a fetch by its own app, and the fetch has the same
/// expiry.
#[test]
fn a_token_that_another_app_has_renewed_is_told_from_ones_own_in_the_log() {
    let log = Log::of(|| {
        let mut world = with_new_tokens(SignedDuration::from_hours(2));
        for name in ["first", "second"] {
            let target = json!({"name": format!("{name}-token")});
            world.apply(name, &json!({"target": target}));
            world.run(2 * MINUTE);
        }
        world.renew("first");
        world.run(2 * MINUTE);
    });
    let fetched = log.lines("first", "token fetched");
    assert_eq!(causes(&fetched), ["FirstToken", "RenewalRequested"]);
    assert!(log.lines("second", "token fetched").is_empty());
    let written = log.lines("second", "Secret written");
    assert_eq!(causes(&written), ["TokenShared", "TokenShared"]);
    for (written, fetched) in written.iter().zip(&fetched) {
        assert_eq!(written["expires_at"], fetched["expires_at"]);
    }
}

#[test]
fn a_failure_is_logged_with_what_it_concerns_and_its_page() {
    let log = Log::of(|| {
        let mut world = with_new_tokens(SignedDuration::from_hours(2));
        world.store.refusal = Some("exceeded quota");
        world.apply("payroll", &json!({}));
        world.run(MINUTE);
        world.store.refusal = None;
        world.run(10 * MINUTE);
        let until = world.now() + SignedDuration::from_mins(2);
        world.site.answer = Some((("server.error", 500), until));
        world.renew("payroll");
        world.run(MINUTE);
    });
    let names = |line: &Value, section: &str| {
        let page = line["see"].as_str();
        page.is_some_and(|page| page.ends_with(section))
    };
    let unwritten = log.lines("payroll", "Secret write failed; will retry");
    assert!(!unwritten.is_empty());
    for line in unwritten {
        assert!(names(line, "#secretwritefailed"), "{line}");
    }
    let fetched = log.lines("payroll", "token fetched");
    let failed = log.lines("payroll", "token fetch failed");
    assert!(!failed.is_empty());
    for line in failed {
        assert!(names(line, "#servererror"), "{line}");
        assert_eq!(line["host"], "api.dingtalk.com", "{line}");
        for field in ["generation", "credentials_secret", "credentials_version"] {
            assert_eq!(line[field], fetched[0][field], "{field}: {line}");
        }
        // The token that stays in the Secret.
        assert_eq!(line["expires_at"], fetched[0]["expires_at"], "{line}");
    }
}

//! What the log says about renewals.

use std::io::{Result, Write};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tracing::Dispatch;
use tracing::subscriber::{NoSubscriber, with_default};

use super::*;
use crate::api::ANNOTATION_RENEW_REQUESTED_AT;
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

    /// Returns the lines about an app or a reference with this message.
    fn lines(&self, name: &str, message: &str) -> Vec<&Value> {
        let lines = self.0.iter();
        let lines = lines.filter(|line| line["name"] == name && line["message"] == message);
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

/// Returns how many tokens are new in the Secret by these writes.
fn new_tokens(written: &[&Value]) -> u64 {
    let new = written.iter().map(|line| line["new_tokens"].as_u64());
    new.sum::<Option<u64>>().expect("numbers")
}

/// Returns the app's renewal request.
fn request(world: &World, app: &str) -> String {
    let annotations = world.store.apps[app].metadata.annotations.as_ref();
    annotations.expect("a request")[ANNOTATION_RENEW_REQUESTED_AT].clone()
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
        for (layout, corps) in [("Single", 1), ("Combined", 2), ("PerCorp", 2)] {
            let log = Log::of(|| {
                let mut world = with_credentials(1, None);
                world.site.repeat = repeat;
                let corp_ids = &["ding1", "ding2"][..corps];
                let spec = json!({"corpIds": corp_ids, "target": {"layout": layout}});
                world.apply("payroll", &spec);
                world.run(10 * MINUTE);
                world.die();
                world.run(10 * MINUTE);
                world.renew("payroll");
                world.run(10 * MINUTE);
            });
            let fetched = log.lines("payroll", "token fetched");
            assert_eq!(fetched.len(), 2 * corps, "{layout}");
            for corp_id in ["ding1", "ding2"] {
                let of_corp = fetched.iter().filter(|line| line["corp_id"] == corp_id);
                let of_corp: Vec<&Value> = of_corp.copied().collect();
                let [first, second] = of_corp[..] else {
                    continue;
                };
                assert_eq!(causes(&[first, second]), ["FirstToken", "RenewalRequested"]);
                assert_eq!(second["former_expires_at"], first["expires_at"]);
                assert_eq!(second["value_changed"], is_changed, "{layout}: {second}");
            }
            let written = log.lines("payroll", "Secret written").into_iter();
            let written = written.filter(|line| line["cause"] == "RenewalRequested");
            let written: Vec<&Value> = written.collect();
            let changed = if is_changed { corps } else { 0 };
            assert_eq!(new_tokens(&written), changed as u64, "{layout}");
            for line in written {
                let gained =
                    time(line, "expires_at").duration_since(time(line, "former_expires_at"));
                assert!(gained > SignedDuration::ZERO, "{layout}: {line}");
            }
        }
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

/// The log shows when a Secret changes without a fetch by its own app, and whose fetch it was,
/// which has the same expiry.
#[test]
fn a_token_that_another_app_has_renewed_is_told_from_ones_own_in_the_log() {
    let log = Log::of(|| {
        let mut world = with_new_tokens(SignedDuration::from_hours(2));
        let apply = |world: &mut World, name: &str| {
            let target = json!({"name": format!("{name}-token")});
            world.apply(name, &json!({"target": target}));
            world.run(2 * MINUTE);
        };
        apply(&mut world, "first");
        apply(&mut world, "second");
        world.renew("first");
        world.run(2 * MINUTE);
        world.delete_app("second");
        world.die();
        world.run(2 * MINUTE);
        // A new process finds the token in the first app's Secret.
        apply(&mut world, "third");
    });
    let fetched = log.lines("first", "token fetched");
    assert_eq!(causes(&fetched), ["FirstToken", "RenewalRequested"]);
    let own = log.lines("first", "Secret written");
    assert_eq!(own.len(), 2);
    assert!(own.iter().all(|line| line["shared_by"] == Value::Null));
    let shared = [("second", &fetched[..]), ("third", &fetched[1..])];
    for (name, fetched) in shared {
        assert!(log.lines(name, "token fetched").is_empty());
        let written = log.lines(name, "Secret written");
        assert_eq!(written.len(), fetched.len(), "{name}");
        for (written, fetched) in written.iter().zip(fetched) {
            assert_eq!(written["cause"], "TokenShared", "{written}");
            assert_eq!(written["shared_by"], format!("{NAMESPACE}/first"));
            assert_eq!(written["expires_at"], fetched["expires_at"]);
            assert_eq!(written["new_tokens"], 1, "{written}");
        }
    }
}

/// Regression: the log did not say which of several requests a renewal answered.
#[test]
fn a_renewal_that_was_requested_names_its_request() {
    let mut requests = Vec::new();
    let log = Log::of(|| {
        let mut world = with_new_tokens(SignedDuration::from_hours(2));
        world.apply("payroll", &json!({}));
        for _ in 0..2 {
            world.run(2 * MINUTE);
            world.renew("payroll");
            requests.push(request(&world, "payroll"));
        }
        world.run(120 * MINUTE);
    });
    let expected = [
        ("FirstToken", Value::Null),
        ("RenewalRequested", json!(requests[0])),
        ("RenewalRequested", json!(requests[1])),
        ("RenewalDue", Value::Null),
    ];
    for message in ["token fetched", "Secret written"] {
        let lines = log.lines("payroll", message);
        assert_eq!(causes(&lines), expected.each_ref().map(|(cause, _)| *cause));
        for (line, (_, request)) in lines.iter().zip(&expected) {
            assert_eq!(line["renew_requested_at"], *request, "{line}");
        }
    }
}

/// Regression: the log did not say which of a Secret's tokens a write changed.
#[test]
fn a_write_of_several_tokens_names_the_corps_whose_tokens_are_new() {
    let log = Log::of(|| {
        let mut world = with_new_tokens(SignedDuration::from_hours(2));
        let grants = json!([{"namespace": NAMESPACE}]);
        let apply = |world: &mut World, corp_ids: &[&str]| {
            let target = json!({"layout": "Combined"});
            let spec = json!({"corpIds": corp_ids, "target": target, "referenceGrants": grants});
            world.apply("payroll", &spec);
            world.run(2 * MINUTE);
        };
        apply(&mut world, &["ding1", "ding2"]);
        world.refer("copy", "payroll", "copied");
        world.run(2 * MINUTE);
        apply(&mut world, &["ding1", "ding2", "ding3"]);
        apply(&mut world, &["ding1", "ding3"]);
        world.renew("payroll");
        world.run(2 * MINUTE);
    });
    let written = log.lines("payroll", "Secret written");
    let of = |cause: &str| {
        let of = written.iter().filter(|line| line["cause"] == cause);
        of.copied().collect::<Vec<&Value>>()
    };
    let first = of("FirstToken");
    assert_eq!(new_tokens(&first), 3);
    let added = first.last().expect("a write");
    assert_eq!(
        (&added["tokens"], &added["new_tokens"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(added["new_corp_ids"], "ding3");
    let removed = of("SpecChanged").pop().expect("a write");
    assert_eq!(
        (&removed["tokens"], &removed["new_tokens"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(removed["new_corp_ids"], Value::Null);
    assert_eq!(new_tokens(&of("RenewalRequested")), 2);
    let copied = log.lines("copy", "Secret written");
    assert_eq!(copied[0]["cause"], "FirstToken");
    assert_eq!(copied[0]["new_corp_ids"], "ding1, ding2");
    assert_eq!(copied[1]["cause"], "SourceChanged");
    assert_eq!(copied[1]["new_corp_ids"], "ding3");
    for line in &copied {
        assert_eq!(line["shared_by"], format!("{NAMESPACE}/payroll"), "{line}");
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

/// Regression: before the grant was known, a reference was allowed the steps of one without copies.
#[test]
fn a_new_process_writes_as_many_copies_as_there_are_without_a_pause() {
    let log = Log::of(|| {
        let mut world = with_credentials(1, None);
        world.judges_writes = false;
        world.judges_fetches = false;
        let corps: Vec<String> = (0..300).map(|n| format!("ding{n}")).collect();
        let grants = json!([{"namespace": NAMESPACE}]);
        let spec =
            json!({"target": {"layout": "PerCorp"}, "corpIds": corps, "referenceGrants": grants});
        world.apply("payroll", &spec);
        world.refer("copy", "payroll", "copied");
        world.run(10 * MINUTE);
        world.die();
        for corp in &corps {
            world.store.lose(&format!("copied-{corp}"));
        }
        world.run(10 * MINUTE);
        assert!(world.without_token().is_empty());
    });
    let pauses = log.lines("copy", "too many steps in a row; will retry");
    assert!(pauses.is_empty(), "{pauses:?}");
}

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::api::MANAGER;
use crate::core::secret::data::Data;

pub fn token(corp_id: &str, requested_at: i64, life: i64, version: &str) -> TokenRecord {
    let requested_at = Timestamp::from_second(requested_at).expect("a time");
    TokenRecord {
        site: "global".into(),
        client_id: "dingapp".into(),
        corp_id: corp_id.into(),
        lifetime: Lifetime {
            requested_at,
            expires_at: requested_at + SignedDuration::from_secs(life),
        },
        credentials: match version {
            "" => ObjectVersion::default(),
            version => ObjectVersion {
                uid: "c1".into(),
                resource_version: version.into(),
            },
        },
        answers: None,
    }
}

pub fn recorded(keys: &[&str], tokens: Vec<TokenRecord>) -> Recorded {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    Recorded {
        templates: "0123456789abcdef".into(),
        digest: Some("d".into()),
        ..Recorded::of(keys, tokens).expect("a shape")
    }
}

const MANY: [&str; 4] = ["*.access_token", "*.expires_at", ".env", "access_token"];

fn of(annotations: &BTreeMap<String, String>) -> Option<Recorded> {
    Recorded::read(annotations, &Managed::of(&[]))
}

fn with_state(change: impl FnOnce(&mut Value)) -> BTreeMap<String, String> {
    let mut annotations = example().annotations();
    let mut state = serde_json::from_str(&annotations[ANNOTATION_STATE]).expect("JSON");
    change(&mut state);
    annotations.insert(ANNOTATION_STATE.to_owned(), state.to_string());
    annotations
}

/// Defines version 1. A release may add to it; what is here stays.
#[test]
fn a_state_is_written_as_version_1() {
    let mut one = example();
    one.tokens[0].answers = RenewRequest::parse("0123456789abcdef");
    one.value_changed_at = Timestamp::from_second(60).ok();
    let expected = concat!(
        r#"{"version":1,"site":"global","clientId":"dingapp","#,
        r#""credentials":{"uid":"c1","resourceVersion":"5"},"keys":["access_token"],"#,
        r#""templates":"0123456789abcdef","digest":"d","valueChangedAt":"1970-01-01T00:01:00Z","#,
        r#""renewal":{"request":"0123456789abcdef","since":100},"#,
        r#""tokens":{"ding1":{"at":100,"for":7200}}}"#,
    );
    assert_eq!(write(&one).as_deref(), Some(expected));
    assert_eq!(of(&one.annotations()), Some(one));
}

#[test]
fn several_tokens_are_read_back_with_their_keys() {
    let tokens = vec![
        token("ding-1_a", 100, 7200, "5"),
        token("ding2", 90, 60, ""),
    ];
    let many = recorded(&MANY, tokens);
    let annotations = many.annotations();
    assert_eq!(annotations[ANNOTATION_EXPIRES_AT], "1970-01-01T00:02:30Z");
    let read = of(&annotations).expect("a record");
    assert_eq!(read, many);
    let keys: Vec<String> = read.keys().collect();
    let expected = [
        ".env",
        "access_token",
        "ding-1_a.access_token",
        "ding-1_a.expires_at",
        "ding2.access_token",
        "ding2.expires_at",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn what_a_later_release_adds_to_version_1_is_skipped() {
    let annotations = with_state(|state| {
        state["later"] = json!({"a": [1]});
        state["tokens"]["ding1"]["later"] = json!(true);
    });
    assert_eq!(of(&annotations), Some(example()));
}

#[test]
fn a_request_is_answered_by_what_was_fetched_at_its_first_answer_or_later() {
    let request = RenewRequest::of("now");
    let mut tokens: Vec<TokenRecord> = [("a", 100), ("b", 200), ("c", 201), ("d", 300)]
        .map(|(corp_id, at)| token(corp_id, at, 7200, "5"))
        .into();
    tokens[0].answers = Some(RenewRequest::of("before"));
    tokens[1].answers = Some(request);
    tokens[2].answers = Some(request);
    let read = of(&recorded(&MANY, tokens).annotations()).expect("a record");
    let answers: Vec<_> = read.tokens.iter().map(|token| token.answers).collect();
    assert_eq!(answers, [None, Some(request), Some(request), Some(request)]);
    assert_eq!(read.read_back(), Some(read.clone()), "and stays so");
}

#[test]
fn a_state_that_was_tampered_with_is_none() {
    for field in ["version", "site", "credentials", "keys", "digest", "tokens"] {
        let annotations = with_state(|state| {
            state.as_object_mut().expect("an object").remove(field);
        });
        assert_eq!(of(&annotations), None, "{field}");
    }
    for (field, value) in [
        ("tokens", json!({})),
        (
            "tokens",
            json!({"a": {"at": 1, "for": 1}, "b": {"at": 1, "for": 1}}),
        ),
        ("tokens", json!({"a": {"at": i64::MAX, "for": 1}})),
        ("tokens", json!({"a": {"at": 1, "for": i64::MAX}})),
        ("keys", json!(["corp_id"])),
    ] {
        let annotations = with_state(|state| state[field] = value.clone());
        assert_eq!(of(&annotations), None, "{field}: {value}");
    }
}

#[test]
fn a_state_past_its_bounds_is_none() {
    let tokens = |count: usize| {
        let tokens = (0..count).map(|n| token(&format!("{n:04}"), 100, 60, ""));
        recorded(&MANY, tokens.collect()).annotations()
    };
    assert!(of(&tokens(TOKENS_MAX)).is_some());
    assert_eq!(of(&tokens(TOKENS_MAX + 1)), None);
    for (pointer, max) in [
        ("/site", NAME_MAX),
        ("/clientId", NAME_MAX),
        ("/credentials/uid", NAME_MAX),
        ("/digest", NAME_MAX),
        ("/keys/0", NAME_MAX),
    ] {
        for (length, is_read) in [(max, true), (max + 1, false)] {
            let annotations = with_state(|state| {
                state["keys"] = json!(["added", "access_token"]);
                *state.pointer_mut(pointer).expect("a text") = "x".repeat(length).into();
            });
            assert_eq!(of(&annotations).is_some(), is_read, "{pointer}: {length}");
        }
    }
    for (length, is_read) in [(CORP_ID_MAX, true), (CORP_ID_MAX + 1, false)] {
        let tokens = json!({"x".repeat(length): {"at": 100, "for": 60}});
        let annotations = with_state(|state| state["tokens"] = tokens);
        assert_eq!(of(&annotations).is_some(), is_read, "{length}");
    }
    let with = |length: usize| with_state(|state| state["later"] = "x".repeat(length).into());
    let rest = with(0)[ANNOTATION_STATE].len();
    assert!(of(&with(STATE_MAX - rest)).is_some());
    assert_eq!(of(&with(STATE_MAX - rest + 1)), None);
}

#[test]
fn a_thousand_tokens_are_recorded_within_the_room_for_annotations() {
    let corp = |n: usize| format!("{n:064}");
    let mut tokens: Vec<_> = (0..1000)
        .map(|n| token(&corp(n), 1_800_000_000, 2_592_000, ""))
        .collect();
    tokens[0].credentials.uid = "c1".into();
    let annotations = recorded(&MANY, tokens).annotations();
    let sizes = annotations
        .iter()
        .map(|(key, value)| key.len() + value.len());
    let size: usize = sizes.sum();
    assert!(size < 128 * 1024, "{size}: the users' own may take as much");
    assert!(of(&annotations).is_some());
}

#[test]
fn the_weight_of_a_record_is_that_of_all_its_parts() {
    let one = || token("ding1", 100, 7200, "5");
    let weight = recorded(&["access_token"], vec![one()]).weight();
    let texts = ["0123456789abcdef", "d"]
        .map(str::len)
        .iter()
        .sum::<usize>();
    let key = size_of::<String>() + "access_token".len();
    let of_token = ["global", "dingapp", "ding1", "c1", "5"].map(str::len);
    let of_token = size_of::<TokenRecord>() + of_token.iter().sum::<usize>();
    assert_eq!(weight, size_of::<Recorded>() + texts + key + of_token);
    let many = |count: usize| {
        let tokens = (0..count).map(|n| token(&format!("ding{n}"), 100, 7200, "5"));
        recorded(&MANY, tokens.collect()).weight()
    };
    assert_eq!(many(9) - many(2), 7 * of_token);
}

fn managed(manager: &str, keys: &[&str]) -> Vec<ManagedFieldsEntry> {
    let fields = |keys: &mut dyn Iterator<Item = String>| -> Value {
        let fields = keys.map(|key| (format!("f:{key}"), json!({})));
        fields.collect::<serde_json::Map<_, _>>().into()
    };
    let annotations = example().annotations().into_keys();
    vec![ManagedFieldsEntry {
        manager: Some(manager.to_owned()),
        time: Timestamp::from_second(110).ok().map(Time),
        fields_v1: Some(FieldsV1(json!({
            "f:data": fields(&mut keys.iter().map(|key| (*key).to_owned())),
            "f:metadata": {"f:annotations": fields(&mut annotations.into_iter())},
        }))),
        ..ManagedFieldsEntry::default()
    }]
}

#[test]
fn of_a_newer_version_public_metadata_tells_until_when_a_token_is_valid() {
    let newer = with_state(|state| *state = json!({"version": 2, "unknown": [1]}));
    let entries = managed(MANAGER, &["access_token", "expires_at", "added"]);
    let read = Recorded::read(&newer, &Managed::of(&entries)).expect("a record");
    assert_eq!(read.keys, ["access_token", "added", "expires_at"]);
    assert_eq!(read.digest, None);
    let lifetime = read.token("ding1").expect("a token").lifetime;
    let seconds = (
        lifetime.requested_at.as_second(),
        lifetime.expires_at.as_second(),
    );
    assert_eq!(seconds, (110, 7300));
    // What others wrote could be anything.
    let entries = managed("other", &["access_token", "expires_at"]);
    assert_eq!(Recorded::read(&newer, &Managed::of(&entries)), None);
    assert_eq!(of(&newer), None);
    let mut many = newer;
    many.remove(crate::api::ANNOTATION_CORP_ID);
    let keys = ["a.access_token", "a.added", "b.access_token", "x.json"];
    let entries = managed(MANAGER, &keys);
    let read = Recorded::read(&many, &Managed::of(&entries)).expect("a record");
    assert_eq!(read.keys, ["*.access_token", "*.added", "x.json"]);
    assert_eq!(read.tokens.len(), 2);
    // A template's key that begins with the only corpId.
    let keys = ["access_token", "ding1.json", "expires_at"];
    let entries = managed(MANAGER, &keys);
    let newer = with_state(|state| *state = json!({"version": 2}));
    let read = Recorded::read(&newer, &Managed::of(&entries)).expect("a record");
    assert_eq!(read.keys, keys);
    // As many keys as there may be.
    for (more, is_read) in [(KEYS_MAX - 1, true), (KEYS_MAX, false)] {
        let keys: Vec<String> = (0..more).map(|n| format!("x{n:02}")).collect();
        let keys = keys.iter().map(String::as_str).chain(["access_token"]);
        let entries = managed(MANAGER, &keys.collect::<Vec<_>>());
        let read = Recorded::read(&newer, &Managed::of(&entries));
        assert_eq!(read.is_some(), is_read, "{more}");
    }
    // As many tokens as there may be.
    for (tokens, is_read) in [(TOKENS_MAX, true), (TOKENS_MAX + 1, false)] {
        let keys = (0..tokens).map(|n| format!("ding{n}.access_token"));
        let keys: Vec<String> = keys.collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let entries = managed(MANAGER, &keys);
        let read = Recorded::read(&many, &Managed::of(&entries));
        assert_eq!(read.is_some(), is_read, "{tokens}");
    }
}

#[test]
fn a_token_is_found_in_whatever_order_they_came() {
    let tokens = ["b", "c", "a"].map(|corp_id| token(corp_id, 100, 60, "5"));
    let many = recorded(&MANY, tokens.into());
    for corp_id in ["a", "b", "c"] {
        let found = many.token(corp_id).map(|token| token.corp_id.as_str());
        assert_eq!(found, Some(corp_id));
    }
    assert!(many.token("d").is_none());
}

#[test]
fn of_a_newer_version_an_expiry_that_cannot_be_true_is_not_believed() {
    let newer = with_state(|state| *state = json!({"version": 2}));
    let entries = managed(MANAGER, &["access_token", "expires_at"]);
    let read = Recorded::read(&newer, &Managed::of(&entries)).expect("a record");
    for (expires_at, is_believed) in [
        ("1970-01-01T02:00:00Z", true),
        // It has expired since; the other tokens of the Secret have not.
        ("1970-01-01T00:00:00Z", true),
        ("2099-01-01T00:00:00Z", false),
    ] {
        let value = |key: &str| match key {
            "access_token" => Some(b"0123456789abcdef".to_vec()),
            _ => Some(expires_at.as_bytes().to_vec()),
        };
        let data = Data::found(read.keys(), |key| value(key).map(Zeroizing::new));
        let tokens = data.tokens_recorded(&read);
        assert_eq!(tokens.is_some(), is_believed, "{expires_at}");
    }
}

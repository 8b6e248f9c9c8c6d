//! The rules by which the endpoint responds to requests.

use axum::http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::state::State;
use crate::tokens::fresh;

/// The parts of a request that the rules need.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Value,
    pub(crate) corp_id: &'a str,
}

impl Asked<'_> {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }
}

/// A response, with the error code for the journal.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    pub(crate) code: Option<String>,
}

/// Returns an error in DingTalk's format.
pub(crate) fn failure(status: u16, code: &str) -> Answered {
    let id = format!("{:016X}", rand::random::<u64>());
    let id = format!("{}-{}-{}-{}", &id[..4], &id[4..8], &id[8..12], &id[12..]);
    Answered {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        body: json!({"requestid": id, "code": code, "message": format!("the stub says {code}")}),
        code: Some(code.to_owned()),
    }
}

/// Returns an error in the format of the older API: HTTP status 200 with `errcode`.
pub(crate) fn legacy_failure(errcode: i64) -> Answered {
    Answered {
        status: StatusCode::OK,
        body: json!({"errcode": errcode, "errmsg": "the stub says so"}),
        code: Some(errcode.to_string()),
    }
}

/// Responds like [`checked`], unless the address is banned after too many failures.
pub(crate) fn by_the_rules(
    state: &mut State,
    asked: &Asked<'_>,
    expires_in: Option<Value>,
    now: Timestamp,
) -> Answered {
    if state.is_banned() {
        return legacy_failure(90017);
    }
    let answered = checked(state, asked, expires_in, now);
    if answered.code.is_some() {
        state.failed(now);
    }
    answered
}

/// Checks method, content type, body, grant type, corpId, credentials and authorisation, in this
/// order, then issues a token. `expires_in` overrides its lifetime in the response.
fn checked(
    state: &mut State,
    asked: &Asked<'_>,
    expires_in: Option<Value>,
    now: Timestamp,
) -> Answered {
    let json_type = asked
        .headers
        .get("content-type")
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| {
            kind.split(';')
                .next()
                .is_some_and(|kind| kind.trim() == "application/json")
        });
    if asked.method != Method::POST {
        return failure(405, "MethodNotAllowed");
    }
    if !json_type {
        return failure(400, "InvalidContentType");
    }
    if !asked.body.is_object() {
        return failure(400, "Invalidbody");
    }
    for name in ["client_id", "client_secret", "grant_type"] {
        if asked.text(name).is_none() {
            return failure(400, &format!("Missing{name}"));
        }
    }
    if asked.text("grant_type") != Some("client_credentials") {
        return failure(400, "unsupported.grant.type");
    }
    let client_id = asked.text("client_id").unwrap_or_default();
    if state.is_throttled(client_id, now) {
        return failure(403, "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi");
    }
    if !state.corp_ids.contains(asked.corp_id) {
        return failure(500, "unknownError");
    }
    let secret = asked.text("client_secret").unwrap_or_default();
    let Some(app) = state
        .apps
        .get(client_id)
        .filter(|app| app.client_secrets.iter().any(|valid| valid == secret))
    else {
        return failure(400, "invalid.client");
    };
    if !app.corp_ids.contains(asked.corp_id) {
        return failure(401, "unauthorized.client");
    }
    let holder = (client_id.to_owned(), asked.corp_id.to_owned());
    let fresh = fresh(&state.settings.token_prefix, state.settings.token_length);
    let (token, life) = state.tokens.issue(holder, &state.settings, fresh, now);
    let mut body = json!({"access_token": token, "expires_in": expires_in.unwrap_or(json!(life))});
    if let Some(fields) = body
        .as_object_mut()
        .filter(|fields| fields["expires_in"].is_null())
    {
        fields.remove("expires_in");
    }
    Answered {
        status: StatusCode::OK,
        body,
        code: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{App, Repeat};

    fn state() -> State {
        let mut state = State::default();
        state.register(App {
            client_id: "app".into(),
            client_secrets: vec!["old".into(), "new".into()],
            corp_ids: BTreeSet::from(["corp".into()]),
        });
        state.corp_ids.insert("stranger".into());
        state
    }

    fn ask(
        state: &mut State,
        method: &Method,
        kind: &str,
        corp_id: &str,
        body: &Value,
        second: i64,
    ) -> Answered {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", kind.parse().expect("a header"));
        let asked = Asked {
            method,
            headers: &headers,
            body,
            corp_id,
        };
        by_the_rules(
            state,
            &asked,
            None,
            Timestamp::from_second(second).expect("a time"),
        )
    }

    fn good() -> Value {
        json!({"client_id": "app", "client_secret": "new", "grant_type": "client_credentials"})
    }

    #[test]
    fn an_address_of_many_failures_within_a_minute_is_banned() {
        let mut state = state();
        state.settings.failures_before_ban = Some(2);
        let mut code = |corp_id: &str, second: i64| {
            let kind = "application/json";
            let answered = ask(&mut state, &Method::POST, kind, corp_id, &good(), second);
            answered.code.unwrap_or_default()
        };
        for second in [0, 1, 61, 62] {
            assert_eq!(code("nowhere", second), "unknownError");
            assert_eq!(code("corp", second), "");
        }
        assert_eq!(code("nowhere", 63), "unknownError");
        assert_eq!(code("corp", 63), "90017");
    }

    #[test]
    fn requests_are_checked_in_order() {
        let with = |field: &str, value: &str| {
            let mut body = good();
            body[field] = json!(value);
            body
        };
        let cases = [
            (
                Method::GET,
                "text/plain",
                "nowhere",
                json!(1),
                "MethodNotAllowed",
            ),
            (
                Method::POST,
                "text/plain",
                "nowhere",
                json!(1),
                "InvalidContentType",
            ),
            (
                Method::POST,
                "application/json",
                "nowhere",
                json!(1),
                "Invalidbody",
            ),
            (
                Method::POST,
                "application/json",
                "nowhere",
                json!({}),
                "Missingclient_id",
            ),
            (
                Method::POST,
                "application/json",
                "nowhere",
                with("grant_type", "x"),
                "unsupported.grant.type",
            ),
            (
                Method::POST,
                "application/json",
                "nowhere",
                with("client_secret", "x"),
                "unknownError",
            ),
            (
                Method::POST,
                "application/json",
                "stranger",
                with("client_secret", "x"),
                "invalid.client",
            ),
            (
                Method::POST,
                "application/json",
                "stranger",
                good(),
                "unauthorized.client",
            ),
        ];
        for (method, kind, corp_id, body, code) in cases {
            let answered = ask(&mut state(), &method, kind, corp_id, &body, 0);
            assert_eq!(answered.code.as_deref(), Some(code));
        }
        let answered = ask(
            &mut state(),
            &Method::POST,
            "application/json; charset=utf-8",
            "corp",
            &good(),
            0,
        );
        assert_eq!(answered.body["expires_in"], 7200);
    }

    #[test]
    fn the_five_ways_of_a_repeated_fetch() {
        for (repeat, same, expires_in, old_lives) in [
            (Repeat::SameThenOverlap, true, 6200, true),
            (Repeat::SameExtended, true, 7200, true),
            (Repeat::SameRemaining, true, 6200, true),
            (Repeat::NewOverlap, false, 7200, true),
            (Repeat::NewRevoked, false, 7200, false),
        ] {
            let mut state = state();
            state.settings.repeat = repeat;
            let mut fetch = |second| {
                ask(
                    &mut state,
                    &Method::POST,
                    "application/json",
                    "corp",
                    &good(),
                    second,
                )
                .body
            };
            let (first, second) = (fetch(0), fetch(1000));
            assert_eq!(
                first["access_token"] == second["access_token"],
                same,
                "{repeat:?}"
            );
            assert_eq!(second["expires_in"], expires_in, "{repeat:?}");
            let valid = |body: &Value| {
                let token = body["access_token"].as_str().expect("a token");
                state
                    .tokens
                    .holder(token, Timestamp::from_second(1001).expect("a time"))
                    .is_some()
            };
            assert!(valid(&second));
            assert_eq!(valid(&first), old_lives, "{repeat:?}");
        }
    }

    #[test]
    fn the_same_token_until_its_last_seconds_then_a_new_one_while_it_lives_on() {
        let mut state = state();
        state.settings.repeat = Repeat::SameThenOverlap;
        state.settings.overlap = 600;
        let mut fetch = |second| {
            let kind = "application/json";
            let body = ask(&mut state, &Method::POST, kind, "corp", &good(), second).body;
            let token = body["access_token"].as_str().expect("a token").to_owned();
            (token, body["expires_in"].as_i64().expect("a life"))
        };
        let (first, _) = fetch(0);
        assert_eq!(fetch(6599), (first.clone(), 601));
        let (second, life) = fetch(6600);
        assert_eq!(life, 7200);
        assert_ne!(first, second);
        assert_eq!(fetch(6700), (second, 7100));
        let is_valid = |second| {
            let now = Timestamp::from_second(second).expect("a time");
            state.tokens.holder(&first, now).is_some()
        };
        assert!(is_valid(7199) && !is_valid(7200));
    }

    #[test]
    fn a_client_that_calls_too_often_is_throttled() {
        let mut state = state();
        let mut code = |second| {
            ask(
                &mut state,
                &Method::POST,
                "application/json",
                "corp",
                &good(),
                second,
            )
            .code
        };
        assert!((0..20).all(|_| code(5).is_none()));
        assert!(code(5).expect("throttled").contains("QpsLimitForAppkey"));
        assert_eq!(code(7), None);
    }
}

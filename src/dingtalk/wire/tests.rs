use reqwest::header::HeaderValue;

use super::*;
use crate::api::Reason;

const SECRET: &str = "very-secret-value-0001";

fn answer(status: u16, body: &str) -> Result<TokenResponse, Failure> {
    with_headers(status, body, None)
}

fn with_headers(
    status: u16,
    body: &str,
    retry_after: Option<&str>,
) -> Result<TokenResponse, Failure> {
    let retry_after = retry_after.map(|value| {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header");
        (RETRY_AFTER, value)
    });
    let raw = RawAnswer {
        status,
        headers: retry_after.into_iter().collect(),
        body: Zeroizing::new(body.as_bytes().to_vec()),
        cut: false,
    };
    interpret(&raw, &[SECRET], &[], Timestamp::UNIX_EPOCH)
}

#[test]
fn no_field_of_an_answer_shows_or_hides_what_nobody_sees() {
    let unseen = "\u{202e}\u{200b}\u{e0041}";
    let hidden: String = SECRET.chars().flat_map(|c| [c, '\u{200b}']).collect();
    let codes = ["code", "errcode", "sub_code"];
    let texts = [
        "requestid",
        "requestId",
        "request_id",
        "message",
        "errmsg",
        "sub_msg",
    ];
    for name in codes.into_iter().chain(texts) {
        let body = |value: &str| serde_json::json!({"code": "x", name: value}).to_string();
        let shown = format!("{:?}", failure(400, &body(&format!("a{unseen}b"))));
        assert!(
            shown.contains("ab") || name == "errcode" || name == "sub_code",
            "{shown}"
        );
        assert!(!shown.contains("\\u{"), "{name}: {shown}");
        let shown = format!("{:?}", failure(400, &body(&hidden)));
        assert!(
            !shown.contains("\\u{200b}") && !shown.contains("v\u{200b}"),
            "{shown}"
        );
    }
    let headers = with_headers(503, "<p>", Some("\u{202e}1")).expect_err("an answer");
    assert_eq!((headers.wait, headers.code), (None, None));
}

fn failure(status: u16, body: &str) -> Failure {
    answer(status, body).expect_err(body)
}

#[test]
fn a_token_as_documented() {
    let response = answer(200, r#"{"access_token":"abc","expires_in":7200}"#).expect("fetched");
    assert_eq!(response.token.expose(), "abc");
    assert_eq!(response.expires_in, Duration::from_secs(7200));
}

#[test]
fn expires_in_of_any_value() {
    let lifetime = |value: &str| {
        answer(
            200,
            &format!(r#"{{"access_token":"abc","expires_in":{value}}}"#),
        )
        .map(|response| response.expires_in.as_secs())
        .map_err(|failure| failure.reason)
    };
    assert_eq!(lifetime("1"), Ok(1));
    assert_eq!(lifetime("7200.9"), Ok(7200));
    assert_eq!(lifetime(r#""7200""#), Ok(7200));
    assert_eq!(lifetime("9e99"), Ok(2_592_000));
    for bad in [
        "0",
        "-5",
        "null",
        r#""soon""#,
        "[]",
        "{}",
        "true",
        r#""NaN""#,
    ] {
        assert_eq!(lifetime(bad), Err(Reason::InvalidResponse), "{bad}");
    }
    let failure = failure(200, r#"{"access_token":"abc"}"#);
    assert_eq!(failure.reason, Reason::InvalidResponse);
    assert_eq!(failure.http_status, Some(200));
    assert!(failure.message.is_some(), "what is wrong with it");
}

#[test]
fn a_success_with_an_error_in_it_is_a_failure() {
    let with = |extra: &str| {
        failure(
            200,
            &format!(r#"{{"access_token":"abc","expires_in":7200,{extra}}}"#),
        )
        .reason
    };
    assert_eq!(
        with(r#""code":"invalid.client""#),
        Reason::InvalidCredentials
    );
    assert_eq!(with(r#""errcode":90018"#), Reason::Throttled);
    assert_eq!(with(r#""code":{"a":1}"#), Reason::InvalidResponse);
    let legacy = r#"{"errcode":0,"errmsg":"ok","access_token":"abc","expires_in":7200}"#;
    assert!(answer(200, legacy).is_ok());
}

#[test]
fn bodies_of_any_shape_are_survived() {
    let deep = "[".repeat(100_000);
    let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(200_000));
    for body in [
        "",
        "   ",
        "null",
        "[]",
        "17",
        "{",
        r#"{"access_token":"#,
        "\u{0}",
        &deep,
    ] {
        assert_eq!(
            failure(200, body).reason,
            Reason::InvalidResponse,
            "{body:.20}"
        );
        assert_eq!(failure(502, body).reason, Reason::ServerError, "{body:.20}");
    }
    assert_eq!(failure(400, &long).message.map(|m| m.len()), Some(256));
    let twice = r#"{"code":"x","code":"invalid.client","message":1,"requestid":[]}"#;
    assert_eq!(failure(400, twice).reason, Reason::InvalidCredentials);
    for token in ["1", "null", r#""""#, r#""a b""#] {
        let body = format!(r#"{{"access_token":{token},"expires_in":7200}}"#);
        assert_eq!(failure(200, &body).reason, Reason::InvalidResponse);
    }
}

#[test]
fn html_is_recognised() {
    let page = failure(403, "\n<!DOCTYPE html><title>denied</title>");
    assert!(page.html);
    assert_eq!(page.reason, Reason::RequestRejected);
    assert!(page.message.expect("described").contains("HTML"));
}

#[test]
fn the_error_is_handed_on_verbatim() {
    let failed = failure(
        401,
        r#"{"requestid":"AB-1","code":"unauthorized.client","message":"no"}"#,
    );
    assert_eq!(failed.code.as_deref(), Some("unauthorized.client"));
    assert_eq!(failed.request_id.as_deref(), Some("AB-1"));
    assert_eq!(failed.message.as_deref(), Some("no"));
    assert_eq!(failed.http_status, Some(401));
}

#[test]
fn echoes_are_dropped_from_every_field() {
    for secret in [SECRET, "TokenInTheSameAnswer01"] {
        let body = serde_json::json!({
            "access_token": "TokenInTheSameAnswer01", "code": format!("bad.{secret}"),
            "message": format!("<b>{secret}</b>"), "requestid": secret,
        });
        let failed = failure(400, &body.to_string());
        assert_eq!(
            (failed.code, failed.message, failed.request_id),
            (None, None, None)
        );
    }
}

#[test]
fn a_ban_says_how_long() {
    let banned = |wait: &str| {
        failure(
            200,
            &format!(r#"{{"status":1111,"wait":{wait},"punish":"deny"}}"#),
        )
    };
    assert_eq!(banned("5").wait, Some(Duration::from_secs(300)));
    assert_eq!(banned("600").wait, Some(Duration::from_secs(600)));
    assert_eq!(banned("1e300").wait, Some(BAN_MAX));
    assert_eq!(banned("5").reason, Reason::Banned);
    for body in [r#"{"status":1111}"#, r#"{"punish":"deny"}"#] {
        assert_eq!(failure(200, body).reason, Reason::Banned, "{body}");
    }
}

#[test]
fn retry_after_in_both_forms() {
    let wait = |header| {
        with_headers(429, "{}", Some(header))
            .expect_err("throttled")
            .wait
    };
    assert_eq!(wait("17"), Some(Duration::from_secs(17)));
    assert_eq!(wait("86400"), Some(Duration::from_secs(600)));
    assert_eq!(
        wait("Thu, 01 Jan 1970 00:00:30 GMT"),
        Some(Duration::from_secs(30))
    );
    assert_eq!(wait("soon"), None);
}

//! Wire format: writes requests, and reads a response of any shape as a token or a classified failure.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER};
use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::failure::{Failure, look_up};
use super::{AccessToken, Class, Redactor};

/// Maximum number of bytes read from a response. A token takes a few hundred.
pub(super) const BODY_MAX: usize = 64 * 1024;
/// Upper limit for a token's lifetime. Longer ones are shortened to this.
pub const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Upper limit for the wait of a `Retry-After` header.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// Upper limit for the wait of a ban.
const BAN_MAX: Duration = Duration::from_secs(3600);

/// Body of a token request, with the field names of OAuth 2.0.
#[derive(Serialize)]
pub(super) struct TokenRequest<'a> {
    pub client_id: &'a str,
    pub client_secret: &'a str,
    pub grant_type: &'static str,
}

/// A fetched token and its lifetime.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenResponse {
    /// The token.
    pub token: AccessToken,
    /// Lifetime from the start of the request; 1 s to [`LIFETIME_MAX`].
    pub expires_in: Duration,
}

/// An HTTP response.
pub(super) struct RawAnswer {
    pub status: u16,
    pub headers: HeaderMap,
    /// First bytes of the body, at most [`BODY_MAX`].
    pub body: Zeroizing<Vec<u8>>,
    /// Whether the body was longer than [`BODY_MAX`].
    pub cut: bool,
}

/// Returns the value of a header, if it is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the token or the failure in a response.
///
/// The failure's texts contain none of `secrets`; see [`Redactor::new`] for `public`.
pub(super) fn interpret(
    answer: &RawAnswer,
    secrets: &[&str],
    public: &[&str],
    now: Timestamp,
) -> Result<TokenResponse, Failure> {
    let wait = retry_after(header(&answer.headers, &RETRY_AFTER), now);
    let Ok(Value::Object(mut body)) = serde_json::from_slice::<Value>(&answer.body) else {
        let (row, _) = look_up(&[], answer.status);
        let html = is_html(answer);
        return Err(Failure {
            http_status: Some(answer.status),
            message: Some(describe_body(answer, html)),
            wait,
            html,
            ..Failure::of(row)
        });
    };
    let token = body.get_mut("access_token").map(Value::take);
    let codes = codes(&body);
    if (200..300).contains(&answer.status) && codes.is_empty() {
        return response(token, body.get("expires_in")).map_err(|message| Failure {
            http_status: Some(answer.status),
            message: Some(message.to_owned()),
            ..Failure::of(look_up(&[], answer.status).0)
        });
    }
    let returned = token.as_ref().and_then(Value::as_str);
    let redactor = Redactor::new(
        secrets.iter().copied().chain(returned),
        public.iter().copied(),
    );
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let (row, decisive) = look_up(&codes, answer.status);
    let clean = |names| text(&body, names).and_then(|text| redactor.clean(text));
    Err(Failure {
        code: decisive.and_then(|code| redactor.clean(code)),
        http_status: Some(answer.status),
        request_id: clean(&["requestid", "requestId", "request_id"]),
        message: clean(&["message", "errmsg", "sub_msg"]),
        wait: match row.class {
            Class::Banned => ban(&body).or(wait),
            _ => wait,
        },
        ..Failure::of(row)
    })
}

/// Reads a successful response. Fails with a message if it has no usable token.
fn response(
    token: Option<Value>,
    expires_in: Option<&Value>,
) -> Result<TokenResponse, &'static str> {
    let token = match token {
        Some(Value::String(text)) => AccessToken::new(text)
            .ok_or("access_token is not 1 to 4096 visible ASCII characters")?,
        Some(_) => return Err("access_token is not a string"),
        None => return Err("the response has no access_token"),
    };
    let expires_in = expires_in.and_then(seconds);
    let expires_in = expires_in.ok_or("expires_in is missing or not a number of seconds")?;
    if expires_in < 1.0 {
        return Err("expires_in is less than a second");
    }
    Ok(TokenResponse {
        token,
        expires_in: Duration::from_secs_f64(expires_in.min(LIFETIME_MAX.as_secs_f64()).floor()),
    })
}

/// Reads a number, or text that contains one.
fn seconds(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite())
}

/// Returns the values of `code`, `errcode` and `sub_code`, in this order. Leaves out zero, which means
/// success in the older API.
fn codes(body: &Map<String, Value>) -> Vec<String> {
    let mut codes: Vec<String> = ["code", "errcode", "sub_code"]
        .into_iter()
        .filter_map(|name| match body.get(name)? {
            Value::String(text) => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null => None,
            _ => Some(format!("{name} has the wrong type")),
        })
        .filter(|code| !code.is_empty() && code != "0")
        .collect();
    // The firewall responds without a code: {"status":1111,"wait":5,"punish":"deny"}.
    if body.contains_key("punish") || body.get("status").and_then(Value::as_i64) == Some(1111) {
        codes.push("1111".to_owned());
    }
    codes
}

fn text<'a>(body: &'a Map<String, Value>, names: &[&str]) -> Option<&'a str> {
    names
        .iter()
        .find_map(|name| body.get(*name).and_then(Value::as_str))
}

/// Reads the `wait` of a ban. Its unit is undocumented. Since a ban of five minutes has the value 5,
/// values up to 60 are taken for minutes, others for seconds.
fn ban(body: &Map<String, Value>) -> Option<Duration> {
    let wait = body.get("wait").and_then(seconds)?.clamp(0.0, 1e6);
    let wait = if wait <= 60.0 { wait * 60.0 } else { wait };
    Some(Duration::from_secs_f64(wait).min(BAN_MAX))
}

/// Reads a `Retry-After` header: a number of seconds or an HTTP date.
fn retry_after(header: Option<&str>, now: Timestamp) -> Option<Duration> {
    let header = header?.trim();
    let wait = match header.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = Timestamp::try_from(httpdate::parse_http_date(header).ok()?).ok()?;
            Duration::try_from(date.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn is_html(answer: &RawAnswer) -> bool {
    let content_type = header(&answer.headers, &CONTENT_TYPE);
    content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("text/html"))
        || answer.body.trim_ascii_start().starts_with(b"<")
}

/// Describes a body that is not a JSON object, without quoting it.
fn describe_body(answer: &RawAnswer, html: bool) -> String {
    if answer.cut {
        return format!("the response is longer than {} KiB", BODY_MAX / 1024);
    }
    let described = if html {
        "the response is HTML instead of JSON; it may come from a gateway or firewall"
    } else if answer.body.trim_ascii().is_empty() {
        "the response is empty"
    } else {
        "the response is not a JSON object"
    };
    described.to_owned()
}

#[cfg(test)]
mod tests;

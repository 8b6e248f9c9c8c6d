//! Wire format: writes requests, and reads a response of any shape as a token or a classified failure.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::failure::{Failure, look_up};
use super::{AccessToken, Class, Credentials, Redactor};
use crate::api::Reason;

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
    client_id: &'a str,
    client_secret: &'a str,
    grant_type: &'static str,
}

impl<'a> TokenRequest<'a> {
    /// Creates a request for the client credentials grant.
    pub(super) fn new(credentials: &'a Credentials) -> Self {
        use secrecy::ExposeSecret;
        Self {
            client_id: &credentials.client_id,
            client_secret: credentials.client_secret.expose_secret(),
            grant_type: "client_credentials",
        }
    }
}

/// A fetched token and its lifetime.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenResponse {
    /// The token.
    pub token: AccessToken,
    /// Lifetime from the start of the request; 1 s to [`LIFETIME_MAX`].
    pub expires_in: Duration,
}

/// The parts of an HTTP response that are needed to interpret it.
pub(super) struct RawAnswer<'a> {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// `Retry-After` header.
    pub retry_after: Option<&'a str>,
    /// First bytes of the body, at most [`BODY_MAX`].
    pub body: &'a [u8],
    /// Whether the body was longer than [`BODY_MAX`].
    pub cut: bool,
}

/// Returns the token or the failure in a response.
///
/// The failure's texts contain none of `secrets`; see [`Redactor::new`] for `public`.
pub(super) fn interpret(
    answer: &RawAnswer<'_>,
    secrets: &[&str],
    public: &[&str],
    now: Timestamp,
) -> Result<TokenResponse, Failure> {
    let html = is_html(answer);
    let Ok(Value::Object(mut body)) = serde_json::from_slice::<Value>(answer.body) else {
        let (row, _) = look_up(&[], answer.status);
        return Err(Failure {
            http_status: Some(answer.status),
            message: Some(describe_body(answer, html)),
            wait: retry_after(answer.retry_after, now),
            html,
            ..Failure::of(row)
        });
    };
    let token = body.get_mut("access_token").map(Value::take);
    let codes = codes(&body);
    let success = (200..300).contains(&answer.status) && codes.is_empty();
    if success {
        return response(token, body.get("expires_in"), answer.status);
    }
    let returned = token.as_ref().and_then(Value::as_str);
    let redactor = Redactor::new(
        secrets.iter().copied().chain(returned),
        public.iter().copied(),
    );
    let borrowed: Vec<&str> = codes.iter().map(String::as_str).collect();
    let (row, decisive) = look_up(&borrowed, answer.status);
    let wait = match row.class {
        Class::Banned => ban(&body).or_else(|| retry_after(answer.retry_after, now)),
        _ => retry_after(answer.retry_after, now),
    };
    Err(Failure {
        code: decisive.and_then(|code| redactor.clean(code)),
        http_status: Some(answer.status),
        request_id: text(&body, &["requestid", "requestId", "request_id"])
            .and_then(|id| redactor.clean(id)),
        message: text(&body, &["message", "errmsg", "sub_msg"])
            .and_then(|message| redactor.clean(message)),
        wait,
        ..Failure::of(row)
    })
}

fn response(
    token: Option<Value>,
    expires_in: Option<&Value>,
    status: u16,
) -> Result<TokenResponse, Failure> {
    let invalid = |message: String| {
        let (row, _) = look_up(&[], 200);
        debug_assert_eq!(row.reason, Reason::InvalidResponse);
        Failure {
            http_status: Some(status),
            message: Some(message),
            ..Failure::of(row)
        }
    };
    let token = match token {
        Some(Value::String(text)) => AccessToken::new(text).ok_or_else(|| {
            invalid("access_token is not 1 to 4096 visible ASCII characters".to_owned())
        })?,
        Some(_) => return Err(invalid("access_token is not a string".to_owned())),
        None => return Err(invalid("the response has no access_token".to_owned())),
    };
    let expires_in = expires_in
        .and_then(seconds)
        .ok_or_else(|| invalid("expires_in is missing or not a number of seconds".to_owned()))?;
    if expires_in < 1.0 {
        return Err(invalid("expires_in is less than a second".to_owned()));
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

fn is_html(answer: &RawAnswer<'_>) -> bool {
    let says_so = answer
        .content_type
        .is_some_and(|kind| kind.to_ascii_lowercase().contains("text/html"));
    says_so || answer.body.trim_ascii_start().starts_with(b"<")
}

/// Describes a body that is not a JSON object, without quoting it.
fn describe_body(answer: &RawAnswer<'_>, html: bool) -> String {
    match (answer.cut, html, answer.body.trim_ascii().is_empty()) {
        (true, ..) => format!("the response is longer than {} KiB", BODY_MAX / 1024),
        (_, true, _) => {
            "the response is HTML instead of JSON; it may come from a gateway or firewall"
                .to_owned()
        }
        (.., true) => "the response is empty".to_owned(),
        _ => "the response is not a JSON object".to_owned(),
    }
}

#[cfg(test)]
mod tests;

//! DingTalk's other APIs. They record each call, check its token, and respond with the request.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{Html, IntoResponse as _, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::{failure, legacy_failure};
use crate::state::Shared;

const REFUSED: &str = "InvalidAuthentication";
const INVALID: i64 = 40014;
const EXPIRED: i64 = 42001;
/// `errcode` for responses with the code in `sub_code`.
const SEE_SUB_CODE: i64 = 88;
const FORBIDDEN: &str = "Forbidden.AccessDenied.AccessTokenPermissionDenied";
const LEGACY_FORBIDDEN: i64 = 60011;

/// Response of the APIs to a valid token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Apis {
    /// The request.
    #[default]
    Normal,
    /// An error: a permission is missing.
    Forbidden,
    /// An HTML page with HTTP status 200.
    Html,
}

/// A call of an API, without its token.
#[derive(Clone, Debug, Serialize)]
pub struct ApiCall {
    /// HTTP method.
    pub method: String,
    /// Path.
    pub path: String,
    /// Query without `access_token`.
    pub query: String,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// Body, as text.
    pub body: String,
    /// The token's client_id and corpId, if it was valid.
    pub holder: Option<(String, String)>,
}

/// A current API: the token is in a header, and errors have an HTTP status.
pub(crate) async fn current(
    Extract(state): Extract<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = headers
        .get("x-acs-dingtalk-access-token")
        .and_then(|token| token.to_str().ok())
        .unwrap_or_default();
    let mut state = state.lock();
    let holder = state.tokens.holder(token, Timestamp::now()).cloned();
    let call = recorded(&method, &uri, &headers, &body, holder);
    state.api_calls.push(call.clone());
    let answered = match (&call.holder, state.settings.apis) {
        (Some(_), Apis::Normal) => return accepted(&call, None),
        (Some(_), Apis::Html) => return page(),
        (Some(_), Apis::Forbidden) => failure(403, FORBIDDEN),
        (None, _) => failure(400, REFUSED),
    };
    let message = format!("the stub refuses the token {token}");
    let body = with(answered.body, "message", message);
    (answered.status, Json(body)).into_response()
}

/// An older API: the token is in the query, and errors have the HTTP status 200.
pub(crate) async fn legacy(
    Extract(state): Extract<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = uri.query().unwrap_or_default();
    let token = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("access_token="))
        .unwrap_or_default();
    let now = Timestamp::now();
    let mut state = state.lock();
    let holder = state.tokens.holder(token, now).cloned();
    let call = recorded(&method, &uri, &headers, &body, holder);
    state.api_calls.push(call.clone());
    let errcode = match (&call.holder, state.settings.apis) {
        (Some(_), Apis::Normal) => return accepted(&call, Some(0)),
        (Some(_), Apis::Html) => return page(),
        (Some(_), Apis::Forbidden) => LEGACY_FORBIDDEN,
        (None, _) if state.tokens.has_expired(token, now) => EXPIRED,
        (None, _) => INVALID,
    };
    let body = match state.settings.errors_in_sub_code {
        true => {
            let body = legacy_failure(SEE_SUB_CODE).body;
            with(body, "sub_code", errcode.to_string())
        }
        false => legacy_failure(errcode).body,
    };
    let message = format!("the stub refuses the token {token}");
    Json(with(body, "errmsg", message)).into_response()
}

fn recorded(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
    holder: Option<(String, String)>,
) -> ApiCall {
    let query = uri.query().unwrap_or_default().split('&');
    let query: Vec<&str> = query
        .filter(|pair| !pair.starts_with("access_token="))
        .collect();
    let content_type = headers
        .get("content-type")
        .and_then(|kind| kind.to_str().ok());
    ApiCall {
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: query.join("&"),
        content_type: content_type.map(str::to_owned),
        body: String::from_utf8_lossy(body).into_owned(),
        holder,
    }
}

fn accepted(call: &ApiCall, errcode: Option<i64>) -> Response {
    let (client_id, corp_id) = call.holder.clone().unwrap_or_default();
    let mut body = json!({
        "client_id": client_id, "corp_id": corp_id,
        "method": call.method, "path": call.path, "query": call.query, "body": call.body,
    });
    if let Some(errcode) = errcode {
        body["errcode"] = json!(errcode);
    }
    Json(body).into_response()
}

fn page() -> Response {
    Html("<!DOCTYPE html><html><title>Forbidden</title></html>").into_response()
}

fn with(mut body: Value, field: &str, text: String) -> Value {
    body[field] = Value::String(text);
    body
}

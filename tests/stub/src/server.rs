//! The HTTP server.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, State as Extract};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::serve::IncomingStream;
use axum::{Json, Router};
use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use socket2::{SockRef, Socket};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::answer::{Asked, by_the_rules, failure, legacy_failure};
use crate::script::take;
use crate::state::Shared;
use crate::tokens::fresh;
use crate::{ApiCall, App, Behaviour, Call, Place, Script, Settings, admin, api};

/// A running stub, which stops on drop.
pub struct Stub {
    address: SocketAddr,
    state: Shared,
    task: JoinHandle<()>,
}

impl Stub {
    /// Starts a stub on a loopback port, or on a free one if `port` is 0.
    ///
    /// # Errors
    /// The port could not be bound.
    pub async fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let state = Shared::default();
        let routes = Router::new()
            .route("/v1.0/oauth2/{corp_id}/token", any(token))
            .route("/v1.0/{*path}", any(api::current))
            .route("/topapi/{*path}", any(api::legacy))
            .merge(admin::routes())
            .with_state(state.clone())
            .into_make_service_with_connect_info::<Connection>();
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self {
            address,
            state,
            task,
        })
    }

    /// Returns the base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Registers an app with a single client secret, authorised by these corps.
    pub fn register(&self, client_id: &str, client_secret: &str, corp_ids: &[&str]) {
        self.add_app(App {
            client_id: client_id.to_owned(),
            client_secrets: vec![client_secret.to_owned()],
            corp_ids: corp_ids.iter().map(|id| (*id).to_owned()).collect(),
        });
    }

    /// Registers an app.
    pub fn add_app(&self, app: App) {
        self.state.lock().register(app);
    }

    /// Sets the valid client secrets of an app.
    pub fn set_secrets(&self, client_id: &str, client_secrets: &[&str]) {
        if let Some(app) = self.state.lock().apps.get_mut(client_id) {
            app.client_secrets = client_secrets
                .iter()
                .map(|secret| (*secret).to_owned())
                .collect();
        }
    }

    /// Adds a corp that has not authorised any app.
    pub fn add_corp(&self, corp_id: &str) {
        self.state.lock().corp_ids.insert(corp_id.to_owned());
    }

    /// Changes the settings.
    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state.lock().settings);
    }

    /// Adds a script, which applies after earlier ones.
    pub fn script(&self, script: Script) {
        self.state.lock().scripts.push(script);
    }

    /// Sets the behaviour for the next `calls` calls for a corp; `None` means all calls.
    pub fn next_calls(&self, corp_id: &str, calls: Option<u32>, behaviour: Behaviour) {
        let corp_id = Some(corp_id.to_owned());
        self.script(Script {
            client_id: None,
            corp_id,
            calls,
            behaviour,
        });
    }

    /// Removes all scripts.
    pub fn clear_scripts(&self) {
        self.state.lock().scripts.clear();
    }

    /// Returns the calls of the token endpoint for a corp.
    pub fn calls(&self, corp_id: &str) -> Vec<Call> {
        let state = self.state.lock();
        state
            .journal
            .iter()
            .filter(|call| call.corp_id == corp_id)
            .cloned()
            .collect()
    }

    /// Returns all calls of the token endpoint.
    pub fn journal(&self) -> Vec<Call> {
        self.state.lock().journal.clone()
    }

    /// Returns all calls of the other APIs.
    pub fn api_calls(&self) -> Vec<ApiCall> {
        self.state.lock().api_calls.clone()
    }

    /// Issues a token for a client_id and corpId, without a call.
    pub fn issue(&self, client_id: &str, corp_id: &str) -> String {
        let mut state = self.state.lock();
        let state = &mut *state;
        let holder = (client_id.to_owned(), corp_id.to_owned());
        let fresh = fresh(&state.settings.token_prefix, state.settings.token_length);
        let now = Timestamp::now();
        state.tokens.issue(holder, &state.settings, fresh, now).0
    }

    /// Returns the client_id and corpId of a token; `None` if it was not valid at this time.
    pub fn holder(&self, token: &str, at: Timestamp) -> Option<(String, String)> {
        self.state.lock().tokens.holder(token, at).cloned()
    }

    /// Whether the APIs would accept the token.
    pub fn accepts(&self, token: &str) -> bool {
        self.state
            .lock()
            .tokens
            .holder(token, Timestamp::now())
            .is_some()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection, which a script can reset.
#[derive(Clone)]
struct Connection(Option<Arc<Socket>>);

impl Connected<IncomingStream<'_, TcpListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(SockRef::from(stream.io()).try_clone().ok().map(Arc::new))
    }
}

/// Counts a call as in flight until it is dropped, even if the client disconnects.
struct InFlight(Shared);

impl InFlight {
    fn start(state: &Shared) -> (Self, usize) {
        let mut locked = state.lock();
        locked.in_flight += 1;
        (Self(state.clone()), locked.in_flight)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}

async fn token(
    Extract(state): Extract<Shared>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let now = Timestamp::now();
    let (_in_flight, concurrency) = InFlight::start(&state);
    let path = uri.path().to_owned();
    let segment = path.split('/').nth(3).unwrap_or_default();
    let corp_id = percent_encoding::percent_decode_str(segment)
        .decode_utf8_lossy()
        .into_owned();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let asked = Asked {
        method: &method,
        headers: &headers,
        body: &body,
        corp_id: &corp_id,
    };
    let client_id = asked.text("client_id").map(str::to_owned);
    let (entry, behaviour, latency) = {
        let mut state = state.lock();
        state.journal.push(Call {
            at: now,
            method: method.to_string(),
            path: path.clone(),
            host: headers
                .get(axum::http::header::HOST)
                .and_then(|host| host.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
            client_id: client_id.as_deref().map(shortened),
            corp_id: corp_id.clone(),
            concurrency,
            status: None,
            code: None,
        });
        let behaviour = take(&mut state.scripts, client_id.as_deref(), &corp_id);
        (state.journal.len() - 1, behaviour, state.settings.latency)
    };
    if latency > 0 {
        sleep(Duration::from_millis(latency)).await;
    }
    let rules = |expires_in| by_the_rules(&mut state.lock(), &asked, expires_in, now);
    let mut trickle = None;
    let answered = match behaviour {
        Behaviour::Normal => rules(None),
        Behaviour::ExpiresIn(value) => rules(Some(value)),
        Behaviour::HeadersLate(milliseconds) => {
            sleep(Duration::from_millis(milliseconds)).await;
            rules(None)
        }
        Behaviour::BodyTrickles(milliseconds) => {
            trickle = Some(Duration::from_millis(milliseconds));
            rules(None)
        }
        Behaviour::Fail { status, code } => failure(status, &code),
        Behaviour::FailLegacy { errcode } => legacy_failure(errcode),
        Behaviour::Raw {
            status,
            content_type,
            headers,
            body,
        } => {
            state.lock().journal[entry].status = Some(status);
            return raw(status, content_type, headers, body);
        }
        Behaviour::Echo { place, status } => {
            let last = client_id.map(|id| (id, corp_id.clone()));
            let token = last
                .and_then(|holder| state.lock().tokens.last(&holder).map(str::to_owned))
                .unwrap_or_default();
            let secret = asked.text("client_secret").unwrap_or_default();
            state.lock().journal[entry].status = Some(status);
            return echo(place, status, secret, &token);
        }
        Behaviour::Reset => {
            if let Some(socket) = &connection.0 {
                let _ = socket.set_linger(Some(Duration::ZERO));
            }
            let broken = stream::once(async { Err::<Bytes, _>(io::Error::other("reset")) });
            return Body::from_stream(broken).into_response();
        }
        Behaviour::NeverAnswer => std::future::pending().await,
    };
    let mut state = state.lock();
    state.journal[entry].status = Some(answered.status.as_u16());
    state.journal[entry].code = answered.code;
    let offset = SignedDuration::from_secs(state.settings.clock_offset);
    let date = (Timestamp::now() + offset)
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::DATE, date),
    ];
    let text = answered.body.to_string();
    let body = match trickle {
        Some(pause) => Body::from_stream(stream::iter(text.into_bytes()).then(
            move |byte| async move {
                sleep(pause).await;
                Ok::<_, Infallible>(Bytes::from(vec![byte]))
            },
        )),
        None => Body::from(text),
    };
    (answered.status, headers, body).into_response()
}

/// Shortens a text of any length for the journal.
fn shortened(text: &str) -> String {
    text.chars().take(256).collect()
}

fn raw(status: u16, kind: String, headers: Vec<(String, String)>, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
    for (name, value) in headers {
        let name = header::HeaderName::try_from(name);
        if let (Ok(name), Ok(value)) = (name, header::HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn echo(place: Place, status: u16, secret: &str, token: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let both = format!("secret {secret} token {token}");
    let json = |code: &str, message: &str, id: &str| {
        Json(json!({"code": code, "message": message, "requestid": id}))
    };
    match place {
        Place::Code => (status, json(&both, "no", "A-1")).into_response(),
        Place::Message => (status, json("invalid.client", &both, "A-1")).into_response(),
        Place::RequestId => (status, json("invalid.client", "no", &both)).into_response(),
        Place::Html => {
            let page = format!("<html><body>{both}</body></html>");
            (status, [(header::CONTENT_TYPE, "text/html")], page).into_response()
        }
    }
}

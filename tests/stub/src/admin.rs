//! Routes under `/_stub/`, for controlling the stub from another process.

use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};

use crate::state::Shared;
use crate::{App, Call, Script, Settings};

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/_stub/apps", put(register))
        .route("/_stub/settings", get(settings).put(configure))
        .route("/_stub/scripts", post(script).delete(clear))
        .route("/_stub/journal", get(journal))
}

async fn register(Extract(state): Extract<Shared>, Json(app): Json<App>) -> StatusCode {
    state.lock().register(app);
    StatusCode::NO_CONTENT
}

async fn settings(Extract(state): Extract<Shared>) -> Json<Settings> {
    Json(state.lock().settings.clone())
}

async fn configure(Extract(state): Extract<Shared>, Json(settings): Json<Settings>) -> StatusCode {
    state.lock().settings = settings;
    StatusCode::NO_CONTENT
}

async fn script(Extract(state): Extract<Shared>, Json(script): Json<Script>) -> StatusCode {
    state.lock().scripts.push(script);
    StatusCode::NO_CONTENT
}

async fn clear(Extract(state): Extract<Shared>) -> StatusCode {
    state.lock().scripts.clear();
    StatusCode::NO_CONTENT
}

async fn journal(Extract(state): Extract<Shared>) -> Json<Vec<Call>> {
    Json(state.lock().journal.clone())
}

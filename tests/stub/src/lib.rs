//! An emulation of DingTalk's token endpoint: it checks requests like the real one, issues tokens, and
//! misbehaves as scripted. It also emulates other APIs, `/v1.0/…` and `/topapi/…`, which accept only valid
//! tokens.
//!
//! It follows DingTalk's documentation and other public material, and has not been compared with the real
//! endpoint.

mod admin;
mod answer;
mod api;
mod journal;
mod script;
mod server;
mod state;
#[cfg(feature = "tls")]
mod tls;
mod tokens;

pub use api::{ApiCall, Apis};
pub use journal::Call;
pub use script::{Behaviour, Place, Script};
pub use server::Stub;
pub use state::{App, Settings};
#[cfg(feature = "tls")]
pub use tls::Tls;
pub use tokens::Repeat;

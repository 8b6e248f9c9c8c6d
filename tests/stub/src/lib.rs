//! An emulation of DingTalk's token endpoint: it checks requests as the real one would, issues
//! tokens that it knows again, and misbehaves by script. Its other APIs, `/v1.0/…` and `/topapi/…`,
//! accept or refuse these tokens.
//!
//! Nothing here was compared with the real endpoint; it does what DingTalk's documentation and
//! other public material say.

mod admin;
mod answer;
mod api;
mod journal;
mod script;
mod server;
mod state;
mod tokens;

pub use api::{ApiCall, Apis};
pub use journal::Call;
pub use script::{Behaviour, Place, Script};
pub use server::Stub;
pub use state::{App, Settings};
pub use tokens::Repeat;

//! Keeps DingTalk access tokens in Kubernetes Secrets, valid at all times.
//!
//! - [`api`]: the resources `DingTalkApp` and `DingTalkTokenReference`.
//! - [`dingtalk`]: the client of DingTalk's token API, and the pace of its calls.
//! - [`core`]: pure decisions: what to do now, and when next.
//! - `controller`: watches become events, commands become calls, outcomes become events.
//! - [`operator`]: the process: leadership, logs, health, metrics, shutdown.
//! - [`cli`]: the command line.

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

pub mod api;
pub mod cli;
pub(crate) mod controller;
pub mod core;
pub mod dingtalk;
pub mod operator;

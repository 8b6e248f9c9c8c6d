//! Kubernetes operator that keeps valid DingTalk access tokens in Secrets.
//!
//! - [`api`]: the custom resources.
//! - [`dingtalk`]: the client for DingTalk's token endpoint.
//! - [`core`]: the state and every decision; pure.
//! - `controller`: watches, API calls and fetches.
//! - [`operator`]: leader election, logs, health, metrics, shutdown.
//! - [`cli`]: the commands.

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice,
        // They panic where nobody reads: `cli::output` does not.
        clippy::print_stdout,
        clippy::print_stderr
    )
)]

pub mod api;
pub mod cli;
pub(crate) mod controller;
pub mod core;
pub mod dingtalk;
pub mod operator;

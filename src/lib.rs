//! Keeps DingTalk access tokens in Kubernetes Secrets, valid at all times.
//!
//! - [`api`]: the `DingTalkApp` resource.
//! - [`dingtalk`]: the client of DingTalk's token endpoint.
//! - [`plan`]: pure decisions, what to do now and when next.
//! - [`controller`]: watch, observe, plan, fetch, apply.
//! - [`operator`]: logs, health, metrics, shutdown.
//! - [`cli`]: the command line.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod api;
pub mod cli;
pub mod controller;
pub mod core;
pub mod dingtalk;
pub mod operator;

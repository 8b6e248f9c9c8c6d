//! The real binary as a process, on a real API server: run by `cargo xtask test`, or by
//! `cargo test --test cluster NAME` in the environment that `cargo xtask env` prints.

mod corpus;
mod support;

// Those for Linux alone measure the operator's process by what /proc says of it.
mod api_server;
mod backup;
#[cfg(target_os = "linux")]
mod bounds;
mod budget;
mod changes;
mod commands;
mod credentials;
mod credentials_by_others;
mod doctor;
mod drift;
mod failures;
mod golden;
mod layouts;
mod leader;
mod life;
mod load;
mod logs;
mod managed_fields;
mod manifests;
mod metrics;
mod model;
mod monitoring;
mod namespaces;
#[cfg(target_os = "linux")]
mod neighbour;
mod network;
mod newer;
mod order;
mod ownership;
mod people;
mod permissions;
mod plugin;
mod policy;
mod processes;
mod providers;
mod proxy;
mod races;
mod redaction;
mod references;
mod refresh;
mod sharing;
mod slow;
mod spec;
#[cfg(target_os = "linux")]
mod thousand;
mod validate;
mod version_step;
mod writes;

//! The real binary as a process, on a real API server: run by `cargo xtask test`.

mod support;

mod api_server;
mod backup;
mod bounds;
mod budget;
mod changes;
mod commands;
mod credentials;
mod failures;
mod golden;
mod layouts;
mod leader;
mod life;
mod load;
mod logs;
mod manifests;
mod metrics;
mod model;
mod monitoring;
mod neighbour;
mod network;
mod newer;
mod order;
mod ownership;
mod people;
mod permissions;
mod policy;
mod processes;
mod redaction;
mod references;
mod refresh;
mod sharing;
mod spec;
mod version_step;
mod writes;

//! The real binary as a process, on a real API server: run by `cargo xtask test`.

mod support;

mod budget;
mod credentials;
mod failures;
mod life;
mod network;
mod order;
mod ownership;
mod people;
mod processes;
mod redaction;
mod writes;

//! Infrastructure of the operator: leader election, logs, health, metrics, shutdown.

mod answers;
mod conditions;
mod connections;
mod example;
mod exposition;
mod gauges;
mod health;
mod heartbeat;
mod leader;
mod lock;
mod logs;
mod memory_dump;
mod metrics;
mod objects;
mod outages;
mod pages;
mod said;
mod series;
mod server;
mod shutdown;
mod watches;

pub use answers::Answers;
pub use conditions::ConditionGauges;
pub use example::example_metrics;
pub use gauges::{TokenGauges, TokenTimes};
pub use health::{serve_metrics, serve_probes};
pub use heartbeat::{Heartbeat, Pulse};
#[cfg(test)]
pub(crate) use leader::CALL_TIMEOUT as LEASE_CALL_TIMEOUT;
pub use leader::{Candidate, Leadership, Moment, Outcome, elect};
#[cfg(test)]
pub(crate) use leader::{Election, LEASE_DURATION, RETRY_PERIOD, Standing, Turn};
pub use logs::{LogFormat, LogsError, init_logs};
pub use memory_dump::{CoreDumpError, forbid_core_dumps};
pub use metrics::{Metrics, Replica, SecretWrite};
pub use objects::ObjectGauges;
pub use outages::{OutageEnds, Outages};
pub use pages::PagesByWeight;
pub use said::{answer, login_error, said};
pub use server::ServerError;
pub use shutdown::on_signal;
pub use watches::WatchTimes;

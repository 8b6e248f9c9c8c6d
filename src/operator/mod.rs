//! What a good citizen of a cluster needs: leader election, logs, health, metrics, shutdown.

mod gauges;
mod health;
mod heartbeat;
mod leader;
mod logs;
mod metrics;
mod shutdown;
mod watches;

pub use gauges::{TokenGauges, TokenTimes};
pub use health::{HealthError, serve};
pub use heartbeat::{Heartbeat, Pulse};
pub use leader::{Candidate, Leadership, Moment, Outcome, elect};
pub use logs::{LogFormat, LogsError, init_logs};
pub use metrics::{Metrics, Replica};
pub use shutdown::on_signal;
pub use watches::WatchTimes;

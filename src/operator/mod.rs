//! What a good citizen of a cluster needs: logs, health, metrics, shutdown.

mod gauges;
mod health;
mod logs;
mod metrics;
mod shutdown;

pub use gauges::{TokenGauges, TokenTimes};
pub use health::{HealthError, serve};
pub use logs::{LogFormat, LogsError, init_logs};
pub use metrics::Metrics;
pub use shutdown::on_signal;

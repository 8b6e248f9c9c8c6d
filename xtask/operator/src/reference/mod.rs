//! Generated pages and pictures of the documentation.

mod anchors;
mod api;
mod chinese;
mod dashboard;
mod metrics;

pub(crate) use anchors::anchored;
pub(crate) use api::{api_markdown, escaped};
pub(crate) use chinese::Texts;
pub(crate) use dashboard::{DASHBOARD, dashboard_svg};
pub(crate) use metrics::metrics_markdown;

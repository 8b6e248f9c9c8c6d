//! Pages and pictures of the documentation that are generated.

mod api;
mod chinese;
mod metrics;

pub(crate) use api::{api_markdown, escaped};
pub(crate) use chinese::Texts;
pub(crate) use metrics::metrics_markdown;

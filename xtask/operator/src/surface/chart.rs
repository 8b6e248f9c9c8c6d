//! The values of the Helm chart.

use serde_json::Value;

use super::{Line, schema};
use xtask::{Failure, chart, root};

/// Returns the lines of every value, with its type and limits.
pub(super) fn lines() -> Result<Vec<Line>, Failure> {
    let path = root().join(chart::CHART).join("values.schema.json");
    let described: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let mut lines = Vec::new();
    schema::walk("values", &described, &mut lines);
    Ok(lines)
}

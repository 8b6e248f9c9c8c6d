//! The metrics that an operator exposes.

use dingtalk_token_operator::operator::example_metrics;

use super::Line;

/// Subject of the metrics and labels that exist only with `--metrics-by-corp`.
const BY_CORP: &str = "metrics-by-corp";

/// Returns the names, types and labels of all metrics.
pub(super) fn lines() -> Result<Vec<Line>, std::fmt::Error> {
    let usual = described(&example_metrics(false)?);
    let by_corp = described(&example_metrics(true)?);
    let more = by_corp.iter().filter(|line| !usual.contains(line));
    let more = more.map(|line| Line::has(BY_CORP, &format!("{} {}", line.subject, line.said)));
    let more: Vec<Line> = more.collect();
    Ok(usual.into_iter().chain(more).collect())
}

fn described(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap_or((described, ""));
            name.clone_into(&mut current);
            lines.push(Line::has(name, kind));
        } else if let Some((_, labels)) = line.split_once('{') {
            let labels = labels.split_once('}').map_or("", |(labels, _)| labels);
            lines.extend(
                label_names(labels).map(|name| Line::has(&current, &format!("label {name}"))),
            );
        }
    }
    lines.sort();
    lines.dedup();
    lines
}

/// Returns the names of labels. The values in the example have no commas or equals signs.
pub(crate) fn label_names(labels: &str) -> impl Iterator<Item = &str> {
    let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, _)| name)
}

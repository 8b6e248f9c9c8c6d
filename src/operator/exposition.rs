//! Exposition formats of metrics.

use std::fmt::Write as _;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Exposition {
    /// Prometheus' text format, the default.
    Text,
    OpenMetrics,
}

impl Exposition {
    /// Returns the preferred format of an `Accept` header.
    pub(super) fn accepted(accept: Option<&str>) -> Self {
        let mut best = (Self::Text, 0);
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next() {
                Some("application/openmetrics-text") => Self::OpenMetrics,
                Some("text/plain" | "text/*" | "*/*") => Self::Text,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            let weight = weight.map_or(1000, thousandths);
            if weight > best.1 {
                best = (format, weight);
            }
        }
        best.0
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Converts metrics from OpenMetrics to this format.
    pub(super) fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => plain(&open_metrics),
        }
    }
}

/// Parses a weight with at most three decimals. Returns it multiplied by 1000.
fn thousandths(weight: &str) -> u32 {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = format!("{whole}{decimals:0<3}");
    digits.parse().unwrap_or_default()
}

/// Converts OpenMetrics to the text format, in which the descriptions of counters and infos have the same
/// suffixes as their series, and there are no units and no end marker.
fn plain(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let Some(help) = line.strip_prefix("# HELP ") else {
            let _ = writeln!(text, "{line}");
            continue;
        };
        let (name, help) = help.split_once(' ').unwrap_or((help, ""));
        let type_ = lines.next().unwrap_or_default();
        let type_ = type_.rsplit(' ').next().unwrap_or_default();
        let (name, type_) = match type_ {
            "counter" => (format!("{name}_total"), type_),
            "info" => (format!("{name}_info"), "gauge"),
            _ => (name.to_owned(), type_),
        };
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {type_}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_format_that_it_prefers() {
        // The header that Prometheus 3 sends.
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let accepted = |accept| Exposition::accepted(Some(accept));
        assert_eq!(accepted(prometheus), Exposition::OpenMetrics);
        assert_eq!(
            accepted("application/openmetrics-text"),
            Exposition::OpenMetrics
        );
        assert_eq!(
            accepted("text/plain;q=0.9, application/openmetrics-text;q=0.85"),
            Exposition::Text
        );
        assert_eq!(
            accepted("application/openmetrics-text;q=0"),
            Exposition::Text
        );
        for accept in ["*/*", "text/html, */*;q=0.1", "application/json", ""] {
            assert_eq!(accepted(accept), Exposition::Text, "{accept}");
        }
        assert_eq!(Exposition::accepted(None), Exposition::Text);
    }

    #[test]
    fn the_text_format_names_counters_as_their_series() {
        let open_metrics = "# HELP a_requests Requests.\n# TYPE a_requests counter\n\
             a_requests_total{x=\"# EOF\"} 1\n# HELP a_build The build.\n# TYPE a_build info\n\
             a_build_info{version=\"1\"} 1\n# HELP a_depth Depth.\n# TYPE a_depth gauge\n\
             # UNIT a_depth seconds\na_depth 0\n# EOF\n";
        let text = "# HELP a_requests_total Requests.\n# TYPE a_requests_total counter\n\
             a_requests_total{x=\"# EOF\"} 1\n# HELP a_build_info The build.\n# TYPE a_build_info gauge\n\
             a_build_info{version=\"1\"} 1\n# HELP a_depth Depth.\n# TYPE a_depth gauge\na_depth 0\n";
        assert_eq!(Exposition::Text.of(open_metrics.to_owned()), text);
        assert_eq!(
            Exposition::OpenMetrics.of(open_metrics.to_owned()),
            open_metrics
        );
    }
}

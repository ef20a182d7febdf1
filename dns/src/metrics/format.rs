//! The two text formats that scrapers read, and which of them a scraper asked for.
//!
//! The encoder writes OpenMetrics. Prometheus' own format differs in three ways: the family of a counter is named as its
//! samples are, with `_total`; there are no units and no end mark.

use std::collections::HashSet;
use std::fmt::Write as _;

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4, which every scraper and `promtool check metrics` reads.
    Prometheus,
}

impl Format {
    /// The media type, as `Content-Type` names it.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The format that the `Accept` fields of a request prefer (RFC 9110 §12.5.1); Prometheus' where both are as welcome
    /// and where nothing is said.
    pub fn accepted<'v>(fields: impl IntoIterator<Item = &'v str>) -> Self {
        let (mut open_metrics, mut prometheus) = (0.0, 0.0);
        for range in fields.into_iter().flat_map(|field| field.split(',')) {
            let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
            let name = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse::<f32>().ok());
            let quality = quality.unwrap_or(1.0);
            match name.as_str() {
                "application/openmetrics-text" => open_metrics = quality,
                "text/plain" => prometheus = quality,
                _ => {}
            }
        }
        if open_metrics > prometheus { Self::OpenMetrics } else { Self::Prometheus }
    }
}

/// OpenMetrics in Prometheus' words.
pub(super) fn as_prometheus(open_metrics: &str) -> String {
    let lines = || open_metrics.lines();
    let counters: HashSet<&str> =
        lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open_metrics.len() + open_metrics.len() / 8);
    for line in lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let described = line.strip_prefix("# ").and_then(|line| {
            let (what, line) = line.split_once(' ')?;
            let (name, rest) = line.split_once(' ')?;
            counters.contains(name).then_some((what, name, rest))
        });
        match described {
            Some((what, name, rest)) => writeln!(text, "# {what} {name}_total {rest}"),
            None => writeln!(text, "{line}"),
        }
        .expect("a String takes any text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_the_format_that_it_prefers() {
        use Format::{OpenMetrics, Prometheus};
        for (accept, expected) in [
            (&[][..], Prometheus),
            (&["*/*"], Prometheus),
            (&["text/html, */*;q=0.1"], Prometheus),
            (&["text/plain"], Prometheus),
            (&["application/openmetrics-text"], OpenMetrics),
            (&["Application/OpenMetrics-Text; Version=1.0.0"], OpenMetrics),
            // Prometheus 2.x and 3.x.
            (
                &[
                    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                ],
                OpenMetrics,
            ),
            (
                &["application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.3"],
                OpenMetrics,
            ),
            (&["application/openmetrics-text;q=0.2", "text/plain;q=0.9"], Prometheus),
            (&["application/openmetrics-text;q=0"], Prometheus),
            (&["application/openmetrics-text, text/plain"], Prometheus),
            (&[";;q=,,"], Prometheus),
        ] {
            assert_eq!(Format::accepted(accept.iter().copied()), expected, "{accept:?}");
        }
    }

    #[test]
    fn counters_are_described_by_the_names_of_their_samples() {
        let open_metrics = "# HELP a_bytes Bytes.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{x=\"1\"} 2\n\
                            # HELP a A counter of things.\n# TYPE a gauge\na 1\n# EOF\n";
        let prometheus = "# HELP a_bytes_total Bytes.\n# TYPE a_bytes_total counter\na_bytes_total{x=\"1\"} 2\n\
                          # HELP a A counter of things.\n# TYPE a gauge\na 1\n";
        assert_eq!(as_prometheus(open_metrics), prometheus);
    }
}

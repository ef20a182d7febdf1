//! The text that scrapers read, as numbers: so people and scrapers see the same ones.
//!
//! Invariant: plain values; nothing here acts.

use std::collections::{BTreeMap, HashMap};

/// Series by their name, without the program's prefix.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Readings(HashMap<String, Vec<Series>>);

#[derive(Debug, Clone, PartialEq)]
struct Series {
    labels: Vec<(String, String)>,
    value: f64,
}

const PREFIX: &str = "verge_dns_";

impl Readings {
    /// Reads OpenMetrics or Prometheus' text format. Series that `is_wanted` declines by their name cost no memory.
    pub(super) fn read(text: &str, is_wanted: impl Fn(&str) -> bool) -> Self {
        let mut readings = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let bare = name.strip_prefix(PREFIX).unwrap_or(name);
            if !is_wanted(bare) {
                continue;
            }
            if let Some(series) = series(&line[name.len()..]) {
                readings.0.entry(bare.to_owned()).or_default().push(series);
            }
        }
        readings
    }

    fn of<'a>(&'a self, name: &str, wanted: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Series> {
        let all = self.0.get(name).into_iter().flatten();
        all.filter(move |series| wanted.iter().all(|(label, value)| series.label(label) == Some(value)))
    }

    /// The sum of the series of this name that have these labels.
    pub(super) fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> f64 {
        self.of(name, wanted).map(|series| series.value).fold(0.0, |sum, value| sum + value)
    }

    /// Such sums by the values of `labels`.
    pub(super) fn by<const N: usize>(
        &self,
        name: &str,
        labels: [&str; N],
        wanted: &[(&str, &str)],
    ) -> BTreeMap<[String; N], f64> {
        let mut sums = BTreeMap::new();
        for series in self.of(name, wanted) {
            let key = labels.map(|label| series.label(label).unwrap_or_default().to_owned());
            *sums.entry(key).or_default() += series.value;
        }
        sums
    }

    #[cfg(test)]
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value of a label of the first series of this name.
    pub(super) fn label(&self, name: &str, label: &str) -> Option<&str> {
        self.0.get(name)?.first()?.label(label)
    }
}

impl Series {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// Reads what stands behind a name: `{a="b",c="d"} 1.5`.
fn series(mut rest: &str) -> Option<Series> {
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (name, behind) = rest.split_once("=\"")?;
            let (value, behind) = quoted(behind)?;
            labels.push((name.to_owned(), value));
            rest = behind.strip_prefix(',').unwrap_or(behind);
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series { labels, value })
}

/// The text up to the closing quote without its escapes, and the rest.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => {
                value.push(if letter == 'n' { '\n' } else { letter });
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return Some((value, &text[at + 1..])),
            other => value.push(other),
        }
    }
    None
}

/// The value below which this part of the observations lies, from cumulative counts by upper bound. Within a bucket they
/// are taken for evenly spread; what lies beyond the last finite bound counts as that bound. None without observations.
pub(super) fn quantile(buckets: &[(f64, f64)], part: f64) -> Option<f64> {
    let all = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
    let wanted = all * part;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= wanted && *count > below {
            let inside = (wanted - below) / (count - below);
            return Some(if bound.is_finite() { lower + (bound - lower) * inside } else { lower });
        }
        (lower, below) = (if bound.is_finite() { *bound } else { lower }, *count);
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_may_hold_whatever_a_name_may() {
        let text = "# HELP verge_dns_x x\nverge_dns_x{site=\"a\\\"b\\\\c,}\\nd\",cache=\"hit\"} 3\nverge_dns_x{site=\"e\",cache=\"miss\"} 4.5\n\
                    verge_dns_y 1e3\nprocess_z_total 2\nverge_dns_broken{a=\"b 3\nverge_dns_x\n";
        let readings = Readings::read(text, |_| true);
        assert_eq!(readings.sum("x", &[]), 7.5);
        assert_eq!(readings.sum("x", &[("cache", "miss")]), 4.5);
        assert_eq!((readings.sum("y", &[]), readings.sum("process_z_total", &[])), (1000.0, 2.0));
        let by = readings.by("x", ["site"], &[]);
        assert_eq!(
            by.into_iter().collect::<Vec<_>>(),
            [(["a\"b\\c,}\nd".to_owned()], 3.0), (["e".to_owned()], 4.5)]
        );
        assert_eq!(Readings::read(text, |name| name == "y").sum("x", &[]), 0.0);
        assert_eq!(readings.label("x", "cache"), Some("hit"));
        assert!(readings.sum("none", &[]).is_sign_positive(), "nothing is not -0");
    }

    #[test]
    fn a_quantile_lies_in_the_bucket_that_holds_it() {
        let buckets = [(0.001, 50.0), (0.01, 90.0), (f64::INFINITY, 100.0)];
        for (part, expected) in [(0.25, 0.000_5), (0.5, 0.001), (0.7, 0.005_5), (0.95, 0.01), (0.99, 0.01)] {
            let found = quantile(&buckets, part).unwrap();
            assert!((found - expected).abs() < 1e-9, "{part}: {found}");
        }
        assert_eq!(quantile(&[(0.001, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
        assert_eq!(quantile(&[], 0.5), None);
    }
}

//! Sizes and durations as people write them: a number and its unit.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// Bytes, written `512MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl Size {
    /// As the size of something in memory.
    pub(super) fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A duration, written `4s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const SPANS_MS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// Reads a size such as `64MiB`, in bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    parse(text, SIZES)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Quantity("a size such as \"512MiB\" (B, KB, MB, GB, KiB, MiB, GiB)", SIZES))
            .map(Self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let milliseconds = deserializer
            .deserialize_any(Quantity("a duration such as \"4s\" (ms, s, m, h, d, w)", SPANS_MS))?;
        Ok(Self(Duration::from_millis(milliseconds)))
    }
}

/// A kind of value, in words, and the units it may have.
struct Quantity(&'static str, &'static [(&'static str, u64)]);

impl de::Visitor<'_> for Quantity {
    type Value = u64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse(text, self.1).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_and_its_unit() {
        let check = |text, expected| assert_eq!(parse(text, SIZES), expected, "{text}");
        check("512MiB", Some(512 << 20));
        check("1 GB", Some(1_000_000_000));
        check("0B", Some(0));
        check("512", None);
        check("MiB", None);
        check("-1B", None);
        check("1.5GB", None);
        check("99999999999999TiB", None);
        check("1mib", None);
    }

    #[test]
    fn a_duration_is_a_number_and_its_unit() {
        let check = |text, expected| assert_eq!(parse(text, SPANS_MS), expected, "{text}");
        check("4s", Some(4_000));
        check("250ms", Some(250));
        check("2m", Some(120_000));
        check("1d", Some(86_400_000));
        check("4", None);
        check("4 seconds", None);
    }
}

//! Durations and sizes as people write them: a number and a unit in one string.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A duration such as `"250ms"`, `"10s"`, `"5m"`, `"1h"`, `"7d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

/// A size such as `"1232B"`, `"4KiB"`, `"512MiB"`, `"1GB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuantityError {
    /// No number and a unit.
    Malformed(&'static str),
    /// More than 64 bits hold.
    TooLarge,
}

const DURATION_UNITS_MS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS_BYTES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

impl FromStr for Span {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let millis = quantity(text, DURATION_UNITS_MS)
            .ok_or(QuantityError::Malformed("a duration is a number and a unit: 250ms, 10s, 5m, 1h, 7d"))??;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl FromStr for Size {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        quantity(text, SIZE_UNITS_BYTES)
            .ok_or(QuantityError::Malformed("a size is a number and a unit: 1232B, 64KiB, 512MiB, 1GiB"))?
            .map(Self)
    }
}

/// None if `text` is not a whole number and one of `units`.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<Result<u64, QuantityError>> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    if number.is_empty() {
        return None;
    }
    Some(number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)).ok_or(QuantityError::TooLarge))
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(expected) => expected,
            Self::TooLarge => "the number is too large",
        })
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

fn from_text<'de, D: Deserializer<'de>, T: FromStr<Err = QuantityError>>(
    deserializer: D,
) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_a_whole_number_and_a_known_unit() {
        for (text, expected) in [
            ("250ms", Some(250)),
            ("10s", Some(10_000)),
            ("10 s", Some(10_000)),
            ("7d", Some(604_800_000)),
            ("10", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("10S", None),
            ("99999999999999999999d", None),
        ] {
            let parsed = text.parse::<Span>().ok().map(|span| span.0.as_millis());
            assert_eq!(parsed, expected, "{text}");
        }
        for (text, expected) in [
            ("1232B", Some(1232)),
            ("512MiB", Some(536_870_912)),
            ("1kB", Some(1000)),
            ("1mb", None),
            ("5", None),
        ] {
            assert_eq!(text.parse::<Size>().ok().map(|size| size.0), expected, "{text}");
        }
        assert_eq!("18446744073709551615GiB".parse::<Size>(), Err(QuantityError::TooLarge));
    }
}

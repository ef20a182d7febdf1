//! Times in the two spellings of access logs, always UTC.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_SECS: u64 = 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A date of the Gregorian calendar.
struct Date {
    year: u64,
    /// From 1 on.
    month: u64,
    day: u64,
}

/// `2026-11-29T05:34:00.007Z` (RFC 3339).
pub(super) fn iso(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (Date { year, month, day }, [hour, minute, second]) = parts(since.as_secs());
    let millis = since.subsec_millis();
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z");
}

/// `29/Nov/2026:05:34:00 +0000`, as the Common Log Format has it.
pub(super) fn common(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (Date { year, month, day }, [hour, minute, second]) = parts(since.as_secs());
    let month = usize::try_from(month - 1).ok().and_then(|index| MONTHS.get(index)).unwrap_or(&"-");
    let _ = write!(out, "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000");
}

fn parts(secs: u64) -> (Date, [u64; 3]) {
    let (days, rest) = (secs / DAY_SECS, secs % DAY_SECS);
    (date(days), [rest / 3_600, rest / 60 % 60, rest % 60])
}

/// The date so many days after 1970-01-01, by eras of 400 years that begin on the first of March.
fn date(days: u64) -> Date {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    Date { year: era * 400 + year_of_era + u64::from(month <= 2), month, day }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::date;
    use crate::http::testing::at;

    fn text(write: fn(&mut Vec<u8>, SystemTime), secs: u64) -> String {
        let mut out = Vec::new();
        write(&mut out, at(secs));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn days_of_all_kinds_of_years_are_right() {
        for (secs, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(text(iso, secs), expected);
        }
        assert_eq!(text(common, 951_782_400), "29/Feb/2000:00:00:00 +0000");
    }

    proptest! {
        #[test]
        fn the_date_is_the_one_that_http_writes(secs in 0u64..253_402_300_800) {
            let (common, http) = (text(common, secs), date::format(at(secs)));
            let http = http.to_str().unwrap();
            // Sun, 06 Nov 1994 08:49:37 GMT
            let expected = format!("{}/{}/{}:{} +0000", &http[5..7], &http[8..11], &http[12..16], &http[17..25]);
            prop_assert_eq!(common, expected);
        }
    }
}

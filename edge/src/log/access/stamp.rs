//! Times in the two spellings of access logs, always UTC. Both are the date that HTTP writes, in another order.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::http::date;

/// `2026-11-29T05:34:00.007Z` (RFC 3339).
pub(super) fn iso(out: &mut Vec<u8>, time: SystemTime) {
    let text = date::imf_fixdate(time);
    let (day, month, year, clock) = parts(&text);
    let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_millis();
    out.extend_from_slice(year);
    let _ = write!(out, "-{:02}-", date::month(month).unwrap_or_default());
    out.extend_from_slice(day);
    out.push(b'T');
    out.extend_from_slice(clock);
    let _ = write!(out, ".{millis:03}Z");
}

/// `29/Nov/2026:05:34:00 +0000`, as the Common Log Format has it.
pub(super) fn common(out: &mut Vec<u8>, time: SystemTime) {
    let text = date::imf_fixdate(time);
    let (day, month, year, clock) = parts(&text);
    for part in [day, b"/", month, b"/", year, b":", clock, b" +0000"] {
        out.extend_from_slice(part);
    }
}

/// Day, month, year and time of day of `Sun, 06 Nov 1994 08:49:37 GMT`.
fn parts(text: &[u8; date::IMF_BYTES]) -> (&[u8], &[u8], &[u8], &[u8]) {
    (&text[5..7], &text[8..11], &text[12..16], &text[17..25])
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

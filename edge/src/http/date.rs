//! HTTP dates, by the letter (RFC 9110 §5.6.7): IMF-fixdate, and the obsolete forms of RFC 850 and asctime.
//!
//! Names are compared without case (RFC 9111 §4.2 wants caches lenient there); nothing else is forgiven: no other
//! zone, no second space, no one-digit hour, no two-digit year outside RFC 850.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The time that `text` names. `now` places the two-digit year of RFC 850: one that seems more than 50 years ahead
/// is in the past.
pub fn parse(text: &[u8], now: SystemTime) -> Option<SystemTime> {
    let civil = imf(text).or_else(|| rfc850(text, now)).or_else(|| asctime(text))?;
    civil.time()
}

/// The date in a field that must have one line and one date.
pub fn single(headers: &HeaderMap, name: &HeaderName, now: SystemTime) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).into_iter();
    let line = lines.next()?;
    if lines.next().is_some() { None } else { parse(line.as_bytes(), now) }
}

/// `time` as IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`; a time outside the years 1970–9999 is moved to their edge.
pub fn imf_fixdate(time: SystemTime) -> [u8; IMF_BYTES] {
    let latest = UNIX_EPOCH + Duration::from_secs(LAST_SECOND_OF_9999);
    let mut text = [0; IMF_BYTES];
    let date = httpdate::HttpDate::from(time.clamp(UNIX_EPOCH, latest));
    write!(&mut text[..], "{date}").expect("an IMF-fixdate has 29 bytes");
    text
}

/// [`imf_fixdate`] as the value of a field.
pub fn format(time: SystemTime) -> HeaderValue {
    HeaderValue::from_bytes(&imf_fixdate(time)).expect("an IMF-fixdate is visible ASCII")
}

/// Seconds from `earlier` to `later`, whole and saturating at 0.
pub fn secs_between(earlier: SystemTime, later: SystemTime) -> u64 {
    later.duration_since(earlier).map_or(0, |span| span.as_secs())
}

/// Bytes of an IMF-fixdate.
pub const IMF_BYTES: usize = 29;
const LAST_SECOND_OF_9999: u64 = 253_402_300_799;
const DAY_SECS: i64 = 86_400;
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf(text: &[u8]) -> Option<Civil> {
    if text.len() != IMF_BYTES || !short_day(&text[..3]) || &text[3..5] != b", " {
        return None;
    }
    let spaced = text[7] == b' ' && text[11] == b' ' && text[16] == b' ' && gmt(&text[25..]);
    let (day, month, year) = (digits(&text[5..7])?, month(&text[8..11])?, digits(&text[12..16])?);
    spaced.then_some(Civil { year, month, day, second_of_day: clock(&text[17..25])? })
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &[u8], now: SystemTime) -> Option<Civil> {
    let comma = text.iter().position(|&byte| byte == b',')?;
    let (name, rest) = (&text[..comma], &text[comma..]);
    if rest.len() != 24 || !DAYS.iter().any(|day| name.eq_ignore_ascii_case(day.as_bytes())) {
        return None;
    }
    let marked =
        &rest[..2] == b", " && rest[4] == b'-' && rest[8] == b'-' && rest[11] == b' ' && gmt(&rest[20..]);
    let (day, month, short) = (digits(&rest[2..4])?, month(&rest[5..8])?, digits(&rest[9..11])?);
    let civil = |year| Some(Civil { year, month, day, second_of_day: clock(&rest[12..20])? });
    if marked { civil(full_year(short, now)) } else { None }
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<Civil> {
    if text.len() != 24 || !short_day(&text[..3]) {
        return None;
    }
    let spaced = text[3] == b' ' && text[7] == b' ' && text[10] == b' ' && text[19] == b' ';
    let day = if text[8] == b' ' { digits(&text[9..10])? } else { digits(&text[8..10])? };
    let (month, year) = (month(&text[4..7])?, digits(&text[20..])?);
    spaced.then_some(Civil { year, month, day, second_of_day: clock(&text[11..19])? })
}

fn short_day(name: &[u8]) -> bool {
    DAYS.iter().any(|day| name.eq_ignore_ascii_case(&day.as_bytes()[..3]))
}

/// The month with this short name, 1 to 12.
pub fn month(name: &[u8]) -> Option<i64> {
    let index = MONTHS.iter().position(|month| name.eq_ignore_ascii_case(month.as_bytes()))?;
    i64::try_from(index + 1).ok()
}

fn gmt(zone: &[u8]) -> bool {
    zone.eq_ignore_ascii_case(b" GMT")
}

fn digits(text: &[u8]) -> Option<i64> {
    let all = text.iter().all(u8::is_ascii_digit);
    all.then(|| text.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

/// `08:49:37`; 60 is a leap second (RFC 9110 §5.6.7 takes RFC 5322's).
fn clock(text: &[u8]) -> Option<i64> {
    let (hour, minute, second) = (digits(&text[..2])?, digits(&text[3..5])?, digits(&text[6..8])?);
    let right = text[2] == b':' && text[5] == b':' && hour < 24 && minute < 60 && second <= 60;
    right.then_some(hour * 3600 + minute * 60 + second)
}

fn full_year(short: i64, now: SystemTime) -> i64 {
    let this_year = year_of(now);
    let year = this_year - this_year.rem_euclid(100) + short;
    if year > this_year + 50 { year - 100 } else { year }
}

/// Good to a day: enough for a rule that looks 50 years ahead.
fn year_of(now: SystemTime) -> i64 {
    let days = i64::try_from(secs_between(UNIX_EPOCH, now)).unwrap_or(0) / DAY_SECS;
    1970 + days * 400 / 146_097
}

impl Civil {
    fn time(&self) -> Option<SystemTime> {
        if self.day < 1 || self.day > days_in(self.month, self.year) {
            return None;
        }
        let secs = days_from_epoch(self.year, self.month, self.day) * DAY_SECS + self.second_of_day;
        let span = Duration::from_secs(secs.unsigned_abs());
        if secs < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) }
    }
}

fn days_in(month: i64, year: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar; years begin in March, so the leap day is the last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-20.
    const NOW_SECS: u64 = 1_795_132_800;

    fn check(text: &str, expected: Option<i64>) {
        let now = UNIX_EPOCH + Duration::from_secs(NOW_SECS);
        let secs = parse(text.as_bytes(), now).map(|time| match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_secs() as i64,
            Err(before) => -(before.duration().as_secs() as i64),
        });
        assert_eq!(secs, expected, "{text}");
    }

    #[test]
    fn all_three_forms_are_read() {
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777));
        check("Sun Nov  6 08:49:37 1994", Some(784_111_777));
        check("Sun Nov 16 08:49:37 1994", Some(784_975_777));
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
        check("Wed, 31 Dec 1969 23:59:59 GMT", Some(-1));
        check("Sun, 21 Nov 2286 04:46:39 GMT", Some(10_000_039_599));
        check("Sat, 29 Feb 2020 00:00:60 GMT", Some(1_582_934_460));
    }

    #[test]
    fn the_29th_of_february_is_a_day_of_leap_years() {
        check("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400));
        check("Thu, 29 Feb 2024 00:00:00 GMT", Some(1_709_164_800));
        check("Mon, 29 Feb 2100 00:00:00 GMT", None);
        check("Sat, 29 Feb 2025 00:00:00 GMT", None);
        check("Thu, 29 Feb 1900 00:00:00 GMT", None);
    }

    #[test]
    fn names_have_no_case() {
        for text in [
            "THU, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 AUG 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 gMT",
        ] {
            check(text, Some(2_544_400_878));
        }
    }

    #[test]
    fn a_two_digit_year_is_at_most_fifty_years_ahead() {
        check("Thursday, 18-Aug-50 02:01:18 GMT", Some(2_544_400_878));
        check("Friday, 01-Jan-76 00:00:00 GMT", Some(3_345_062_400));
        check("Saturday, 01-Jan-77 00:00:00 GMT", Some(220_924_800));
    }

    #[test]
    fn nothing_else_is_a_date() {
        for text in [
            "",
            "0",
            "-1",
            "foo",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 18 Aug 2050 02:60:18 GMT",
            "Thu, 18 Aug 2050 02:01:61 GMT",
            "Thu, 00 Aug 2050 02:01:18 GMT",
            "Thu, 30 Feb 2050 02:01:18 GMT",
            "Xxx, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Foo 2050 02:01:18 GMT",
            "Thu, +8 Aug 2050 02:01:18 GMT",
            "Thu, 18-Aug-50 02:01:18 GMT",
            "Thu Aug 08 02:01:18 50",
            "Thu, 18 Aug 2050 02:01:18 GMT ",
            "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(secs in 0u64..=LAST_SECOND_OF_9999) {
            let time = UNIX_EPOCH + Duration::from_secs(secs);
            prop_assert_eq!(parse(format(time).as_bytes(), UNIX_EPOCH), Some(time));
        }

        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&text, UNIX_EPOCH);
        }

        #[test]
        fn one_wrong_byte_never_panics(at in 0usize..29, byte in any::<u8>()) {
            let mut text = b"Sun, 06 Nov 1994 08:49:37 GMT".to_vec();
            text[at] = byte;
            let _ = parse(&text, UNIX_EPOCH);
        }
    }
}

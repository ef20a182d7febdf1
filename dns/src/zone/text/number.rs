//! Numbers, time spans and points in time as zone files write them.

/// A decimal number of at most `max`.
pub(crate) fn decimal(text: &[u8], max: u64) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut value = 0_u64;
    for digit in text {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    (value <= max).then_some(value)
}

/// Seconds, plain or with units as in `1w2d3h4m5s`; any that exceed 32 bits are none.
pub(crate) fn time_span(text: &[u8]) -> Option<u32> {
    if let Some(seconds) = decimal(text, u64::from(u32::MAX)) {
        return u32::try_from(seconds).ok();
    }
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let count = decimal(&rest[..digits], u64::from(u32::MAX))?;
        let unit = match rest.get(digits)?.to_ascii_lowercase() {
            b'w' => 604_800,
            b'd' => 86_400,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        total = total.checked_add(count.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    if text.is_empty() { None } else { u32::try_from(total).ok() }
}

/// Seconds since 1970, plain or as `YYYYMMDDHHMMSS` (RFC 4034 §3.2).
pub(crate) fn point_in_time(text: &[u8]) -> Option<u32> {
    if text.len() != 14 {
        return decimal(text, u64::from(u32::MAX)).and_then(|seconds| u32::try_from(seconds).ok());
    }
    let part =
        |from: usize, to: usize, min: u64, max: u64| decimal(&text[from..to], max).filter(|v| *v >= min);
    let (year, month, day) = (part(0, 4, 1970, 2106)?, part(4, 6, 1, 12)?, part(6, 8, 1, 31)?);
    let (hour, minute, second) = (part(8, 10, 0, 23)?, part(10, 12, 0, 59)?, part(12, 14, 0, 59)?);
    if day > days_in_month(year, month) {
        return None;
    }
    let days = days_since_1970(year, month) + day - 1;
    u32::try_from(days * 86_400 + hour * 3_600 + minute * 60 + second).ok()
}

/// `YYYYMMDDHHMMSS`.
pub(crate) fn date(seconds: u32) -> String {
    let (mut days, rest) = (u64::from(seconds) / 86_400, seconds % 86_400);
    let (mut year, mut month) = (1970, 1);
    while days >= days_in_month(year, month) {
        days -= days_in_month(year, month);
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    let day = days + 1;
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", rest / 3_600, rest / 60 % 60, rest % 60)
}

fn days_since_1970(year: u64, month: u64) -> u64 {
    let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    years + (1..month).map(|month| days_in_month(year, month)).sum::<u64>()
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_have_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("3600", Some(3_600)),
            ("1w2d3h4m5s", Some(604_800 + 172_800 + 10_800 + 240 + 5)),
            ("1H", Some(3_600)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("9999w", None),
            ("1h30", None),
            ("h", None),
            ("", None),
            ("-1", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(time_span(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn dates_and_seconds_agree() {
        for (text, expected) in [
            ("19700101000000", Some(0)),
            ("20000229235959", Some(951_868_799)),
            ("20380119031408", Some(1 << 31)),
            ("21060207062815", Some(u32::MAX)),
            ("21060207062816", None),
            ("20010229000000", None),
            ("20011301000000", None),
            ("951868799", Some(951_868_799)),
        ] {
            assert_eq!(point_in_time(text.as_bytes()), expected, "{text}");
            if let Some(seconds) = expected.filter(|_| text.len() == 14) {
                assert_eq!(date(seconds), text);
            }
        }
    }
}

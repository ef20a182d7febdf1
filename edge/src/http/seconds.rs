//! A number of seconds in a field (`delta-seconds`, RFC 9111 §1.2.2).

/// RFC 9111 §1.2.2: a number of seconds that does not fit is this one.
pub const MAX_DELTA_SECS: u64 = 1 << 31;

/// `digits` as delta-seconds (RFC 9111 §1.2.2): nothing but digits, saturating.
pub fn delta_secs(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0u64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')).min(MAX_DELTA_SECS)
    });
    Some(value)
}

//! Numbers as text, without the machinery that formats anything.

/// Appends a number in decimal digits.
pub(crate) fn decimal(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).expect("a digit");
        value /= 10;
        if value == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_everybody_writes_it() {
        for value in [0, 1, 9, 10, 99, 100, 65_535, u64::MAX - 1, u64::MAX] {
            let mut out = b"n=".to_vec();
            decimal(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("n={value}"));
        }
    }
}

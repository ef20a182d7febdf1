//! LOC (RFC 1876): where a host is on Earth, in degrees, minutes, seconds and metres.

use std::fmt::Write;

use super::fields::{Fault, Fields};
use super::number;

/// Angles are thousandths of a second of arc from this (RFC 1876 §2).
const EQUATOR: u32 = 1 << 31;
/// Altitudes are centimetres above 100,000 m below the WGS 84 spheroid (RFC 1876 §2).
const GROUND_CM: i64 = 10_000_000;
/// Size 1 m, horizontal precision 10 km, vertical precision 10 m (RFC 1876 §3).
const DEFAULTS_CM: [u64; 3] = [100, 1_000_000, 1_000];
/// The largest size or precision that one digit and a power of ten can say.
const MAX_SIZE_CM: u64 = 9_000_000_000;

/// Appends the 16 bytes of version 0.
pub(super) fn read(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let latitude = angle(fields, 90, [b'N', b'S'], "a latitude such as 52 22 23.000 N")?;
    let longitude = angle(fields, 180, [b'E', b'W'], "a longitude such as 4 53 32.000 E")?;
    let altitude = fields.parsed("an altitude in metres such as -2.00m", altitude)?;
    let mut sizes = DEFAULTS_CM;
    for size in &mut sizes {
        if fields.peek().is_some() {
            *size = fields.parsed("a size in metres (0.00m to 90000000.00m)", |text| {
                centimetres(text).filter(|cm| *cm <= MAX_SIZE_CM)
            })?;
        }
    }
    out.push(0);
    out.extend(sizes.map(one_digit));
    out.extend_from_slice(&latitude.to_be_bytes());
    out.extend_from_slice(&longitude.to_be_bytes());
    out.extend_from_slice(&altitude.to_be_bytes());
    Ok(())
}

/// Degrees, optional minutes, optional seconds, and the hemisphere.
fn angle(fields: &mut Fields<'_, '_>, most: u64, hemispheres: [u8; 2], what: &str) -> Result<u32, Fault> {
    let mut thousandths = fields.parsed(what, |text| number::decimal(text, most))? * 3_600_000;
    for part in [part_minutes, part_seconds] {
        let word = fields.peek().ok_or_else(|| Fault::new("missing-field", format!("{what} is missing")))?;
        let Some(value) = part(word.text) else { break };
        thousandths += value;
        fields.next();
    }
    let word = fields.word(what)?;
    let letter = if let [letter] = word.text { letter.to_ascii_uppercase() } else { 0 };
    if !hemispheres.contains(&letter) || thousandths > most * 3_600_000 {
        return Err(Fault::not_a(&word, &format!("the end of {what}")));
    }
    let thousandths = u32::try_from(thousandths).expect("180 degrees fit");
    let positive = letter == hemispheres[0];
    Ok(if positive { EQUATOR + thousandths } else { EQUATOR - thousandths })
}

fn part_minutes(text: &[u8]) -> Option<u64> {
    number::decimal(text, 59).map(|minutes| minutes * 60_000)
}

fn part_seconds(text: &[u8]) -> Option<u64> {
    fraction(text, 3).filter(|thousandths| *thousandths < 60_000)
}

/// A number with at most `digits` decimals, times 10^`digits`.
fn fraction(text: &[u8], digits: usize) -> Option<u64> {
    let (whole, decimals) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b""[..]),
    };
    if decimals.len() > digits {
        return None;
    }
    let mut padded = decimals.to_vec();
    padded.resize(digits, b'0');
    let scale = 10_u64.pow(u32::try_from(digits).ok()?);
    number::decimal(whole, u64::from(u32::MAX))?
        .checked_mul(scale)?
        .checked_add(number::decimal(&padded, scale)?)
}

fn centimetres(text: &[u8]) -> Option<u64> {
    fraction(text.strip_suffix(b"m").or_else(|| text.strip_suffix(b"M")).unwrap_or(text), 2)
}

fn altitude(text: &[u8]) -> Option<u32> {
    let cm = match text.strip_prefix(b"-") {
        Some(below) => -i64::try_from(centimetres(below)?).ok()?,
        None => i64::try_from(centimetres(text)?).ok()?,
    };
    u32::try_from(cm + GROUND_CM).ok()
}

/// One digit in the high half, the power of ten in the low half; further digits are lost (RFC 1876 §2).
fn one_digit(cm: u64) -> u8 {
    let (mut digit, mut power) = (cm, 0_u8);
    while digit > 9 {
        digit /= 10;
        power += 1;
    }
    u8::try_from(digit).expect("one digit") << 4 | power
}

/// Writes every field, defaults included.
pub(super) fn write(bytes: &[u8], out: &mut String) -> Option<()> {
    let [0, size, horizontal, vertical, rest @ ..] = bytes else { return None };
    let [latitude, longitude, altitude] = [word(rest, 0)?, word(rest, 4)?, word(rest, 8)?];
    write_angle(latitude, 90, ['N', 'S'], out)?;
    write_angle(longitude, 180, ['E', 'W'], out)?;
    let cm = i64::from(altitude) - GROUND_CM;
    let sign = if cm < 0 { "-" } else { "" };
    write!(out, " {sign}{}.{:02}m", cm.abs() / 100, cm.abs() % 100).ok()?;
    for coded in [size, horizontal, vertical] {
        let (digit, power) = (u64::from(coded >> 4), u32::from(coded & 0xf));
        if digit > 9 || power > 9 {
            return None;
        }
        let cm = digit * 10_u64.pow(power);
        write!(out, " {}.{:02}m", cm / 100, cm % 100).ok()?;
    }
    Some(())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn write_angle(angle: u32, most: u32, hemispheres: [char; 2], out: &mut String) -> Option<()> {
    let thousandths = angle.abs_diff(EQUATOR);
    if thousandths > most * 3_600_000 {
        return None;
    }
    let hemisphere = hemispheres[usize::from(angle < EQUATOR)];
    let (degrees, minutes) = (thousandths / 3_600_000, thousandths / 60_000 % 60);
    write!(out, " {degrees} {minutes} {}.{:03} {hemisphere}", thousandths / 1_000 % 60, thousandths % 1_000)
        .ok()
}

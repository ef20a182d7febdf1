//! Addresses, alone and in the types that wrap them: APL, A6, IPSECKEY, AMTRELAY, EUI, NSAP and locators.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::fields::{Fault, Fields};
use super::{bitmap, encoding, mnemonic, number};
use crate::name;

pub(super) const IPV4: &str = "an IPv4 address such as 192.0.2.1";
pub(super) const IPV6: &str = "an IPv6 address such as 2001:db8::1";

pub(super) fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

pub(super) fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

pub(super) fn read_ipv4(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let word = fields.word(IPV4)?;
    let address = ipv4(word.text).ok_or_else(|| {
        let fault = Fault::not_a(&word, IPV4);
        if ipv6(word.text).is_some() {
            fault.help("an IPv6 address belongs in an AAAA record")
        } else {
            fault
        }
    })?;
    out.extend_from_slice(&address.octets());
    Ok(())
}

pub(super) fn read_ipv6(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let word = fields.word(IPV6)?;
    let address = ipv6(word.text).ok_or_else(|| {
        let fault = Fault::not_a(&word, IPV6);
        if ipv4(word.text).is_some() { fault.help("an IPv4 address belongs in an A record") } else { fault }
    })?;
    out.extend_from_slice(&address.octets());
    Ok(())
}

pub(super) fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// Prefixes `[!]family:address/length` (RFC 3123 §5).
pub(super) fn read_prefixes(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    const WHAT: &str = "a prefix such as 1:192.0.2.0/24 or !2:2001:db8::/32";
    while fields.peek().is_some() {
        let (family, negated, bytes, bits) = fields.parsed(WHAT, prefix)?;
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        out.extend_from_slice(&family.to_be_bytes());
        out.push(bits);
        out.push(negated << 7 | u8::try_from(used).expect("an address has at most 16 bytes"));
        out.extend_from_slice(&bytes[..used]);
    }
    Ok(())
}

/// Family, 1 when negated, address and prefix length.
fn prefix(text: &[u8]) -> Option<(u16, u8, Vec<u8>, u8)> {
    let (negated, text) = match text {
        [b'!', rest @ ..] => (1, rest),
        _ => (0, text),
    };
    let colon = text.iter().position(|byte| *byte == b':')?;
    let slash = text.iter().rposition(|byte| *byte == b'/').filter(|slash| *slash > colon)?;
    let address = &text[colon + 1..slash];
    let (family, bytes) = match &text[..colon] {
        b"1" => (1, ipv4(address)?.octets().to_vec()),
        b"2" => (2, ipv6(address)?.octets().to_vec()),
        _ => return None,
    };
    let bits = number::decimal(&text[slash + 1..], bytes.len() as u64 * 8)?;
    Some((family, negated, bytes, u8::try_from(bits).ok()?))
}

pub(super) fn write_prefixes(mut bytes: &[u8], out: &mut String) -> Option<()> {
    while let [high, low, bits, flag_and_len, rest @ ..] = bytes {
        let (used, rest) = rest.split_at_checked(usize::from(flag_and_len & 0x7f))?;
        let negated = if flag_and_len & 0x80 == 0 { "" } else { "!" };
        match u16::from_be_bytes([*high, *low]) {
            1 => write!(out, " {negated}1:{}/{bits}", Ipv4Addr::from(padded::<4>(used)?)).ok()?,
            2 => write!(out, " {negated}2:{}/{bits}", Ipv6Addr::from(padded::<16>(used)?)).ok()?,
            _ => return None,
        }
        bytes = rest;
    }
    bytes.is_empty().then_some(())
}

fn padded<const N: usize>(used: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    bytes.get_mut(..used.len())?.copy_from_slice(used);
    Some(bytes)
}

/// Prefix length, suffix and prefix name (RFC 2874 §3.1).
pub(super) fn read_a6(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let bits = fields.parsed("a prefix length (0 to 128)", |text| number::decimal(text, 128))?;
    let bits = u8::try_from(bits).expect("held to 128");
    out.push(bits);
    if bits < 128 {
        let mut suffix = fields.parsed(IPV6, ipv6)?.octets();
        mask_prefix(&mut suffix, bits);
        out.extend_from_slice(&suffix[usize::from(bits) / 8..]);
    }
    if bits > 0 {
        fields.name(out)?;
    }
    Ok(())
}

/// Bits of the suffix that belong to the prefix are zero (RFC 2874 §3.1.1).
fn mask_prefix(address: &mut [u8; 16], bits: u8) {
    for bit in 0..usize::from(bits) {
        address[bit / 8] &= !(0x80 >> (bit % 8));
    }
}

pub(super) fn write_a6(bytes: &[u8], out: &mut String) -> Option<()> {
    let (&bits, rest) = bytes.split_first()?;
    let from = usize::from(bits) / 8;
    let (suffix, rest) = rest.split_at_checked(if bits < 128 { 16 - from } else { 0 })?;
    write!(out, " {bits}").ok()?;
    if bits < 128 {
        let mut address = [0; 16];
        address[from..].copy_from_slice(suffix);
        write!(out, " {}", Ipv6Addr::from(address)).ok()?;
    }
    match (bits, rest) {
        (0, []) => Some(()),
        (1..=128, name) => write_name(name, out),
        _ => None,
    }
}

/// Exactly one name to the end.
pub(super) fn write_name(bytes: &[u8], out: &mut String) -> Option<()> {
    if name::wire_len(bytes) != Some(bytes.len()) {
        return None;
    }
    out.push(' ');
    name::write_wire(bytes, out).ok()
}

/// Gateway type, algorithm, gateway and key (RFC 4025 §3.1).
pub(super) fn read_ipsec_gateway(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let kind = byte(fields, "a gateway type (0 to 3)", 3)?;
    let algorithm = byte(fields, "an algorithm number (0 to 255)", 255)?;
    out.extend_from_slice(&[kind, algorithm]);
    read_relay(kind, fields, out)?;
    encoding::from_base64(fields.rest_bytes(), out)
        .ok_or_else(|| Fault::new("bad-field", "the key is not valid base64"))
}

pub(super) fn write_ipsec_gateway(bytes: &[u8], out: &mut String) -> Option<()> {
    let [kind, algorithm, rest @ ..] = bytes else { return None };
    write!(out, " {kind} {algorithm}").ok()?;
    let key = write_relay(*kind, rest, out)?;
    write_base64(key, out)
}

/// Base64 to the end; nothing when there is none.
pub(super) fn write_base64(bytes: &[u8], out: &mut String) -> Option<()> {
    if bytes.is_empty() {
        return Some(());
    }
    out.push(' ');
    encoding::write_base64(bytes, out).ok()
}

/// Discovery bit, relay type and relay (RFC 8777 §4.3).
pub(super) fn read_amt_relay(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let discovery = byte(fields, "the discovery bit (0 or 1)", 1)?;
    let kind = byte(fields, "a relay type (0 to 3)", 3)?;
    out.push(discovery << 7 | kind);
    if kind == 0 && fields.peek().is_none() {
        return Ok(());
    }
    read_relay(kind, fields, out)
}

pub(super) fn write_amt_relay(bytes: &[u8], out: &mut String) -> Option<()> {
    let (first, rest) = bytes.split_first()?;
    write!(out, " {} {}", first >> 7, first & 0x7f).ok()?;
    write_relay(first & 0x7f, rest, out)?.is_empty().then_some(())
}

/// Nothing (written `.`), an IPv4 address, an IPv6 address or a name.
fn read_relay(kind: u8, fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    match kind {
        0 => fields.parsed("`.` (there is no gateway)", |text| (text == b".").then_some(())),
        1 => read_ipv4(fields, out),
        2 => read_ipv6(fields, out),
        _ => fields.name(out).map(|_| ()),
    }
}

/// Writes the gateway at the start of `bytes`; what is left.
fn write_relay<'a>(kind: u8, bytes: &'a [u8], out: &mut String) -> Option<&'a [u8]> {
    let len = match kind {
        0 => 0,
        1 => 4,
        2 => 16,
        3 => name::wire_len(bytes)?,
        _ => return None,
    };
    let (gateway, rest) = bytes.split_at_checked(len)?;
    match kind {
        0 => out.push_str(" ."),
        1 => write!(out, " {}", Ipv4Addr::from(array::<4>(gateway)?)).ok()?,
        2 => write!(out, " {}", Ipv6Addr::from(array::<16>(gateway)?)).ok()?,
        _ => write_name(gateway, out)?,
    }
    Some(rest)
}

fn byte(fields: &mut Fields<'_, '_>, what: &str, max: u64) -> Result<u8, Fault> {
    let value = fields.parsed(what, |text| number::decimal(text, max))?;
    Ok(u8::try_from(value).expect("held to 8 bits"))
}

/// Algorithm, identity tag, key and rendezvous servers (RFC 8005 §6).
pub(super) fn read_hip(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let algorithm = bitmap::named(fields, "an algorithm number (0 to 255)", mnemonic::HIP_ALGORITHMS, 255)?;
    let tag = fields.parsed("a host identity tag in hexadecimal", |text| {
        let mut tag = Vec::new();
        encoding::from_hex(text.iter().copied(), &mut tag)?;
        (1..=255).contains(&tag.len()).then_some(tag)
    })?;
    let key = fields.parsed("a key in base64 without blanks", |text| {
        let mut key = Vec::new();
        encoding::from_base64(text.iter().copied(), &mut key)?;
        (!key.is_empty() && u16::try_from(key.len()).is_ok()).then_some(key)
    })?;
    out.push(u8::try_from(tag.len()).expect("held to 255"));
    out.push(u8::try_from(algorithm).expect("held to 255"));
    out.extend_from_slice(&u16::try_from(key.len()).expect("held to 16 bits").to_be_bytes());
    out.extend_from_slice(&tag);
    out.extend_from_slice(&key);
    while fields.peek().is_some() {
        fields.name(out)?;
    }
    Ok(())
}

pub(super) fn write_hip(bytes: &[u8], out: &mut String) -> Option<()> {
    let [tag_len, algorithm, high, low, rest @ ..] = bytes else { return None };
    let (tag, rest) = rest.split_at_checked(usize::from(*tag_len))?;
    let (key, mut servers) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
    if tag.is_empty() || key.is_empty() {
        return None;
    }
    write!(out, " {algorithm} ").ok()?;
    encoding::write_hex(tag, out).ok()?;
    write_base64(key, out)?;
    while !servers.is_empty() {
        let (server, rest) = servers.split_at(name::wire_len(servers)?);
        write_name(server, out)?;
        servers = rest;
    }
    Some(())
}

/// `0x` and hexadecimal digits, which dots may divide (RFC 1706 §7).
pub(super) fn read_nsap(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let bytes = fields.parsed("an NSAP address such as 0x47.0005", |text| {
        let digits = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X"))?;
        let mut bytes = Vec::new();
        encoding::from_hex(digits.iter().copied().filter(|digit| *digit != b'.'), &mut bytes)?;
        (!bytes.is_empty()).then_some(bytes)
    })?;
    out.extend_from_slice(&bytes);
    Ok(())
}

pub(super) fn write_nsap(bytes: &[u8], out: &mut String) -> Option<()> {
    out.push_str(" 0x");
    encoding::write_hex(bytes, out).ok()
}

/// Four groups of up to four hexadecimal digits (RFC 6742 §2.1.2).
pub(super) fn read_locator64(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let groups = fields.parsed("a 64-bit value such as 2001:0db8:1140:1000", |text| {
        let mut groups = text.split(|byte| *byte == b':').map(group);
        let four = [groups.next()??, groups.next()??, groups.next()??, groups.next()??];
        groups.next().is_none().then_some(four)
    })?;
    groups.iter().for_each(|group| out.extend_from_slice(&group.to_be_bytes()));
    Ok(())
}

fn group(digits: &[u8]) -> Option<u16> {
    let fits = (1..=4).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    fits.then(|| u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).flatten()
}

pub(super) fn write_locator64(bytes: &[u8], out: &mut String) -> Option<()> {
    for (index, pair) in bytes.chunks(2).enumerate() {
        let group = u16::from_be_bytes(array::<2>(pair)?);
        write!(out, "{}{group:04x}", if index == 0 { ' ' } else { ':' }).ok()?;
    }
    Some(())
}

/// Pairs of hexadecimal digits with `-` between them (RFC 7043 §3.2, §4.2).
pub(super) fn read_eui(count: usize, fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let what = if count == 6 {
        "an address such as 00-00-5e-00-53-2a"
    } else {
        "an address such as 00-00-5e-ef-10-00-00-2a"
    };
    let bytes = fields.parsed(what, |text| {
        let mut bytes = Vec::new();
        for pair in text.split(|byte| *byte == b'-') {
            (pair.len() == 2).then(|| encoding::from_hex(pair.iter().copied(), &mut bytes)).flatten()?;
        }
        (bytes.len() == count).then_some(bytes)
    })?;
    out.extend_from_slice(&bytes);
    Ok(())
}

pub(super) fn write_eui(bytes: &[u8], out: &mut String) -> Option<()> {
    bytes
        .iter()
        .enumerate()
        .try_for_each(|(index, byte)| write!(out, "{}{byte:02x}", if index == 0 { ' ' } else { '-' }).ok())
}

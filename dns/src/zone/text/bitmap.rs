//! Lists of types as bitmaps (RFC 4034 §4.1.2; RFC 2535 §5.2) and lists of ports (RFC 1035 §3.4.2).

use std::fmt::Write;

use super::fields::{Fault, Fields};
use super::{mnemonic, number};
use crate::rtype::Type;

/// Appends the windows of RFC 4034 §4.1.2 for all types that are left; none are no windows.
pub(super) fn read_types(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut types = types(fields)?;
    types.sort_unstable();
    types.dedup();
    for window in types.chunk_by(|a, b| a.0 >> 8 == b.0 >> 8) {
        let bits = bits(window.iter().map(|rtype| usize::from(rtype.0 & 0xff)));
        out.push((window[0].0 >> 8) as u8);
        out.push(u8::try_from(bits.len()).expect("256 bits are 32 bytes"));
        out.extend_from_slice(&bits);
    }
    Ok(())
}

/// Appends the single bitmap of RFC 2535 §5.2, which has room for types 1 to 127.
pub(super) fn read_old_types(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let types = types(fields)?;
    if types.is_empty() || types.iter().any(|rtype| !(1..=127).contains(&rtype.0)) {
        return Err(Fault::new("bad-field", "NXT lists types from 1 to 127, and at least one"));
    }
    out.extend_from_slice(&bits(types.iter().map(|rtype| usize::from(rtype.0))));
    Ok(())
}

fn types(fields: &mut Fields<'_, '_>) -> Result<Vec<Type>, Fault> {
    let mut types = Vec::new();
    while fields.peek().is_some() {
        types.push(read_type(fields)?);
    }
    Ok(types)
}

/// One type by mnemonic or `TYPEnnn`.
pub(super) fn read_type(fields: &mut Fields<'_, '_>) -> Result<Type, Fault> {
    let word = fields.word("a record type")?;
    mnemonic::rtype(word.text).ok_or_else(|| {
        let fault = Fault::of(&word, "unknown-type", format!("`{}` is not a record type", word.shown()));
        match mnemonic::closest_type(word.text) {
            Some(meant) => fault.help(format!("did you mean `{meant}`?")),
            None => fault,
        }
    })
}

/// Appends a protocol number and the bitmap of its ports.
pub(super) fn read_services(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let protocol = named(fields, "a protocol", mnemonic::PROTOCOLS, u64::from(u8::MAX))?;
    out.push(u8::try_from(protocol).expect("held to 8 bits"));
    let mut ports = Vec::new();
    while fields.peek().is_some() {
        ports.push(usize::from(named(fields, "a service", mnemonic::SERVICES, u64::from(u16::MAX))?));
    }
    out.extend_from_slice(&bits(ports.into_iter()));
    Ok(())
}

/// A number, or a word of a table.
pub(super) fn named(
    fields: &mut Fields<'_, '_>,
    what: &str,
    table: &[(u16, &str)],
    max: u64,
) -> Result<u16, Fault> {
    let word = fields.word(what)?;
    number::decimal(word.text, max)
        .and_then(|number| u16::try_from(number).ok())
        .or_else(|| mnemonic::number_of(word.text, table))
        .ok_or_else(|| {
            let fault = Fault::not_a(&word, what);
            match mnemonic::closest(word.text, table.iter().map(|(_, text)| *text)) {
                Some(meant) => fault.help(format!("did you mean `{meant}`?")),
                None => fault,
            }
        })
}

/// The shortest bitmap that holds these bits; bit 0 is the highest of the first byte.
fn bits(set: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for bit in set {
        if bytes.len() <= bit / 8 {
            bytes.resize(bit / 8 + 1, 0);
        }
        bytes[bit / 8] |= 0x80 >> (bit % 8);
    }
    bytes
}

/// The bits that are set, in order.
fn set_bits(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.iter().enumerate().flat_map(|(index, byte)| {
        (0..8).filter(move |bit| byte & 0x80 >> bit != 0).map(move |bit| index * 8 + bit)
    })
}

pub(super) fn write_types(mut bytes: &[u8], out: &mut String) -> Option<()> {
    while let [window, len, rest @ ..] = bytes {
        let (bits, rest) = rest.split_at_checked(usize::from(*len))?;
        for bit in set_bits(bits) {
            let rtype = Type(u16::from(*window) << 8 | u16::try_from(bit).ok().filter(|bit| *bit < 256)?);
            write!(out, " {rtype}").ok()?;
        }
        bytes = rest;
    }
    bytes.is_empty().then_some(())
}

pub(super) fn write_old_types(bytes: &[u8], out: &mut String) -> Option<()> {
    for bit in set_bits(bytes) {
        write!(out, " {}", Type(u16::try_from(bit).ok()?)).ok()?;
    }
    Some(())
}

pub(super) fn write_services(bytes: &[u8], out: &mut String) -> Option<()> {
    let (protocol, ports) = bytes.split_first()?;
    write!(out, " {protocol}").ok()?;
    set_bits(ports).try_for_each(|port| write!(out, " {port}").ok())
}

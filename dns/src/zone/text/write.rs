//! Wire form to presentation form, field by field.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::address::{self, array};
use super::{bitmap, encoding, location, number, service, string};
use crate::name::Name;
use crate::rdata::{self, Field};
use crate::rtype::Type;

/// RDATA in the form of its type; none when it has no form, or when that would be read as other bytes (a bitmap
/// with surplus zeros, parameters out of order).
pub(super) fn own_form(rtype: Type, rdata: &[u8]) -> Option<String> {
    if rdata::shape(rtype).is_none_or(|shape| shape == [Field::Opaque]) {
        return None;
    }
    let mut out = String::new();
    for span in rdata::spans(rtype, rdata) {
        let span = span.ok()?;
        match (rtype, span.field) {
            (Type::CAA, Field::Text) => write_tag(span.bytes.get(1..)?, &mut out)?,
            (_, field) => one(field, span.bytes, &mut out)?,
        }
    }
    let text = if out.starts_with(' ') { out.split_off(1) } else { out };
    let again = super::read_rdata(rtype, &text, &Name::root()).ok()?;
    (*again == *rdata).then_some(text)
}

/// Writes a blank and the field; nothing for an empty field.
fn one(field: Field, bytes: &[u8], out: &mut String) -> Option<()> {
    match field {
        Field::U8
        | Field::U16
        | Field::U32
        | Field::U64
        | Field::Ttl
        | Field::Algorithm
        | Field::CertType => {
            let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            write!(out, " {number}").ok()
        }
        Field::Time => write!(out, " {}", number::date(u32::from_be_bytes(array(bytes)?))).ok(),
        Field::Type => write!(out, " {}", Type(u16::from_be_bytes(array(bytes)?))).ok(),
        Field::Ipv4 => write!(out, " {}", Ipv4Addr::from(array::<4>(bytes)?)).ok(),
        Field::Ipv6 => write!(out, " {}", Ipv6Addr::from(array::<16>(bytes)?)).ok(),
        Field::Compressible | Field::Name | Field::CompressibleMailbox | Field::Mailbox => {
            address::write_name(bytes, out)
        }
        Field::Text => write_text(bytes.get(1..)?, out),
        Field::Texts => write_texts(bytes, out),
        Field::RestText => write_text(bytes, out),
        Field::Hex if bytes.is_empty() => Some(()),
        Field::Hex => {
            out.push(' ');
            encoding::write_hex(bytes, out).ok()
        }
        Field::Base64 => address::write_base64(bytes, out),
        Field::Salt => write_salt(bytes.get(1..)?, out),
        Field::Base32Hex => {
            out.push(' ');
            encoding::write_base32hex(bytes.get(1..).filter(|hash| !hash.is_empty())?, out).ok()
        }
        Field::TypeBitmap => bitmap::write_types(bytes, out),
        Field::NxtBitmap => bitmap::write_old_types(bytes, out),
        Field::WellKnownServices => bitmap::write_services(bytes, out),
        Field::Loc => location::write(bytes, out),
        Field::Apl => address::write_prefixes(bytes, out),
        Field::SvcParams => service::write(bytes, out),
        Field::A6 => address::write_a6(bytes, out),
        Field::IpsecGateway => address::write_ipsec_gateway(bytes, out),
        Field::AmtRelay => address::write_amt_relay(bytes, out),
        Field::Hip => address::write_hip(bytes, out),
        Field::Nsap => address::write_nsap(bytes, out),
        Field::Locator64 => address::write_locator64(bytes, out),
        Field::Eui48 | Field::Eui64 => address::write_eui(bytes, out),
        Field::Opaque => None,
    }
}

/// The tag of CAA does not stand in quotes (RFC 8659 §4.1.1).
fn write_tag(tag: &[u8], out: &mut String) -> Option<()> {
    write!(out, " {}", std::str::from_utf8(tag).ok()?).ok()
}

fn write_text(bytes: &[u8], out: &mut String) -> Option<()> {
    out.push(' ');
    string::write_quoted(bytes, out);
    Some(())
}

fn write_texts(mut bytes: &[u8], out: &mut String) -> Option<()> {
    while let Some((len, rest)) = bytes.split_first() {
        let (text, rest) = rest.split_at_checked(usize::from(*len))?;
        write_text(text, out)?;
        bytes = rest;
    }
    Some(())
}

fn write_salt(salt: &[u8], out: &mut String) -> Option<()> {
    out.push_str(if salt.is_empty() { " -" } else { " " });
    encoding::write_hex(salt, out).ok()
}

//! Presentation form to wire form, field by field.

use super::fields::{Fault, Fields};
use super::{address, bitmap, encoding, location, mnemonic, number, opaque, service, string};
use crate::rdata::{self, Field};
use crate::rtype::Type;

/// Most bytes of RDATA: its length has 16 bits (RFC 1035 §3.2.1).
const MAX_RDATA_BYTES: usize = 65_535;

/// Appends the RDATA of one record of `rtype`, whose tokens `fields` holds to the end.
pub(crate) fn read(rtype: Type, fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let start = out.len();
    if fields.peek().is_some_and(|word| !word.quoted && word.text == opaque::MARKER) {
        fields.next();
        opaque::read(rtype, fields, out)?;
    } else {
        let shape =
            rdata::shape(rtype).filter(|shape| *shape != [Field::Opaque]).ok_or_else(|| no_form(rtype))?;
        for field in shape {
            one(rtype, *field, fields, out)?;
        }
        fields.end()?;
    }
    if out.len() - start > MAX_RDATA_BYTES {
        return Err(Fault::new("rdata-too-long", format!("a record holds at most {MAX_RDATA_BYTES} bytes")));
    }
    rules_of_type(rtype, &out[start..])
}

fn no_form(rtype: Type) -> Fault {
    Fault::new("no-text-form", format!("{rtype} records have no text form that is known here"))
        .help("write the bytes: `\\# length hexadecimal` (RFC 3597)")
}

fn one(rtype: Type, field: Field, fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    match field {
        Field::U8 if rtype == Type::DSYNC => bitmap::named(fields, "a scheme", mnemonic::DSYNC_SCHEMES, 255)
            .map(|scheme| out.push(u8::try_from(scheme).expect("held to 255"))),
        Field::U8 => number(fields, out, 1, "a number (0 to 255)"),
        Field::U16 => number(fields, out, 2, "a number (0 to 65535)"),
        Field::U32 => number(fields, out, 4, "a number (0 to 4294967295)"),
        Field::U64 => number(fields, out, 8, "a number (0 to 18446744073709551615)"),
        Field::Ttl => four(fields, out, "a number of seconds, or a time such as 1h30m", number::time_span),
        Field::Time => four(fields, out, "a time such as 20260131235959", number::point_in_time),
        Field::Type => bitmap::read_type(fields).map(|rtype| out.extend_from_slice(&rtype.0.to_be_bytes())),
        Field::Algorithm => bitmap::named(fields, "a DNSSEC algorithm", mnemonic::ALGORITHMS, 255)
            .map(|algorithm| out.push(u8::try_from(algorithm).expect("held to 255"))),
        Field::CertType => bitmap::named(fields, "a certificate type", mnemonic::CERT_TYPES, 65_535)
            .map(|kind| out.extend_from_slice(&kind.to_be_bytes())),
        Field::Ipv4 => address::read_ipv4(fields, out),
        Field::Ipv6 => address::read_ipv6(fields, out),
        Field::Compressible | Field::Name | Field::CompressibleMailbox | Field::Mailbox => {
            fields.name(out).map(|_| ())
        }
        Field::Text => string::read(fields, out),
        Field::Texts => texts(fields, out),
        Field::RestText => fields.text("a text").and_then(|word| string::unescaped(&word, out)),
        Field::Hex => digits(fields, out, "hexadecimal digits", |rest, out| encoding::from_hex(rest, out)),
        Field::Base64 => digits(fields, out, "base64", |rest, out| encoding::from_base64(rest, out)),
        Field::Salt => counted(fields, out, "a salt in hexadecimal, or `-`", |text, out| match text {
            b"-" => Some(()),
            _ => encoding::from_hex(text.iter().copied(), out),
        }),
        Field::Base32Hex => counted(fields, out, "base32hex", encoding::from_base32hex),
        Field::TypeBitmap => bitmap::read_types(fields, out),
        Field::NxtBitmap => bitmap::read_old_types(fields, out),
        Field::WellKnownServices => bitmap::read_services(fields, out),
        Field::Loc => location::read(fields, out),
        Field::Apl => address::read_prefixes(fields, out),
        Field::SvcParams => service::read(fields, out),
        Field::A6 => address::read_a6(fields, out),
        Field::IpsecGateway => address::read_ipsec_gateway(fields, out),
        Field::AmtRelay => address::read_amt_relay(fields, out),
        Field::Hip => address::read_hip(fields, out),
        Field::Nsap => address::read_nsap(fields, out),
        Field::Locator64 => address::read_locator64(fields, out),
        Field::Eui48 => address::read_eui(6, fields, out),
        Field::Eui64 => address::read_eui(8, fields, out),
        Field::Opaque => Err(no_form(Type::NULL)),
    }
}

fn number(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>, bytes: usize, what: &str) -> Result<(), Fault> {
    let max = u64::MAX >> (64 - 8 * bytes);
    let value = fields.parsed(what, |text| number::decimal(text, max))?;
    out.extend_from_slice(&value.to_be_bytes()[8 - bytes..]);
    Ok(())
}

fn four(
    fields: &mut Fields<'_, '_>,
    out: &mut Vec<u8>,
    what: &str,
    parse: impl FnOnce(&[u8]) -> Option<u32>,
) -> Result<(), Fault> {
    let value = fields.parsed(what, parse)?;
    out.extend_from_slice(&value.to_be_bytes());
    Ok(())
}

fn texts(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    string::read(fields, out)?;
    while fields.peek().is_some() {
        string::read(fields, out)?;
    }
    Ok(())
}

/// Everything that is left in one encoding. It may be empty here; [`rules_of_type`] says for which types.
fn digits(
    fields: &mut Fields<'_, '_>,
    out: &mut Vec<u8>,
    what: &str,
    decode: impl FnOnce(&mut dyn Iterator<Item = u8>, &mut Vec<u8>) -> Option<()>,
) -> Result<(), Fault> {
    let first = fields.peek();
    let mut rest = fields.rest_bytes();
    decode(&mut rest, out).ok_or_else(|| match first {
        Some(word) => Fault::of(&word, "bad-field", format!("this is not valid {what}")),
        None => Fault::new("missing-field", format!("the record ends early; {what} is missing")),
    })
}

/// One token in an encoding, with the count of its bytes before it.
fn counted(
    fields: &mut Fields<'_, '_>,
    out: &mut Vec<u8>,
    what: &str,
    decode: impl FnOnce(&[u8], &mut Vec<u8>) -> Option<()>,
) -> Result<(), Fault> {
    let start = out.len();
    out.push(0);
    let word = fields.word(what)?;
    let len = decode(word.text, out).and_then(|()| u8::try_from(out.len() - start - 1).ok());
    out[start] = len.ok_or_else(|| Fault::not_a(&word, what))?;
    Ok(())
}

/// Checks rules that a type sets for its fields beyond their shape.
fn rules_of_type(rtype: Type, rdata: &[u8]) -> Result<(), Fault> {
    match (rtype, rdata) {
        (Type::CAA, [_, tag_len, rest @ ..]) => caa_tag(&rest[..usize::from(*tag_len).min(rest.len())]),
        (Type::DS | Type::CDS | Type::DLV | Type::TA, [_, _, _, kind, digest @ ..]) => {
            digest_length(digest, DS_DIGESTS, *kind)
        }
        (Type::SSHFP, [_, kind, digest @ ..]) => digest_length(digest, SSHFP_DIGESTS, *kind),
        (Type::TLSA | Type::SMIMEA, [_, _, _, digest @ ..]) => not_empty(digest, "the digest or certificate"),
        (Type::ZONEMD, [_, _, _, _, _, kind, digest @ ..]) => digest_length(digest, ZONEMD_DIGESTS, *kind),
        (Type::URI, [_, _, _, _, target @ ..]) => not_empty(target, "the target of a URI record"),
        (Type::OPENPGPKEY | Type::DHCID, key) => not_empty(key, "the data"),
        (Type::CERT, [_, _, _, _, _, certificate @ ..]) => not_empty(certificate, "the certificate"),
        (Type::RRSIG | Type::SIG, rdata) => not_empty(signature(rtype, rdata), "the signature"),
        _ => Ok(()),
    }
}

fn signature(rtype: Type, rdata: &[u8]) -> &[u8] {
    rdata::spans(rtype, rdata).last().and_then(Result::ok).map_or(&[], |span| span.bytes)
}

fn not_empty(bytes: &[u8], what: &str) -> Result<(), Fault> {
    if bytes.is_empty() { Err(Fault::new("missing-field", format!("{what} is missing"))) } else { Ok(()) }
}

/// Letters and digits only (RFC 8659 §4.1).
fn caa_tag(tag: &[u8]) -> Result<(), Fault> {
    if !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric) {
        return Ok(());
    }
    Err(Fault::new("bad-field", "the tag of a CAA record is made of letters and digits")
        .help("the common tags are issue, issuewild, issuemail and iodef"))
}

/// Digest lengths by digest type: RFC 4034 §5.1.4, RFC 4509, RFC 5933, RFC 6605, RFC 9558, RFC 9563.
const DS_DIGESTS: &[(u8, usize)] = &[(1, 20), (2, 32), (3, 32), (4, 48), (5, 32), (6, 32)];
/// RFC 4255 §3.1.2, RFC 6594 §3.2.
const SSHFP_DIGESTS: &[(u8, usize)] = &[(1, 20), (2, 32)];
/// RFC 8976 §5.3.
const ZONEMD_DIGESTS: &[(u8, usize)] = &[(1, 48), (2, 64)];

fn digest_length(digest: &[u8], lengths: &[(u8, usize)], kind: u8) -> Result<(), Fault> {
    not_empty(digest, "the digest")?;
    match lengths.iter().find(|(known, _)| *known == kind) {
        Some((_, len)) if *len != digest.len() => Err(Fault::new(
            "bad-length",
            format!("a digest of type {kind} has {len} bytes, this one has {}", digest.len()),
        )),
        _ => Ok(()),
    }
}

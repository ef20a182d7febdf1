//! The shape of RDATA, type by type: one table that text, wire, privacy, compression and additional data all read.
//!
//! A type's RDATA is a sequence of [`Field`]s. [`spans`] walks wire RDATA field by field, so whoever needs the names
//! or the addresses in a record asks the shape and never knows a type by heart.
//!
//! Invariant: RDATA inside verge is always uncompressed wire form; names in it keep the case they were written in.

use crate::name;
use crate::rtype::Type;

/// One piece of RDATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// An 8-bit number.
    U8,
    /// A 16-bit number.
    U16,
    /// A 32-bit number.
    U32,
    /// A 64-bit number.
    U64,
    /// A 32-bit time span; text may carry units (`1h30m`).
    Ttl,
    /// A 32-bit point in time; text is `YYYYMMDDHHMMSS` or seconds (RFC 4034 §3.2).
    Time,
    /// A record type by mnemonic.
    Type,
    /// A DNSSEC algorithm by number or mnemonic (RFC 4034 appendix A.1).
    Algorithm,
    /// A certificate type by number or mnemonic (RFC 4398 §2.1).
    CertType,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A name that may be compressed on output: types of RFC 1035 only (RFC 3597 §4).
    Compressible,
    /// A name that is never compressed on output.
    Name,
    /// A mailbox written as a name that may be compressed on output (SOA RNAME, MINFO).
    CompressibleMailbox,
    /// A mailbox written as a name.
    Mailbox,
    /// One character-string.
    Text,
    /// One or more character-strings up to the end.
    Texts,
    /// Bytes to the end, as one quoted or bare text (URI target, CAA value).
    RestText,
    /// Bytes to the end, in hexadecimal.
    Hex,
    /// Bytes to the end, in base64.
    Base64,
    /// Bytes after a length byte, in hexadecimal, `-` when empty (NSEC3 salt).
    Salt,
    /// Bytes after a length byte, in base32hex (NSEC3 next owner).
    Base32Hex,
    /// A type bitmap to the end (RFC 4034 §4.1.2).
    TypeBitmap,
    /// The 16 bytes of a LOC record of version 0 (RFC 1876).
    Loc,
    /// An address prefix list to the end (RFC 3123).
    Apl,
    /// SVCB parameters to the end (RFC 9460 §2.2).
    SvcParams,
    /// WKS protocol and port bitmap to the end (RFC 1035 §3.4.2).
    WellKnownServices,
    /// A6 prefix length, suffix and prefix name to the end (RFC 2874 §3.1).
    A6,
    /// IPSECKEY gateway type, algorithm, gateway and key to the end (RFC 4025 §2).
    IpsecGateway,
    /// AMTRELAY discovery bit, type and relay to the end (RFC 8777 §4).
    AmtRelay,
    /// HIP identity, key and rendezvous servers to the end (RFC 8005 §5).
    Hip,
    /// NSAP address to the end, `0x…` (RFC 1706).
    Nsap,
    /// 64 bits as four groups of hexadecimal digits (RFC 6742 §2).
    Locator64,
    /// 48 bits as `xx-xx-…` (RFC 7043 §3).
    Eui48,
    /// 64 bits as `xx-xx-…` (RFC 7043 §4).
    Eui64,
    /// The old type bitmap of NXT to the end (RFC 2535 §5.2).
    NxtBitmap,
    /// Bytes to the end without any known shape, in the form of RFC 3597 §5.
    Opaque,
}

/// The fields of a type; none for a type whose RDATA verge cannot decode.
pub fn shape(rtype: Type) -> Option<&'static [Field]> {
    use Field as F;
    Some(match rtype {
        Type::A => &[F::Ipv4],
        Type::AAAA => &[F::Ipv6],
        Type::NS | Type::MD | Type::MF | Type::CNAME | Type::MB | Type::MG | Type::MR | Type::PTR => {
            &[F::Compressible]
        }
        Type::SOA => &[F::Compressible, F::CompressibleMailbox, F::U32, F::Ttl, F::Ttl, F::Ttl, F::Ttl],
        Type::NULL | Type::EID | Type::NIMLOC | Type::ATMA | Type::SINK => &[F::Opaque],
        Type::WKS => &[F::Ipv4, F::WellKnownServices],
        Type::HINFO => &[F::Text, F::Text],
        Type::MINFO => &[F::CompressibleMailbox, F::CompressibleMailbox],
        Type::MX => &[F::U16, F::Compressible],
        Type::TXT
        | Type::SPF
        | Type::AVC
        | Type::NINFO
        | Type::RESINFO
        | Type::WALLET
        | Type::CLA
        | Type::ISDN => &[F::Texts],
        Type::RP => &[F::Mailbox, F::Name],
        Type::AFSDB | Type::RT | Type::KX | Type::LP => &[F::U16, F::Name],
        Type::X25 => &[F::Text],
        Type::NSAP => &[F::Nsap],
        Type::NSAP_PTR | Type::DNAME => &[F::Name],
        Type::SIG | Type::RRSIG => {
            &[F::Type, F::Algorithm, F::U8, F::Ttl, F::Time, F::Time, F::U16, F::Name, F::Base64]
        }
        Type::KEY | Type::DNSKEY | Type::CDNSKEY | Type::RKEY => &[F::U16, F::U8, F::Algorithm, F::Base64],
        Type::PX => &[F::U16, F::Name, F::Name],
        Type::GPOS => &[F::Text, F::Text, F::Text],
        Type::LOC => &[F::Loc],
        Type::NXT => &[F::Name, F::NxtBitmap],
        Type::SRV => &[F::U16, F::U16, F::U16, F::Name],
        Type::NAPTR => &[F::U16, F::U16, F::Text, F::Text, F::Text, F::Name],
        Type::CERT => &[F::CertType, F::U16, F::Algorithm, F::Base64],
        Type::A6 => &[F::A6],
        Type::APL => &[F::Apl],
        Type::DS | Type::CDS | Type::TA | Type::DLV => &[F::U16, F::Algorithm, F::U8, F::Hex],
        Type::SSHFP => &[F::U8, F::U8, F::Hex],
        Type::IPSECKEY => &[F::U8, F::IpsecGateway],
        Type::NSEC => &[F::Name, F::TypeBitmap],
        Type::DHCID | Type::OPENPGPKEY => &[F::Base64],
        Type::NSEC3 => &[F::U8, F::U8, F::U16, F::Salt, F::Base32Hex, F::TypeBitmap],
        Type::NSEC3PARAM => &[F::U8, F::U8, F::U16, F::Salt],
        Type::TLSA | Type::SMIMEA => &[F::U8, F::U8, F::U8, F::Hex],
        Type::HIP => &[F::Hip],
        Type::TALINK => &[F::Name, F::Name],
        Type::CSYNC => &[F::U32, F::U16, F::TypeBitmap],
        Type::ZONEMD => &[F::U32, F::U8, F::U8, F::Hex],
        Type::SVCB | Type::HTTPS => &[F::U16, F::Name, F::SvcParams],
        Type::DSYNC => &[F::Type, F::U8, F::U16, F::Name],
        Type::NID | Type::L64 => &[F::U16, F::Locator64],
        Type::L32 => &[F::U16, F::Ipv4],
        Type::EUI48 => &[F::Eui48],
        Type::EUI64 => &[F::Eui64],
        Type::URI => &[F::U16, F::U16, F::RestText],
        Type::CAA => &[F::U8, F::Text, F::RestText],
        Type::DOA => &[F::U32, F::U32, F::U8, F::Text, F::Base64],
        Type::AMTRELAY => &[F::U8, F::AmtRelay],
        Type::IPN => &[F::U64],
        _ => return None,
    })
}

/// A field of some RDATA and the bytes it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<'a> {
    /// The kind of the field.
    pub field: Field,
    /// Its bytes, length bytes included.
    pub bytes: &'a [u8],
}

/// RDATA that does not fit its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The fields of `rdata` in order. A type without a known shape is one [`Field::Opaque`].
///
/// The item after which nothing fits is an error and ends the walk; surplus bytes are an error too.
pub fn spans(rtype: Type, rdata: &[u8]) -> Spans<'_> {
    Spans { fields: shape(rtype).unwrap_or(&[Field::Opaque]), rest: rdata, failed: false }
}

/// See [`spans`].
#[derive(Clone, Debug)]
pub struct Spans<'a> {
    fields: &'static [Field],
    rest: &'a [u8],
    failed: bool,
}

impl<'a> Iterator for Spans<'a> {
    type Item = Result<Span<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let Some((&field, fields)) = self.fields.split_first() else {
            self.failed = true;
            return (!self.rest.is_empty()).then_some(Err(Malformed));
        };
        self.fields = fields;
        match bytes_of(field, self.rest).filter(|len| *len <= self.rest.len()) {
            Some(len) => {
                let (bytes, rest) = self.rest.split_at(len);
                self.rest = rest;
                Some(Ok(Span { field, bytes }))
            }
            None => {
                self.failed = true;
                Some(Err(Malformed))
            }
        }
    }
}

/// How many bytes `field` takes at the start of `rest`; perhaps more than are there.
pub(crate) fn bytes_of(field: Field, rest: &[u8]) -> Option<usize> {
    match field {
        Field::U8 | Field::Algorithm => Some(1),
        Field::U16 | Field::Type | Field::CertType => Some(2),
        Field::U32 | Field::Ttl | Field::Time | Field::Ipv4 => Some(4),
        Field::U64 | Field::Locator64 | Field::Eui64 => Some(8),
        Field::Eui48 => Some(6),
        Field::Ipv6 | Field::Loc => Some(16),
        Field::Compressible | Field::Name | Field::CompressibleMailbox | Field::Mailbox => {
            name::wire_len(rest)
        }
        Field::Text | Field::Salt | Field::Base32Hex => rest.first().map(|len| usize::from(*len) + 1),
        Field::Texts => character_strings(rest),
        Field::RestText
        | Field::Hex
        | Field::Base64
        | Field::TypeBitmap
        | Field::Apl
        | Field::SvcParams
        | Field::WellKnownServices
        | Field::A6
        | Field::IpsecGateway
        | Field::AmtRelay
        | Field::Hip
        | Field::Nsap
        | Field::NxtBitmap
        | Field::Opaque => Some(rest.len()),
    }
}

fn character_strings(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < rest.len() {
        at += usize::from(rest[at]) + 1;
    }
    (at == rest.len() && at > 0).then_some(at)
}

/// Whether two RDATA of one type say the same: letters of names in them may differ in case (RFC 4034 §6.2), and nothing else.
pub fn is_same(rtype: Type, one: &[u8], other: &[u8]) -> bool {
    one == other
        || one.eq_ignore_ascii_case(other)
            && spans(rtype, one).zip(spans(rtype, other)).all(|pair| match pair {
                (Ok(one), Ok(other)) if one.field.is_name() => one.bytes.eq_ignore_ascii_case(other.bytes),
                (Ok(one), Ok(other)) => one.bytes == other.bytes,
                _ => false,
            })
}

/// The RDATA with the letters of its names in lower case: equal for what [`is_same`] holds to be the same.
pub fn lowered(rtype: Type, rdata: &[u8]) -> Vec<u8> {
    let mut lowered = Vec::with_capacity(rdata.len());
    for span in spans(rtype, rdata) {
        match span {
            Ok(Span { field, bytes }) if field.is_name() => lowered.extend(bytes.to_ascii_lowercase()),
            Ok(Span { bytes, .. }) => lowered.extend(bytes),
            Err(Malformed) => return rdata.to_vec(),
        }
    }
    lowered
}

impl Field {
    fn is_name(self) -> bool {
        matches!(self, Self::Compressible | Self::Name | Self::CompressibleMailbox | Self::Mailbox)
    }
}

/// The purpose of a name in RDATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A name that a client will look up next.
    Target,
    /// A mail address written as a name.
    Mailbox,
}

/// Every name in `rdata` in wire form, letters as written, with its role; nothing from malformed RDATA on.
pub fn names(rtype: Type, rdata: &[u8]) -> Vec<(Role, &[u8])> {
    let mut found = Vec::new();
    for span in spans(rtype, rdata) {
        let Ok(Span { field, bytes }) = span else { break };
        match field {
            Field::Compressible | Field::Name => found.push((Role::Target, bytes)),
            Field::CompressibleMailbox | Field::Mailbox => found.push((Role::Mailbox, bytes)),
            Field::Hip => hip_servers(bytes, &mut found),
            Field::IpsecGateway if rdata_gateway_is_name(bytes) => push_name(&bytes[2..], &mut found),
            Field::AmtRelay if bytes.first().is_some_and(|kind| kind & 0x7f == 3) => {
                push_name(&bytes[1..], &mut found);
            }
            Field::A6 => a6_prefix(bytes, &mut found),
            _ => {}
        }
    }
    found
}

/// IPSECKEY after its precedence: gateway type 3 is a name (RFC 4025 §2.5).
fn rdata_gateway_is_name(bytes: &[u8]) -> bool {
    bytes.len() >= 2 && bytes[0] == 3
}

fn push_name<'a>(rest: &'a [u8], found: &mut Vec<(Role, &'a [u8])>) {
    if let Some(len) = name::wire_len(rest) {
        found.push((Role::Target, &rest[..len]));
    }
}

fn hip_servers<'a>(bytes: &'a [u8], found: &mut Vec<(Role, &'a [u8])>) {
    let [hit_len, _algorithm, key_high, key_low, rest @ ..] = bytes else { return };
    let skip = usize::from(*hit_len) + usize::from(u16::from_be_bytes([*key_high, *key_low]));
    let mut rest = rest.get(skip..).unwrap_or_default();
    while let Some(len) = name::wire_len(rest) {
        found.push((Role::Target, &rest[..len]));
        rest = &rest[len..];
    }
}

fn a6_prefix<'a>(bytes: &'a [u8], found: &mut Vec<(Role, &'a [u8])>) {
    let Some((&prefix_bits, rest)) = bytes.split_first() else { return };
    if (1..=128).contains(&prefix_bits) {
        let suffix_bytes = (128 - usize::from(prefix_bits)).div_ceil(8);
        push_name(rest.get(suffix_bytes..).unwrap_or_default(), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rtype: Type, rdata: &[u8], expected: &[(Role, &[u8])]) {
        assert_eq!(names(rtype, rdata), expected, "{rtype}");
    }

    #[test]
    fn names_are_found_where_the_type_has_them() {
        check(Type::NS, b"\x01a\0", &[(Role::Target, b"\x01a\0")]);
        check(Type::MX, b"\0\x0a\x01A\0", &[(Role::Target, b"\x01A\0")]);
        check(Type::SRV, b"\0\0\0\0\0\0\x01s\0", &[(Role::Target, b"\x01s\0")]);
        check(Type::RP, b"\x01m\0\x01t\0", &[(Role::Mailbox, b"\x01m\0"), (Role::Target, b"\x01t\0")]);
        check(Type::TXT, b"\x01a\0", &[]);
        check(
            Type::HIP,
            b"\x01\x02\0\x01HK\x01r\0\x01s\0",
            &[(Role::Target, b"\x01r\0"), (Role::Target, b"\x01s\0")],
        );
        check(Type::IPSECKEY, b"\x0a\x03\x02\x01g\0KEY", &[(Role::Target, b"\x01g\0")]);
        check(Type::IPSECKEY, b"\x0a\x01\x02\x0a\0\0\x01KEY", &[]);
        check(Type::AMTRELAY, b"\x0a\x83\x01g\0", &[(Role::Target, b"\x01g\0")]);
        check(Type(65280), b"\x01a\0", &[]);
    }

    #[test]
    fn surplus_and_missing_bytes_are_malformed() {
        for (rtype, rdata, fits) in [
            (Type::A, &b"\x0a\0\0\x01"[..], true),
            (Type::A, b"\x0a\0\0", false),
            (Type::A, b"\x0a\0\0\x01\x01", false),
            (Type::MX, b"\0\x0a", false),
            (Type::NS, b"\xc0\x0c", false),
            (Type::TXT, b"", false),
            (Type::TXT, b"\x02a", false),
            (Type(65280), b"", true),
        ] {
            assert_eq!(spans(rtype, rdata).all(|span| span.is_ok()), fits, "{rtype} {rdata:?}");
        }
    }
}

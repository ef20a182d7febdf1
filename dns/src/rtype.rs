//! Record types (RFC 9499 "RRTYPE") and their mnemonics, from the IANA registry "Resource Record (RR) TYPEs".

use std::fmt;
use std::str::FromStr;

/// A record type by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Type(pub u16);

macro_rules! types {
    ($($constant:ident $number:literal $mnemonic:literal,)*) => {
        impl Type {
            $(#[doc = concat!("`", $mnemonic, "`")] pub const $constant: Type = Type($number);)*
        }
        /// Every named type, in the order of the registry.
        pub const NAMED: &[(Type, &str)] = &[$((Type($number), $mnemonic),)*];
    };
}

types! {
    A 1 "A", NS 2 "NS", MD 3 "MD", MF 4 "MF", CNAME 5 "CNAME", SOA 6 "SOA", MB 7 "MB", MG 8 "MG", MR 9 "MR",
    NULL 10 "NULL", WKS 11 "WKS", PTR 12 "PTR", HINFO 13 "HINFO", MINFO 14 "MINFO", MX 15 "MX", TXT 16 "TXT",
    RP 17 "RP", AFSDB 18 "AFSDB", X25 19 "X25", ISDN 20 "ISDN", RT 21 "RT", NSAP 22 "NSAP",
    NSAP_PTR 23 "NSAP-PTR", SIG 24 "SIG", KEY 25 "KEY", PX 26 "PX", GPOS 27 "GPOS", AAAA 28 "AAAA", LOC 29 "LOC",
    NXT 30 "NXT", EID 31 "EID", NIMLOC 32 "NIMLOC", SRV 33 "SRV", ATMA 34 "ATMA", NAPTR 35 "NAPTR", KX 36 "KX",
    CERT 37 "CERT", A6 38 "A6", DNAME 39 "DNAME", SINK 40 "SINK", OPT 41 "OPT", APL 42 "APL", DS 43 "DS",
    SSHFP 44 "SSHFP", IPSECKEY 45 "IPSECKEY", RRSIG 46 "RRSIG", NSEC 47 "NSEC", DNSKEY 48 "DNSKEY",
    DHCID 49 "DHCID", NSEC3 50 "NSEC3", NSEC3PARAM 51 "NSEC3PARAM", TLSA 52 "TLSA", SMIMEA 53 "SMIMEA",
    HIP 55 "HIP", NINFO 56 "NINFO", RKEY 57 "RKEY", TALINK 58 "TALINK", CDS 59 "CDS", CDNSKEY 60 "CDNSKEY",
    OPENPGPKEY 61 "OPENPGPKEY", CSYNC 62 "CSYNC", ZONEMD 63 "ZONEMD", SVCB 64 "SVCB", HTTPS 65 "HTTPS",
    DSYNC 66 "DSYNC", SPF 99 "SPF", NID 104 "NID", L32 105 "L32", L64 106 "L64", LP 107 "LP", EUI48 108 "EUI48",
    EUI64 109 "EUI64", NXNAME 128 "NXNAME", TKEY 249 "TKEY", TSIG 250 "TSIG", IXFR 251 "IXFR", AXFR 252 "AXFR",
    MAILB 253 "MAILB", MAILA 254 "MAILA", ANY 255 "ANY", URI 256 "URI", CAA 257 "CAA", AVC 258 "AVC",
    DOA 259 "DOA", AMTRELAY 260 "AMTRELAY", RESINFO 261 "RESINFO", WALLET 262 "WALLET", CLA 263 "CLA",
    IPN 264 "IPN", TA 32768 "TA", DLV 32769 "DLV",
}

impl Type {
    /// Whether no zone may hold a record of this type: meta types and question types (RFC 6895 §3.1).
    pub fn is_meta(self) -> bool {
        matches!(self.0, 0 | 41 | 128..=255)
    }

    /// The registered mnemonic, if there is one.
    pub fn mnemonic(self) -> Option<&'static str> {
        NAMED.iter().find(|(named, _)| *named == self).map(|(_, text)| *text)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(text) => f.pad(text),
            None => f.pad(&format!("TYPE{}", self.0)),
        }
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is neither a mnemonic nor `TYPEnnn` (RFC 3597 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownType;

impl FromStr for Type {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        if let Some((named, _)) = NAMED.iter().find(|(_, mnemonic)| mnemonic.eq_ignore_ascii_case(text)) {
            return Ok(*named);
        }
        let digits = text
            .get(..4)
            .filter(|prefix| prefix.eq_ignore_ascii_case("TYPE"))
            .map(|_| &text[4..])
            .filter(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()))
            .ok_or(UnknownType)?;
        digits.parse().map(Type).map_err(|_| UnknownType)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mnemonics_and_numbers_agree() {
        for (text, expected) in [
            ("A", Ok(Type::A)),
            ("nsap-ptr", Ok(Type::NSAP_PTR)),
            ("TYPE65280", Ok(Type(65280))),
            ("type1", Ok(Type::A)),
            ("TYPE65536", Err(UnknownType)),
            ("TYPE", Err(UnknownType)),
            ("TYPE+1", Err(UnknownType)),
            ("AA", Err(UnknownType)),
        ] {
            assert_eq!(text.parse::<Type>(), expected, "{text}");
        }
        assert_eq!(Type(65280).to_string(), "TYPE65280");
        assert_eq!(Type::HTTPS.to_string(), "HTTPS");
    }
}

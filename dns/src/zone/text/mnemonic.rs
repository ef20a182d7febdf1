//! Words for numbers, and the word that was probably meant.

use crate::rtype::{NAMED, Type};

/// A type by mnemonic or `TYPEnnn`; the common ones are found without a search.
pub(crate) fn rtype(word: &[u8]) -> Option<Type> {
    match word {
        b"A" => Some(Type::A),
        b"AAAA" => Some(Type::AAAA),
        b"NS" => Some(Type::NS),
        b"CNAME" => Some(Type::CNAME),
        b"MX" => Some(Type::MX),
        b"TXT" => Some(Type::TXT),
        b"PTR" => Some(Type::PTR),
        b"RRSIG" => Some(Type::RRSIG),
        b"NSEC" => Some(Type::NSEC),
        b"NSEC3" => Some(Type::NSEC3),
        b"DS" => Some(Type::DS),
        _ => std::str::from_utf8(word).ok()?.parse().ok(),
    }
}

/// The type mnemonic that is nearest to `word`; among equals the one that people write most.
pub(crate) fn closest_type(word: &[u8]) -> Option<&'static str> {
    let common = ["A", "AAAA", "CNAME", "NS", "MX", "TXT", "SRV", "PTR", "SOA", "CAA", "HTTPS"];
    let named = NAMED.iter().filter(|(rtype, _)| !rtype.is_meta()).map(|(_, text)| *text);
    closest(word, common.into_iter().chain(named))
}

/// The candidate that is nearest to `word`, if any is near enough to have been meant.
pub(crate) fn closest<'c>(word: &[u8], candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    if word.len() > MAX_WORD_BYTES {
        return None;
    }
    let word = word.to_ascii_uppercase();
    let most = (word.len() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (distance(&word, candidate.to_ascii_uppercase().as_bytes()), candidate))
        .filter(|(distance, candidate)| *distance <= most && *distance < word.len().max(candidate.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Longer words resemble no mnemonic.
const MAX_WORD_BYTES: usize = 32;

/// Fewest insertions, deletions, replacements and swaps of neighbours that make `left` into `right`.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let differs = usize::from(left[i - 1] != right[j - 1]);
            let mut least = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + differs);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

/// DNSSEC algorithms (RFC 4034 appendix A.1 and the IANA registry).
pub(super) const ALGORITHMS: &[(u16, &str)] = &[
    (1, "RSAMD5"),
    (2, "DH"),
    (3, "DSA"),
    (5, "RSASHA1"),
    (6, "DSA-NSEC3-SHA1"),
    (6, "NSEC3DSA"),
    (7, "RSASHA1-NSEC3-SHA1"),
    (7, "NSEC3RSASHA1"),
    (8, "RSASHA256"),
    (10, "RSASHA512"),
    (12, "ECC-GOST"),
    (12, "ECCGOST"),
    (13, "ECDSAP256SHA256"),
    (14, "ECDSAP384SHA384"),
    (15, "ED25519"),
    (16, "ED448"),
    (17, "SM2SM3"),
    (23, "ECC-GOST12"),
    (252, "INDIRECT"),
    (253, "PRIVATEDNS"),
    (254, "PRIVATEOID"),
];

/// Public key algorithms of HIP (RFC 8005 §4 refers to IPSECKEY's).
pub(super) const HIP_ALGORITHMS: &[(u16, &str)] = &[(1, "DSA"), (2, "RSA"), (3, "ECDSA")];

/// Certificate types (RFC 4398 §2.1).
pub(super) const CERT_TYPES: &[(u16, &str)] = &[
    (1, "PKIX"),
    (2, "SPKI"),
    (3, "PGP"),
    (4, "IPKIX"),
    (5, "ISPKI"),
    (6, "IPGP"),
    (7, "ACPKIX"),
    (8, "IACPKIX"),
    (253, "URI"),
    (254, "OID"),
];

/// Schemes of DSYNC (RFC 9859 §6.2).
pub(super) const DSYNC_SCHEMES: &[(u16, &str)] = &[(1, "NOTIFY")];

/// Protocols of WKS.
pub(super) const PROTOCOLS: &[(u16, &str)] = &[(1, "ICMP"), (6, "TCP"), (17, "UDP")];

/// Services of WKS: those that RFC 1010 lists and zone files name.
pub(super) const SERVICES: &[(u16, &str)] = &[
    (7, "echo"),
    (9, "discard"),
    (11, "systat"),
    (13, "daytime"),
    (17, "qotd"),
    (19, "chargen"),
    (20, "ftp-data"),
    (21, "ftp"),
    (22, "ssh"),
    (23, "telnet"),
    (25, "smtp"),
    (37, "time"),
    (43, "whois"),
    (53, "domain"),
    (53, "nameserver"),
    (69, "tftp"),
    (70, "gopher"),
    (79, "finger"),
    (80, "http"),
    (80, "www"),
    (88, "kerberos"),
    (101, "hostname"),
    (110, "pop3"),
    (111, "sunrpc"),
    (113, "auth"),
    (119, "nntp"),
    (123, "ntp"),
    (137, "netbios-ns"),
    (143, "imap2"),
    (161, "snmp"),
    (179, "bgp"),
    (194, "irc"),
    (389, "ldap"),
    (443, "https"),
    (512, "exec"),
    (513, "login"),
    (514, "shell"),
    (515, "printer"),
    (520, "route"),
    (636, "ldaps"),
    (993, "imaps"),
    (995, "pop3s"),
];

/// The number of a word in one of the tables above.
pub(super) fn number_of(word: &[u8], table: &[(u16, &str)]) -> Option<u16> {
    table.iter().find(|(_, text)| word.eq_ignore_ascii_case(text.as_bytes())).map(|(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        for (word, expected) in [
            ("CNMAE", Some("CNAME")),
            ("cname", Some("CNAME")),
            ("AAA", Some("AAAA")),
            ("AA", Some("A")),
            ("MC", Some("MX")),
            ("TEXT", Some("TXT")),
            ("HTTP", Some("HTTPS")),
            ("MXX", Some("MX")),
            ("XQZW", None),
            ("192.0.2.1", None),
        ] {
            assert_eq!(closest_type(word.as_bytes()), expected, "{word}");
        }
    }
}

//! Advice about unwise records of some types.

use super::Found;
use crate::rtype::Type;
use crate::zone::tree::Tree;
use crate::zone::{Record, Zone};

pub(super) fn judge(zone: &Zone, found: &mut Found) {
    let mut keys: Vec<(u16, &Record)> = Vec::new();
    for record in zone.order().others().iter().map(|index| zone.record(*index)) {
        let at = Some(record.at);
        match (record.rtype, &*record.rdata) {
            (Type::SPF, _) => {
                let message = "the type SPF is obsolete; mail servers read TXT only".to_owned();
                found.warning(at, "spf-type", message, "write the text in a TXT record (RFC 7208 §3.1)");
            }
            (Type::NSEC3PARAM | Type::NSEC3, [_, _, high, low, ..]) if (*high, *low) != (0, 0) => {
                let message = format!("NSEC3 with {} extra iterations", u16::from_be_bytes([*high, *low]));
                found.warning(
                    at,
                    "nsec3-iterations",
                    message,
                    "use 0; resolvers refuse more (RFC 9276 §3.1)",
                );
            }
            (Type::SVCB | Type::HTTPS, [0, 0, rest @ ..])
                if crate::name::wire_len(rest).is_some_and(|len| len < rest.len()) =>
            {
                let message = "parameters have no effect where the priority is 0 (AliasMode)".to_owned();
                found.warning(
                    at,
                    "alias-with-parameters",
                    message,
                    "remove them, or set a priority (RFC 9460 §2.4.2)",
                );
            }
            (Type::TLSA | Type::SMIMEA, [_, _, kind, digest @ ..]) => {
                digest_length(record, *kind, digest, found)
            }
            (Type::DNSKEY, rdata) => keys.push((key_tag(rdata), record)),
            (Type::A6 | Type::MD | Type::MF | Type::WKS | Type::NXT, _) => {
                let message = format!("the type {} is obsolete", record.rtype);
                found.warning(at, "obsolete-type", message, "no client asks for it");
            }
            _ => {}
        }
    }
    colliding(keys, found);
}

/// NSEC3 records that no answer can use (RFC 5155 §7.1).
pub(super) fn unproved(zone: &Zone, tree: &Tree, found: &mut Found) {
    let mut others = zone.order().others().iter().map(|index| zone.record(*index));
    let Some(nsec3) = others.find(|record| record.rtype == Type::NSEC3).filter(|_| tree.nsec3().is_none())
    else {
        return;
    };
    let message =
        "the NSEC3 records prove nothing: validating resolvers answer SERVFAIL for names that do not exist";
    let help =
        "sign the zone again: an NSEC3PARAM record at the apex names their salt, and at most 500 iterations";
    found.warning(Some(nsec3.at), "nsec3-unused", message.to_owned(), help);
}

/// SHA-256 and SHA-512 (RFC 6698 §2.1.3). Other servers serve a digest of another length, so its clients are not to lose the
/// records beside it.
fn digest_length(record: &Record, kind: u8, digest: &[u8], found: &mut Found) {
    let bytes = match kind {
        1 => 32,
        2 => 64,
        _ => return,
    };
    if digest.len() != bytes {
        let message = format!("a digest of type {kind} has {bytes} bytes, this one has {}", digest.len());
        found.warning(Some(record.at), "bad-length", message, "no certificate will match it; make it again");
    }
}

/// Keys with one tag make validators try both (RFC 4034 appendix B).
fn colliding(mut keys: Vec<(u16, &Record)>, found: &mut Found) {
    keys.sort_by_key(|(tag, record)| (*tag, record.at));
    for [(tag, first), (next, second)] in keys.array_windows() {
        if tag == next && first.owner == second.owner && first.rdata.get(3) == second.rdata.get(3) {
            let message = format!("the key has the tag {tag}, as that in line {}", first.at.line);
            found.warning(Some(second.at), "key-tag-collision", message, "generate another key");
        }
    }
}

/// RFC 4034 appendix B.
pub(crate) fn key_tag(rdata: &[u8]) -> u16 {
    let sum: u64 = rdata
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    (sum + (sum >> 16 & 0xffff)) as u16
}

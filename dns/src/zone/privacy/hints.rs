//! Address hints of SVCB and HTTPS (RFC 9460 §7.3): taking some of them out (D3, and split names inside).

use std::net::IpAddr;

use crate::name::{self, Name};
use crate::zone::Record;
use crate::zone::address::{hint_bytes, svc_params};

/// The rest of a record whose hints were judged one by one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stripped {
    /// Every hint may stay.
    Whole,
    /// The record goes on with this RDATA.
    Rewritten(Box<[u8]>),
    /// A key that `mandatory` lists lost its last address: clients must not use the record without it
    /// (RFC 9460 §8), so it goes.
    Dropped,
    /// The parameters cannot be decoded.
    Malformed,
}

/// The key `mandatory` (RFC 9460 §8).
const MANDATORY: u16 = 0;

/// Takes the hints out that `keep` refuses; a key without addresses goes too.
pub(crate) fn strip(rdata: &[u8], keep: impl Fn(IpAddr) -> bool) -> Stripped {
    let Some((head, params)) = split(rdata) else { return Stripped::Malformed };
    let (mut out, mut read, mut emptied) = (head.to_vec(), head.len(), Vec::new());
    for (key, value) in svc_params(params) {
        read += 4 + value.len();
        let kept = kept_addresses(key, value, &keep);
        if kept.is_empty() && !value.is_empty() {
            emptied.push(key);
            continue;
        }
        out.extend(key.to_be_bytes());
        out.extend(u16::try_from(kept.len()).expect("not longer than it was").to_be_bytes());
        out.extend(kept);
    }
    if read != rdata.len() {
        return Stripped::Malformed;
    }
    if svc_params(params).any(|(key, value)| key == MANDATORY && lists_any(value, &emptied)) {
        return Stripped::Dropped;
    }
    if out == rdata { Stripped::Whole } else { Stripped::Rewritten(out.into()) }
}

/// Whether the record has any hint at all.
pub(super) fn has_hints(rdata: &[u8]) -> bool {
    split(rdata).is_some_and(|(_, params)| svc_params(params).any(|(key, _)| hint_bytes(key).is_some()))
}

/// The addresses of all hints of a record.
pub(super) fn addresses(rdata: &[u8]) -> impl Iterator<Item = IpAddr> {
    let params = split(rdata).map(|(_, params)| svc_params(params)).into_iter().flatten();
    params.flat_map(|(key, value)| {
        let bytes = hint_bytes(key);
        bytes.into_iter().flat_map(move |bytes| value.chunks_exact(bytes)).filter_map(address)
    })
}

/// The name that an SVCB or HTTPS record leads to: `.` is its owner (RFC 9460 §2.5.2).
pub(super) fn target(record: &Record) -> Option<Name> {
    let (head, _) = split(&record.rdata)?;
    let target = Name::from_wire(&head[2..]).ok()?;
    Some(if target.is_root() { record.owner.clone() } else { target })
}

/// Priority and target, and the parameters.
fn split(rdata: &[u8]) -> Option<(&[u8], &[u8])> {
    let target_bytes = name::wire_len(rdata.get(2..)?)?;
    rdata.split_at_checked(2 + target_bytes)
}

/// The value without the addresses that `keep` refuses; bytes that are no whole address go too.
fn kept_addresses(key: u16, value: &[u8], keep: &impl Fn(IpAddr) -> bool) -> Vec<u8> {
    let Some(bytes) = hint_bytes(key) else { return value.to_vec() };
    let whole = value.chunks_exact(bytes);
    whole.filter(|chunk| address(chunk).is_some_and(keep)).flatten().copied().collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn lists_any(mandatory: &[u8], keys: &[u16]) -> bool {
    mandatory.chunks_exact(2).any(|pair| keys.contains(&u16::from_be_bytes([pair[0], pair[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Priority 1, target `.`, then the parameters; 10.x is refused.
    fn check(params: &[u8], expected: &str) {
        let rdata = [&[0, 1, 0], params].concat();
        let keep = |address| !matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10);
        let shown = match strip(&rdata, keep) {
            Stripped::Rewritten(rdata) => format!("{:?}", &rdata[3..]),
            other => format!("{other:?}"),
        };
        assert_eq!(shown, expected, "{params:?}");
    }

    #[test]
    fn d3_strips_addresses_then_keys_then_records() {
        check(&[], "Whole");
        check(&[0, 4, 0, 4, 8, 8, 8, 8], "Whole");
        check(&[0, 4, 0, 8, 10, 0, 0, 1, 8, 8, 8, 8], "[0, 4, 0, 4, 8, 8, 8, 8]");
        check(&[0, 3, 0, 2, 1, 187, 0, 4, 0, 4, 10, 0, 0, 1], "[0, 3, 0, 2, 1, 187]");
        check(&[0, 2, 0, 0, 0, 4, 0, 4, 10, 0, 0, 1], "[0, 2, 0, 0]");
        check(&[0, 0, 0, 2, 0, 4, 0, 4, 0, 4, 10, 0, 0, 1], "Dropped");
        check(
            &[0, 0, 0, 2, 0, 3, 0, 3, 0, 2, 1, 187, 0, 4, 0, 4, 10, 0, 0, 1],
            "[0, 0, 0, 2, 0, 3, 0, 3, 0, 2, 1, 187]",
        );
        let partly = [0, 0, 0, 2, 0, 4, 0, 4, 0, 8, 10, 0, 0, 1, 8, 8, 8, 8];
        check(&partly, "[0, 0, 0, 2, 0, 4, 0, 4, 0, 4, 8, 8, 8, 8]");
        check(&[0, 4, 0, 4, 10, 0], "Malformed");
    }
}

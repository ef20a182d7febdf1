//! The request target's four forms (RFC 9112 §3.2).

use super::authority;
use crate::serve::h1::gate::refusal::Refusal;
use crate::serve::h1::gate::text::{self, PATH, QUERY, RAW};

/// A target that fits its method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// `/path?query`, or `*` with OPTIONS: `Host` alone says who is meant.
    Origin,
    /// `http://authority/path?query`.
    Absolute {
        /// `host` or `host:port`.
        authority: &'a [u8],
        /// The scheme's own port.
        port: u16,
    },
    /// `host:port`, with CONNECT.
    Tunnel(&'a [u8]),
}

/// How many bytes at the start can be a target, and whether some of them must be percent-encoded.
pub(super) fn extent(bytes: &[u8]) -> (usize, bool) {
    let plain = len(bytes, 0);
    let wide = match bytes.get(plain) {
        Some(&byte) if text::all(&[byte], RAW) => len(bytes, RAW),
        _ => plain,
    };
    (wide, wide > plain)
}

fn len(bytes: &[u8], also: u8) -> usize {
    let path = text::run(bytes, PATH | also);
    match bytes.get(path) {
        Some(b'?') => path + text::run(&bytes[path..], QUERY | also),
        _ => path,
    }
}

/// `target` is as long as [`extent`] says.
pub(super) fn read<'a>(method: &[u8], target: &'a [u8]) -> Result<Target<'a>, Refusal> {
    let form = match (method, target) {
        (b"CONNECT", _) => authority::is_valid_with_port(target).then_some(Target::Tunnel(target)),
        (_, [b'/', ..]) | (b"OPTIONS", b"*") => Some(Target::Origin),
        _ => absolute(target),
    };
    form.ok_or(Refusal::BadTarget)
}

/// Whether this is an absolute form without a path and a query.
pub(super) fn is_host_alone(target: &[u8]) -> bool {
    let rest = after_scheme(target, b"http://").or_else(|| after_scheme(target, b"https://"));
    rest.is_some_and(|rest| !rest.iter().any(|byte| matches!(byte, b'/' | b'?')))
}

fn absolute(target: &[u8]) -> Option<Target<'_>> {
    let after = |scheme: &[u8], port| after_scheme(target, scheme).map(|rest| (rest, port));
    let (rest, port) = after(b"http://", 80).or_else(|| after(b"https://", 443))?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let authority = &rest[..end];
    authority::is_valid(authority).then_some(Target::Absolute { authority, port })
}

fn after_scheme<'a>(target: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = target.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

//! A request's head, read once and strictly (RFC 9112 §2 to §6, RFC 9110 §7 and §10.1.1).
//!
//! Stricter than the server behind it: what two servers could read differently is refused here, so that one
//! message is one message for everybody on the way.
//!
//! Invariant: bytes in, a value out; nothing is allocated.

mod authority;
mod fields;
mod plain;
mod target;

use std::borrow::Cow;

use super::refusal::Refusal;
use super::text::{self, TOKEN};
use crate::http::head::HeadLimits;
use crate::http::spelling;
use fields::Fields;
pub(super) use fields::is_forbidden_in_trailer;
pub use plain::{Lines, Plain, plain};

/// The longest registered method has 17 (`UPDATEREDIRECTREF`).
pub const MAX_METHOD_BYTES: usize = 32;

/// Whether a request can be for this host: `host[:port]`, as a site has it.
#[must_use]
pub fn is_valid_authority(authority: &[u8]) -> bool {
    authority::is_valid(authority)
}

/// The number of a `Content-Length`; none if two servers could read it differently.
#[must_use]
pub fn length(value: &[u8]) -> Option<u64> {
    fields::decimal(value)
}

/// Whether a field of this name frames a message for servers that take an underscore for a dash.
#[must_use]
pub fn looks_like_framing(name: &[u8]) -> bool {
    fields::looks_like_framing(name)
}

/// A request's head, as far as it governs the bytes behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head, its empty line and one before it included.
    pub len: usize,
    /// How the body is framed.
    pub body: Body,
    /// The kind of the bytes after the message.
    pub after: After,
    /// Whether it must be written anew before it is passed on, by [`encoded`]: its target holds what must be
    /// percent-encoded or is a host alone, or its version is a later one of HTTP/1.
    pub is_raw: bool,
}

/// RFC 9112 §6.3, without its ambiguous cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// No bytes.
    None,
    /// So many bytes, at least one.
    Sized(u64),
    /// Chunks and trailers.
    Chunked,
}

/// The kind of the bytes after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The next request.
    Request,
    /// Only the answer tells: it may switch protocols (RFC 9110 §7.8, §9.3.6).
    Answer,
}

/// Whether the bytes hold a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// All of it.
    Whole(Head),
    /// Nothing wrong up to here, but no end.
    Partial,
    /// Not to be passed on.
    Refused(Refusal),
}

/// Reads the head at the start of `bytes`.
#[must_use]
pub fn read(bytes: &[u8], limits: impl Into<HeadLimits>) -> Reading {
    let limits = limits.into();
    let max_bytes = limits.bytes;
    match whole(&bytes[..bytes.len().min(max_bytes)], &limits, |_| {}) {
        Ok((head, _)) => Reading::Whole(head),
        Err(Stop::Refuse(refusal)) => Reading::Refused(refusal),
        Err(Stop::Starve) if bytes.len() >= max_bytes => Reading::Refused(too_long(&bytes[..max_bytes])),
        Err(Stop::Starve) => Reading::Partial,
    }
}

/// The same head with its target percent-encoded (RFC 3986 §2.1): one spelling, whatever the client sent; with `*` for a
/// host alone, which only OPTIONS may ask for (RFC 9112 §3.2.4); and with version 1.1 for a later one of HTTP/1 (RFC 9110
/// §2.5). `head` was read whole and is raw.
#[must_use]
pub fn encoded(head: &[u8]) -> Vec<u8> {
    // Method and target stand before the second space; no other white space is in either.
    let first = head.iter().position(|&byte| byte == b' ').map_or(0, |at| at + 1);
    let end = head[first..].iter().position(|&byte| byte == b' ').map_or(head.len(), |len| first + len);
    let mut out = Vec::with_capacity(head.len() + 64);
    out.extend_from_slice(&head[..first]);
    match is_server_as_a_whole(&head[..first], &head[first..end]) {
        true => out.push(b'*'),
        false => spelling::encode(&head[first..end], &mut out),
    }
    let minor = out.len() + b" HTTP/1.".len();
    out.extend_from_slice(&head[end..]);
    if let Some(later @ b'2'..=b'9') = out.get_mut(minor) {
        *later = b'1';
    }
    out
}

/// `OPTIONS http://host`: about the server, as `OPTIONS *` is. `method` may have an empty line before it and a blank
/// behind it.
fn is_server_as_a_whole(method: &[u8], target: &[u8]) -> bool {
    method.trim_ascii() == b"OPTIONS" && target::is_host_alone(target)
}

/// A target in origin form, as a pseudo-field has it, in the one spelling that it has behind the gate; none if it would
/// not pass.
#[must_use]
pub fn one_spelling<'a>(method: &[u8], target: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let (len, is_raw) = target::extent(target);
    let is_sound = len == target.len() && matches!(target::read(method, target), Ok(target::Target::Origin));
    match is_raw {
        _ if !is_sound => None,
        false => Some(Cow::Borrowed(target)),
        true => {
            let mut encoded = Vec::with_capacity(target.len() + 64);
            spelling::encode(target, &mut encoded);
            Some(Cow::Owned(encoded))
        }
    }
}

/// Whether reading again can tell more than `Partial`, when nothing was wrong in the first `seen` bytes: only the end
/// of a head or of a line can be wrong behind them. Keeps a head that comes byte by byte from costing its square.
#[must_use]
pub fn worth_reading(bytes: &[u8], seen: usize) -> bool {
    let ends_line =
        |at: usize| bytes[at] == b'\n' && (!bytes[..at].ends_with(b"\r") || bytes[..at].ends_with(b"\r\n\r"));
    (seen..bytes.len()).any(ends_line)
}

/// Why reading stopped before the head's end.
#[derive(Debug)]
enum Stop {
    Starve,
    Refuse(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// Reads a head, and calls `see` with each of its field lines.
#[inline(always)]
fn whole<'a>(
    bytes: &'a [u8],
    limits: &HeadLimits,
    mut see: impl FnMut(Field<'a>),
) -> Result<(Head, Request<'a>), Stop> {
    let mut rest = Rest(bytes);
    rest.skip_empty_line()?;
    let method = rest.method()?;
    let (asked, is_raw) = rest.target(limits.target_bytes)?;
    let (version, is_later) = rest.version()?;
    let is_raw = is_raw || is_server_as_a_whole(method, asked);
    let target = target::read(method, asked)?;
    let mut fields = Fields::new(limits.fields);
    while let Some(field) = rest.field()? {
        fields.note(field, version)?;
        see(field);
    }
    let (body, after) = fields.conclude(&target, version)?;
    let head = Head { len: bytes.len() - rest.0.len(), body, after, is_raw: is_raw || is_later };
    Ok((head, Request { method, target: asked, version }))
}

/// A request line.
struct Request<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// One field line; the value with the white space round it, which matters for few names.
#[derive(Debug, Clone, Copy)]
struct Field<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

/// The bytes not yet read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// RFC 9112 §2.2: one empty line before the request line is ignored; some old clients send it after a body.
    fn skip_empty_line(&mut self) -> Result<(), Stop> {
        match self.0 {
            [b'\r', b'\n', rest @ ..] => self.0 = rest,
            [b'\r'] => return Err(Stop::Starve),
            _ => {}
        }
        Ok(())
    }

    fn method(&mut self) -> Result<&'a [u8], Stop> {
        let len = text::run(self.0, TOKEN);
        if len > MAX_METHOD_BYTES {
            return Err(Refusal::LongMethod.into());
        }
        self.word(len, Refusal::BadRequestLine)
    }

    /// The target, and whether it must be encoded.
    fn target(&mut self, max_bytes: usize) -> Result<(&'a [u8], bool), Stop> {
        let (len, is_raw) = target::extent(self.0);
        if len > max_bytes {
            return Err(Refusal::LongTarget.into());
        }
        Ok((self.word(len, Refusal::BadTarget)?, is_raw))
    }

    /// Takes `len` bytes, not none, and the one space behind them (RFC 9112 §3: exactly one).
    fn word(&mut self, len: usize, otherwise: Refusal) -> Result<&'a [u8], Stop> {
        let (word, rest) = self.0.split_at(len);
        match rest {
            [] => Err(Stop::Starve),
            [b' ', rest @ ..] if len > 0 => {
                self.0 = rest;
                Ok(word)
            }
            _ => Err(otherwise.into()),
        }
    }

    /// The version, and whether it is a later one of HTTP/1, which is read as 1.1 (RFC 9110 §2.5).
    fn version(&mut self) -> Result<(Version, bool), Stop> {
        let (version, is_later, rest) = match self.0.split_first_chunk() {
            Some((b"HTTP/1.1\r\n", rest)) => (Version::Http11, false, rest),
            Some((b"HTTP/1.0\r\n", rest)) => (Version::Http10, false, rest),
            Some(([b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9', b'\r', b'\n'], rest)) => {
                (Version::Http11, true, rest)
            }
            _ => return Err(not_a_version(self.0)),
        };
        self.0 = rest;
        Ok((version, is_later))
    }

    /// The next field line, or `None` after the empty line that ends the head.
    #[inline(always)]
    fn field(&mut self) -> Result<Option<Field<'a>>, Stop> {
        match self.0 {
            [] | [b'\r'] => return Err(Stop::Starve),
            [b'\r', b'\n', rest @ ..] => {
                self.0 = rest;
                return Ok(None);
            }
            [b'\r' | b'\n', ..] => return Err(Refusal::BareLineEnd.into()),
            _ => {}
        }
        let (name, rest) = name(self.0)?;
        let (value, rest) = value(rest)?;
        self.0 = rest;
        Ok(Some(Field { name, value }))
    }
}

/// One field line with its CRLF, as a trailer has it; also what a head's fields are made of.
pub(super) fn field_line(line: &[u8]) -> Result<&[u8], Refusal> {
    let complete = |stop| match stop {
        Stop::Refuse(refusal) => refusal,
        Stop::Starve => Refusal::BadFieldName,
    };
    let (name, rest) = name(line).map_err(complete)?;
    value(rest).map_err(complete)?;
    Ok(name)
}

/// RFC 9112 §5.1: no space before the colon. §5.2: a line that starts with a space is a fold, long obsolete.
#[inline(always)]
fn name(bytes: &[u8]) -> Result<(&[u8], &[u8]), Stop> {
    let (name, rest) = bytes.split_at(text::run(bytes, TOKEN));
    match rest {
        [] => Err(Stop::Starve),
        [b':', rest @ ..] if !name.is_empty() => Ok((name, rest)),
        _ => Err(Refusal::BadFieldName.into()),
    }
}

#[inline(always)]
fn value(bytes: &[u8]) -> Result<(&[u8], &[u8]), Stop> {
    let (value, rest) = bytes.split_at(text::value_run(bytes));
    match rest {
        [] | [b'\r'] => Err(Stop::Starve),
        [b'\r', b'\n', rest @ ..] => Ok((value, rest)),
        [b'\r' | b'\n', ..] => Err(Refusal::BareLineEnd.into()),
        _ => Err(Refusal::BadFieldValue.into()),
    }
}

/// RFC 9110 §15.6.6 is for a version that is well formed.
fn not_a_version(bytes: &[u8]) -> Stop {
    const SHAPE: &[u8] = b"HTTP/d.d\r\n";
    let fits =
        |(&byte, &shape): (&u8, &u8)| if shape == b'd' { byte.is_ascii_digit() } else { byte == shape };
    if !bytes.iter().zip(SHAPE).all(fits) {
        return Stop::Refuse(Refusal::BadRequestLine);
    }
    if bytes.len() < SHAPE.len() { Stop::Starve } else { Stop::Refuse(Refusal::OtherVersion) }
}

fn too_long(bytes: &[u8]) -> Refusal {
    if bytes.contains(&b'\n') { Refusal::LongHead } else { Refusal::LongTarget }
}

#[cfg(test)]
mod tests;

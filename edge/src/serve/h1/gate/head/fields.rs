//! The fields that say where a message ends, whom it is for and what comes after it.

use super::authority;
use super::target::Target;
use super::{After, Body, Field, Version};
use crate::serve::h1::gate::refusal::Refusal;
use crate::serve::h1::gate::text;

/// The meaning of the fields read so far.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    /// How many more there may be.
    left: usize,
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl<'a> Fields<'a> {
    /// None yet, of so many that there may be.
    pub(super) fn new(left: usize) -> Self {
        Self { left, host: None, length: None, chunked: false, upgrade: false }
    }

    /// Takes note of one field, whose name is not empty.
    #[inline]
    pub(super) fn note(&mut self, Field { name, value }: Field<'a>, version: Version) -> Result<(), Refusal> {
        self.left = self.left.checked_sub(1).ok_or(Refusal::ManyFields)?;
        // Most names are told from the five that matter by their length and first letter alone.
        match (name.len(), name[0] | 0x20) {
            (4, b'h') | (6, b'e') | (7, b'u') | (14, b'c') | (17, b't') => {
                self.heed(name, text::trim(value), version)
            }
            _ => Ok(()),
        }
    }

    fn heed(&mut self, name: &[u8], value: &'a [u8], version: Version) -> Result<(), Refusal> {
        match name.len() {
            4 if is(name, "host") => self.host(value),
            6 if is(name, "expect") => expect(value),
            7 if is(name, "upgrade") => {
                // RFC 9110 §7.8: an Upgrade in HTTP/1.0 is ignored.
                self.upgrade |= version == Version::Http11;
                Ok(())
            }
            14 if is(name, "content-length") => self.length(value),
            17 if is(name, "transfer-encoding") => self.coding(value, version),
            _ if looks_like_framing(name) => Err(Refusal::LookAlike),
            _ => Ok(()),
        }
    }

    /// How the body is framed and what follows, when all fields are noted.
    pub(super) fn conclude(&self, target: &Target<'_>, version: Version) -> Result<(Body, After), Refusal> {
        self.agree(target, version)?;
        let body = match self.length {
            // RFC 9112 §6.1: whoever sees both may not forward both; a client that sends both is up to something.
            Some(_) if self.chunked => return Err(Refusal::LengthAndCoding),
            None if self.chunked => Body::Chunked,
            None | Some(0) => Body::None,
            Some(length) => Body::Sized(length),
        };
        match target {
            // RFC 9110 §9.3.6: a body before a tunnel has no meaning.
            Target::Tunnel(_) if self.chunked || self.length.is_some() => Err(Refusal::BodyBeforeTunnel),
            Target::Tunnel(_) => Ok((body, After::Answer)),
            _ if self.upgrade => Ok((body, After::Answer)),
            _ => Ok((body, After::Request)),
        }
    }

    /// RFC 9112 §3.2: exactly one Host in HTTP/1.1, and what the target says if the target says it too.
    fn agree(&self, target: &Target<'_>, version: Version) -> Result<(), Refusal> {
        match (target, self.host) {
            (_, None) if version == Version::Http11 => Err(Refusal::NoHost),
            (Target::Absolute { authority, port }, Some(host))
                if !authority::are_one(authority, host, *port) =>
            {
                Err(Refusal::HostDiffers)
            }
            (Target::Tunnel(authority), Some(host)) if !host.eq_ignore_ascii_case(authority) => {
                Err(Refusal::HostDiffers)
            }
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        if self.host.is_some() {
            return Err(Refusal::ManyHosts);
        }
        if !authority::is_valid(value) {
            return Err(Refusal::BadHost);
        }
        self.host = Some(value);
        Ok(())
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(Refusal::ManyLengths);
        }
        self.length = Some(decimal(value).ok_or(Refusal::BadLength)?);
        Ok(())
    }

    fn coding(&mut self, value: &[u8], version: Version) -> Result<(), Refusal> {
        if self.chunked {
            return Err(Refusal::ManyCodings);
        }
        // RFC 9112 §6.1: a Transfer-Encoding in HTTP/1.0 is faulty framing.
        if version == Version::Http10 {
            return Err(Refusal::CodingInOldVersion);
        }
        coding(value)?;
        self.chunked = true;
        Ok(())
    }
}

/// The names by which a trailer could frame or route a message after all (RFC 9110 §6.5.1).
pub(in crate::serve::h1::gate) fn is_forbidden_in_trailer(name: &[u8]) -> bool {
    const FORBIDDEN: [&str; 8] =
        ["connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"];
    FORBIDDEN.iter().any(|forbidden| is(name, forbidden)) || looks_like_framing(name)
}

/// Gateways that make variables of fields read an underscore and a dash as the same.
pub(super) fn looks_like_framing(name: &[u8]) -> bool {
    let twin = |real: &str| {
        name.len() == real.len()
            && name.contains(&b'_')
            && name
                .iter()
                .zip(real.bytes())
                .all(|(&byte, real)| byte.to_ascii_lowercase() == real || (byte == b'_' && real == b'-'))
    };
    twin("content-length") || twin("transfer-encoding")
}

/// `name` in any case is `lower`.
fn is(name: &[u8], lower: &str) -> bool {
    name.eq_ignore_ascii_case(lower.as_bytes())
}

/// RFC 9110 §8.6: `1*DIGIT`; a sign, a list or a leading zero is read differently by different servers.
pub(super) fn decimal(value: &[u8]) -> Option<u64> {
    let plain = value.iter().all(u8::is_ascii_digit) && (value.len() == 1 || !value.starts_with(b"0"));
    std::str::from_utf8(value).ok().filter(|_| plain)?.parse().ok().filter(|&length| length <= MAX_LENGTH)
}

/// The greatest length that hyper takes; beyond are its marks for "chunked" and "until the end".
const MAX_LENGTH: u64 = u64::MAX - 2;

/// RFC 9112 §6.1 and §6.3: `chunked` is last, once, or the body has no end; what we cannot decode is 501.
fn coding(value: &[u8]) -> Result<(), Refusal> {
    if is(value, "chunked") {
        return Ok(());
    }
    let mut codings = value.split(|&byte| byte == b',').map(text::trim);
    let last = codings.next_back().unwrap_or_default();
    let well_formed =
        |coding: &[u8]| !coding.is_empty() && !is(coding, "chunked") && text::all(coding, text::TOKEN);
    if is(last, "chunked") && codings.all(well_formed) {
        Err(Refusal::OtherCoding)
    } else {
        Err(Refusal::BadCoding)
    }
}

/// RFC 9110 §10.1.1: 417 for what we do not know.
fn expect(value: &[u8]) -> Result<(), Refusal> {
    if is(value, "100-continue") { Ok(()) } else { Err(Refusal::OtherExpectation) }
}

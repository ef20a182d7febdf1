//! Requests read from a whole connection's bytes in the plainest way, without limits and without being strict: what the
//! service may see at most.

use super::server::Seen;

/// The requests up to the first that has no end.
pub(crate) fn read(mut bytes: &[u8]) -> Vec<Seen> {
    let mut requests = Vec::new();
    while let Some((request, rest)) = request(bytes) {
        requests.push(request);
        bytes = rest;
    }
    requests
}

fn request(bytes: &[u8]) -> Option<(Seen, &[u8])> {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let (head, rest) = cut(bytes, b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = text.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, _) = (words.next()?, words.next()?);
    let target = encoded(head.split(|&byte| byte == b' ').nth(1)?);
    let (mut length, mut chunked) = (0, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "transfer-encoding" => chunked = true,
            _ => {}
        }
    }
    let (body, rest) = if chunked { chunks(rest)? } else { (rest.get(..length)?.to_vec(), &rest[length..]) };
    Some((Seen::new(method, &target, &body), rest))
}

/// With each byte percent-encoded that RFC 3986 does not have in a target.
fn encoded(target: &[u8]) -> String {
    let encode = |&byte: &u8| match byte {
        b'"' | b'<' | b'>' | b'{' | b'}' | b'|' | b'^' | b'`' | 0x80.. => format!("%{byte:02X}"),
        byte => char::from(byte).to_string(),
    };
    target.iter().map(encode).collect()
}

fn chunks(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let (line, rest) = cut(bytes, b"\r\n")?;
        let line = String::from_utf8_lossy(line).into_owned();
        let size = usize::from_str_radix(line.split(';').next()?, 16).ok()?;
        if size == 0 {
            return Some((body, trailers(rest)?));
        }
        body.extend_from_slice(rest.get(..size)?);
        bytes = rest[size..].strip_prefix(b"\r\n")?;
    }
}

fn trailers(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (line, rest) = cut(bytes, b"\r\n")?;
        if line.is_empty() {
            return Some(rest);
        }
        bytes = rest;
    }
}

fn cut<'a>(bytes: &'a [u8], end: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(end.len()).position(|window| window == end)?;
    Some((&bytes[..at], &bytes[at + end.len()..]))
}

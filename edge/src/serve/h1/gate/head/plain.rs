//! Heads of the usual kind, for an answer that needs no server: GET or HEAD over HTTP/1.1, without content.

use super::{After, Body, Field, Version, text, whole};
use crate::http::head::HeadLimits;

/// A whole head of the usual kind, as slices of what was read.
#[derive(Debug)]
pub struct Plain<'a> {
    /// All of the head, an empty line before it included.
    pub bytes: &'a [u8],
    /// Whether the method is HEAD; else it is GET.
    pub is_head: bool,
    /// The target in origin form, in the characters of a URI.
    pub target: &'a str,
    /// Its field lines in order.
    pub lines: Lines<'a>,
}

/// Names and values of field lines, without the white space round the values.
#[derive(Debug)]
pub struct Lines<'a> {
    lines: [(&'a [u8], &'a [u8]); MAX_LINES],
    count: usize,
}

/// Browsers send some 20. A head of more goes to the server.
const MAX_LINES: usize = 32;

impl<'a> Plain<'a> {
    /// The value of the first line of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        let is_it = |line: &(&[u8], &[u8])| line.0.eq_ignore_ascii_case(name.as_bytes());
        self.lines.iter().find(is_it).map(|(_, value)| value)
    }
}

impl<'a> Lines<'a> {
    fn new() -> Self {
        Self { lines: [(&[], &[]); MAX_LINES], count: 0 }
    }

    /// All of them: name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        self.lines[..self.count].iter().copied()
    }

    fn note(&mut self, Field { name, value }: Field<'a>) {
        if let Some(line) = self.lines.get_mut(self.count) {
            *line = (name, text::trim(value));
        }
        self.count += 1;
    }
}

/// The head at the start of `bytes`, if it is all there and of the usual kind.
#[must_use]
pub fn plain<'a>(bytes: &'a [u8], limits: &HeadLimits) -> Option<Plain<'a>> {
    if !bytes.starts_with(b"GET /") && !bytes.starts_with(b"HEAD /") {
        return None;
    }
    let mut lines = Lines::new();
    let (head, request) =
        whole(&bytes[..bytes.len().min(limits.bytes)], limits, |field| lines.note(field)).ok()?;
    let is_usual = !head.is_raw
        && head.body == Body::None
        && head.after == After::Request
        && request.version == Version::Http11
        && lines.count <= MAX_LINES;
    let target = std::str::from_utf8(request.target).ok().filter(|_| is_usual)?;
    let bytes = &bytes[..head.len];
    Some(Plain { bytes, is_head: request.method == b"HEAD", target, lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is HEAD, the target, and the lines.
    type Expected<'a> = (bool, &'a str, &'a [(&'a str, &'a str)]);

    fn check(head: &str, expected: Option<Expected<'_>>) {
        let found = plain(head.as_bytes(), &HeadLimits::from(1024));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let found = found.map(|plain| {
            let lines = plain.lines.iter().map(|(name, value)| (text(name), text(value)));
            assert_eq!(plain.bytes.len(), head.find("\r\n\r\n").unwrap() + 4, "{head:?}");
            (plain.is_head, plain.target.to_owned(), lines.collect::<Vec<_>>())
        });
        let expected = expected.map(|(is_head, target, lines)| {
            let lines = lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            (is_head, target.to_owned(), lines.collect())
        });
        assert_eq!(found, expected, "{head:?}");
    }

    #[test]
    fn a_head_is_plain_if_it_is_whole_and_asks_for_no_more_than_an_answer() {
        let host = ("Host", "a");
        check("GET /b?c HTTP/1.1\r\nHost: a\r\n\r\nGET", Some((false, "/b?c", &[host])));
        check("HEAD / HTTP/1.1\r\nHost:a\r\nX: \t y \r\n\r\n", Some((true, "/", &[host, ("X", "y")])));
        check(
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            Some((false, "/", &[host, ("Content-Length", "0")])),
        );
        for other in [
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
            "GET /<> HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
        ] {
            check(other, None);
        }
        let many = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count));
        assert!(plain(many(MAX_LINES - 1).as_bytes(), &HeadLimits::from(1024)).is_some());
        assert!(plain(many(MAX_LINES).as_bytes(), &HeadLimits::from(1024)).is_none());
    }
}

//! One line of the access log, as it is known when an answer's head is there, with gaps for what its end will tell.
//!
//! Nothing is allocated for a line: it is formatted into a buffer that its thread has used before.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::field::{Field, Format, Shape};
use super::stamp;
use crate::course::{Course, Events};
use crate::http::digits::decimal;

/// A request and its answer, as far as the answer's head tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) time: SystemTime,
    pub(crate) client: IpAddr,
    /// As the client authenticated itself to the edge.
    pub(crate) user: Option<&'a str>,
    pub(crate) method: &'a str,
    pub(crate) url: &'a http::Uri,
    pub(crate) host: Option<&'a [u8]>,
    /// None where the request was not read that far.
    pub(crate) version: Option<&'static str>,
    pub(crate) referer: Option<&'a [u8]>,
    pub(crate) agent: Option<&'a [u8]>,
    pub(crate) status: u16,
    pub(crate) cache: &'static str,
    pub(crate) why: &'static str,
    pub(crate) age_secs: Option<u64>,
    pub(crate) lifetime_secs: Option<u64>,
    pub(crate) waited: Duration,
    pub(crate) site: Option<&'a str>,
    pub(crate) route: Option<&'a str>,
    /// Of the fetch that answers it.
    pub(crate) course: Option<&'a Course>,
}

/// The values that are known at an answer's end.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// How many bytes of the body went to the client.
    pub(super) bytes: u64,
    /// How long that took, from the request's head on.
    pub(super) total: Duration,
    /// The events on the way.
    pub(super) events: Events,
}

/// A line with its gaps.
#[derive(Debug)]
pub(crate) struct Line {
    text: Vec<u8>,
    /// Where something is missing, in order. Each field stands in a line once.
    gaps: [Option<(usize, Gap)>; 3],
}

/// A value that is known when the answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// How many bytes of the body went to the client.
    Bytes,
    /// How long that took, from the request's head on.
    Total,
    /// The events on the way, or a dash.
    Events,
    /// The same as a member of a JSON object behind this text, if anything happened.
    Member(&'static str),
}

thread_local! {
    /// Buffers that this thread has used before.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Each takes as much as the longest line that it has held: a head at most.
const MAX_SPARE: usize = 64;
const MAX_SPARE_BYTES: usize = 4 << 10;

impl Line {
    pub(super) fn new(format: &Format, seen: &Seen<'_>) -> Self {
        let mut line = Self { text: spare(), gaps: [None; 3] };
        match format {
            Format::Combined => line.combined(seen),
            Format::Of(Shape::Plain, fields) => line.plain(fields, seen),
            Format::Of(Shape::Json, fields) => line.json(fields, seen),
        }
        line.text.push(b'\n');
        line
    }

    /// Calls `add` with the line as it is once the answer has ended.
    pub(super) fn end(self, end: &End, add: impl FnOnce(&[u8])) {
        let mut whole = spare();
        let mut from = 0;
        for (at, gap) in self.gaps.into_iter().flatten() {
            whole.extend_from_slice(&self.text[from..at]);
            match gap {
                Gap::Bytes => number(&mut whole, end.bytes),
                Gap::Total => number(&mut whole, micros(end.total)),
                Gap::Events if end.events.is_empty() => whole.push(b'-'),
                Gap::Events => shown(&mut whole, end.events),
                Gap::Member(_) if end.events.is_empty() => {}
                Gap::Member(before) => {
                    let _ = write!(whole, "{before}\"{}\":\"{}\"", Field::Events.as_str(), end.events);
                }
            }
            from = at;
        }
        whole.extend_from_slice(&self.text[from..]);
        add(&whole);
        keep(whole);
        keep(self.text);
    }

    /// As Apache and nginx write it: `%h - %u [%t] "%r" %s %b "Referer" "User-Agent"`.
    fn combined(&mut self, seen: &Seen<'_>) {
        let out = &mut self.text;
        address(out, seen.client);
        out.extend_from_slice(b" - ");
        match seen.user {
            Some(user) => escaped(out, user.as_bytes(), Escape::Hex),
            None => out.push(b'-'),
        }
        out.extend_from_slice(b" [");
        stamp::common(out, seen.time);
        out.extend_from_slice(b"] \"");
        escaped(out, seen.method.as_bytes(), Escape::Hex);
        out.push(b' ');
        let target = seen.url.path_and_query().map_or("*", |target| target.as_str());
        escaped(out, target.as_bytes(), Escape::Hex);
        if let Some(version) = seen.version {
            out.push(b' ');
            out.extend_from_slice(version.as_bytes());
        }
        out.extend_from_slice(b"\" ");
        number(out, seen.status.into());
        out.push(b' ');
        self.gap(Gap::Bytes);
        for value in [seen.referer, seen.agent] {
            self.text.extend_from_slice(b" \"");
            escaped(&mut self.text, value.unwrap_or(b"-"), Escape::Hex);
            self.text.push(b'"');
        }
    }

    fn plain(&mut self, fields: &[Field], seen: &Seen<'_>) {
        for (place, field) in fields.iter().enumerate() {
            if place > 0 {
                self.text.push(b' ');
            }
            self.value(*field, seen, Escape::Hex);
        }
    }

    /// Fields without a value are left out.
    fn json(&mut self, fields: &[Field], seen: &Seen<'_>) {
        self.text.push(b'{');
        let is_last = |field: &&Field| **field == Field::Events;
        for field in fields.iter().filter(|field| !is_last(field) && has_value(**field, seen)) {
            if self.text.len() > 1 {
                self.text.push(b',');
            }
            for part in [&b"\""[..], field.as_str().as_bytes(), b"\":"] {
                self.text.extend_from_slice(part);
            }
            self.value(*field, seen, Escape::Json);
        }
        // Whether there is one is known at the answer's end.
        if fields.iter().any(|field| is_last(&field)) {
            self.gap(Gap::Member(if self.text.len() > 1 { "," } else { "" }));
        }
        self.text.push(b'}');
    }

    fn value(&mut self, field: Field, seen: &Seen<'_>, escape: Escape) {
        let out = &mut self.text;
        match field {
            Field::Time if escape == Escape::Json => {
                out.push(b'"');
                stamp::iso(out, seen.time);
                out.push(b'"');
            }
            Field::Time => stamp::iso(out, seen.time),
            Field::Client if escape == Escape::Json => {
                out.push(b'"');
                address(out, seen.client);
                out.push(b'"');
            }
            Field::Client => address(out, seen.client),
            Field::Url => {
                out.push(b'"');
                // An escape that cannot fail: it writes to memory.
                let _ = write!(Escaping(out, escape), "{}", seen.url);
                out.push(b'"');
            }
            Field::Status => number(out, seen.status.into()),
            Field::Cache => word(out, seen.cache, escape),
            Field::Why => word(out, seen.why, escape),
            Field::AgeSecs => maybe(out, seen.age_secs),
            Field::LifetimeSecs => maybe(out, seen.lifetime_secs),
            Field::WaitedUs => number(out, micros(seen.waited)),
            Field::Version => match seen.version {
                None => out.push(b'-'),
                Some(version) => word(out, version, escape),
            },
            Field::Bytes => self.gap(Gap::Bytes),
            Field::TotalUs => self.gap(Gap::Total),
            Field::Events => self.gap(Gap::Events),
            _ => match text(field, seen).flatten() {
                Some(text) => {
                    out.push(b'"');
                    escaped(out, text, escape);
                    out.push(b'"');
                }
                None => out.push(b'-'),
            },
        }
    }

    fn gap(&mut self, gap: Gap) {
        let at = self.text.len();
        if let Some(free) = self.gaps.iter_mut().find(|gap| gap.is_none()) {
            *free = Some((at, gap));
        }
    }
}

fn has_value(field: Field, seen: &Seen<'_>) -> bool {
    match field {
        Field::Version => seen.version.is_some(),
        Field::AgeSecs => seen.age_secs.is_some(),
        Field::LifetimeSecs => seen.lifetime_secs.is_some(),
        _ => text(field, seen).is_none_or(|text| text.is_some()),
    }
}

/// The text of a field that is written as it is, if there is one; none for all other fields.
fn text<'a>(field: Field, seen: &Seen<'a>) -> Option<Option<&'a [u8]>> {
    let text = match field {
        Field::User => seen.user.map(str::as_bytes),
        Field::Method => Some(seen.method.as_bytes()),
        Field::Host => seen.host,
        Field::Referer => seen.referer,
        Field::Agent => seen.agent,
        Field::Site => seen.site.map(str::as_bytes),
        Field::Route => seen.route.map(str::as_bytes),
        Field::Time
        | Field::Client
        | Field::Url
        | Field::Status
        | Field::Cache
        | Field::Why
        | Field::AgeSecs
        | Field::LifetimeSecs
        | Field::WaitedUs
        | Field::Version
        | Field::Bytes
        | Field::TotalUs
        | Field::Events => return None,
    };
    Some(text)
}

/// How bytes that would end a quoted text or a line are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// `\x22`, as nginx does.
    Hex,
    /// `\"` and `\u0007` (RFC 8259 §7).
    Json,
}

struct Escaping<'a>(&'a mut Vec<u8>, Escape);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escaped(self.0, text.as_bytes(), self.1);
        Ok(())
    }
}

fn escaped(out: &mut Vec<u8>, text: &[u8], escape: Escape) {
    // Most of what is logged needs no escape.
    let is_plain = |byte: &u8| (0x20..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\';
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        let Some((byte, after)) = rest.split_first() else { return };
        rest = after;
        let _ = match (escape, byte) {
            (Escape::Hex, byte) => write!(out, "\\x{byte:02X}"),
            (Escape::Json, b'"') => write!(out, "\\\""),
            (Escape::Json, b'\\') => write!(out, "\\\\"),
            // A byte beyond ASCII is written as the character of that number: a field has no declared encoding.
            (Escape::Json, byte) => write!(out, "\\u{byte:04x}"),
        };
    }
}

fn word(out: &mut Vec<u8>, word: &str, escape: Escape) {
    let quote: &[u8] = if escape == Escape::Json { b"\"" } else { b"" };
    for part in [quote, word.as_bytes(), quote] {
        out.extend_from_slice(part);
    }
}

fn shown(out: &mut Vec<u8>, value: impl fmt::Display) {
    let _ = write!(out, "{value}");
}

fn number(out: &mut Vec<u8>, number: u64) {
    decimal(number, out);
}

fn address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else { return shown(out, address) };
    for (place, part) in address.octets().into_iter().enumerate() {
        if place > 0 {
            out.push(b'.');
        }
        number(out, part.into());
    }
}

fn maybe(out: &mut Vec<u8>, found: Option<u64>) {
    match found {
        Some(found) => number(out, found),
        None => out.push(b'-'),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn spare() -> Vec<u8> {
    SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

fn keep(mut buffer: Vec<u8>) {
    if buffer.capacity() > MAX_SPARE_BYTES {
        return;
    }
    buffer.clear();
    // A thread that ends keeps nothing.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MAX_SPARE {
            spare.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::Event;
    use crate::http::testing::at;

    fn seen(url: &http::Uri) -> Seen<'_> {
        Seen {
            time: at(1_795_916_040) + Duration::from_millis(7),
            client: [192, 0, 2, 1].into(),
            user: None,
            method: "GET",
            url,
            host: Some(b"a.test"),
            version: Some("HTTP/1.1"),
            referer: None,
            agent: Some(b"curl \"8\"\\\x07\xfc"),
            status: 200,
            cache: "hit",
            why: "fresh",
            age_secs: Some(7),
            lifetime_secs: None,
            waited: Duration::from_micros(21),
            site: Some("a.test"),
            route: None,
            course: None,
        }
    }

    #[track_caller]
    fn check(format: &Format, expected: &str) {
        let url = "http://a.test/x?y=%22".parse().unwrap();
        let mut found = String::new();
        let add = |line: &[u8]| found = String::from_utf8(line.to_vec()).unwrap();
        Line::new(format, &seen(&url)).end(&END, add);
        assert_eq!(found, format!("{expected}\n"));
    }

    const END: End = End { bytes: 1024, total: Duration::from_micros(345), events: Events::NONE };

    #[test]
    fn the_combined_format_is_the_one_that_tools_read() {
        check(
            &Format::Combined,
            r#"192.0.2.1 - - [29/Nov/2026:01:34:00 +0000] "GET /x?y=%22 HTTP/1.1" 200 1024 "-" "curl \x228\x22\x5C\x07\xFC""#,
        );
    }

    #[test]
    fn a_plain_line_has_the_fields_in_their_order() {
        check(
            &Format::plain(),
            r#"2026-11-29T01:34:00.007Z 192.0.2.1 "GET" "http://a.test/x?y=%22" 200 hit fresh 1024 345 "a.test""#,
        );
        let fields = [Field::TotalUs, Field::Bytes, Field::LifetimeSecs, Field::Route, Field::Agent].to_vec();
        check(&Format::Of(Shape::Plain, fields), r#"345 1024 - - "curl \x228\x22\x5C\x07\xFC""#);
    }

    #[test]
    fn a_json_line_is_an_object_without_what_is_not_known() {
        let url = "http://a.test/x?y=%22".parse().unwrap();
        let mut found = serde_json::Value::Null;
        let add = |line: &[u8]| found = serde_json::from_slice(line).unwrap();
        Line::new(&Format::json(), &seen(&url)).end(&END, add);
        let expected = serde_json::json!({
            "time": "2026-11-29T01:34:00.007Z", "client": "192.0.2.1", "method": "GET",
            "url": "http://a.test/x?y=%22", "version": "HTTP/1.1", "host": "a.test", "status": 200, "cache": "hit",
            "why": "fresh", "age_secs": 7, "bytes": 1024, "waited_us": 21, "total_us": 345, "site": "a.test",
            "agent": "curl \"8\"\\\u{7}\u{fc}",
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_tells_what_happened_on_the_way() {
        let check = |shape: Shape, fields: &[Field], expected: [&str; 2]| {
            let url = "/".parse().unwrap();
            for (events, expected) in
                [Events::NONE, Events::NONE.with(Event::Retried).with(Event::Cut)].into_iter().zip(expected)
            {
                let mut found = String::new();
                let add = |line: &[u8]| found = String::from_utf8(line.to_vec()).unwrap();
                Line::new(&Format::Of(shape, fields.to_vec()), &seen(&url)).end(&End { events, ..END }, add);
                assert_eq!(found, format!("{expected}\n"));
            }
        };
        let fields = [Field::Events, Field::TotalUs, Field::Bytes];
        check(Shape::Plain, &fields, ["- 345 1024", "retried+cut 345 1024"]);
        check(
            Shape::Json,
            &fields,
            [
                "{\"total_us\":345,\"bytes\":1024}",
                "{\"total_us\":345,\"bytes\":1024,\"events\":\"retried+cut\"}",
            ],
        );
        check(Shape::Json, &[Field::Events], ["{}", "{\"events\":\"retried+cut\"}"]);
    }

    #[test]
    fn no_line_has_a_line_end_inside() {
        let url: http::Uri = "/".parse().unwrap();
        let evil: Vec<u8> = (0..=255).collect();
        for format in [Format::Combined, Format::plain(), Format::json()] {
            let odd = Seen { agent: Some(&evil), referer: Some(&evil), host: Some(&evil), ..seen(&url) };
            let line = Line::new(&format, &odd);
            line.end(&END, |line| {
                assert_eq!(line.iter().filter(|byte| **byte < 0x20).count(), 1, "{format:?}");
                assert!(line.is_ascii() && line.ends_with(b"\n"));
            });
        }
    }
}

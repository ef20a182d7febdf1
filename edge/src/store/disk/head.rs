//! A stored response's head as bytes, and back.
//!
//! Texts are behind their lengths, numbers little-endian. The reader trusts no byte: a length is compared with the
//! bytes that are left before anything is taken, and a value that no head has makes the whole one none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::http::head::ResponseHead;
use crate::http::range::Part;
use crate::policy::freshness::{Reload, Source, WhenStale};
use crate::policy::{Content, Entry, Lifetime, Selecting};
use crate::site::SiteName;

/// The bytes of an entry and of the site that it was fetched for.
#[must_use]
pub fn encode(entry: &Entry, site: &SiteName) -> Vec<u8> {
    let mut out = Out(Vec::with_capacity(512));
    out.text(site.as_str().as_bytes());
    out.0.extend_from_slice(&entry.head.status.as_u16().to_le_bytes());
    out.number(entry.head.headers.len() as u64);
    for (name, value) in &entry.head.headers {
        out.text(name.as_str().as_bytes());
        out.text(value.as_bytes());
    }
    out.time(entry.asked);
    out.time(entry.received);
    out.lifetime(&entry.lifetime);
    let fields: Vec<_> = entry.selecting.values().collect();
    out.number(fields.len() as u64);
    for (name, value) in fields {
        out.text(name.as_str().as_bytes());
        out.0.push(u8::from(value.is_some()));
        out.text(value.unwrap_or_default());
    }
    out.0.push(match entry.selecting.takes_gzip() {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    });
    out.content(entry.content);
    out.0
}

/// The entry and the site in these bytes, all of them.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<(Entry, SiteName)> {
    let mut from = In(bytes);
    let site = SiteName::from(str::from_utf8(from.text()?).ok()?);
    let status = StatusCode::from_u16(u16::from_le_bytes(from.take()?)).ok()?;
    let mut headers = HeaderMap::new();
    for _ in 0..from.count()? {
        let name = HeaderName::from_bytes(from.text()?).ok()?;
        let value = HeaderValue::from_bytes(from.text()?).ok()?;
        headers.try_append(name, value).ok()?;
    }
    let (asked, received) = (from.time()?, from.time()?);
    let lifetime = from.lifetime()?;
    let mut fields = Vec::new();
    for _ in 0..from.count()? {
        let name = HeaderName::from_bytes(from.text()?).ok()?;
        let is_there = from.flag()?;
        let value = from.text()?;
        fields.push((name, is_there.then(|| value.to_vec())));
    }
    let takes_gzip = match from.take::<1>()? {
        [0] => None,
        [1] => Some(false),
        [2] => Some(true),
        _ => return None,
    };
    let selecting = Selecting::from_values(fields, takes_gzip);
    let content = from.content()?;
    let head = ResponseHead { status, headers };
    let entry = Entry { head, asked, received, lifetime, selecting, content };
    from.0.is_empty().then_some((entry, site))
}

struct Out(Vec<u8>);

impl Out {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        let length = u32::try_from(text.len()).expect("a head is limited to far less than 4 GiB");
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(text);
    }

    /// A time from before 1970 is 1970: both are long over.
    fn time(&mut self, time: SystemTime) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.number(since.as_secs());
        self.0.extend_from_slice(&since.subsec_nanos().to_le_bytes());
    }

    fn lifetime(&mut self, lifetime: &Lifetime) {
        self.number(lifetime.fresh_secs);
        self.number(lifetime.initial_age_secs);
        self.0.extend_from_slice(&lifetime.skew_secs.to_le_bytes());
        let place = SOURCES.iter().position(|source| *source == lifetime.source);
        self.0.push(u8::try_from(place.expect("all are listed")).expect("there are few"));
        let (kind, revalidate, error) = match lifetime.stale {
            WhenStale::NeverUnvalidated => (0, 0, 0),
            WhenStale::MustRevalidate => (1, 0, 0),
            WhenStale::May { while_revalidate_secs, if_error_secs } => {
                (2, while_revalidate_secs, if_error_secs)
            }
        };
        let kind = kind | if lifetime.is_ended { ENDED } else { 0 };
        self.0.extend_from_slice(&[kind, u8::from(lifetime.reload == Reload::Immutable)]);
        self.number(revalidate);
        self.number(error);
        self.number(lifetime.omitted.len() as u64);
        lifetime.omitted.iter().for_each(|name| self.text(name.as_str().as_bytes()));
    }

    fn content(&mut self, content: Content) {
        let option = |number: Option<u64>| (u8::from(number.is_some()), number.unwrap_or(0));
        let (kind, first, last, (is_known, length)) = match content {
            Content::Whole { length } => (0, 0, 0, option(length)),
            Content::Part(Part { first, last, complete }) => (1, first, last, option(complete)),
        };
        self.0.extend_from_slice(&[kind, is_known]);
        [first, last, length].iter().for_each(|number| self.number(*number));
    }
}

/// Each by its place: what is written stays readable only if nothing is put between.
const SOURCES: [Source; 7] = [
    Source::Override,
    Source::SMaxage,
    Source::MaxAge,
    Source::Expires,
    Source::Heuristic,
    Source::SiteDefault,
    Source::Nothing,
];

/// Beside the kind of what is stale: a soft purge has ended its freshness. A version before this takes such a head for damaged.
const ENDED: u8 = 4;

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// A number of things that follow: each takes more than one byte.
    fn count(&mut self) -> Option<u64> {
        self.number().filter(|count| *count <= self.0.len() as u64)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.take::<1>()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.take()?);
        let (text, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(text)
    }

    fn time(&mut self) -> Option<SystemTime> {
        let (secs, nanos) = (self.number()?, u32::from_le_bytes(self.take()?));
        // Beyond this, adding ages to it could overflow.
        let is_sound = secs <= MOST_SECS && nanos < 1_000_000_000;
        is_sound.then(|| UNIX_EPOCH + Duration::new(secs, nanos))
    }

    fn lifetime(&mut self) -> Option<Lifetime> {
        let (fresh_secs, initial_age_secs) = (self.number()?, self.number()?);
        let skew_secs = i64::from_le_bytes(self.take()?);
        let [source, kind] = self.take()?;
        let reload = if self.flag()? { Reload::Immutable } else { Reload::Ordinary };
        let (while_revalidate_secs, if_error_secs) = (self.number()?, self.number()?);
        let stale = match kind & !ENDED {
            0 => WhenStale::NeverUnvalidated,
            1 => WhenStale::MustRevalidate,
            2 => WhenStale::May { while_revalidate_secs, if_error_secs },
            _ => return None,
        };
        let mut omitted = Vec::new();
        for _ in 0..self.count()? {
            omitted.push(HeaderName::from_bytes(self.text()?).ok()?);
        }
        let source = *SOURCES.get(usize::from(source))?;
        let is_sound =
            [fresh_secs, initial_age_secs, skew_secs.unsigned_abs()].iter().all(|n| *n <= MOST_SECS);
        is_sound.then_some(Lifetime {
            fresh_secs,
            is_ended: kind & ENDED != 0,
            source,
            initial_age_secs,
            stale,
            skew_secs,
            reload,
            omitted,
        })
    }

    fn content(&mut self) -> Option<Content> {
        let [kind] = self.take()?;
        let is_known = self.flag()?;
        let (first, last, length) = (self.number()?, self.number()?, self.number()?);
        let length = is_known.then_some(length);
        match kind {
            0 => Some(Content::Whole { length }),
            1 if first <= last && length.is_none_or(|length| last < length) => {
                Some(Content::Part(Part { first, last, complete: length }))
            }
            _ => None,
        }
    }
}

/// Some 140,000 years.
const MOST_SECS: u64 = 1 << 42;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::testing::{at, request, response};
    use crate::policy::{Admit, admit};
    use crate::site::Rules;

    fn entry(fields: &[(&str, &str)], asked: &[(&str, &str)]) -> Entry {
        let request = request("GET", "http://a.example/", asked);
        let head = response(200, fields);
        let Admit::Keep(lifetime) = admit(&request, &head, at(1), &Rules::default(), at(2)) else { panic!() };
        Entry::new(&request, &head, lifetime, at(1), at(2), Some(5))
    }

    fn samples() -> Vec<Entry> {
        let part = Content::Part(Part { first: 5, last: 9, complete: None });
        let plain = entry(&[("cache-control", "max-age=9")], &[]);
        vec![
            entry(
                &[
                    ("cache-control", "max-age=9, stale-while-revalidate=5, stale-if-error=7"),
                    ("vary", "accept-language, x"),
                    ("link", "<a>"),
                    ("link", "<b>"),
                    ("x", "\u{e4}"),
                ],
                &[("accept-language", "de, en")],
            ),
            entry(
                &[("cache-control", "no-cache=\"foo, bar\", s-maxage=1, immutable"), ("etag", "\"a\"")],
                &[],
            ),
            entry(
                &[("cache-control", "max-age=1"), ("content-encoding", "gzip")],
                &[("accept-encoding", "gzip")],
            ),
            entry(&[("expires", "Thu, 01 Jan 1970 00:01:00 GMT"), ("last-modified", "x")], &[]),
            Entry { content: part, ..plain.clone() },
            plain.clone().expired(at(4)),
            plain,
        ]
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        for entry in samples() {
            let (read, site) = decode(&encode(&entry, &"www.a".into())).unwrap();
            // An entry has no equality of its own: one would have to be kept for this alone.
            assert_eq!(format!("{read:?}"), format!("{entry:?}"));
            assert_eq!(site.as_str(), "www.a");
        }
    }

    #[test]
    fn a_head_that_is_cut_or_longer_is_none() {
        for entry in samples() {
            let mut bytes = encode(&entry, &"a".into());
            (0..bytes.len()).for_each(|length| assert!(decode(&bytes[..length]).is_none(), "{length}"));
            bytes.push(0);
            assert!(decode(&bytes).is_none());
        }
    }

    proptest! {
        #[test]
        fn bytes_that_were_changed_do_no_harm(sample in 0_usize..6, changes in prop::collection::vec((0_usize..900, any::<u8>()), 1..6)) {
            let mut bytes = encode(&samples()[sample], &"a".into());
            let length = bytes.len();
            changes.iter().for_each(|(place, byte)| bytes[place % length] = *byte);
            if let Some((entry, site)) = decode(&bytes) {
                let _ = entry.freshness(at(1 << 40));
                let again = encode(&entry, &site);
                prop_assert_eq!(decode(&again).map(|(entry, _)| format!("{entry:?}")), Some(format!("{entry:?}")));
            }
        }
    }
}

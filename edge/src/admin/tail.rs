//! `GET /tail?site=…&status=5xx&cache=miss&slower_us=500000`: requests as they end, one JSON object a line, as long as the reader stays.
//!
//! A reader that is too slow loses lines, and is told how many: `{"lost": 12}`. No request waits for it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::Refused;
use crate::log::access::tap;

/// Readers at once: each line is compared for each of them.
const MOST_READERS: usize = 4;
/// Lines that wait for the connection.
const WAITING: usize = 64;

/// The places of readers.
#[derive(Debug)]
pub(super) struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_READERS)))
    }
}

/// Which requests; a part that is not there is met by all.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter {
    site: Option<String>,
    /// A status, or the first digit of its class.
    status: Option<Status>,
    cache: Option<String>,
    slower_us: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Status {
    Is(u16),
    Class(u16),
}

/// The members of a line that are compared.
#[derive(Deserialize)]
struct Line {
    site: Option<String>,
    status: u16,
    cache: String,
    total_us: u64,
}

impl Filter {
    fn read(query: &str) -> Result<Self, Refused> {
        let mut filter = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            let bad = || {
                Refused::bad(format!(
                    "{name}: `{value}`: write site=…, status=404 or status=4xx, cache=miss, slower_us=500000"
                ))
            };
            match name {
                "site" => filter.site = Some(value),
                "cache" => filter.cache = Some(value),
                "status" => filter.status = Some(Status::read(&value).ok_or_else(bad)?),
                "slower_us" => filter.slower_us = Some(value.parse().map_err(|_| bad())?),
                _ => return Err(bad()),
            }
        }
        Ok(filter)
    }

    fn wants(&self, line: &[u8]) -> bool {
        let Ok(line) = serde_json::from_slice::<Line>(line) else { return false };
        self.site.as_ref().is_none_or(|site| line.site.as_ref() == Some(site))
            && self.cache.as_ref().is_none_or(|cache| *cache == line.cache)
            && self.slower_us.is_none_or(|us| line.total_us > us)
            && self.status.as_ref().is_none_or(|status| match status {
                Status::Is(code) => *code == line.status,
                Status::Class(first) => *first == line.status / 100,
            })
    }
}

impl Status {
    fn read(text: &str) -> Option<Self> {
        match text.strip_suffix("xx") {
            Some(first) => first.parse().ok().filter(|first| (1..=5).contains(first)).map(Self::Class),
            None => text.parse().ok().filter(|code| (100..=999).contains(code)).map(Self::Is),
        }
    }
}

pub(super) fn tail(
    readers: &Readers,
    query: &str,
    stop: &CancellationToken,
) -> Result<mpsc::Receiver<io::Result<Bytes>>, Refused> {
    let filter = Filter::read(query)?;
    let busy = || Refused {
        status: StatusCode::SERVICE_UNAVAILABLE,
        sentence: format!("{MOST_READERS} others read along already"),
    };
    let place = Arc::clone(&readers.0).try_acquire_owned().map_err(|_| busy())?;
    let (to, pieces) = mpsc::channel(WAITING);
    let (mut lines, stop) = (tap::watch(), stop.clone());
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                next = lines.next() => next,
                () = to.closed() => break,
                () = stop.cancelled() => break,
            };
            let line = match next {
                tap::Next::Line(line) if filter.wants(&line) => Bytes::copy_from_slice(&line),
                tap::Next::Line(_) => continue,
                tap::Next::Lost(lines) => Bytes::from(format!("{{\"lost\":{lines}}}\n")),
            };
            if to.send(Ok(line)).await.is_err() {
                break;
            }
        }
        drop(place);
    });
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_wanted_if_it_meets_all_parts() {
        let line = br#"{"client":"192.0.2.1","status":503,"cache":"failed","total_us":2000,"site":"a.test","waited_us":1}"#;
        for (query, expected) in [
            ("", true),
            ("status=503", true),
            ("status=5xx&cache=failed", true),
            ("status=5xx&cache=hit", false),
            ("status=500", false),
            ("status=4xx", false),
            ("site=a.test", true),
            ("site=b.test", false),
            ("site=%61.test&slower_us=1999", true),
            ("slower_us=2000", false),
        ] {
            assert_eq!(Filter::read(query).unwrap().wants(line), expected, "{query}");
        }
        assert!(
            Filter::read("site=a")
                .unwrap()
                .wants(br#"{"status":421,"cache":"refused","total_us":1,"site":"a"}"#)
        );
        assert!(!Filter::read("site=a").unwrap().wants(br#"{"status":421,"cache":"refused","total_us":1}"#));
    }

    #[test]
    fn a_part_that_is_no_filter_is_refused() {
        for query in ["x=1", "status=abc", "status=9xx", "status=42", "slower_us=-1", "slower_us=", "site"] {
            assert_eq!(Filter::read(query).is_err(), query != "site", "{query}");
        }
    }
}

//! `verge-edge tail`: requests of a running edge as they end, whether or not it writes an access log.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::Failed;
use super::admin_client::{WhichEdge, answer};
use super::terminal::{Colour, fitted, is_coloured, painted};

#[derive(Debug, clap::Args)]
pub(super) struct Tail {
    /// Only this site, by its name
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Only this status, or class of status: 404 or 5xx
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only requests that the cache answered so: hit, stale, revalidated, miss, collapsed, pass, refused, failed …
    #[arg(long, value_name = "WORD")]
    verdict: Option<String>,
    /// Only requests that took longer: 500ms, 2s
    #[arg(long, value_name = "TIME", value_parser = duration)]
    slower_than: Option<Duration>,
    /// As the edge says it: one JSON object a line
    #[arg(long)]
    json: bool,
    /// End after so many requests
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    #[command(flatten)]
    edge: WhichEdge,
}

/// The members of a line that are shown.
#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Line {
    time: String,
    client: String,
    method: String,
    url: String,
    status: u16,
    cache: String,
    why: String,
    bytes: u64,
    total_us: u64,
    /// Lines that this reader was too slow for.
    lost: Option<u64>,
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    let units = [("us", 1), ("ms", 1_000), ("s", 1_000_000)];
    let read = |(unit, micros): (&str, u64)| {
        let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        Some(Duration::from_micros(number.checked_mul(micros)?))
    };
    units.into_iter().find_map(read).ok_or("write a number with us, ms or s: 500ms")
}

impl Tail {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let slower_us = self.slower_than.map(|time| time.as_micros().to_string());
        let parts = [
            ("site", &self.site),
            ("status", &self.status),
            ("cache", &self.verdict),
            ("slower_us", &slower_us),
        ];
        let part = |(name, value): (&str, &Option<String>)| {
            Some(format!("{name}={}", utf8_percent_encode(value.as_ref()?, NON_ALPHANUMERIC)))
        };
        let query: Vec<String> = parts.into_iter().filter_map(part).collect();
        let request =
            Request::builder().uri(format!("/tail?{}", query.join("&"))).body(Full::new(Bytes::new()));
        let response = self.edge.client()?.send(request.map_err(Failed::because)?).await?;
        if response.status() != StatusCode::OK {
            return answer(response).await.map(drop);
        }
        let (mut body, mut text, mut told) = (response.into_body(), BytesMut::new(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(Failed::because)?.into_data() else { continue };
            text.extend_from_slice(&data);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line = text.split_to(end + 1);
                let is_heard = super::is_heard(if self.json {
                    String::from_utf8_lossy(&line[..end]).into_owned()
                } else {
                    shown(&line, is_coloured())
                });
                told += 1;
                if !is_heard || self.count.is_some_and(|count| told >= count) {
                    return Ok(());
                }
            }
        }
        Err(Failed::because("the edge has ended the stream"))
    }
}

fn shown(line: &[u8], is_coloured: bool) -> String {
    let Ok(line) = serde_json::from_slice::<Line>(line) else {
        return String::from_utf8_lossy(line).trim().to_owned();
    };
    if let Some(lost) = line.lost {
        return painted(
            &format!("{lost} requests are not shown: this reader is too slow"),
            Colour::Yellow,
            is_coloured,
        );
    }
    let colour = match line.status {
        500.. => Colour::Red,
        400.. => Colour::Yellow,
        _ => Colour::Plain,
    };
    let plain = |text: &str| fitted(text, text.chars().count());
    let text = format!(
        "{} {} {} {} {} {} {} {} {:.3} ms",
        plain(&line.time),
        plain(&line.client),
        painted(&line.status.to_string(), colour, is_coloured),
        plain(&line.cache),
        plain(&line.why),
        plain(&line.method),
        plain(&line.url),
        line.bytes,
        line.total_us as f64 / 1e3,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_without_what_steers_a_terminal() {
        let line = br#"{"time":"2026-11-29T01:34:00.007Z","client":"192.0.2.1","method":"GET","url":"http://a.test/\u001b[2J","status":503,"cache":"failed","why":"connection_refused","bytes":7,"waited_us":1,"total_us":1500}"#;
        assert_eq!(
            shown(line, false),
            "2026-11-29T01:34:00.007Z 192.0.2.1 503 failed connection_refused GET http://a.test/\u{fffd}[2J 7 1.500 ms"
        );
        assert_eq!(shown(b"{\"lost\":12}\n", false), "12 requests are not shown: this reader is too slow");
        assert_eq!(shown(b"nonsense\n", false), "nonsense");
    }

    #[test]
    fn a_time_has_a_unit() {
        for (text, micros) in [
            ("500ms", Some(500_000)),
            ("2s", Some(2_000_000)),
            ("7us", Some(7)),
            ("2", None),
            ("ms", None),
            ("-1s", None),
        ] {
            assert_eq!(duration(text).ok(), micros.map(Duration::from_micros), "{text}");
        }
    }
}

//! `GET /tail?zone=…&view=inside&rcode=NXDOMAIN&client=192.0.2.0/24`: questions as they are answered, one JSON object a line, as
//! long as the reader stays.
//!
//! A reader that is too slow loses lines, and is told how many: `{"lost": 12}`. No answer waits for it.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::log::queries::{self, Next, Question};

/// Lines that wait for the connection.
const WAITING: usize = 64;

/// Which questions; a part that is not there is met by all.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// The zone, and those below it.
    zone: Option<String>,
    view: Option<String>,
    rcode: Option<String>,
    client: Option<IpNet>,
}

impl Filter {
    /// # Errors
    /// With what to write, if it is none.
    pub(super) fn read(query: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            let bad = || {
                format!(
                    "{name}: `{value}`: write zone=example.com, view=outside or inside, rcode=NXDOMAIN, client=192.0.2.0/24"
                )
            };
            match name {
                "zone" => {
                    filter.zone = Some(format!("{}.", value.trim_end_matches('.').to_ascii_lowercase()))
                }
                "view" if matches!(&*value, "outside" | "inside") => filter.view = Some(value),
                "rcode" => filter.rcode = Some(value.to_ascii_uppercase()),
                "client" => {
                    let one = || value.parse::<IpAddr>().map(IpNet::from);
                    filter.client = Some(value.parse::<IpNet>().or_else(|_| one()).map_err(|_| bad())?);
                }
                _ => return Err(bad()),
            }
        }
        Ok(filter)
    }

    fn wants(&self, question: &Question) -> bool {
        let is_of = |zone: &String| {
            question.zone.as_ref().is_some_and(|own| own == zone || own.ends_with(&format!(".{zone}")))
        };
        let is_from = |net: &IpNet| question.client.parse().is_ok_and(|client: IpAddr| net.contains(&client));
        self.zone.as_ref().is_none_or(is_of)
            && self.view.as_ref().is_none_or(|view| *view == question.view)
            && self.rcode.as_ref().is_none_or(|rcode| *rcode == question.rcode)
            && self.client.as_ref().is_none_or(is_from)
    }
}

/// Reads along until the reader goes, or the server.
pub(super) fn tail(
    filter: Filter,
    place: OwnedSemaphorePermit,
    end: &CancellationToken,
) -> mpsc::Receiver<Bytes> {
    let (to, pieces) = mpsc::channel(WAITING);
    let (mut lines, end) = (queries::watch(), end.clone());
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                next = lines.next() => next,
                () = to.closed() => break,
                () = end.cancelled() => break,
            };
            let line = match next {
                Next::Question(question) if filter.wants(&question) => line(&question),
                Next::Question(_) => continue,
                Next::Lost(lines) => Bytes::from(format!("{{\"lost\":{lines}}}\n")),
            };
            if to.send(line).await.is_err() {
                break;
            }
        }
        drop(place);
    });
    pieces
}

fn line(question: &Arc<Question>) -> Bytes {
    let mut line = serde_json::to_vec(&**question).expect("texts and numbers are JSON");
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_wanted_if_it_meets_all_parts() {
        let question = Question {
            client: "192.0.2.7".into(),
            view: "outside".into(),
            zone: Some("a.example.com.".into()),
            rcode: "NXDOMAIN".into(),
            ..Question::default()
        };
        for (query, expected) in [
            ("", true),
            ("zone=Example.com", true),
            ("zone=example.com.&view=outside&rcode=nxdomain&client=192.0.2.0/24", true),
            ("zone=xample.com", false),
            ("zone=b.a.example.com", false),
            ("view=inside", false),
            ("rcode=NOERROR", false),
            ("client=192.0.2.7", true),
            ("client=192.0.2.8", false),
            ("client=2001%3Adb8%3A%3A%2F32", false),
        ] {
            assert_eq!(Filter::read(query).unwrap().wants(&question), expected, "{query}");
        }
        let withheld = Question { zone: None, ..question };
        assert!(!Filter::read("zone=example.com").unwrap().wants(&withheld));
    }

    #[test]
    fn a_part_that_is_no_filter_is_refused() {
        for query in ["x=1", "view=public", "client=here", "client="] {
            assert!(Filter::read(query).is_err(), "{query}");
        }
    }
}

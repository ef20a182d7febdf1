//! `tail`: questions of a running server as they are answered, whether or not it logs them.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::asked::follow;
use super::terminal::{Colour, fitted, is_coloured, painted};
use super::{Failure, Format, Shape, Source, is_heard, zones};
use crate::log::queries::Question;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// Only this zone, and those below it
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Only answers of this view: outside or inside
    #[arg(long, value_name = "VIEW")]
    view: Option<String>,
    /// Only answers with this code: NOERROR, NXDOMAIN, SERVFAIL …
    #[arg(long, value_name = "CODE")]
    rcode: Option<String>,
    /// Only clients at this address or in this network
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
    #[command(flatten)]
    shape: Shape,
    /// End after so many questions
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Lost { lost: u64 },
    Question(Question),
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = zones::config(&args.source)?.ok_or(Failure::NoConfig)?;
    let admin = config.admin.ok_or(Failure::NoAdmin)?;
    let parts =
        [("zone", &args.zone), ("view", &args.view), ("rcode", &args.rcode), ("client", &args.client)];
    let part = |(name, value): (&str, &Option<String>)| {
        Some(format!("{name}={}", utf8_percent_encode(value.as_ref()?, NON_ALPHANUMERIC)))
    };
    let query: Vec<String> = parts.into_iter().filter_map(part).collect();
    let mut told = 0;
    let take = |line: &str| {
        let is_heard = is_heard(&match args.shape.format() {
            Format::Json => format!("{line}\n"),
            Format::Human => format!("{}\n", shown(line, is_coloured())),
        });
        told += 1;
        is_heard && args.count.is_none_or(|count| told < count)
    };
    follow(&admin, &format!("/tail?{}", query.join("&")), take)
        .map_err(|error| Failure::NoStatus(admin.listen.clone(), error))
}

fn shown(line: &str, is_coloured: bool) -> String {
    let plain = |text: &str| fitted(text, text.chars().count());
    match serde_json::from_str(line) {
        Err(_) => plain(line),
        Ok(Line::Lost { lost }) => {
            let text = format!("{lost} questions are not shown: this reader is too slow");
            painted(&text, Colour::Yellow, is_coloured)
        }
        Ok(Line::Question(question)) => {
            let colour = match &*question.rcode {
                "NOERROR" | "NXDOMAIN" => Colour::Plain,
                "SERVFAIL" => Colour::Red,
                _ => Colour::Yellow,
            };
            let or_withheld = |text: Option<String>| text.map_or_else(|| "-".to_owned(), |text| plain(&text));
            let (hours, minutes, seconds) =
                (question.time / 3600 % 24, question.time / 60 % 60, question.time % 60);
            format!(
                "{hours:02}:{minutes:02}:{seconds:02}Z {} {} {} {} {} {}{}",
                plain(&question.client),
                plain(&question.transport),
                plain(&question.view),
                or_withheld(question.name),
                or_withheld(question.rtype),
                painted(&plain(&question.rcode), colour, is_coloured),
                if question.truncated { " truncated" } else { "" },
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_shown_without_what_steers_a_terminal() {
        let line = r#"{"time":1700000000,"client":"192.0.2.1","transport":"udp","view":"outside","zone":null,"name":"\u001b[2J.","type":"A","rcode":"REFUSED","truncated":false}"#;
        assert_eq!(shown(line, false), "22:13:20Z 192.0.2.1 udp outside \u{fffd}[2J. A REFUSED");
        assert_eq!(shown("{\"lost\":3}", false), "3 questions are not shown: this reader is too slow");
    }
}

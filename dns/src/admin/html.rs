//! Pieces of pages, and numbers in few letters.

use std::fmt::Write as _;

/// In one pass: a name with braces in it is no placeholder.
pub(super) fn filled(frame: &str, parts: &[(&str, String)]) -> String {
    let mut pieces = frame.split("{{");
    let mut page = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (id, behind) = piece.split_once("}}").unwrap_or(("", piece));
        page += parts.iter().find(|(own, _)| *own == id).map_or("", |(_, html)| html);
        page += behind;
    }
    page
}

/// Text as it stands in HTML, in content and in a quoted attribute. Letters that change the order of others, and control
/// characters, could make a name look like another one.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                out.push('\u{fffd}');
            }
            control if control.is_control() && control != '\n' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

pub(super) fn some_of(shown: usize, all: usize, what: &str) -> String {
    if shown == all { format!("{what}: {all}") } else { format!("{what}: {shown} of {all}") }
}

/// A cell of a table, as HTML.
pub(super) type Cell = String;

pub(super) fn text(text: &str) -> Cell {
    format!("<td class=\"t\">{}</td>", escaped(text))
}

pub(super) fn number(text: String) -> Cell {
    format!("<td class=\"n\">{text}</td>")
}

/// A word and its colour: the colour alone would tell some readers nothing.
pub(super) fn standing(is_good: bool, word: &str) -> Cell {
    format!("<td><span class=\"{}\">{}</span></td>", if is_good { "good" } else { "bad" }, escaped(word))
}

/// The level of a log line; only errors stand out.
pub(super) fn level(word: &str) -> Cell {
    let class = if word == "error" { "bad" } else { "dim" };
    format!("<td><span class=\"{class}\">{}</span></td>", escaped(word))
}

/// A heading that begins with `#` is above numbers.
pub(super) fn table(caption: &str, head: &[&str], rows: Vec<Vec<Cell>>) -> String {
    let mut out = format!("<table><caption>{}</caption><thead><tr>", escaped(caption));
    for name in head {
        let (class, name) = name.strip_prefix('#').map_or(("", *name), |name| (" class=\"n\"", name));
        let _ = write!(out, "<th scope=\"col\"{class}>{name}</th>");
    }
    out += "</tr></thead><tbody>";
    if rows.is_empty() {
        let _ = write!(out, "<tr><td colspan=\"{}\" class=\"dim\">none</td></tr>", head.len());
    }
    for row in rows {
        let _ = write!(out, "<tr>{}</tr>", row.concat());
    }
    out + "</tbody></table>"
}

/// A count or a rate in a few letters.
pub(crate) fn count(value: f64) -> String {
    match value {
        value if value >= 1e10 => format!("{:.1} G", value / 1e9),
        value if value >= 1e7 => format!("{:.1} M", value / 1e6),
        value if value >= 1e5 => format!("{:.1} k", value / 1e3),
        value if value >= 10.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

/// Bytes in a few letters.
pub(crate) fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (value, "B");
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if value < 10.0 && unit != "B" { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// A duration with a fitting unit.
pub(crate) fn seconds(secs: Option<f64>) -> String {
    match secs {
        None => "–".to_owned(),
        Some(secs) if secs < 0.001 => format!("{:.0} µs", secs * 1e6),
        Some(secs) if secs < 1.0 => format!("{:.1} ms", secs * 1e3),
        Some(secs) => format!("{secs:.1} s"),
    }
}

/// How long something lasts or lasted.
pub(crate) fn span(secs: f64) -> String {
    match secs {
        secs if secs < 120.0 => format!("{secs:.0} s"),
        secs if secs < 7_200.0 => format!("{:.0} min", secs / 60.0),
        secs if secs < 172_800.0 => format!("{:.0} h", secs / 3_600.0),
        secs => format!("{:.0} days", secs / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_units() {
        let counts = [0.0, 0.25, 9.96, 12.4, 99_999.0, 1.5e6, 2e7, 3e10].map(count);
        assert_eq!(counts, ["0", "0.2", "10.0", "12", "99999", "1500.0 k", "20.0 M", "30.0 G"]);
        assert_eq!([10.0, 2048.0, 5e8, 3e12].map(bytes), ["10 B", "2.0 KiB", "477 MiB", "2.7 TiB"]);
        assert_eq!(
            [None, Some(0.000_02), Some(0.5), Some(2.0)].map(seconds),
            ["–", "20 µs", "500.0 ms", "2.0 s"]
        );
        assert_eq!([90.0, 300.0, 9_000.0, 200_000.0].map(span), ["90 s", "5 min", "2 h", "2 days"]);
    }
}

//! Problems as a person reads them: file:line:column, the line, a caret, the reason, what to do.
//!
//! ```text
//! error[unknown-type]: `CNMAE` is not a record type
//!   --> zones/example.com.zone:7:5
//!    |
//!  7 | www CNMAE web
//!    |     ^^^^^
//!    = help: did you mean `CNAME`?
//! ```

use std::fmt::Write;

use super::{Position, Problem, Severity, SourceFile};

/// How a problem is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text only.
    Plain,
    /// With ANSI colours.
    Coloured,
}

/// A problem as several lines of text that end with a line end.
pub fn render(problem: &Problem, files: &[SourceFile], style: Style) -> String {
    let paint = Paint(style);
    let colour = colour(problem.severity);
    let mut out = paint.with(colour, &format!("{}[{}]", problem.severity, problem.code));
    out += &paint.with(BOLD, &format!(": {}", clean(&problem.message)));
    out.push('\n');
    let gutter = problem.at.map_or(0, |at| at.line.to_string().len());
    if let Some(at) = problem.at {
        place(at, files, paint, colour, &mut out);
    }
    if let Some(help) = &problem.help {
        out += &format!("{:gutter$} {} help: {}\n", "", paint.with(BLUE, "="), clean(help));
    }
    out
}

/// A problem as plain values for editors and pipelines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// `note`, `warning` or `error`.
    pub severity: &'static str,
    /// A short stable name.
    pub code: &'static str,
    /// The problem.
    pub message: String,
    /// The remedy.
    pub help: Option<String>,
    /// The file, as it is shown to the author.
    pub file: Option<String>,
    /// Line, counted from 1.
    pub line: Option<u32>,
    /// Column in characters, counted from 1.
    pub column: Option<u32>,
    /// Characters from `column` on that are at fault.
    pub width: Option<u32>,
}

/// A problem as plain values.
pub fn plain(problem: &Problem, files: &[SourceFile]) -> Plain {
    let at = problem.at;
    Plain {
        severity: problem.severity.as_str(),
        code: problem.code,
        message: problem.message.clone(),
        help: problem.help.clone(),
        file: at.and_then(|at| files.get(at.file as usize)).map(|file| file.path.display().to_string()),
        line: at.map(|at| at.line),
        column: at.map(|at| at.column),
        width: at.map(|at| at.width),
    }
}

/// Where the problem is: the place in words, the line, and carets under the part at fault.
fn place(at: Position, files: &[SourceFile], paint: Paint, colour: &str, out: &mut String) {
    let number = at.line.to_string();
    let blank = " ".repeat(number.len());
    let Some(file) = files.get(at.file as usize) else { return };
    let path = clean(&file.path.display().to_string());
    writeln!(out, "{blank}{} {path}:{}:{}", paint.with(BLUE, "-->"), at.line, at.column).expect(INFALLIBLE);
    // A line of a binary file tells a person nothing.
    let is_text = |line: &&[u8]| !line.iter().take(BEGINNING_BYTES).any(|byte| *byte == 0);
    let Some(line) = line(&file.text, at.line).filter(is_text) else { return };
    let window = Window::around(line, at);
    let bar = paint.with(BLUE, "|");
    writeln!(out, "{blank} {bar}").expect(INFALLIBLE);
    writeln!(out, "{} {bar} {}", paint.with(BLUE, &number), window.text).expect(INFALLIBLE);
    let carets = paint.with(colour, &"^".repeat(window.carets));
    writeln!(out, "{blank} {bar} {}{carets}", " ".repeat(window.before)).expect(INFALLIBLE);
}

/// Formats that are no text have a zero byte within these.
const BEGINNING_BYTES: usize = 4;
const INFALLIBLE: &str = "a String takes all that is written to it";

/// The bytes of a line, counted from 1, without its end.
fn line(text: &[u8], number: u32) -> Option<&[u8]> {
    let start = line_start(text, usize::try_from(number).ok()?.checked_sub(1)?)?;
    let rest = &text[start..];
    let len = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let line = &rest[..len];
    let line = if start == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// Where the line after `ends` line ends begins. Chunks are counted whole, which is many times faster than looking
/// at byte after byte; a large zone may have a thousand warnings near its end.
fn line_start(text: &[u8], mut ends: usize) -> Option<usize> {
    const CHUNK: usize = 4_096;
    if ends == 0 {
        return Some(0);
    }
    for (index, chunk) in text.chunks(CHUNK).enumerate() {
        let here = chunk.iter().filter(|byte| **byte == b'\n').count();
        if here >= ends {
            let (at, _) = chunk.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(ends - 1)?;
            return Some(index * CHUNK + at + 1);
        }
        ends -= here;
    }
    None
}

/// The part of a line that is shown, in columns of a terminal.
struct Window {
    text: String,
    /// Columns before the carets.
    before: usize,
    carets: usize,
}

/// Most characters of a line that are shown; longer lines are cut around the place.
const MAX_SHOWN: usize = 120;
/// Characters that are kept before the place when a line is cut.
const CONTEXT: usize = 40;

impl Window {
    fn around(line: &[u8], at: Position) -> Self {
        let count = line.iter().filter(|byte| begins_character(**byte)).count();
        let column = (at.column as usize - 1).min(count);
        let start = if count > MAX_SHOWN { column.saturating_sub(CONTEXT) } else { 0 };
        let end = count.min(start + MAX_SHOWN);
        // Only what is shown is taken apart: a line may have as many bytes as a file.
        let characters = characters(&line[offset(line, start)..offset(line, end)]);
        let mut text = String::from(if start > 0 { "…" } else { "" });
        let mut before = text.chars().count();
        let mut carets = 0;
        for (index, shown) in characters.iter().enumerate() {
            let columns = columns(shown);
            if start + index < column {
                before += columns;
            } else if start + index < column + at.width as usize {
                carets += columns;
            }
            text.push_str(shown);
        }
        if end < count {
            text.push('…');
        }
        Self { text, before, carets: carets.max(1) }
    }
}

/// Bytes before the character with this index.
fn offset(line: &[u8], index: usize) -> usize {
    let mut starts = line.iter().enumerate().filter(|(_, byte)| begins_character(**byte));
    if index == 0 { 0 } else { starts.nth(index).map_or(line.len(), |(at, _)| at) }
}

/// As columns are counted: the bytes 0x80 to 0xbf continue a character of UTF-8.
fn begins_character(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

/// A line character by character as it may be shown. As in a column count, bytes that continue a character are not
/// characters of their own, so a byte that is no UTF-8 is shown as one `\xNN` or joins the one before it.
fn characters(line: &[u8]) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for chunk in line.utf8_chunks() {
        shown.extend(chunk.valid().chars().map(visible));
        for byte in chunk.invalid() {
            let text = format!("\\x{byte:02x}");
            match shown.last_mut() {
                Some(last) if !begins_character(*byte) => last.push_str(&text),
                _ => shown.push(text),
            }
        }
    }
    shown
}

fn visible(character: char) -> String {
    match character {
        '\t' => "    ".to_owned(),
        _ if is_hostile(character) => character.escape_unicode().to_string(),
        _ => character.to_string(),
    }
}

/// Control characters move the cursor; those that turn the direction of writing make a line show what it is not.
fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Columns of a terminal; East Asian and emoji characters take two, marks that combine take none.
fn columns(shown: &str) -> usize {
    shown
        .chars()
        .map(|character| match character {
            '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' => 0,
            '\u{1100}'..='\u{115f}'
            | '\u{2e80}'..='\u{a4cf}'
            | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}'
            | '\u{fe30}'..='\u{fe6f}'
            | '\u{ff00}'..='\u{ff60}'
            | '\u{ffe0}'..='\u{ffe6}'
            | '\u{1f300}'..='\u{1f64f}'
            | '\u{1f900}'..='\u{1f9ff}'
            | '\u{20000}'..='\u{3fffd}' => 2,
            _ => 1,
        })
        .sum()
}

/// One line without what a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().map(|character| if is_hostile(character) { '\u{fffd}' } else { character }).collect()
}

#[derive(Clone, Copy)]
struct Paint(Style);

impl Paint {
    fn with(self, colour: &str, text: &str) -> String {
        match self.0 {
            Style::Plain => text.to_owned(),
            Style::Coloured => format!("{colour}{text}{RESET}"),
        }
    }
}

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const BLUE: &str = "\x1b[1;34m";

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "\x1b[1;32m",
        Severity::Warning => "\x1b[1;33m",
        Severity::Error => "\x1b[1;31m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], at: (u32, u32, u32), expected: &str) {
        let files = [SourceFile { path: "a.zone".into(), text: text.into() }];
        let (line, column, width) = at;
        let problem = Problem {
            severity: Severity::Error,
            code: "unknown-type",
            at: Some(Position { file: 0, line, column, width }),
            message: "`CNMAE` is not a record type".to_owned(),
            help: Some("did you mean `CNAME`?".to_owned()),
        };
        assert_eq!(render(&problem, &files, Style::Plain), expected);
    }

    #[test]
    fn the_line_is_shown_with_carets() {
        check(
            b"; one\n\nwww\tCNMAE web\r\n",
            (3, 5, 5),
            "error[unknown-type]: `CNMAE` is not a record type\n --> a.zone:3:5\n  |\n3 | www    CNMAE web\n  |        ^^^^^\n  = help: did you mean `CNAME`?\n",
        );
    }

    #[test]
    fn wide_and_odd_characters_do_not_shift_the_carets() {
        let text = "\u{feff}日本é\u{1b} \u{202e}X".as_bytes();
        let rendered = "日本é\\u{1b} \\u{202e}X";
        check(
            text,
            (1, 7, 1),
            &format!(
                "error[unknown-type]: `CNMAE` is not a record type\n --> a.zone:1:7\n  |\n1 | {rendered}\n  | {}^\n  = help: did you mean `CNAME`?\n",
                " ".repeat(2 + 2 + 1 + 6 + 1 + 8)
            ),
        );
        check(
            b"a\xff\xfeb X",
            (1, 6, 1),
            "error[unknown-type]: `CNMAE` is not a record type\n --> a.zone:1:6\n  |\n1 | a\\xff\\xfeb X\n  |            ^\n  = help: did you mean `CNAME`?\n",
        );
    }

    #[test]
    fn a_mark_that_combines_takes_no_column_and_a_wide_character_two() {
        for (shown, expected) in [
            ("", 0),
            ("abc", 3),
            ("e\u{301}", 1),
            ("a\u{200d}b\u{fe0f}", 2),
            ("日本", 4),
            ("한", 2),
            ("｡", 1),
            ("😀", 2),
        ] {
            assert_eq!(columns(shown), expected, "{shown}");
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}X{}", "a".repeat(1_000), "b".repeat(1_000));
        let shown = format!("…{}X{}…", "a".repeat(40), "b".repeat(79));
        check(
            text.as_bytes(),
            (1, 1_001, 1),
            &format!(
                "error[unknown-type]: `CNMAE` is not a record type\n --> a.zone:1:1001\n  |\n1 | {shown}\n  | {}^\n  = help: did you mean `CNAME`?\n",
                " ".repeat(41)
            ),
        );
    }

    #[test]
    fn lines_are_found_behind_many_others() {
        let text = "0123456789\n".repeat(5_000);
        for number in [1, 2, 372, 373, 4_999, 5_000] {
            assert_eq!(line(text.as_bytes(), number), Some(&b"0123456789"[..]), "{number}");
        }
        assert_eq!(line(text.as_bytes(), 5_001), Some(&b""[..]));
        assert_eq!(line(text.as_bytes(), 5_002), None);
        assert_eq!(line(b"\n\nc", 3), Some(&b"c"[..]));
    }

    #[test]
    fn a_line_that_is_no_text_is_only_named() {
        check(
            b"\0\0\0\x02\0\0\0\x01\x03www",
            (1, 1, 1),
            "error[unknown-type]: `CNMAE` is not a record type\n --> a.zone:1:1\n  = help: did you mean `CNAME`?\n",
        );
    }

    #[test]
    fn a_place_outside_the_text_is_only_named() {
        check(
            b"",
            (9, 9, 9),
            "error[unknown-type]: `CNMAE` is not a record type\n --> a.zone:9:9\n  = help: did you mean `CNAME`?\n",
        );
    }

    #[test]
    fn colours_are_only_added() {
        let files = [SourceFile { path: "a.zone".into(), text: b"x y".as_slice().into() }];
        let at = Some(Position { file: 0, line: 1, column: 3, width: 1 });
        let problem =
            Problem { severity: Severity::Warning, code: "c", at, message: "m".to_owned(), help: None };
        let mut coloured = render(&problem, &files, Style::Coloured);
        assert!(coloured.contains("\x1b[1;33mwarning[c]\x1b[0m"));
        for code in [RESET, BOLD, BLUE, colour(Severity::Warning)] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(coloured, render(&problem, &files, Style::Plain));
    }
}

//! The chunked coding's framing (RFC 9112 §7.1), line by line.
//!
//! Invariant: bytes in, a value out. A line is passed on when all of it is known to be good.

use super::head;
use super::refusal::Refusal;
use super::text::{self, VALUE};

/// A size and its extensions, which nobody reads; signed uploads to object stores have 85 bytes.
pub const MAX_CHUNK_LINE_BYTES: usize = 256;
/// All trailer lines of a body together.
pub const MAX_TRAILER_BYTES: usize = 8 * 1024;
/// 2^60 bytes are more than anyone sends; no sum of these overflows.
const MAX_SIZE_DIGITS: usize = 15;

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunked {
    /// At a chunk's size.
    Size,
    /// In a chunk's data, so many bytes left.
    Data(u64),
    /// At the line end behind a chunk's data.
    DataEnd,
    /// In the trailer section, so many bytes of it seen.
    Trailers(usize),
}

/// How far the bytes at hand go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many bytes are good, and this comes behind them.
    Next(usize, Chunked),
    /// So many bytes are good and the body's last.
    End(usize),
    /// A line is not complete.
    Starved,
}

impl Chunked {
    /// One step: a line, or what is there of a chunk's data.
    ///
    /// # Errors
    /// When the framing is broken; the body has no end then.
    pub fn step(self, bytes: &[u8]) -> Result<Step, Refusal> {
        match self {
            Self::Size => size(bytes),
            Self::Data(left) => Ok(data(left, bytes.len())),
            Self::DataEnd => data_end(bytes),
            Self::Trailers(seen) => trailer(seen, bytes),
        }
    }
}

fn size(bytes: &[u8]) -> Result<Step, Refusal> {
    let Some(line) = line(bytes) else {
        // Signs of trouble are not waited out: a size's first byte tells.
        size_digits(bytes)?;
        return if bytes.len() < MAX_CHUNK_LINE_BYTES {
            Ok(Step::Starved)
        } else {
            Err(Refusal::LongChunkLine)
        };
    };
    if line.len() > MAX_CHUNK_LINE_BYTES {
        return Err(Refusal::LongChunkLine);
    }
    let digits = size_digits(line)?;
    extension(&line[digits.len()..])?;
    Ok(match hexadecimal(digits) {
        0 => Step::Next(line.len(), Chunked::Trailers(0)),
        size => Step::Next(line.len(), Chunked::Data(size)),
    })
}

fn size_digits(line: &[u8]) -> Result<&[u8], Refusal> {
    let count = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let starts_well = count > 0 || line.is_empty();
    if starts_well && count <= MAX_SIZE_DIGITS { Ok(&line[..count]) } else { Err(Refusal::BadChunkSize) }
}

/// RFC 9112 §7.1.1; the white space that its grammar lets stand before the semicolon is "bad", and refused.
fn extension(rest: &[u8]) -> Result<(), Refusal> {
    match rest {
        b"\r\n" => Ok(()),
        [b';', extension @ .., b'\r', b'\n'] if text::all(extension, VALUE) => Ok(()),
        _ => Err(Refusal::BadChunkExtension),
    }
}

fn hexadecimal(digits: &[u8]) -> u64 {
    let value = |digit: u8| char::from(digit).to_digit(16).map_or(0, u64::from);
    digits.iter().fold(0, |size, &digit| size * 16 + value(digit))
}

fn data(left: u64, available: usize) -> Step {
    match usize::try_from(left) {
        Ok(left) if left <= available => Step::Next(left, Chunked::DataEnd),
        _ if available == 0 => Step::Starved,
        _ => Step::Next(available, Chunked::Data(left - available as u64)),
    }
}

fn data_end(bytes: &[u8]) -> Result<Step, Refusal> {
    match bytes {
        [b'\r', b'\n', ..] => Ok(Step::Next(2, Chunked::Size)),
        [] | [b'\r'] => Ok(Step::Starved),
        _ => Err(Refusal::BadChunkEnd),
    }
}

fn trailer(seen: usize, bytes: &[u8]) -> Result<Step, Refusal> {
    let Some(line) = line(bytes) else {
        return if seen + bytes.len() < MAX_TRAILER_BYTES {
            Ok(Step::Starved)
        } else {
            Err(Refusal::LongTrailers)
        };
    };
    if line == b"\r\n" {
        return Ok(Step::End(2));
    }
    let seen = seen + line.len();
    if seen > MAX_TRAILER_BYTES {
        return Err(Refusal::LongTrailers);
    }
    let name = head::field_line(line)?;
    if head::is_forbidden_in_trailer(name) {
        return Err(Refusal::ForbiddenTrailer);
    }
    Ok(Step::Next(line.len(), Chunked::Trailers(seen)))
}

/// Up to and with the first LF.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    bytes.iter().position(|&byte| byte == b'\n').map(|at| &bytes[..=at])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the whole body, whatever the pieces; the length and `None`, or why it is broken.
    fn walk(body: &[u8], piece: usize) -> Result<usize, Refusal> {
        let (mut at, mut end, mut chunked) = (0, piece.min(body.len()), Chunked::Size);
        loop {
            match chunked.step(&body[at..end])? {
                Step::Next(taken, next) => (at, chunked) = (at + taken, next),
                Step::End(taken) => return Ok(at + taken),
                Step::Starved if end == body.len() => return Ok(at),
                Step::Starved => end = (end + piece).min(body.len()),
            }
        }
    }

    fn check(body: &[u8], expected: Result<usize, Refusal>) {
        for piece in 1..=body.len().clamp(1, 40) {
            assert_eq!(
                walk(body, piece),
                expected,
                "{:?} in pieces of {piece}",
                String::from_utf8_lossy(body)
            );
        }
    }

    #[test]
    fn a_body_ends_behind_its_trailers_and_the_next_request_is_not_touched() {
        for body in
            ["0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "a;x=\"y\"\r\n0123456789\r\n000;z\r\nA: b\r\nC:\r\n\r\n"]
        {
            check(format!("{body}GET / HTTP/1.1\r\n").as_bytes(), Ok(body.len()));
        }
    }

    #[test]
    fn a_line_that_is_not_complete_is_not_passed_on() {
        check(b"5\r\nhello\r\n3;abc", Ok(10));
        check(b"5\r\nhello\r\n0\r\nA: b", Ok(13));
    }

    #[test]
    fn a_size_is_hexadecimal_digits_and_nothing_else() {
        for line in ["", " 5", "+5", "-5", "0x5", "g", ";a", "1000000000000000"] {
            let refusal = if line == "0x5" { Refusal::BadChunkExtension } else { Refusal::BadChunkSize };
            check(format!("{line}\r\nhello\r\n0\r\n\r\n").as_bytes(), Err(refusal));
        }
    }

    #[test]
    fn an_extension_starts_with_a_semicolon_and_holds_no_control() {
        for line in ["5 ", "5 ;a", "5\t", "5;a\0b", "5;a\rb", "5,5", "5;\x7f"] {
            check(format!("{line}\r\nhello\r\n0\r\n\r\n").as_bytes(), Err(Refusal::BadChunkExtension));
        }
        check(b"5\nhello\r\n0\r\n\r\n", Err(Refusal::BadChunkExtension));
        check(b"5;a\nhello\r\n0\r\n\r\n", Err(Refusal::BadChunkExtension));
    }

    #[test]
    fn data_end_where_the_size_says() {
        for body in
            ["5\r\nhell\r\n0\r\n\r\n", "5\r\nhelloo\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n"]
        {
            check(body.as_bytes(), Err(Refusal::BadChunkEnd));
        }
    }

    #[test]
    fn a_trailer_neither_frames_nor_routes() {
        for name in
            ["Content-Length", "transfer-encoding", "Host", "Content_Length", "Transfer_Encoding", "Trailer"]
        {
            check(format!("0\r\n{name}: 5\r\n\r\n").as_bytes(), Err(Refusal::ForbiddenTrailer));
        }
    }

    #[test]
    fn a_trailer_is_a_field_line() {
        check(b"0\r\nGET / HTTP/1.1\r\n\r\n", Err(Refusal::BadFieldName));
        check(b"0\r\n a: b\r\n\r\n", Err(Refusal::BadFieldName));
        check(b"0\r\na : b\r\n\r\n", Err(Refusal::BadFieldName));
        check(b"0\r\na: b\n\r\n", Err(Refusal::BareLineEnd));
        check(b"0\r\na: \0\r\n\r\n", Err(Refusal::BadFieldValue));
    }

    #[test]
    fn lines_have_limits_whether_they_end_or_not() {
        let long = |len: usize, end: &str| format!("1;{}{end}", "x".repeat(len));
        assert_eq!(walk(long(MAX_CHUNK_LINE_BYTES, "").as_bytes(), 4096), Err(Refusal::LongChunkLine));
        assert_eq!(walk(long(MAX_CHUNK_LINE_BYTES, "\r\n").as_bytes(), 4096), Err(Refusal::LongChunkLine));
        assert_eq!(walk(long(MAX_CHUNK_LINE_BYTES - 4, "\r\n").as_bytes(), 4096), Ok(MAX_CHUNK_LINE_BYTES));
        let trailers = |lines: usize| format!("0\r\n{}", "a: b\r\n".repeat(lines));
        assert_eq!(walk(trailers(MAX_TRAILER_BYTES / 6 + 1).as_bytes(), 1000), Err(Refusal::LongTrailers));
        assert_eq!(
            walk(format!("0\r\n{}", "a".repeat(MAX_TRAILER_BYTES)).as_bytes(), 1000),
            Err(Refusal::LongTrailers)
        );
    }
}

//! Whether a response's head has white space before the colon of a field that frames it.
//!
//! RFC 9112 §5.1: a proxy removes such white space from a response before it forwards it, which hyper does when it is
//! told to. Recipients differ on whether `Content-Length : 5` is a length. So for the two fields that say where the
//! response ends, the white space stays an error.

/// A response's head, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Padding {
    at: At,
    /// The bytes of the current line so far, its end not counted.
    line: usize,
    /// The start of the status line or of the name, as much as matters.
    start: [u8; NAMED],
    is_interim: bool,
}

/// The reader's knowledge of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padded {
    /// It has not ended.
    Reading,
    /// It has ended, and no framing field has such white space.
    No,
    /// One has.
    Yes,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Status,
    Name,
    /// White space behind the name.
    Space {
        name: usize,
    },
    Value,
}

/// The longest name that matters: `transfer-encoding`.
const NAMED: usize = 17;
const FRAMING: [&[u8]; 2] = [b"content-length", b"transfer-encoding"];

impl Padding {
    /// Reads on; what comes behind the head's end is not looked at.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Padded {
        let mut rest = bytes;
        loop {
            rest = &rest[self.pass(rest)..];
            let Some((&byte, behind)) = rest.split_first() else { break };
            match self.step(byte) {
                Padded::Reading => rest = behind,
                end => return end,
            }
        }
        Padded::Reading
    }

    /// Reads the bytes that change nothing but the current line; how many there were.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        match self.at {
            // Of a value nothing matters but its end.
            At::Value => until(bytes, |byte| byte == b'\n'),
            At::Space { .. } => 0,
            At::Status => self.keep(&bytes[..until(bytes, |byte| matches!(byte, b'\r' | b'\n'))]),
            At::Name => {
                let ends = |byte| matches!(byte, b'\r' | b'\n' | b':' | b' ' | b'\t');
                self.keep(&bytes[..until(bytes, ends)])
            }
        }
    }

    fn step(&mut self, byte: u8) -> Padded {
        match (self.at, byte) {
            (_, b'\n') => return self.end_line(),
            (At::Name, b':') => self.at = At::Value,
            (At::Name, b' ' | b'\t') => self.at = At::Space { name: self.line },
            (At::Space { name }, b':') if self.is_framing(name) => return Padded::Yes,
            (At::Space { .. }, b':') => self.at = At::Value,
            // A CR, or a byte between a name and its colon: others were passed.
            _ => {}
        }
        Padded::Reading
    }

    fn keep(&mut self, bytes: &[u8]) -> usize {
        if let Some(places) = self.start.get_mut(self.line..) {
            places.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        }
        self.line += bytes.len();
        bytes.len()
    }

    fn is_framing(&self, name: usize) -> bool {
        self.start
            .get(..name)
            .is_some_and(|name| FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing)))
    }

    fn end_line(&mut self) -> Padded {
        let is_empty = self.line == 0;
        self.line = 0;
        self.at = match self.at {
            // hyper passes over empty lines before a status line.
            At::Status if is_empty => At::Status,
            At::Status => {
                // `HTTP/1.1 103 …`: another head follows (RFC 9110 §15.2). Behind a 101 there is none.
                self.is_interim = self.start[9] == b'1' && &self.start[9..12] != b"101";
                At::Name
            }
            At::Name if is_empty && !self.is_interim => return Padded::No,
            At::Name if is_empty => At::Status,
            _ => At::Name,
        };
        Padded::Reading
    }
}

/// The bytes before the first at which `ends` says so.
fn until(bytes: &[u8], ends: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| ends(byte)).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, expected: Padded) {
        for piece in [1, 7, head.len()] {
            let mut padding = Padding::default();
            let mut found = Padded::Reading;
            for bytes in head.as_bytes().chunks(piece) {
                if found == Padded::Reading {
                    found = padding.read(bytes);
                }
            }
            assert_eq!(found, expected, "{head:?} in pieces of {piece}");
        }
    }

    #[test]
    fn only_a_field_that_frames_the_response_may_not_have_space_before_its_colon() {
        use Padded::{No, Reading, Yes};
        for (fields, expected) in [
            ("\r\n", No),
            ("Content-Length: 5\r\n\r\n", No),
            ("Access-Control-Allow-Credentials : true\r\n\r\nContent-Length : 5\r\n\r\n", No),
            ("A:Content-Length : 5\r\n\r\n", No),
            ("Content-Length2 : 5\r\n\r\n", No),
            ("X-Transfer-Encoding : chunked\r\n\r\n", No),
            ("A: b\n\n", No),
            ("A: b\r\n", Reading),
            ("Content-Length : 5\r\n", Yes),
            ("a : b\r\ncontent-length\t:5\r\n", Yes),
            ("TRANSFER-ENCODING \t : chunked\r\n", Yes),
        ] {
            check(&format!("HTTP/1.1 200 OK\r\n{fields}"), expected);
            check(
                &format!("HTTP/1.1 103 Early Hints\r\nLink : x\r\n\r\nHTTP/1.1 200 OK\r\n{fields}"),
                expected,
            );
        }
        check("HTTP/1.1 100 \r\n\r\n", Reading);
        check("HTTP/1.1 101 \r\n\r\n", No);
        check("\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length : 5\r\n", Yes);
    }
}

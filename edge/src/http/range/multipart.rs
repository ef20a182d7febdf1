//! Several ranges in one answer: `multipart/byteranges` (RFC 9110 §14.6).

use http::HeaderValue;

use crate::http::range::{Part, value};

/// The body and the fields of a `multipart/byteranges` answer (RFC 9110 §14.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multipart {
    /// Before each part's bytes: its delimiter and head.
    pub pieces: Vec<Piece>,
    /// After the last part.
    pub end: Vec<u8>,
    boundary: String,
}

/// One part of a multipart answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Delimiter and head, to be written before the bytes.
    pub head: Vec<u8>,
    /// Which bytes.
    pub part: Part,
}

impl Multipart {
    /// The plan for `parts` of a representation with this `Content-Type`. `random` makes the delimiter: a new one for
    /// each answer, or content could be made to contain it.
    pub fn new(parts: &[Part], content_type: Option<&HeaderValue>, random: u128) -> Self {
        let boundary = format!("{random:032x}");
        let pieces = parts.iter().map(|part| piece(*part, content_type, &boundary)).collect();
        Self { pieces, end: format!("\r\n--{boundary}--\r\n").into_bytes(), boundary }
    }

    /// The answer's `Content-Type`.
    pub fn content_type(&self) -> HeaderValue {
        value(format!("multipart/byteranges; boundary={}", self.boundary))
    }

    /// The answer's `Content-Length` in bytes.
    pub fn length(&self) -> u64 {
        let pieces = self.pieces.iter().map(|piece| piece.head.len() as u64 + piece.part.length());
        pieces.sum::<u64>() + self.end.len() as u64
    }
}

fn piece(part: Part, content_type: Option<&HeaderValue>, boundary: &str) -> Piece {
    let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
    if let Some(content_type) = content_type {
        head.extend_from_slice(b"Content-Type: ");
        head.extend_from_slice(content_type.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"Content-Range: ");
    head.extend_from_slice(part.content_range().as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    Piece { head, part }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multipart_answer_is_as_long_as_it_says() {
        let parts = [
            Part { first: 0, last: 4, complete: Some(50) },
            Part { first: 10, last: 10, complete: Some(50) },
        ];
        let plan = Multipart::new(&parts, Some(&HeaderValue::from_static("text/plain")), 7);
        let mut body = Vec::new();
        for piece in &plan.pieces {
            body.extend_from_slice(&piece.head);
            body.extend(std::iter::repeat_n(b'x', piece.part.length() as usize));
        }
        body.extend_from_slice(&plan.end);
        let boundary = "00000000000000000000000000000007";
        let expected = format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-4/50\r\n\r\nxxxxx\
             \r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 10-10/50\r\n\r\nx\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        assert_eq!(plan.length(), expected.len() as u64);
    }
}

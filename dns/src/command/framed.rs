//! A message over TCP of a server that may be slow on purpose: a limit on each reading alone would never end.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::time::Instant;

use crate::clock;

/// One message, behind its length (RFC 1035 §4.2.2).
///
/// # Errors
/// [`ErrorKind::TimedOut`] or [`ErrorKind::WouldBlock`] if it has not come whole by the deadline.
pub(super) fn receive(stream: &TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let limit = || {
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { stream.set_read_timeout(Some(left)) }
    };
    let mut length = [0; 2];
    fill(stream, &mut length, limit)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    fill(stream, &mut message, limit)?;
    Ok(message)
}

/// Reads until it is full. `limit` comes before each reading, and may end it.
fn fill(mut from: impl Read, mut into: &mut [u8], limit: impl Fn() -> io::Result<()>) -> io::Result<()> {
    while !into.is_empty() {
        limit()?;
        match from.read(into) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => into = &mut into[read..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    /// A server that sends one byte at a time; how many it has sent.
    struct Slow(usize);

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            into[0] = 7;
            Ok(1)
        }
    }

    #[test]
    fn a_server_that_sends_a_byte_at_a_time_gets_no_more_time() {
        let (mut slow, left) = (Slow(0), Cell::new(3));
        let limit = || match left.get() {
            0 => Err(ErrorKind::TimedOut.into()),
            more => {
                left.set(more - 1);
                Ok(())
            }
        };
        let error = fill(&mut slow, &mut [0; 100], limit).unwrap_err();
        assert_eq!((error.kind(), slow.0), (ErrorKind::TimedOut, 3));
        let mut all = [0; 100];
        fill(Slow(0), &mut all, || Ok(())).unwrap();
        assert_eq!(all, [7; 100]);
    }

    #[test]
    fn a_message_comes_whole_and_not_behind_its_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut server = listener.accept().unwrap().0;
        server.write_all(b"\0\x03one\0\x03tw").unwrap();
        drop(server);
        let late = receive(&stream, clock::now()).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut, "though it is there");
        let deadline = clock::now() + Duration::from_secs(60);
        assert_eq!(receive(&stream, deadline).unwrap(), b"one");
        assert_eq!(receive(&stream, deadline).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}

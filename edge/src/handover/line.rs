//! The line between two processes: messages with their lengths, and descriptors beside them.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::cmsg_space;
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg, sockopt,
};

use super::message::Message;

/// The kernel passes 253 with one message (SCM_MAX_FD).
pub(super) const MAX_DESCRIPTORS: usize = 250;
/// A message names this many sockets at most, and each takes some hundred bytes.
const MAX_MESSAGE_BYTES: usize = 256 << 10;
/// A process that is stopped in the middle of a message must not hold the other for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
const LENGTH_BYTES: usize = 4;

/// One end.
#[derive(Debug)]
pub(super) struct Line(UnixStream);

/// A message as the other end reads it.
#[derive(Debug)]
pub(super) struct Written(Vec<u8>);

impl Written {
    /// None: it is longer than what the other end takes.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let text = serde_json::to_vec(message).expect("plain data is JSON");
        (text.len() <= MAX_MESSAGE_BYTES).then_some(Self(text))
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message is too long")
}

impl Line {
    /// Over this stream, whose other end must be of the same user.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        let other = sockopt::socket_peercred(&stream)?;
        if other.uid != rustix::process::geteuid() {
            let message = format!("user {} is at the other end", other.uid.as_raw());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Waits this long for the next message.
    pub(super) fn wait_for(&self, limit: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(limit))
    }

    /// Waits for the next message as long as the other end is open.
    pub(super) fn wait_for_ever(&self) -> io::Result<()> {
        self.0.set_read_timeout(None)
    }

    /// Sends a message, with descriptors beside it. Nothing is sent where it is too long.
    pub(super) fn send(&mut self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_written(&Written::of(message).ok_or_else(too_long)?, descriptors)
    }

    /// As [`Line::send`].
    pub(super) fn send_written(
        &mut self,
        Written(text): &Written,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let length = u32::try_from(text.len()).map_err(io::Error::other)?.to_be_bytes();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        // They go with the first bytes. A process that was stopped for a while is interrupted when it goes on (signal(7)).
        let first = [IoSlice::new(&length)];
        let sent = retry_on_intr(|| sendmsg(&self.0, &first, &mut beside, SendFlags::NOSIGNAL))?;
        self.0.write_all(&length[sent..])?;
        self.0.write_all(text)
    }

    /// The next message, and the descriptors beside it.
    pub(super) fn receive(&mut self) -> io::Result<(Message, Vec<OwnedFd>)> {
        let mut length = [0; LENGTH_BYTES];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut first = [IoSliceMut::new(&mut length)];
        let read = retry_on_intr(|| recvmsg(&self.0, &mut first, &mut beside, RecvFlags::CMSG_CLOEXEC))?;
        let mut descriptors = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                descriptors.extend(some);
            }
        }
        if read.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.read_exact(&mut length[read.bytes..])?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE_BYTES {
            return Err(too_long());
        }
        let mut text = vec![0; length];
        self.0.read_exact(&mut text)?;
        let message = serde_json::from_slice(&text);
        let message = message.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok((message, descriptors))
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (Line, Line) {
        let (one, two) = UnixStream::pair().unwrap();
        (Line::new(one).unwrap(), Line::new(two).unwrap())
    }

    #[test]
    fn a_message_brings_its_descriptors_and_those_are_the_same_sockets() {
        let (mut one, mut two) = pair();
        let sockets = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let descriptors: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        one.send(&Message::Left, &descriptors).unwrap();
        one.send(&Message::Ready { pid: 3 }, &[]).unwrap();
        let (message, passed) = two.receive().unwrap();
        assert_eq!(message, Message::Left);
        let addresses = passed.into_iter().map(|it| UdpSocket::from(it).local_addr().unwrap());
        assert!(addresses.eq(sockets.iter().map(|socket| socket.local_addr().unwrap())));
        let (message, passed) = two.receive().unwrap();
        assert_eq!((message, passed.len()), (Message::Ready { pid: 3 }, 0));
        drop(one);
        assert_eq!(two.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let check = |bytes: &[u8]| {
            let (one, mut two) = UnixStream::pair().unwrap();
            let mut one = Line::new(one).unwrap();
            two.write_all(bytes).unwrap();
            drop(two);
            assert!(one.receive().is_err(), "{bytes:?}");
        };
        check(b"");
        check(b"\0\0");
        check(b"\0\0\0\x02");
        check(b"\0\0\0\x02{}");
        check(b"\xff\xff\xff\xff");
        check(b"\0\0\0\x09\"unknown\"");
    }
}

//! Answers that are given in the gate: the server never hears of their requests.
//!
//! ```text
//! socket ─▶ plain head ─▶ Direct::answer ─┬─ All, Begun ─▶ socket
//!                                         └─ Nothing ─▶ the server, as ever
//! ```
//!
//! A request is answered here only between two requests: the server owes no answer and has written all that it gave.
//!
//! Invariant: what is on its way to the client from here goes out before the server reads or writes again.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::given::{Direct, Given, Needed, Outgoing};
use super::{End, Gate};

/// One read of requests. Bytes behind them are held.
const READ_BYTES: usize = 8 * 1024;
/// Answers that are gathered for one write.
const GATHERED_BYTES: usize = 64 * 1024;
thread_local! {
    /// Where answers are written before they are sent.
    static OUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<T, D: Direct> Gate<T, D> {
    /// Whether a request that comes now may be answered here.
    pub(super) fn is_between(&self) -> bool {
        self.direct.is_some()
            && self.end == End::Open
            && self.good == 0
            && self.interim.is_empty()
            && !self.framing.is_in_body()
            && !self.framing.is_unanswered()
            && self.has_had_all()
    }

    /// Answers the heads at the start of `bytes`: how many bytes they have, and whether the next one is not to be answered
    /// here, or not all there.
    fn answer_all(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let (framing, Some(direct)) = (&mut self.framing, &mut self.direct) else { return (0, true) };
        let mut taken = 0;
        while self.outgoing.is_none() && out.len() < GATHERED_BYTES {
            let rest = &bytes[taken..];
            if rest.is_empty() {
                return (taken, true);
            }
            let known = if framing.is_before_head() { direct.answer_known(rest, out) } else { None };
            let (len, given) = match known {
                Some(known) => known,
                None => {
                    let Some(head) = framing.plain(rest) else { return (taken, true) };
                    (head.bytes.len(), direct.answer(&head, out))
                }
            };
            match given {
                Given::Nothing => return (taken, true),
                Given::All => {}
                Given::Begun(rest) => self.outgoing = Some(Outgoing::new(rest)),
            }
            taken += len;
            framing.forget_head();
            self.has_answered = true;
            self.late.restart();
        }
        (taken, false)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, D: Direct> Gate<T, D> {
    /// Carries the connection without a server for as long as none is needed.
    ///
    /// # Errors
    /// When the connection fails, or an answer breaks off.
    pub async fn needed(&mut self) -> io::Result<Needed> {
        // Nothing was given to it that is not written.
        self.idle_since = Some(self.shared.begun());
        poll_fn(|cx| self.poll_needed(cx)).await
    }

    fn poll_needed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Needed>> {
        loop {
            ready!(self.poll_outgoing(cx))?;
            if self.end == End::Eof {
                return Poll::Ready(Ok(Needed::Close));
            }
            if !self.is_between() {
                return Poll::Ready(Ok(Needed::Server));
            }
            match self.poll_direct(cx) {
                Poll::Ready(read) => read?,
                Poll::Pending => ready!(self.poll_late(cx)),
            }
        }
    }

    /// Ends the connection, once what is on its way has been sent.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self).poll_shutdown(cx)).await
    }

    /// Reads on and answers what can be answered here. A request that cannot be is judged for the server, and held.
    pub(super) fn poll_direct(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.framing.has_read(self.held.len()) {
            let held = std::mem::take(&mut self.held);
            return Poll::Ready(self.answer_and_hold(cx, &held));
        }
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        if read.filled().is_empty() {
            self.end = self.ended();
            return Poll::Ready(Ok(()));
        }
        if self.held.is_empty() {
            return Poll::Ready(self.answer_and_hold(cx, read.filled()));
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(read.filled());
        Poll::Ready(self.answer_and_hold(cx, &held))
    }

    /// Answers the heads at the start of `bytes`, and holds what is behind them.
    fn answer_and_hold(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        let mut out = OUT.take();
        let (taken, is_servers) = self.answer_all(bytes, &mut out);
        self.held.extend_from_slice(&bytes[taken..]);
        let sent = self.send(cx, &out);
        out.clear();
        out.shrink_to(2 * GATHERED_BYTES);
        OUT.set(out);
        if is_servers && !self.held.is_empty() {
            self.judge_held();
        }
        sent
    }

    /// Sends answers, as far as the client takes them now. The rest waits.
    fn send(&mut self, cx: &mut Context<'_>, out: &[u8]) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        self.wait.note_write();
        self.unflushed = true;
        let io = Pin::new(&mut self.io);
        let Some(outgoing) = &mut self.outgoing else {
            let written = at_once(io.poll_write(cx, out))?;
            if written < out.len() {
                self.outgoing = Some(Outgoing::left(&out[written..]));
            }
            return Ok(());
        };
        if let Poll::Ready(end) = outgoing.poll_end(cx) {
            end?;
        }
        let written = at_once(outgoing.poll_write(io, cx, out))?;
        match written.checked_sub(out.len()) {
            Some(of_body) => outgoing.advance(of_body),
            None => outgoing.put_first(&out[written..]),
        }
        Ok(())
    }

    /// Ready when nothing is on its way from here any more.
    pub(super) fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(outgoing) = &mut self.outgoing {
            if ready!(outgoing.poll_end(cx))? {
                self.outgoing = None;
                break;
            }
            self.wait.note_write();
            self.unflushed = true;
            let written = ready!(outgoing.poll_write(Pin::new(&mut self.io), cx, &[]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            outgoing.advance(written);
        }
        if self.unflushed {
            // Nobody would write the rest: the client waits for it, and the gate for the client.
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// The bytes that went now; none if the client has to be waited for.
fn at_once(written: Poll<io::Result<usize>>) -> io::Result<usize> {
    match written {
        Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
        Poll::Ready(written) => written,
        Poll::Pending => Ok(0),
    }
}

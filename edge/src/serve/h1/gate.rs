//! A strict gate between a socket and hyper's HTTP/1.1 server.
//!
//! ```text
//! socket ─▶ held ─▶ framing ─▶ good bytes ─▶ hyper ─▶ service
//!              head, chunked │                          │ turn: refused? answered? switched?
//!                            └──── turns ◀──────────────┘
//! socket ◀── 1xx heads between two messages ◀── hyper ◀─┘
//! ```
//!
//! hyper 1.12 accepts heads and chunks that other servers read differently, and sends no 1xx. The gate passes
//! on only what can be read in one way. Any other head becomes a harmless request whose [`Turns::begin`] says
//! how to answer; any other body breaks off. Bytes are not copied unless a read cuts a message in two.
//!
//! The gate relies on habits of hyper 1.12 (`proto/h1/{io,conn,dispatch}.rs`) that hyper promises nowhere.
//! `tests/gate/flushing.rs` holds the first:
//! 1. It flushes only when it has written all that it was given. So what the gate sends at a flush, a 1xx head, stands
//!    between two messages and never inside one.
//! 2. It may have read the next request while bytes of an answer were blocked, and then never polls its service by
//!    itself; nor does it read again for the end of a client that waited for these bytes. So the gate wakes it.
//! 3. It flushes whenever it is woken. So the gate wakes it once for each such case: a wake for less would have no end.
//! 4. It reads on only when it has begun to write all that it was given. So an answer from here (`direct`) stands behind
//!    the server's, when nothing is owed.
//!
//! Invariant: the decisions are in `head`, `chunked`, `framing` and `interim`, which know no socket. A
//! connection holds no more here than [`MAX_HELD_BYTES`] and a read.

pub mod chunked;
mod direct;
pub mod framing;
mod given;
mod glimpse;
pub mod head;
pub mod interim;
mod late;
mod refusal;
mod text;
mod turn;
mod wait;
mod written;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::head::HeadLimits;
use crate::serve::linger::Linger;
use framing::{Framing, Stop};
use given::Outgoing;
pub use given::{Direct, Given, Needed, Never, Rest};
pub use head::Plain;
pub use late::Times;
use late::{Late, Stage};
pub use refusal::Refusal;
use turn::Shared;
pub use turn::{Interim, Sending, Sent, Turn, Turns};
use wait::{Found, Wait};

/// Bytes kept of a client that sends before it knows whether protocols switch; it waits when there are more.
pub const MAX_HELD_BYTES: usize = 16 * 1024;
/// One read behind a message that was cut in two. Most rests are short.
const READ_BYTES: usize = 4 * 1024;
/// The server reads this in place of a head that it must not read.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

/// A client's connection as the server may see it.
#[derive(Debug)]
pub struct Gate<T, D: Direct = Never> {
    io: T,
    shared: Arc<Shared>,
    framing: Framing,
    /// Read and not handed over.
    held: BytesMut,
    /// So many bytes at the start of `held` are good.
    good: usize,
    end: End,
    /// A 1xx head that is partly on the wire.
    interim: Bytes,
    /// The last request that had begun when the server had last written all it had, if it has written nothing since.
    idle_since: Option<u64>,
    /// The task that was last registered to be woken.
    waker: Option<Waker>,
    /// Whether a write did not take all since then.
    write_blocked: bool,
    /// Whether the stream still holds some of what was written.
    flush_blocked: bool,
    linger: Option<Linger>,
    /// For a client that sends no request.
    late: Late,
    /// For a client that has sent all it will.
    wait: Wait,
    /// Answers requests before the server sees them.
    direct: Option<D>,
    /// An answer from here that is on its way.
    outgoing: Option<Outgoing<D::Rest>>,
    /// Whether there was one.
    has_answered: bool,
    /// Whether the stream may hold back some of what was written from here, as TLS does where the socket is full.
    unflushed: bool,
}

/// Whether more is read from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is.
    Open,
    /// The client has sent all it will, and has not had all its answers: it waits, or has left. The server would take
    /// the end for its leaving, so it is not told before it owes nothing.
    Waiting,
    /// The client has sent all it will, and the server is told.
    Eof,
    /// Nothing behind a refused head is read.
    Refused,
    /// The server is told so when it has read what is good.
    Broken(Refusal),
}

impl<T> Gate<T> {
    /// For heads within these limits, which the server answers.
    pub fn new(io: T, limits: impl Into<HeadLimits>) -> Self {
        Self::open(io, limits)
    }
}

impl<T, D: Direct> Gate<T, D> {
    /// For heads within these limits, of which `direct` answers what it can.
    pub fn with_direct(io: T, limits: impl Into<HeadLimits>, direct: Option<D>) -> Self {
        Self { direct, ..Self::open(io, limits) }
    }

    fn open(io: T, limits: impl Into<HeadLimits>) -> Self {
        Self {
            io,
            shared: Arc::default(),
            framing: Framing::new(limits),
            held: BytesMut::new(),
            good: 0,
            end: End::Open,
            interim: Bytes::new(),
            idle_since: None,
            waker: None,
            write_blocked: false,
            flush_blocked: false,
            linger: None,
            late: Late::default(),
            wait: Wait::default(),
            direct: None,
            outgoing: None,
            has_answered: false,
            unflushed: false,
        }
    }

    /// The same, with limits on a client that sends no request.
    #[must_use]
    pub fn with_times(mut self, times: Times) -> Self {
        self.late = Late::new(times);
        self
    }

    /// The stream behind the gate.
    pub fn into_inner(self) -> T {
        self.io
    }

    /// For the connection's service.
    pub fn turns(&self) -> Turns {
        Turns(Arc::clone(&self.shared))
    }

    /// Hands over what is good; whether there was any.
    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let len = self.good.min(buf.remaining());
        buf.put_slice(&self.held[..len]);
        self.held.advance(len);
        self.good -= len;
        if self.held.is_empty() {
            // An idle connection holds no memory here.
            self.held = BytesMut::new();
        }
        len > 0
    }

    /// A task's waker stays the same, so this rarely locks.
    fn register(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
            self.shared.register(waker);
        }
    }

    /// Only what was flushed is sent.
    fn has_had_all(&self) -> bool {
        !self.shared.is_owed() && self.idle_since.is_some()
    }

    fn judge_held(&mut self) {
        let stop = self.judge_from_good();
        self.obey(stop);
    }

    fn judge_from_good(&mut self) -> Stop {
        let judged = self.framing.judge(&self.held[self.good..]);
        self.good += judged.good;
        self.shared.pass(judged.heads);
        judged.stop
    }

    /// Puts heads whose targets must be encoded in their places, and judges what follows. Each byte is moved once,
    /// however many such heads there are.
    fn encode(&mut self, len: usize) {
        let mut rest = self.held.split_off(self.good);
        let mut stop = Stop::Raw(len);
        while let Stop::Raw(len) = stop {
            self.held.extend_from_slice(&head::encoded(&rest[..len]));
            rest.advance(len);
            stop = self.judge_from_good();
            if stop == Stop::Starved {
                let judged = self.framing.judge(&rest);
                self.held.extend_from_slice(&rest[..judged.good]);
                rest.advance(judged.good);
                self.good += judged.good;
                self.shared.pass(judged.heads);
                stop = judged.stop;
            }
        }
        self.held.extend_from_slice(&rest);
        self.obey(stop);
    }

    /// Judges what was read into the server's own buffer behind `before`: the good stays there, the rest is held.
    fn judge_in_place(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let fresh = &buf.filled()[before..];
        let judged = self.framing.judge(fresh);
        self.held.extend_from_slice(&fresh[judged.good..]);
        buf.set_filled(before + judged.good);
        self.shared.pass(judged.heads);
        self.obey(judged.stop);
    }

    fn obey(&mut self, stop: Stop) {
        match stop {
            Stop::Starved => {}
            Stop::Unanswered => self.shared.expect_answer(),
            Stop::Raw(len) => self.encode(len),
            Stop::Head(refusal) => {
                self.shared.refuse(refusal, &self.held[self.good..]);
                self.held.truncate(self.good);
                self.held.extend_from_slice(STAND_IN);
                self.good = self.held.len();
                self.end = End::Refused;
            }
            Stop::Body(refusal) => {
                self.shared.break_off(refusal);
                self.held.truncate(self.good);
                self.end = End::Broken(refusal);
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, D: Direct> AsyncRead for Gate<T, D> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buf.filled().len();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(me.poll_outgoing(cx))?;
            if me.good > 0 && me.hand_over(buf) {
                return Poll::Ready(Ok(()));
            }
            match me.end {
                End::Open | End::Waiting | End::Eof if me.shared.is_tunnel() => {
                    return me.poll_tunnel(cx, buf);
                }
                End::Open => match me.poll_open(cx, buf) {
                    Poll::Ready(read) => read?,
                    Poll::Pending => ready!(me.poll_late(cx)),
                },
                End::Waiting => ready!(me.poll_waiting(cx))?,
                End::Eof => return Poll::Ready(Ok(())),
                // The server closes when it has answered; an end that it saw before would keep it from answering.
                End::Refused => return Poll::Pending,
                End::Broken(refusal) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, refusal)));
                }
            }
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, D: Direct> Gate<T, D> {
    fn poll_open(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_between() {
            self.poll_direct(cx)
        } else if self.framing.is_unanswered() {
            self.poll_unanswered(cx)
        } else if self.held.is_empty() {
            self.poll_in_place(cx, buf)
        } else {
            ready!(self.poll_held(cx))?;
            self.judge_held();
            Poll::Ready(Ok(()))
        }
    }

    /// Ready when the client has taken too long for a request: for one that it has begun it is told so.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stage = self.stage();
        match ready!(self.late.poll(stage, cx)) {
            Stage::Head => self.obey(Stop::Head(Refusal::SlowHead)),
            Stage::First | Stage::Idle => self.end = End::Eof,
        }
        Poll::Ready(())
    }

    /// Which part of a request the client is waited for, if it is.
    fn stage(&self) -> Option<Stage> {
        let is_new = self.shared.begun() == 0 && !self.has_answered;
        let is_awaited =
            !self.framing.is_in_body() && !self.framing.is_unanswered() && !self.shared.is_owed();
        let stage = match (self.held.is_empty(), is_new) {
            (false, _) => Stage::Head,
            (true, true) => Stage::First,
            (true, false) => Stage::Idle,
        };
        (is_awaited && (is_new || self.has_had_all())).then_some(stage)
    }

    fn poll_in_place(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if buf.filled().len() == before {
            self.end = self.ended();
        } else {
            self.judge_in_place(buf, before);
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps the bytes that a client sends before it knows whether protocols switch; still sees it leave.
    fn poll_unanswered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_answered_now(cx) {
            return Poll::Ready(Ok(()));
        }
        if self.held.len() >= MAX_HELD_BYTES {
            return Poll::Pending;
        }
        self.poll_held(cx)
    }

    /// Whether what follows is known now, for which the answer was needed; if not, it wakes when it is.
    fn is_answered_now(&mut self, cx: &mut Context<'_>) -> bool {
        self.register(cx.waker());
        let is_answered = self.shared.is_answered();
        if is_answered && !self.shared.is_tunnel() {
            self.framing.resume();
            self.judge_held();
        }
        is_answered
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [std::mem::MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        if read.filled().is_empty() {
            self.end = self.ended();
        }
        self.held.extend_from_slice(read.filled());
        Poll::Ready(Ok(()))
    }

    /// The client has sent all it will. It may still read, as `nc -N` does and TCP lets it. A head that it has begun is
    /// no request; a body has broken off.
    fn ended(&self) -> End {
        if self.framing.is_in_body() || self.has_had_all() { End::Eof } else { End::Waiting }
    }

    /// Ready when the client has gone, or has had all its answers, or when what it sent last is known to be requests.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.framing.is_unanswered() && self.is_answered_now(cx) {
            if self.end == End::Waiting {
                self.end = self.ended();
            }
            return Poll::Ready(Ok(()));
        }
        if self.has_had_all() {
            self.end = End::Eof;
            return Poll::Ready(Ok(()));
        }
        loop {
            if self.shared.is_live() {
                // The reader of such a stream never ends its own side first, unless it leaves.
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            ready!(self.wait.poll_look(cx));
            if self.wait.look(self.shared.is_awaited() || self.is_silent()) == Found::Silence {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            // Nothing more can be read, so a reset shows in writing only; writing nothing shows it as well.
            if let Poll::Ready(Err(gone)) = Pin::new(&mut self.io).poll_write(cx, &[]) {
                return Poll::Ready(Err(gone));
            }
        }
    }

    /// Whether all is sent that there is of an answer which may have no end: a client that has left would not be found out by
    /// what is written before the origin says something.
    fn is_silent(&self) -> bool {
        self.shared.is_open_ended() && self.idle_since.is_some() && !self.flush_blocked
    }

    fn poll_tunnel(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.good = self.held.len();
        if self.good > 0 && self.hand_over(buf) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

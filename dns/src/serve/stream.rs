//! A stream of messages (RFC 7766, RFC 9210), on TCP or inside TLS: pipelined, with a deadline for every wait.
//!
//! Answers are made at once and leave in the order of their questions; nothing waits for anything, so there is no
//! other order to prefer. Questions that arrived together are answered together, in one write.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::connection::{Peer, SMALL_BYTES, Shared};
use super::memory::{Claim, Full, STEP_BYTES, What};
use super::responder::Answered;
use super::table::Place;
use super::transfer;
use crate::clock;
use crate::ended::Ended;

/// The two bytes before each message (RFC 1035 §4.2.2).
const LENGTH_BYTES: usize = 2;
/// The buffer that an idle connection keeps to read into; a longer message makes room for itself.
const READ_BYTES: usize = 1024;
/// Answers are sent when this much is ready, however many questions are still waiting.
const WRITE_BYTES: usize = 16 * 1024;

/// Answers the messages of a stream until it ends.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    peer: &Peer,
    place: &Place,
    shared: &Shared,
) -> Ended {
    let bytes = Vec::with_capacity(READ_BYTES);
    let mut incoming = Incoming { bytes, room: Claim::default(), is_new: true };
    let mut outgoing = Outgoing::default();
    let mut answer = Vec::new();
    loop {
        if let Err(ended) = read_message(stream, &mut incoming, place, shared).await {
            return ended;
        }
        place.active(clock::now());
        let mut taken = 0;
        while let Some(message) = first_message(&incoming.bytes[taken..]) {
            taken += LENGTH_BYTES + message.len();
            if let Some(transfer) = shared.transfer(message, peer) {
                // Earlier questions are answered first: their answers are ready.
                let sent = match outgoing.write(stream, shared.config.write_timeout).await {
                    Ok(()) => transfer::send(stream, transfer, peer.address, (place, shared)).await,
                    Err(slow) => Err(slow),
                };
                match sent {
                    Ok(()) => continue,
                    Err(ended) => return ended,
                }
            }
            let ended = match shared.answer_when_done(message, peer, &mut answer).await {
                Some(Answered::From(_)) => outgoing.append(&answer, place).err().map(|Full| Ended::Crowded),
                // There is no telling where the next message would begin if this one was none.
                Some(Answered::Not) => Some(Ended::Garbage),
                None => Some(Ended::Draining),
            };
            if ended.is_some() || answer.len() > SMALL_BYTES {
                // A long one waits once, not twice, and only where it has room.
                answer = Vec::new();
            }
            if (ended.is_some() || outgoing.bytes.len() >= WRITE_BYTES)
                && let Err(slow) = outgoing.write(stream, shared.config.write_timeout).await
            {
                // Earlier questions are answered all the same; if that fails, too, it ends no later.
                return ended.unwrap_or(slow);
            }
            if let Some(ended) = ended {
                return ended;
            }
        }
        incoming.forget(taken);
        if let Err(ended) = outgoing.write(stream, shared.config.write_timeout).await {
            return ended;
        }
        outgoing.bytes.shrink_to(READ_BYTES);
        answer.clear();
        answer.shrink_to(READ_BYTES);
        // Others are next: who has many questions waiting would else be answered for as long as its buffers last.
        tokio::task::yield_now().await;
    }
}

/// Bytes that arrived and are not answered. They keep their room, even while the client takes no answers.
struct Incoming {
    bytes: Vec<u8>,
    /// The room that `bytes` holds, if that is more than a small message.
    room: Claim,
    /// Nothing was asked yet.
    is_new: bool,
}

/// Answers that wait for the client.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// Of the long ones.
    room: Vec<Claim>,
}

impl Incoming {
    /// Makes place for more of the first message, a step at a time: its length may be all that ever comes of it.
    fn make_place(&mut self, place: &Place) -> Result<(), Full> {
        let len = self.bytes.len();
        if len < self.bytes.capacity() {
            return Ok(());
        }
        let capacity = wanted(&self.bytes).min(len + STEP_BYTES);
        if capacity > SMALL_BYTES {
            place.allowance.cover(&mut self.room, What::Question, capacity)?;
        }
        self.bytes.reserve_exact(capacity.saturating_sub(len));
        Ok(())
    }

    /// The first bytes were answered. The rest is the beginning of a message, and small: it came with the
    /// end of another, for which there was place.
    fn forget(&mut self, bytes: usize) {
        self.bytes.drain(..bytes);
        self.bytes.shrink_to(READ_BYTES);
        self.room = Claim::default();
        self.is_new = false;
    }
}

/// Waits until `incoming` holds a whole message.
async fn read_message<S: AsyncRead + Unpin>(
    stream: &mut S,
    incoming: &mut Incoming,
    place: &Place,
    shared: &Shared,
) -> Result<(), Ended> {
    if incoming.bytes.is_empty() {
        tokio::select! {
            biased;
            first = timeout(shared.idle_timeout(), stream.read_buf(&mut incoming.bytes)) => match first {
                Ok(Ok(bytes)) if bytes > 0 => {}
                Ok(_) => return Err(Ended::Closed),
                Err(_) => return Err(Ended::Idle),
            },
            () = shared.leave(&shared.drain, incoming.is_new) => return Err(Ended::Draining),
        }
    }
    let whole = async {
        while first_message(&incoming.bytes).is_none() {
            incoming.make_place(place).map_err(|Full| Ended::Crowded)?;
            if stream.read_buf(&mut incoming.bytes).await.unwrap_or(0) == 0 {
                return Err(Ended::Closed);
            }
        }
        Ok(())
    };
    timeout(shared.config.message_timeout, whole).await.unwrap_or(Err(Ended::SlowMessage))
}

/// Bytes of the first message in `incoming`, its length included.
fn wanted(incoming: &[u8]) -> usize {
    match incoming {
        [high, low, ..] => LENGTH_BYTES + usize::from(u16::from_be_bytes([*high, *low])),
        _ => LENGTH_BYTES,
    }
}

/// The first message in `incoming`, without its length, if it is there as a whole.
fn first_message(incoming: &[u8]) -> Option<&[u8]> {
    (incoming.len() >= LENGTH_BYTES).then(|| incoming.get(LENGTH_BYTES..wanted(incoming)))?
}

impl Outgoing {
    /// Adds an answer, if there is room for it.
    fn append(&mut self, answer: &[u8], place: &Place) -> Result<(), Full> {
        let bytes = LENGTH_BYTES + answer.len();
        if answer.len() > SMALL_BYTES {
            self.room.push(place.allowance.claim(What::Answer, bytes)?);
        }
        let needed = self.bytes.len() + bytes;
        if needed > self.bytes.capacity() {
            // Small ones together grow to what is written at once and no further, a long one has what it claimed.
            let ahead = (2 * self.bytes.capacity()).min(WRITE_BYTES);
            self.bytes.reserve_exact(needed.max(ahead) - self.bytes.len());
        }
        let length = u16::try_from(answer.len()).expect("an answer over TCP has at most 65,535 bytes");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(answer);
        Ok(())
    }

    /// Flushed, too: TLS keeps records back otherwise.
    async fn write<S: AsyncWrite + Unpin>(&mut self, stream: &mut S, limit: Duration) -> Result<(), Ended> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let all = async {
            stream.write_all(&self.bytes).await?;
            stream.flush().await
        };
        let written = timeout(limit, all).await;
        self.bytes.clear();
        // Before its room goes: what comes next may wait as long.
        self.bytes.shrink_to(WRITE_BYTES);
        self.room = Vec::new();
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Closed),
            Err(_) => Err(Ended::SlowReader),
        }
    }
}

#[cfg(test)]
mod tests;

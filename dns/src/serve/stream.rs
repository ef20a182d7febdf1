//! A stream of messages (RFC 7766, RFC 9210), on TCP or inside TLS: pipelined, with a deadline for every wait.
//!
//! Answers are made at once and leave in the order of their questions; nothing waits for anything, so there is no
//! other order to prefer. What has arrived together is answered together, in one write.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::accept::{Ended, SMALL_OCTETS, Shared};
use super::clock;
use super::desk::Answered;
use super::guests::Guest;

/// The two octets before each message (RFC 1035 §4.2.2).
const LENGTH_OCTETS: usize = 2;
/// What an idle connection keeps to read into; a longer message makes room for itself.
const READ_OCTETS: usize = 1024;
/// Answers are sent when this much is ready, however many questions are still waiting.
const WRITE_OCTETS: usize = 16 * 1024;

/// Answers the messages of a stream until it ends.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    peer: SocketAddr,
    guest: &Guest,
    shared: &Shared,
) -> Ended {
    let mut incoming = Vec::with_capacity(READ_OCTETS);
    let mut outgoing = Vec::new();
    let mut answer = Vec::new();
    loop {
        if let Err(ended) = read_message(stream, &mut incoming, guest, shared).await {
            return ended;
        }
        guest.active(clock::now());
        let (mut taken, mut room) = (0, Vec::new());
        while let Some(message) = first_message(&incoming[taken..]) {
            taken += LENGTH_OCTETS + message.len();
            match shared.answer(message, peer, &mut answer) {
                Answered::From(_) => {
                    append(&answer, &mut outgoing);
                    if answer.len() > SMALL_OCTETS {
                        // A long one waits once, not twice, and has its room for as long as it does.
                        match guest.claim(answer.len()) {
                            Some(claimed) => room.push(claimed),
                            None => return Ended::Crowded,
                        }
                        answer = Vec::new();
                    }
                }
                // There is no telling where the next message would begin if this one was none.
                Answered::Not => {
                    // What was asked before it is answered all the same; if that fails, too, it ends no later.
                    let _ = write(stream, &mut outgoing, shared.config.write_timeout).await;
                    return Ended::Garbage;
                }
            }
            if outgoing.len() >= WRITE_OCTETS {
                if let Err(ended) = write(stream, &mut outgoing, shared.config.write_timeout).await {
                    return ended;
                }
                room.clear();
            }
        }
        incoming.drain(..taken);
        incoming.shrink_to(READ_OCTETS);
        if let Err(ended) = write(stream, &mut outgoing, shared.config.write_timeout).await {
            return ended;
        }
        outgoing.shrink_to(READ_OCTETS);
        answer.clear();
        answer.shrink_to(READ_OCTETS);
        // Others are next: who has many questions waiting would else be answered for as long as its buffers last.
        tokio::task::yield_now().await;
    }
}

/// Waits until `incoming` holds a whole message.
async fn read_message<S: AsyncRead + Unpin>(
    stream: &mut S,
    incoming: &mut Vec<u8>,
    guest: &Guest,
    shared: &Shared,
) -> Result<(), Ended> {
    if incoming.is_empty() {
        tokio::select! {
            biased;
            first = timeout(shared.idle_timeout(), stream.read_buf(incoming)) => match first {
                Ok(Ok(octets)) if octets > 0 => {}
                Ok(_) => return Err(Ended::Closed),
                Err(_) => return Err(Ended::Idle),
            },
            () = shared.drain.cancelled() => return Err(Ended::Draining),
        }
    }
    let whole = async {
        let mut room = None;
        while first_message(incoming).is_none() {
            if wanted(incoming) > SMALL_OCTETS && room.is_none() {
                room = Some(guest.claim(wanted(incoming)).ok_or(Ended::Crowded)?);
            }
            incoming.reserve(wanted(incoming).saturating_sub(incoming.len()).max(LENGTH_OCTETS));
            if stream.read_buf(incoming).await.unwrap_or(0) == 0 {
                return Err(Ended::Closed);
            }
        }
        Ok(())
    };
    timeout(shared.config.message_timeout, whole).await.unwrap_or(Err(Ended::SlowMessage))
}

/// Octets of the first message in `incoming`, its length included.
fn wanted(incoming: &[u8]) -> usize {
    match incoming {
        [high, low, ..] => LENGTH_OCTETS + usize::from(u16::from_be_bytes([*high, *low])),
        _ => LENGTH_OCTETS,
    }
}

/// The first message in `incoming`, without its length, if it is there as a whole.
fn first_message(incoming: &[u8]) -> Option<&[u8]> {
    (incoming.len() >= LENGTH_OCTETS).then(|| incoming.get(LENGTH_OCTETS..wanted(incoming)))?
}

fn append(answer: &[u8], outgoing: &mut Vec<u8>) {
    if answer.len() > SMALL_OCTETS {
        // No more than it has room for.
        outgoing.reserve_exact(LENGTH_OCTETS + answer.len());
    }
    let length = u16::try_from(answer.len()).expect("an answer over TCP has at most 65,535 octets");
    outgoing.extend_from_slice(&length.to_be_bytes());
    outgoing.extend_from_slice(answer);
}

/// Flushed, too: TLS keeps records back otherwise.
async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    outgoing: &mut Vec<u8>,
    limit: Duration,
) -> Result<(), Ended> {
    if outgoing.is_empty() {
        return Ok(());
    }
    let all = async {
        stream.write_all(outgoing).await?;
        stream.flush().await
    };
    let written = timeout(limit, all).await;
    outgoing.clear();
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ended::Closed),
        Err(_) => Err(Ended::SlowReader),
    }
}

#[cfg(test)]
mod tests;

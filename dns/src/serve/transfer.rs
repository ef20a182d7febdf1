//! Transfers on a stream, TCP, TLS (RFC 9103) or QUIC (RFC 9250): message after message, each as the client takes it.
//!
//! Few run at once, and none for ever, so that questions keep their share of the machine: after each message others are next.

pub(super) mod slots;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::connection::Shared;
use super::table::Place;
use crate::clock;
use crate::ended::Ended;
use crate::metrics::Taken;
use crate::wire::{About, Next, Transfer};

/// A client that needs longer takes too little at a time.
const LIMIT: Duration = Duration::from_secs(3600);

/// Sends a zone; the connection may go on if all of it was sent.
pub(super) async fn send<S: AsyncWrite + Unpin>(
    stream: &mut S,
    mut transfer: Transfer,
    peer: SocketAddr,
    (place, shared): (&Place, &Shared),
) -> Result<(), Ended> {
    let mut message = Vec::new();
    let Some(_slot) = shared.slots.take(transfer.about.view) else {
        tracing::warn!(zone = %transfer.about.apex, %peer, "too many transfers at once; this one is to come again");
        shared.taken(transfer.about.view, Taken::Busy);
        transfer.busy(clock::moment().unix_seconds, &mut message);
        return write(stream, &message, shared).await;
    };
    let about = transfer.about.clone();
    let started = clock::now();
    let mut sent = Sent::default();
    let all = sent.all(stream, &mut transfer, (place, shared));
    let done = timeout(LIMIT, all).await.unwrap_or(Err(Ended::SlowReader));
    let taken = if done.is_ok() { about.kind.into() } else { Taken::BrokenOff };
    shared.taken(about.view, taken);
    sent.tell(&about, peer, done, clock::now() - started);
    done
}

/// How much of a zone has been sent.
#[derive(Default)]
struct Sent {
    messages: u64,
    bytes: usize,
}

impl Sent {
    async fn all<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        transfer: &mut Transfer,
        (place, shared): (&Place, &Shared),
    ) -> Result<(), Ended> {
        let mut message = Vec::new();
        loop {
            if shared.is_to_close() {
                transfer.tell_to_close();
            }
            let next = transfer.next(clock::moment().unix_seconds, &mut message);
            match next {
                Next::More | Next::Done => {}
                Next::TooLong => {
                    tracing::error!(zone = %transfer.about.apex, "a record is too long for any message; the transfer is broken off");
                    return Err(Ended::Closed);
                }
                Next::Stopped => {
                    shared.stopped();
                    tracing::error!(
                        zone = %transfer.about.apex,
                        "the egress guard stopped a hidden address in a transfer; please report this as a bug of verge-dns"
                    );
                    return Err(Ended::Closed);
                }
            }
            write(stream, &message, shared).await?;
            (self.messages, self.bytes) = (self.messages + 1, self.bytes + message.len());
            place.active(clock::now());
            if next == Next::Done {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    fn tell(&self, about: &About, peer: SocketAddr, done: Result<(), Ended>, took: Duration) {
        let Self { messages, bytes } = self;
        let key = about.key.as_ref().map(|key| tracing::field::display(key.name.clone()));
        let (zone, view, serial, kind) =
            (&about.apex, about.view.as_str(), about.serial, about.kind.as_str());
        match done {
            Ok(()) => {
                tracing::info!(%zone, view, serial, kind, %peer, key, messages, bytes, ?took, "transferred");
            }
            Err(ended) => {
                let ended = ended.as_str();
                tracing::warn!(%zone, view, serial, kind, %peer, key, messages, bytes, ?took, ended, "a transfer was broken off");
            }
        }
    }
}

/// A message behind its length (RFC 1035 §4.2.2), if the client takes it in time.
async fn write<S: AsyncWrite + Unpin>(stream: &mut S, message: &[u8], shared: &Shared) -> Result<(), Ended> {
    let bytes = u16::try_from(message.len()).expect("a message has at most 65,535 bytes");
    let framed = [&bytes.to_be_bytes()[..], message].concat();
    let written = timeout(shared.config.write_timeout, async {
        stream.write_all(&framed).await?;
        stream.flush().await
    });
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ended::Closed),
        Err(_) => Err(Ended::SlowReader),
    }
}

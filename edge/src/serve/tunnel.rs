//! The tunnel behind a 101: bytes both ways, read by nobody (RFC 9110 §7.8).
//!
//! Invariant: a tunnel begins only behind an origin's 101 that agrees to what the client asked for. The origin's connection
//! serves nothing else afterwards, nor does the client's connection, or stream of one: they end with it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::permits::Permit;
use crate::clock::Clock;
use crate::metrics::{Metrics, UnderWay};

/// The origin's side of a tunnel, and what it may cost.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) origin: OnUpgrade,
    /// It ends when no byte has passed in either direction for this long.
    pub(super) idle_timeout: Duration,
    /// For the log.
    pub(super) uri: String,
    /// One of those that there may be.
    pub(super) permit: Permit,
    pub(super) under_way: UnderWay,
}

/// Where a connection's service leaves a tunnel for its connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Handover(Arc<Mutex<Option<Tunnel>>>);

impl Handover {
    pub(super) fn leave(&self, tunnel: Option<Tunnel>) {
        if tunnel.is_some() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tunnel;
        }
    }

    pub(super) fn take(&self) -> Option<Tunnel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Why a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Both sides have sent all they will.
    Closed,
    /// One side went away.
    Broken,
    /// Nothing passed for too long.
    Idle,
    /// The program stops.
    Drained,
}

impl Ended {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::Drained => "drained",
        }
    }
}

/// Bytes that have passed.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) to_origin: AtomicU64,
    pub(super) to_client: AtomicU64,
}

impl Passed {
    /// To the origin, and to the client.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.to_origin.load(Ordering::Relaxed), self.to_client.load(Ordering::Relaxed))
    }

    fn sum(&self) -> u64 {
        self.to_origin.load(Ordering::Relaxed) + self.to_client.load(Ordering::Relaxed)
    }
}

/// Carries bytes both ways until the tunnel ends. `early` is what the client sent behind its request and was read.
pub(super) async fn carry<C>(
    client: C,
    early: Bytes,
    tunnel: Tunnel,
    clock: &Clock,
    metrics: &Metrics,
    aborted: &CancellationToken,
) -> Ended
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let Tunnel { origin, idle_timeout, uri, permit, under_way } = tunnel;
    let _held = (permit, under_way);
    let mut told = Told {
        uri,
        passed: Passed::default(),
        begun: clock.monotonic(),
        ended: None,
        clock,
        metrics,
        aborted,
    };
    let ended = match origin.await {
        Err(_) => Ended::Broken,
        Ok(origin) => tokio::select! {
            ended = both_ways(client, early, TokioIo::new(origin), &told.passed) => match ended {
                Ok(()) => Ended::Closed,
                Err(_) => Ended::Broken,
            },
            () = idle(clock, idle_timeout, &told.passed) => Ended::Idle,
            () = aborted.cancelled() => Ended::Drained,
        },
    };
    told.ended = Some(ended);
    ended
}

/// Counts a tunnel and tells the log of it when it has ended, and also where its connection ends under it: a stream of
/// HTTP/2 or HTTP/3 is dropped with its connection.
struct Told<'a> {
    uri: String,
    passed: Passed,
    begun: Instant,
    ended: Option<Ended>,
    clock: &'a Clock,
    metrics: &'a Metrics,
    aborted: &'a CancellationToken,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let under_it = if self.aborted.is_cancelled() { Ended::Drained } else { Ended::Broken };
        let ended = self.ended.unwrap_or(under_it).as_str();
        let (to_origin, to_client) = self.passed.counts();
        self.metrics.tunnel_ended(ended, to_client, to_origin);
        let secs = self.clock.monotonic().saturating_duration_since(self.begun).as_secs();
        tracing::info!(target: "verge_edge::tunnel", uri = self.uri, ended, to_origin, to_client, secs);
    }
}

pub(super) async fn both_ways(
    client: impl AsyncRead + AsyncWrite + Unpin,
    early: Bytes,
    origin: impl AsyncRead + AsyncWrite + Unpin,
    passed: &Passed,
) -> io::Result<()> {
    let (from_client, to_client) = split(client);
    let (from_origin, mut to_origin) = split(origin);
    let up = async {
        to_origin.write_all(&early).await?;
        passed.to_origin.fetch_add(early.len() as u64, Ordering::Relaxed);
        pump(from_client, to_origin, &passed.to_origin).await
    };
    let down = pump(from_origin, to_client, &passed.to_client);
    tokio::try_join!(up, down)?;
    Ok(())
}

/// A side that has sent all it will may still read: its end is passed on, and the other direction lives on.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    passed: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer).await? {
            0 => return to.shutdown().await,
            count => {
                to.write_all(&buffer[..count]).await?;
                to.flush().await?;
                passed.fetch_add(count as u64, Ordering::Relaxed);
            }
        }
    }
}

/// Two of these are what a tunnel holds beside the sockets.
const BUFFER_BYTES: usize = 16 << 10;

/// Ready when nothing has passed for this long, to a [`LOOKS`]th.
pub(super) async fn idle(clock: &Clock, limit: Duration, passed: &Passed) {
    let (mut seen, mut quiet) = (passed.sum(), 0);
    while quiet < LOOKS {
        clock.timer(limit / LOOKS).await;
        let sum = passed.sum();
        quiet = if sum == seen { quiet + 1 } else { 0 };
        seen = sum;
    }
}

const LOOKS: u32 = 4;

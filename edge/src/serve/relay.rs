//! Layer 4: a connection is passed on to an origin, whatever it carries. Of TLS the edge reads the name that the client asks
//! for, and ends nothing.
//!
//! ```text
//! accept ─▶ (PROXY header) ─▶ (ClientHello) ─▶ which stream ─▶ an origin ─▶ bytes both ways ─▶ log, metrics
//! ```
//!
//! Invariant: nothing is sent to an origin before its connection is up, so another one may be tried. Nothing that came from
//! the client is lost or changed.

mod hello;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::{introduction, rest};
use super::proxied::{self, Ends};
use super::tunnel::{Ended, Passed, both_ways, idle};
use crate::clock::Clock;
use crate::metrics::{Metrics, StreamMetrics};
use crate::origin::Origins;
use crate::site::relay::Relay;
use hello::Hello;

/// The streams of one listener.
#[derive(Debug)]
pub(crate) struct Relays {
    streams: Vec<Stream>,
    clock: Clock,
    running: Running,
}

/// The end of all relays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running {
    closed: CancellationToken,
    aborted: CancellationToken,
    connections: TaskTracker,
}

#[derive(Debug)]
struct Stream {
    relay: Relay,
    origins: Origins,
    places: Arc<Semaphore>,
    metrics: StreamMetrics,
}

/// A client says at once what it wants, in a protocol in which it speaks first.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// A ClientHello with keys of several post-quantum groups has some KiB.
const MOST_HELLO_BYTES: usize = 64 << 10;

impl Running {
    /// Ends it: no more are accepted, and those that are open may end within this time.
    pub(crate) async fn drain(self, limit: Duration) {
        self.closed.cancel();
        self.connections.close();
        if timeout(limit, self.connections.wait()).await.is_err() {
            self.aborted.cancel();
            self.connections.wait().await;
        }
    }
}

impl Relays {
    /// For one listener.
    pub(crate) fn new(relays: Vec<Relay>, clock: &Clock, metrics: &Metrics, running: &Running) -> Self {
        let stream = |relay: Relay| Stream {
            origins: Origins::of_stream(&relay, clock, metrics),
            places: Arc::new(Semaphore::new(relay.most.min(Semaphore::MAX_PERMITS))),
            metrics: metrics.stream(&relay.name),
            relay,
        };
        let streams = relays.into_iter().map(stream).collect();
        Self { streams, clock: clock.clone(), running: running.clone() }
    }

    /// Accepts until it is drained.
    pub(crate) async fn accept(self, listener: TcpListener) {
        let relays = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = relays.running.closed.cancelled() => return,
            };
            match accepted {
                Ok((client, from)) => {
                    let carried = Arc::clone(&relays);
                    relays.running.connections.spawn(async move { carried.carry(client, from).await });
                }
                Err(error) => rest(&error).await,
            }
        }
    }

    async fn carry(&self, mut client: TcpStream, from: SocketAddr) {
        let _ = client.set_nodelay(true);
        let local = client.local_addr().unwrap_or(from);
        let introduces = |relay: &Relay| relay.introducers.iter().any(|network| network.contains(&from.ip()));
        let mut ends = Ends { client: from, local };
        if self.streams.iter().any(|stream| introduces(&stream.relay)) {
            match timeout(HELLO_LIMIT, introduction(&mut client)).await {
                Ok(Ok(told)) => ends = told.unwrap_or(ends),
                Ok(Err(_)) | Err(_) => return self.refuse(None, &ends, "not-introduced"),
            }
        }
        let (hello, early) = self.hello(&mut client).await;
        let name = match &hello {
            Hello::Tls(name) => name.as_deref(),
            Hello::Partial | Hello::NotTls => None,
        };
        let Some(stream) = self.find(name) else { return self.refuse(None, &ends, "no-stream") };
        let Ok(_place) = Arc::clone(&stream.places).try_acquire_owned() else {
            return self.refuse(Some(stream), &ends, "limit");
        };
        let connected = tokio::select! {
            connected = stream.origins.connect(ends.client.ip()) => connected,
            () = self.running.aborted.cancelled() => return,
        };
        let (mut origin, whose, _in_flight) = match connected {
            Ok(connected) => connected,
            Err(error) => return self.refuse(Some(stream), &ends, error.as_str()),
        };
        let introduced = match stream.relay.introduces {
            true => origin.write_all(&proxied::header(&ends)).await,
            false => Ok(()),
        };
        let _open = stream.metrics.open();
        let (begun, passed) = (self.clock.monotonic(), Passed::default());
        let ended = match introduced {
            Err(_) => Ended::Broken,
            Ok(()) => tokio::select! {
                ended = both_ways(client, early, origin, &passed) => match ended {
                    Ok(()) => Ended::Closed,
                    Err(_) => Ended::Broken,
                },
                () = idle(&self.clock, stream.relay.idle, &passed) => Ended::Idle,
                () = self.running.aborted.cancelled() => Ended::Drained,
            },
        };
        let (to_origin, to_client) = passed.counts();
        stream.metrics.ended(ended.as_str(), to_client, to_origin);
        let (client, ended) = (ends.client.ip(), ended.as_str());
        let secs = self.clock.monotonic().saturating_duration_since(begun).as_secs();
        tracing::info!(
            target: "verge_edge::stream",
            %client, stream = stream.relay.name, sni = name, origin = whose, ended, to_origin, to_client, secs
        );
    }

    /// The first bytes of the client, where a stream wants to know.
    async fn hello(&self, client: &mut TcpStream) -> (Hello, Bytes) {
        let mut early = BytesMut::new();
        if self.streams.iter().all(|stream| stream.relay.names.is_empty()) {
            return (Hello::NotTls, early.freeze());
        }
        let read = async {
            loop {
                match hello::read(&early) {
                    Hello::Partial if early.len() >= MOST_HELLO_BYTES => return Hello::NotTls,
                    Hello::Partial => {}
                    hello => return hello,
                }
                if !matches!(client.read_buf(&mut early).await, Ok(1..)) {
                    return Hello::NotTls;
                }
            }
        };
        let hello = timeout(HELLO_LIMIT, read).await.unwrap_or(Hello::NotTls);
        (hello, early.freeze())
    }

    /// The stream whose name fits best, else one that takes every connection.
    fn find(&self, name: Option<&str>) -> Option<&Stream> {
        let fits = |stream: &&Stream| stream.relay.fits(name.unwrap_or_default());
        let named =
            self.streams.iter().filter(|stream| name.is_some() && fits(stream).is_some()).max_by_key(fits);
        named.or_else(|| self.streams.iter().find(|stream| stream.relay.names.is_empty()))
    }

    fn refuse(&self, stream: Option<&Stream>, ends: &Ends, why: &'static str) {
        let known = stream.or_else(|| self.streams.first());
        if let Some(stream) = known {
            stream.metrics.ended(why, 0, 0);
        }
        let client: IpAddr = ends.client.ip();
        let stream = stream.map(|stream| stream.relay.name.as_str());
        tracing::info!(target: "verge_edge::stream", %client, stream, ended = why);
    }
}

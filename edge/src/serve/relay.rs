//! Layer 4: a connection is passed on to an origin, whatever it carries. Of TLS the edge reads the name that the client asks
//! for, and ends nothing.
//!
//! ```text
//! accept ─▶ (PROXY header) ─▶ (ClientHello) ─▶ which stream ─▶ an origin ─▶ bytes both ways ─▶ log, metrics
//! ```
//!
//! Invariant: nothing is sent to an origin before its connection is up, so another one may be tried. Nothing that came from
//! the client is lost or changed.

pub mod hello;
mod splice;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
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
use crate::origin::{self, Origins};
use crate::site::relay::Relay;
use hello::Hello;

/// The streams of all listeners.
#[derive(Debug)]
pub(crate) struct Relays {
    /// By where the listener is; a reload changes them.
    by_address: ArcSwap<HashMap<SocketAddr, Arc<Streams>>>,
    clock: Clock,
    metrics: Metrics,
    running: Running,
}

/// The streams of one listener.
#[derive(Debug)]
struct Streams {
    all: Vec<Stream>,
    /// Places of connections of which nobody knows yet which stream they are for.
    entering: Semaphore,
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
    origins: Arc<Origins>,
    places: Arc<Semaphore>,
    metrics: StreamMetrics,
}

/// A client says at once what it wants, in a protocol in which it speaks first.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// A ClientHello with keys of several post-quantum groups has some KiB.
const MOST_HELLO_BYTES: usize = 64 << 10;

/// Between two sockets of TCP the kernel moves what is much.
async fn carry_both_ways(
    client: TcpStream,
    early: Bytes,
    origin: origin::Stream,
    passed: &Passed,
) -> io::Result<()> {
    match origin {
        origin::Stream::Tcp(origin) => splice::both_ways(client, early, origin, passed).await,
        other => both_ways(client, early, other, passed).await,
    }
}

/// Ready when a connection has been open for as long as it may.
async fn whole(clock: &Clock, limit: Option<Duration>) {
    match limit {
        Some(limit) => clock.timer(limit).await,
        None => std::future::pending().await,
    }
}

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
    /// None yet.
    pub(crate) fn new(clock: &Clock, metrics: &Metrics, running: &Running) -> Self {
        let (clock, metrics, running) = (clock.clone(), metrics.clone(), running.clone());
        Self { by_address: ArcSwap::default(), clock, metrics, running }
    }

    /// From now on connections to these listeners go by these rules; those that are open end by their own. An origin that a
    /// stream of the same name had before keeps what is known of it, and the connections of that stream count.
    pub(crate) fn put<'r>(&self, listeners: impl Iterator<Item = (SocketAddr, &'r [Relay])>) {
        let before = self.by_address.load_full();
        let stream = |relay: &Relay| {
            let known: Vec<&Stream> = before
                .values()
                .flat_map(|streams| &streams.all)
                .filter(|stream| stream.relay.name == relay.name)
                .collect();
            let origins: Vec<Arc<Origins>> = known.iter().map(|stream| Arc::clone(&stream.origins)).collect();
            let same = known.iter().find(|stream| stream.relay.most == relay.most);
            let places = same.map_or_else(
                || Arc::new(Semaphore::new(relay.most.min(Semaphore::MAX_PERMITS))),
                |stream| Arc::clone(&stream.places),
            );
            Stream {
                origins: Origins::of_stream(relay, &origins, &self.clock, &self.metrics).into(),
                places,
                metrics: self.metrics.stream(&relay.name),
                relay: relay.clone(),
            }
        };
        let streams = |relays: &[Relay]| {
            let all = relays.iter().map(stream).collect();
            let most = relays.iter().fold(0_usize, |sum, relay| sum.saturating_add(relay.most));
            let entering = Semaphore::new(most.min(Semaphore::MAX_PERMITS));
            Arc::new(Streams { all, entering, clock: self.clock.clone(), running: self.running.clone() })
        };
        let next = listeners.map(|(address, relays)| (address, streams(relays))).collect();
        self.by_address.store(Arc::new(next));
    }

    /// Accepts until it is drained, or the result is cancelled.
    pub(crate) fn listen(self: &Arc<Self>, listener: TcpListener, address: SocketAddr) -> CancellationToken {
        let closed = self.running.closed.child_token();
        tokio::spawn(Arc::clone(self).accept(listener, address, closed.clone()));
        closed
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, address: SocketAddr, closed: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closed.cancelled() => return,
            };
            match accepted {
                Ok((client, from)) => {
                    let Some(streams) = self.by_address.load().get(&address).cloned() else { continue };
                    self.running.connections.spawn(async move { streams.carry(client, from).await });
                }
                Err(error) => rest(&error).await,
            }
        }
    }
}

impl Streams {
    async fn carry(&self, mut client: TcpStream, from: SocketAddr) {
        let _ = client.set_nodelay(true);
        let local = client.local_addr().unwrap_or(from);
        let introduces = |relay: &Relay| relay.introducers.iter().any(|network| network.contains(&from.ip()));
        let mut ends = Ends { client: from, local };
        let Ok(entering) = self.entering.try_acquire() else { return self.refuse(None, &ends, "limit") };
        if self.all.iter().any(|stream| introduces(&stream.relay)) {
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
        drop(entering);
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
            Err(_) => Ended::Broken.as_str(),
            Ok(()) => tokio::select! {
                ended = carry_both_ways(client, early, origin, &passed) => match ended {
                    Ok(()) => Ended::Closed.as_str(),
                    Err(_) => Ended::Broken.as_str(),
                },
                () = idle(&self.clock, stream.relay.idle, &passed) => Ended::Idle.as_str(),
                () = whole(&self.clock, stream.relay.whole) => "late",
                () = self.running.aborted.cancelled() => Ended::Drained.as_str(),
            },
        };
        let (to_origin, to_client) = passed.counts();
        stream.metrics.ended(ended, to_client, to_origin);
        let client = ends.client.ip();
        let secs = self.clock.monotonic().saturating_duration_since(begun).as_secs();
        tracing::info!(
            target: "verge_edge::stream",
            %client, stream = stream.relay.name, sni = name, origin = whose, ended, to_origin, to_client, secs
        );
    }

    /// The first bytes of the client, where a stream wants to know.
    async fn hello(&self, client: &mut TcpStream) -> (Hello, Bytes) {
        let mut early = BytesMut::new();
        if self.all.iter().all(|stream| stream.relay.names.is_empty()) {
            return (Hello::NotTls, early.freeze());
        }
        let read = async {
            let mut reader = hello::Reader::default();
            while early.len() < MOST_HELLO_BYTES {
                let known = early.len();
                if !matches!(client.read_buf(&mut early).await, Ok(1..)) {
                    break;
                }
                match reader.read(&early[known..]) {
                    Hello::Partial => {}
                    hello => return hello,
                }
            }
            Hello::NotTls
        };
        let hello = timeout(HELLO_LIMIT, read).await.unwrap_or(Hello::NotTls);
        (hello, early.freeze())
    }

    /// The stream whose name fits best, else one that takes every connection.
    fn find(&self, name: Option<&str>) -> Option<&Stream> {
        let fits = |stream: &&Stream| stream.relay.fits(name.unwrap_or_default());
        let named =
            self.all.iter().filter(|stream| name.is_some() && fits(stream).is_some()).max_by_key(fits);
        named.or_else(|| self.all.iter().find(|stream| stream.relay.names.is_empty()))
    }

    fn refuse(&self, stream: Option<&Stream>, ends: &Ends, why: &'static str) {
        let known = stream.or_else(|| self.all.first());
        if let Some(stream) = known {
            stream.metrics.ended(why, 0, 0);
        }
        let client: IpAddr = ends.client.ip();
        let stream = stream.map(|stream| stream.relay.name.as_str());
        tracing::info!(target: "verge_edge::stream", %client, stream, ended = why);
    }
}

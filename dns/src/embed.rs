//! verge-dns inside another program: a [`RequestHandler`] for hickory-server's `Server`.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use std::path::Path;
//! use std::sync::Arc;
//! use hickory_server::Server;
//! use verge_dns::{client::Listener, config, embed};
//!
//! let config = config::load(Path::new("dns.toml"))?;
//! let zones = Arc::new(embed::Zones::load(&config)?);
//! let mut outside = Server::new(embed::Handler::new(Arc::clone(&zones), Listener::Outside));
//! outside.register_socket(tokio::net::UdpSocket::bind("[::1]:5300").await?);
//! // … and when the files may have changed, on a thread that may block:
//! zones.reload()?;
//! outside.block_until_done().await?;
//! # Ok(()) }
//! ```
//!
//! Zones, views, the answer and the egress guard are those of the program `verge-dns`. The handler's
//! [`Listener`] and the client's address decide who is inside, as there. For both sides, make a server for
//! each. Of the config, `zones`, `private`, `internal_names`, `internal`, `cookies`, `nsid`, `udp.max_payload` and
//! `rate_limit` hold; listeners, caps and deadlines are those of hickory-server.
//!
//! # What differs from verge-dns's own listeners
//!
//! hickory-server decodes the question before a handler sees it and encodes the answer after, so that our bytes do not
//! get through, only what they say:
//!
//! - a packet that hickory cannot decode never gets here: hickory answers FORMERR of its own, or nothing;
//! - the layout of an answer is hickory's: compression may differ, the OPT record's place is hickory's, and an answer may
//!   be a few bytes longer or shorter;
//! - padding (RFC 7830) and the keepalive of TCP (RFC 7828) are left out: a block size would not hold, and idle timeouts
//!   are hickory's;
//! - a UDP size below 512 is raised to 512 in the OPT record, and the Z bit of a header cannot be told;
//! - DNS over TLS and DNS over QUIC are answered one question after the other on each connection, DNS over QUIC ends a
//!   connection after 100 questions and makes handshakes one after the other; DNS over HTTPS has no GET and no HTTP/1.1;
//! - HTTP's `Cache-Control` is hickory's, so that a shared cache in front is not told to forget what insiders see (V4);
//! - there is no cap on TCP connections.
//!
//! Invariant: hickory encodes only what was decoded from bytes that the egress guard has passed. If these cannot be
//! decoded, the client gets SERVFAIL.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Message, MessageType, Metadata, ResponseCode};
use hickory_server::proto::rr::rdata::opt::EdnsCode;
use hickory_server::proto::serialize::binary::{BinDecodable, BinDecoder};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageResponseBuilder, Queries};

use crate::catalog::{self, Catalog, FolderError};
use crate::client::{Client, Listener, Proved, Transport};
use crate::clock;
use crate::config::Config;
use crate::limit::{Limits, Rates};
use crate::serve::{self, StartError};
use crate::wire::{self, Outcome};
use crate::world::World;

/// The zones of a config, in service for any number of handlers.
pub struct Zones {
    world: ArcSwap<World>,
    catalog: Mutex<Catalog>,
    rates: Option<Rates>,
}

impl fmt::Debug for Zones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zones").finish_non_exhaustive()
    }
}

impl Zones {
    /// Reads the zone files that `config` names. This blocks; what is wrong with a zone is logged, and it is answered
    /// with SERVFAIL.
    pub fn load(config: &Config) -> Result<Self, StartError> {
        let (catalog, world) = serve::load(config)?;
        Ok(Self {
            world: ArcSwap::from_pointee(world),
            catalog: Mutex::new(catalog),
            rates: config.rate_limit,
        })
    }

    /// Reads the files that changed, as SIGHUP lets the server do. A zone that is no longer good stays as it was, and that is
    /// logged. This blocks.
    pub fn reload(&self) -> Result<(), FolderError> {
        let mut catalog = self.catalog.lock().unwrap_or_else(PoisonError::into_inner);
        catalog.allow();
        let loaded = catalog.load(clock::system_now())?;
        if let Some(world) = loaded.world {
            self.world.store(Arc::new(world));
            catalog::log::report(&loaded.report);
        }
        Ok(())
    }
}

/// Answers the requests of one side.
#[derive(Debug)]
pub struct Handler {
    zones: Arc<Zones>,
    listener: Listener,
    /// None if answers are not limited; then no lock is taken.
    limits: Option<Mutex<Limits>>,
}

impl Handler {
    /// A handler for sockets on which `listener` asks.
    pub fn new(zones: Arc<Zones>, listener: Listener) -> Self {
        let limits = zones.rates.map(|rates| Mutex::new(Limits::new(Some(rates), rand::random())));
        Self { zones, listener, limits }
    }

    /// Our answer as it would leave by our own listener; none if nothing is to be sent.
    fn answer(&self, request: &Request) -> Option<Vec<u8>> {
        let world = self.zones.world.load();
        let client = client(request.src(), request.protocol(), self.listener);
        let limited = self.limits.as_ref().filter(|_| client.transport == Transport::Udp);
        let mut held = limited.map(|limits| limits.lock().unwrap_or_else(PoisonError::into_inner));
        let mut unlimited = Limits::default();
        let limits = held.as_deref_mut().unwrap_or(&mut unlimited);
        let mut out = Vec::new();
        match wire::respond(&world, limits, request.as_slice(), &client, clock::moment(), &mut out) {
            Outcome::Sent(_) => Some(out),
            Outcome::Silent(_) => None,
        }
    }
}

/// Every transport but datagrams is a stream to us: hickory does not hand on the rest of what encrypted transports have.
fn client(from: SocketAddr, protocol: Protocol, listener: Listener) -> Client {
    let transport = if protocol.is_datagram() { Transport::Udp } else { Transport::Tcp };
    let (address, port, proved) = (from.ip(), from.port(), Proved::default());
    Client { address, port, listener, transport, proved, is_to_close: false }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut send: R,
    ) -> ResponseInfo {
        let Some(bytes) = self.answer(request) else { return nothing(request) };
        let sent = match decode(&bytes) {
            Some((message, queries)) => {
                let mut response = MessageResponseBuilder::new(&queries, message.edns.as_ref()).build(
                    message.metadata,
                    &message.answers,
                    &message.authorities,
                    [],
                    &message.additionals,
                );
                if let Some(signature) = message.signature.clone() {
                    response.set_signature(signature);
                }
                send.send_response(response).await
            }
            None => {
                tracing::error!("an answer cannot be read by hickory; SERVFAIL is sent; please report this");
                let builder = MessageResponseBuilder::from_message_request(request);
                send.send_response(builder.error_msg(&request.metadata, ResponseCode::ServFail)).await
            }
        };
        sent.unwrap_or_else(|error| {
            tracing::debug!(%error, "hickory could not send an answer");
            nothing(request)
        })
    }
}

/// The message that hickory encodes. Questions are taken from our bytes, which keep the client's letters.
fn decode(bytes: &[u8]) -> Option<(Message, Queries)> {
    let mut message = Message::from_vec(bytes).ok()?;
    if let Some(edns) = &mut message.edns {
        forget(edns);
    }
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let queries = Queries::read(&mut decoder, usize::from(header.counts.queries)).ok()?;
    Some((message, queries))
}

fn forget(edns: &mut Edns) {
    edns.options_mut().remove(EdnsCode::Keepalive);
    edns.options_mut().remove(EdnsCode::Padding);
}

/// The response that hickory is told of if nothing was sent.
fn nothing(request: &Request) -> ResponseInfo {
    let mut metadata = Metadata::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
    metadata.response_code = ResponseCode::ServFail;
    ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
}

#[cfg(test)]
mod tests;

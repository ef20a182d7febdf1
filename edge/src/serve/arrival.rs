//! A request as its transport hands it over.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderValue, Version};

use super::answer::Answer;
use crate::http::head::RequestHead;
use crate::origin::{Early, RequestBody};
use crate::site::sender::Scheme;
use crate::tls::Identity;

/// One request, however it was carried here.
pub(super) struct Arrival<'a> {
    /// The head, with the target as sent.
    pub(super) head: RequestHead,
    pub(super) version: Version,
    pub(super) peer: Peer,
    pub(super) body: RequestBody,
    /// The request's transport, until it is answered.
    pub(super) transport: &'a dyn Transport,
}

/// The services that an answer asks of the transport that carries the request.
pub(super) trait Transport: Send + Sync {
    /// Sends the origin's 1xx heads on to the client, from now until the answer is given. The request's own task calls
    /// it.
    fn interim(&self) -> Early;

    /// The protocol that the request's own stream is asked to carry (RFC 8441, RFC 9220). Over HTTP/1.1 there is no
    /// stream: fields ask for the connection.
    fn protocol(&self) -> Option<HeaderValue>;

    /// The identity named by the certificate that the client has shown.
    fn identity(&self) -> Option<&Identity>;

    /// Whether it came before the handshake of its connection had ended: somebody else may send what was recorded.
    fn is_early(&self) -> bool;

    /// The answer to a request whose body turned out not to be sound, whatever else was found out about it.
    fn refusal(&self) -> Option<Answer>;
}

/// The two ends of a client's connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) client: IpAddr,
    pub(super) local: SocketAddr,
    /// The connection's own scheme, whatever a proxy in front says of its own.
    pub(super) scheme: Scheme,
}

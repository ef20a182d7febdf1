//! The name servers that decide together who is up.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Identity;

/// `[steer.quorum]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Where the others tell this one what they see. TCP.
    pub listen: SocketAddr,
    /// All of them; the one whose name its certificate has is this server itself.
    pub nodes: Vec<Node>,
    /// The certificate that this one shows, as a server and as a client.
    pub identity: Identity,
    /// PEM: the roots of all certificates.
    pub ca: PathBuf,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name of its certificate.
    pub name: String,
}

//! Proxies whose connections begin with a header of the PROXY protocol, and the reading of it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::by_listener::Chosen;
use super::proxied;

/// A proxy has it at hand.
pub(super) const INTRODUCTION: Duration = Duration::from_secs(5);

/// The proxies, and the listeners at which they send the header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Introducers {
    /// Their addresses.
    pub networks: Vec<IpNet>,
    /// At the others they are clients like all.
    pub at: Chosen,
}

impl Introducers {
    /// Whether a connection from this address begins with a header at the listener that the config has there.
    pub(super) fn introduce(&self, sender: IpAddr, configured: SocketAddr) -> bool {
        let sender = sender.to_canonical();
        self.networks.iter().any(|network| network.contains(&sender)) && self.at.has(configured)
    }
}

/// Reads a header of the PROXY protocol, and not a byte more.
pub(super) async fn introduction(stream: &mut TcpStream) -> io::Result<Option<proxied::Ends>> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut first = [0; proxied::FIXED_BYTES];
    stream.read_exact(&mut first).await?;
    let start = proxied::start(&first).map_err(invalid)?;
    let mut rest = vec![0; start.rest];
    stream.read_exact(&mut rest).await?;
    start.ends(&rest).map_err(invalid)
}

//! `verge-edge health`: whether an edge on this machine is ready, for the health checks of containers.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use verge_edge::config;

use super::{Failed, say};

#[derive(Debug, clap::Args)]
pub(super) struct Health {
    /// The edge's config: says where its admin listener is
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
    /// The admin listener, instead of the config's
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Only whether it runs; one that drains is well, too
    #[arg(long)]
    live: bool,
}

/// Container runtimes and Kubernetes wait for one second by default, systems under load longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A word and the disks that are not used.
const MOST_BYTES: u64 = 64 << 10;

impl Health {
    pub(super) fn run(&self) -> Result<(), Failed> {
        let configured = || {
            let admin = config::load_admin(&self.config).map_err(Failed::of_config)?;
            let none = || Failed::because(format!("{} has no [admin]", self.config.display()));
            admin.map(|admin| admin.listen).ok_or_else(none)
        };
        let listen = self.admin.map_or_else(configured, Ok)?;
        let path = if self.live { "/healthz" } else { "/readyz" };
        let unreachable = |error| Failed::because(format!("no edge's admin listener at {listen}: {error}"));
        let (is_well, word) = ask(reachable(listen), path).map_err(unreachable)?;
        match is_well {
            true => {
                say(word);
                Ok(())
            }
            false => Err(Failed::because(word)),
        }
    }
}

/// Whether it is well, and its word.
pub(super) fn ask(address: SocketAddr, path: &str) -> io::Result<(bool, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MOST_BYTES).read_to_string(&mut answer)?;
    let (head, body) =
        answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("it does not speak HTTP"))?;
    Ok((head.starts_with("HTTP/1.1 200 "), body.trim_end().to_owned()))
}

/// An edge that listens everywhere is here, too.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let here = if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(if listen.ip().is_unspecified() { here } else { listen.ip() }, listen.port())
}

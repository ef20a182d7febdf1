//! The listeners of `[[stream]]`s. They are opened at the start and stay.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::sockets::bind;
use super::start_error::StartError;
use crate::clock::Clock;
use crate::config::Stream;
use crate::metrics::Metrics;
use crate::serve::{Relays, Running};
use crate::site::relay::Relay;

/// A listener and where it is.
#[derive(Debug)]
struct Bound {
    /// As the config has it.
    configured: SocketAddr,
    address: SocketAddr,
    listener: TcpListener,
}

/// Listeners, and the streams that each is for.
#[derive(Debug)]
pub(crate) struct Streams(Vec<(Bound, Vec<Relay>)>);

impl Streams {
    /// Binds them all. Streams that name the same address share it; port 0 is another one each time.
    ///
    /// # Errors
    /// When one cannot be bound.
    pub(crate) fn bind(streams: &[Stream]) -> Result<Self, StartError> {
        let mut bound: Vec<(Bound, Vec<Relay>)> = Vec::new();
        for stream in streams {
            for &address in &stream.listen {
                let known =
                    bound.iter_mut().find(|(one, _)| one.configured == address && address.port() != 0);
                match known {
                    Some((_, relays)) => relays.push(stream.relay.clone()),
                    None => bound.push((open(address)?, vec![stream.relay.clone()])),
                }
            }
        }
        Ok(Self(bound))
    }

    /// Serves until `running` is drained; where.
    pub(crate) fn serve(self, clock: &Clock, metrics: &Metrics, running: &Running) -> Vec<SocketAddr> {
        let serve = |(bound, relays): (Bound, Vec<Relay>)| {
            match tokio::net::TcpListener::from_std(bound.listener) {
                Ok(listener) => {
                    drop(tokio::spawn(Relays::new(relays, clock, metrics, running).accept(listener)))
                }
                Err(error) => {
                    tracing::error!(target: "verge_edge::stream", address = %bound.address, %error, "cannot listen");
                }
            }
            bound.address
        };
        self.0.into_iter().map(serve).collect()
    }
}

fn open(configured: SocketAddr) -> Result<Bound, StartError> {
    let open = || -> io::Result<Bound> {
        let socket = bind(configured)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from(socket);
        Ok(Bound { configured, address: listener.local_addr()?, listener })
    };
    open().map_err(|error| StartError::Bind { setting: "listen of a [[stream]]", address: configured, error })
}

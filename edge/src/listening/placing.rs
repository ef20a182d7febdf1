//! The listeners of one setting: those that stay, those that are new, and those that go.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::net::TcpListener;

use super::sockets::{self, Bound, Pool, udp};
use super::start_error::StartError;
use crate::handover::{Row, Setting, systemd};
use crate::serve::{Carrier, Channels, Closing, Door, Limits, Listeners, Offer, SharedSocket, endpoint};
use crate::turn::Turn;

/// A listener for clients that is open.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) configured: SocketAddr,
    pub(super) address: SocketAddr,
    pub(super) closing: Closing,
    /// For the process that takes over.
    pub(super) copy: OwnedFd,
    /// Over QUIC.
    pub(super) carrier: Option<Arc<Carrier>>,
}

/// Where a listener is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    /// As the config has it.
    pub(super) configured: SocketAddr,
    /// With its real port.
    pub(super) address: SocketAddr,
}

/// One listener that a config asks for.
pub(super) enum Place<S> {
    /// One that is open, by its place.
    Kept(usize),
    New(Bound<S>),
}

/// For each address that a config asks for the listener that is open there, or one that `open` opens.
pub(super) fn places<S>(
    before: &[Listener],
    asked: &[SocketAddr],
    open: impl Fn(SocketAddr) -> Result<Bound<S>, StartError>,
) -> Result<Vec<Place<S>>, StartError> {
    let mut kept = Vec::new();
    let place = |address: &SocketAddr| {
        // Two with port 0 are two listeners.
        let there = before.iter().enumerate();
        let mut same =
            there.filter(|(place, listener)| listener.configured == *address && !kept.contains(place));
        match same.next() {
            Some((place, _)) => {
                kept.push(place);
                Ok(Place::Kept(place))
            }
            None => open(*address).map(Place::New),
        }
    };
    asked.iter().map(place).collect()
}

/// Puts the listeners in their new order, and closes those that have no place in it. `is_announced` is whether the program
/// tells of those that it opens on its standard output.
pub(super) fn exchange<S>(
    setting: Setting,
    is_announced: bool,
    before: Vec<Listener>,
    places: Vec<Place<S>>,
    mut start: impl FnMut(S, Spot) -> (Closing, Option<Arc<Carrier>>),
) -> Vec<Listener> {
    let name = setting.as_str();
    let mut before: Vec<Option<Listener>> = before.into_iter().map(Some).collect();
    let mut place = |place| match place {
        Place::Kept(at) => before[at].take().expect("each is kept once"),
        Place::New(Bound { configured, address, socket, copy, is_renamed }) => {
            let (closing, carrier) = start(socket, Spot { configured, address });
            if is_renamed {
                systemd::forget_others(setting, address);
            }
            systemd::keep(setting, address, copy.as_fd());
            match is_announced {
                true => tracing::debug!(target: "verge_edge::listener", %address, "opened, for `{name}`"),
                false => tracing::info!(target: "verge_edge::listener", %address, "opened, for `{name}`"),
            }
            Listener { configured, address, closing, copy, carrier }
        }
    };
    let after = places.into_iter().map(&mut place).collect();
    for Listener { address, closing, .. } in before.into_iter().flatten() {
        closing.close();
        systemd::forget(setting, address);
        tracing::info!(target: "verge_edge::listener", %address, "closed, `{name}` has it no longer");
    }
    after
}

pub(super) fn accept(clients: &Listeners, listener: TcpListener, door: Door, turn: Turn) -> Closing {
    let one = clients.of_one();
    let closing = one.closing(turn.ended());
    tokio::spawn(turn.take(one.accept(listener, door)));
    closing
}

pub(super) fn carry_quic(
    handed: &Pool,
    address: SocketAddr,
    (offer, row): (&Offer, &Row),
    limits: &Limits,
) -> Result<Bound<Arc<Carrier>>, StartError> {
    let bound = udp(handed, Setting::Quic, address)?;
    let copy = bound.copy.try_clone().map_err(|error| sockets::failed(Setting::Quic, address, error))?;
    let carry = |(socket, channels): (_, Channels)| {
        let is_read_here = !handed.are_read_there || channels.is_empty();
        let shared = SharedSocket::new(socket, row.generation, channels, is_read_here)?;
        let endpoint = endpoint(&shared, (row.generation, &row.reset_key), offer, limits)?;
        Ok(Carrier::new(endpoint, shared, copy))
    };
    bound.map(Setting::Quic, carry)
}

//! The UDP loop: one thread and one socket per core and address, no lock and no allocation per query.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::responder::{Reply, Responder};
use super::sys::{self, Batch, Sent, Wait};
use crate::client::{Client, Listener, Proved, Transport};
use crate::clock;
use crate::limit::Limits;
use crate::wire;

/// Waits after an error of the socket itself, so that one that lasts does not burn a core.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// Batches answered after the stop at most: more than a receive buffer holds, but an end under a flood.
const LAST_BATCHES: usize = 1000;

/// Whether loops go on, and if not, how many batches each answers still.
#[derive(Debug)]
pub(super) struct Stop(AtomicUsize);

const GOES_ON: usize = usize::MAX;

impl Default for Stop {
    fn default() -> Self {
        Self(AtomicUsize::new(GOES_ON))
    }
}

impl Stop {
    /// Nobody else reads the sockets: what has arrived is answered here.
    pub(super) fn end(&self) {
        self.0.store(LAST_BATCHES, Ordering::Release);
    }

    /// Another process reads them, too. One packet may have come whose news only a loop here was told.
    pub(super) fn leave(&self) {
        self.0.store(1, Ordering::Release);
    }

    fn batches_left(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Acquire)).filter(|left| *left != GOES_ON)
    }
}

/// Answers on `socket` until it is told to stop, and then what has arrived.
pub(super) fn run(
    socket: &UdpSocket,
    listener: Listener,
    stop: &Stop,
    responder: &Responder,
    limits: &mut Limits,
) {
    let answer_bytes = usize::from(responder.world().protocol.udp_limit_bytes);
    let mut batch = Batch::new(answer_bytes, sys::joining(socket));
    let left = loop {
        if let Some(left) = stop.batches_left() {
            break left;
        }
        match batch.receive(socket, Wait::ForOne) {
            Ok(count) => answer(&mut batch, count, socket, listener, (responder, &mut *limits)),
            Err(error) if is_quiet(&error) => {}
            Err(_) => std::thread::park_timeout(ERROR_PAUSE),
        }
    };
    for _ in 0..left {
        match batch.receive(socket, Wait::No) {
            Ok(count) => answer(&mut batch, count, socket, listener, (responder, &mut *limits)),
            Err(_) => return,
        }
    }
}

fn answer(
    batch: &mut Batch,
    count: usize,
    socket: &UdpSocket,
    listener: Listener,
    (responder, limits): (&Responder, &mut Limits),
) {
    let world = responder.world();
    let now = clock::moment();
    for at in 0..count {
        let Some((packet, from, out)) = batch.packet(at) else { continue };
        let asker = client(from, listener);
        if let Some(submitted) = responder.submitted(&world, packet, &asker, now) {
            let message = packet.into();
            let way = batch.way_back(at, socket);
            let reply = Box::new(move |answer: Vec<u8>| way.into_iter().for_each(|way| way.send(&answer)));
            responder.submit(submitted, (message, asker), reply);
            continue;
        }
        if responder.answer(limits, &world, packet, &asker, now, out) == Reply::Send {
            batch.queue(at);
        }
    }
    let sent = batch.send(socket, wire::cut);
    responder.took(clock::now() - now.instant, count);
    if sent != Sent::default() {
        responder.unsent(sent);
    }
}

fn client(from: SocketAddr, listener: Listener) -> Client {
    let (address, port, proved) = (from.ip(), from.port(), Proved::default());
    Client { address, port, listener, transport: Transport::Udp, proved, is_to_close: false }
}

/// Nothing is wrong: no packet came within the timeout, or a signal did.
fn is_quiet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

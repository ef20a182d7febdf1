//! The UDP loop: one thread and one socket per core and address, no lock and no allocation per query.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::responder::{Reply, Responder};
use super::rounds::Rounds;
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
    rounds: &mut Rounds,
) {
    let answer_bytes = usize::from(responder.world().protocol.udp_limit_bytes);
    let mut batch = Batch::new(answer_bytes, sys::joining(socket));
    let left = loop {
        if let Some(left) = stop.batches_left() {
            break left;
        }
        rounds.begin();
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

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;

    use arc_swap::ArcSwap;

    use crate::metrics::Metrics;
    use crate::serve::responder::Ways;
    use crate::serve::rounds::Watched;
    use crate::serve::testing::{PATIENCE, big};

    #[test]
    fn a_loop_makes_rounds_without_packets_too() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let (mut rounds, mut watched) = (Rounds::default(), Watched::default());
        watched.add(socket.local_addr().unwrap(), &rounds);
        let stop = Arc::new(Stop::default());
        let told = Arc::clone(&stop);
        let counters = Metrics::default().counters(Transport::Udp);
        let world = Arc::new(ArcSwap::from_pointee(big()));
        let responder = Responder::new(world, counters, Ways::leading_nowhere());
        let answering = std::thread::spawn(move || {
            run(&socket, Listener::Outside, &told, &responder, &mut Limits::default(), &mut rounds);
        });
        let late = clock::now() + PATIENCE;
        while watched.counts()[0] < 3 {
            assert!(clock::now() < late, "{:?}", watched.counts());
            std::thread::yield_now();
        }
        stop.end();
        answering.join().unwrap();
        assert!(watched.counts().is_empty(), "it has ended");
    }
}

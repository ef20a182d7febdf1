//! Tells secondaries of new versions (NOTIFY, RFC 1996): by UDP, again and again until they answer, for a minute.
//!
//! A secondary is told of the view of its key alone, so the outside hears nothing of what changed inside (D16).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::numbers::Moved;
use crate::clock;
use crate::metrics::{Metrics, Notified};
use crate::name::Name;
use crate::rtype::Type;
use crate::transfer::{Rule, serial};
use crate::tsig::{Key, SignedError, Signer};
use crate::view::Which;
use crate::wire;
use crate::world::World;
use crate::zone::set::Served;

/// Waits for an answer; after the last one the secondary's own refresh must do (RFC 1996 §3.6).
const WAITS_SECONDS: [u64; 6] = [1, 2, 4, 8, 16, 32];
/// Notices under way at once; others wait. One secondary has a few of them, so that many zones of one that does not answer
/// keep none of the others waiting.
const MOST_AT_ONCE: usize = 256;
const MOST_TO_ONE: usize = 8;
/// Bytes of an answer that are read; more are none of an answer to a NOTIFY.
const ANSWER_BYTES: usize = 4096;

/// A version that a secondary is to be told of.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) apex: Name,
    pub(super) view: Which,
    pub(super) serial: u32,
    /// TTL and data.
    pub(super) soa: (u32, Box<[u8]>),
    pub(super) secondary: SocketAddr,
    pub(super) key: Option<Arc<Key>>,
    /// Addresses that the secondary may know this server by.
    pub(super) sources: Vec<IpAddr>,
}

/// Makes orders of new versions.
pub(super) struct Notices {
    pub(super) orders: UnboundedSender<Order>,
    /// Addresses by which secondaries of the outside and of the inside may know this server.
    pub(super) sources: [Vec<IpAddr>; 2],
}

impl Notices {
    /// Orders that the secondaries of each zone that moved are told.
    pub(super) fn order(&self, world: &World, moved: &[Moved]) {
        for Moved { view, apex } in moved {
            let Some(Served::Zone(tree)) = world.given(*view, apex) else { continue };
            let Some((serial, soa)) = serial(tree).zip(tree.soa()) else { continue };
            let Some(rdata) = soa.first() else { continue };
            let sources = &self.sources[usize::from(*view == Which::Internal)];
            for rule in world.protocol.transfers.about(apex) {
                let Some(key) = signing(rule, *view, world) else { continue };
                for secondary in &rule.notify {
                    let order = Order {
                        apex: apex.clone(),
                        view: *view,
                        serial,
                        soa: (soa.ttl, rdata.into()),
                        secondary: *secondary,
                        key: key.clone(),
                        sources: sources.clone(),
                    };
                    // The notifier is gone only when the server ends.
                    let _ = self.orders.send(order);
                }
            }
        }
    }
}

/// The key that signs notices of this view; none if the rule is not about the view.
fn signing(rule: &Rule, view: Which, world: &World) -> Option<Option<Arc<Key>>> {
    if rule.keys.is_empty() {
        return (view == Which::Public).then_some(None);
    }
    let mut keys = rule.keys.iter().filter_map(|name| world.protocol.keys.get(name));
    keys.find(|key| key.view == view).map(|key| Some(Arc::clone(key)))
}

/// Which notices are the same one: a newer takes the place of an older.
type Place = (SocketAddr, Which, Name);

/// Sends what is ordered until the server ends.
pub(super) async fn run(
    mut orders: UnboundedReceiver<Order>,
    metrics: Arc<Metrics>,
    drain: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(MOST_AT_ONCE));
    let mut tasks: JoinSet<Place> = JoinSet::new();
    let mut under_way: HashMap<Place, AbortHandle> = HashMap::new();
    let mut of_one: HashMap<SocketAddr, Arc<Semaphore>> = HashMap::new();
    loop {
        let order = tokio::select! {
            () = drain.cancelled() => return,
            order = orders.recv() => order,
            Some(done) = tasks.join_next() => {
                if let Ok(place) = done && under_way.get(&place).is_some_and(AbortHandle::is_finished) {
                    under_way.remove(&place);
                }
                continue;
            }
        };
        let Some(order) = order else { return };
        let place = (order.secondary, order.view, order.apex.clone());
        if !of_one.contains_key(&order.secondary) {
            // Slots without a waiter belong to no current secondary.
            of_one.retain(|_, slots| Arc::strong_count(slots) > 1);
        }
        let own = of_one.entry(order.secondary).or_insert_with(|| Arc::new(Semaphore::new(MOST_TO_ONE)));
        let (own, slots, metrics) = (Arc::clone(own), Arc::clone(&slots), Arc::clone(&metrics));
        let task = tasks.spawn(async move {
            let _own = own.acquire().await;
            let _slot = slots.acquire().await;
            let told = tell(&order).await;
            metrics.replication.notified(&order.apex, order.view, order.serial, order.secondary, told);
            (order.secondary, order.view, order.apex)
        });
        if let Some(older) = under_way.insert(place, task) {
            older.abort();
        }
    }
}

/// Why a secondary does not know of a version.
enum Untold {
    Io(io::Error),
    Refused(u8),
    Unanswered,
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Refused(rcode) => {
                write!(f, "it answers with rcode {rcode}; does it know this server and the key?")
            }
            Self::Unanswered => write!(f, "it does not answer"),
        }
    }
}

async fn tell(order: &Order) -> Notified {
    let mut untold = Untold::Unanswered;
    for wait in WAITS_SECONDS.map(Duration::from_secs) {
        match timeout(wait, ask(order)).await {
            Ok(Ok(())) => {
                tracing::debug!(zone = %order.apex, serial = order.serial, secondary = %order.secondary, "notified");
                return Notified::Taken;
            }
            Ok(Err(refused @ Untold::Refused(_))) => {
                log(order, &refused);
                return Notified::Refused;
            }
            Ok(Err(error)) => {
                // Nobody is there, or no way leads there: soon perhaps.
                untold = error;
                tokio::time::sleep(wait).await;
            }
            Err(_) => untold = Untold::Unanswered,
        }
    }
    log(order, &untold);
    Notified::Unanswered
}

fn log(order: &Order, untold: &Untold) {
    tracing::warn!(
        zone = %order.apex, serial = order.serial, secondary = %order.secondary, view = order.view.as_str(),
        "a secondary was not told of a new version: {untold}"
    );
}

/// One question and its answer; nothing else that arrives counts.
async fn ask(order: &Order) -> Result<(), Untold> {
    let socket = connect(order).await.map_err(Untold::Io)?;
    let id: [u8; 2] = rand::random();
    let (message, signer) = notice(order, id, clock::moment().unix_seconds);
    socket.send(&message).await.map_err(Untold::Io)?;
    let mut answer = vec![0; ANSWER_BYTES];
    loop {
        let bytes = socket.recv(&mut answer).await.map_err(Untold::Io)?;
        let answer = &answer[..bytes];
        if is_answer(answer, id, signer.as_ref()) {
            return match answer[3] & 0x0f {
                0 => Ok(()),
                rcode => Err(Untold::Refused(rcode)),
            };
        }
    }
}

/// From an address by which the secondary may know this server, if that is one of this machine's.
async fn connect(order: &Order) -> io::Result<UdpSocket> {
    let to = order.secondary.ip();
    let fits = |from: &&IpAddr| {
        from.is_ipv4() == to.is_ipv4() && from.is_loopback() == to.is_loopback() && !from.is_unspecified()
    };
    let any = match to {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let from = order.sources.iter().find(fits).copied().unwrap_or(any);
    let socket = match UdpSocket::bind((from, 0)).await {
        Ok(socket) => socket,
        Err(_) => UdpSocket::bind((any, 0)).await?,
    };
    socket.connect(order.secondary).await?;
    Ok(socket)
}

const OPCODE_NOTIFY: u8 = 4;

/// RFC 1996 §3.7: the SOA as the question, and as a hint in the answer section.
fn notice(order: &Order, id: [u8; 2], unix_seconds: u64) -> (Vec<u8>, Option<Signer>) {
    let mut message = vec![id[0], id[1], OPCODE_NOTIFY << 3 | 0x04, 0, 0, 1, 0, 1, 0, 0, 0, 0];
    let soa = Type::SOA.0.to_be_bytes();
    message.extend_from_slice(order.apex.as_wire());
    message.extend_from_slice(&[soa[0], soa[1], 0, 1]);
    let (ttl, rdata) = &order.soa;
    // The owner is the question's name, at byte 12.
    message.extend_from_slice(&[0xc0, 12, soa[0], soa[1], 0, 1]);
    message.extend_from_slice(&ttl.to_be_bytes());
    message.extend_from_slice(
        &u16::try_from(rdata.len()).expect("a SOA has two names and 20 bytes").to_be_bytes(),
    );
    message.extend_from_slice(rdata);
    let signer = order.key.as_ref().map(|key| {
        let mut signer = Signer::of_request(key);
        signer.sign(&mut message, SignedError::None, unix_seconds);
        signer
    });
    (message, signer)
}

/// Anybody can send an answer from the secondary's address; with a key, only the secondary can sign it.
fn is_answer(answer: &[u8], id: [u8; 2], signer: Option<&Signer>) -> bool {
    let [i1, i2, flags, ..] = answer else { return false };
    if answer.len() < 12 || [*i1, *i2] != id || flags & 0x80 == 0 || flags >> 3 & 0x0f != OPCODE_NOTIFY {
        return false;
    }
    let Some(signer) = signer else { return true };
    // A secondary without this key cannot sign that it has none.
    let refuses = answer[3] & 0x0f != 0;
    let tsig = wire::tsig_of(answer);
    refuses || tsig.is_some_and(|tsig| signer.accepts(&tsig, clock::moment().unix_seconds))
}

#[cfg(test)]
mod tests;

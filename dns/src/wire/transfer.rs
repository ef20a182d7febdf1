//! A zone as a stream of messages (AXFR, RFC 5936 §2.2; IXFR, RFC 1995 §4), one at a time: what is sent waits for its
//! client, what is not yet sent takes no memory.
//!
//! Invariant: a transfer holds the trees of one version of one view. A reload does not reach into it.

use std::sync::Arc;

use super::encode::{self, Count, Flags};
use super::names::Names;
use super::opt::{self, Opt};
use super::query::{self, Edns, HEADER_BYTES, Header, Verdict};
use super::signature::Signature;
use super::{CLASS_IN, Exchange, Moment, guard};
use crate::client::{Client, Transport};
use crate::name::Name;
use crate::rcode::Rcode;
use crate::rtype::Type;
use crate::transfer::{Delta, SOA_NUMBERS_BYTES, is_newer, serial};
use crate::tsig::{Key, SignedError, Signer};
use crate::view::{View, Which};
use crate::world::{Guard, World};
use crate::zone::address;
use crate::zone::set::Served;
use crate::zone::tree::Tree;

/// A message is full at this: names further on could not be pointed at (RFC 1035 §4.1.4).
const FULL_BYTES: usize = 16 * 1024;
/// A message with a record that is longer.
const MOST_BYTES: usize = u16::MAX as usize;

/// A zone on its way to a client that may have it.
pub struct Transfer {
    /// Its subject.
    pub about: About,
    header: Header,
    /// As it came, with the client's letters.
    question: Box<[u8]>,
    opt: Vec<u8>,
    /// The same, and the word to close; none once that is said.
    closing: Option<Vec<u8>>,
    signer: Option<Signer>,
    /// None for insiders.
    guard: Option<Guard>,
    tree: Arc<Tree>,
    parts: Vec<Part>,
    /// The part that is next, and where in it.
    part: usize,
    at: Cursor,
    is_first: bool,
}

/// The subject of a transfer, for logs and metrics.
#[derive(Clone, Debug)]
pub struct About {
    /// The zone.
    pub apex: Name,
    /// The view that it is taken from.
    pub view: Which,
    /// The version.
    pub serial: u32,
    /// The key that the client proved.
    pub key: Option<Arc<Key>>,
    /// How it is told.
    pub kind: TransferKind,
}

/// How a client is told of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferKind {
    /// All of it.
    Whole,
    /// The changes since the client's version.
    Changes,
    /// Only that it is the client's.
    Current,
}

impl TransferKind {
    /// The label of logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Changes => "changes",
            Self::Current => "current",
        }
    }
}

/// The step after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More messages.
    More,
    /// Nothing: the transfer is complete.
    Done,
    /// Nothing, and the message is not to be sent: a record does not fit into any.
    TooLong,
    /// Nothing, and the message is not to be sent: it holds a hidden address. This should never be; shout.
    Stopped,
}

enum Part {
    Soa,
    /// All but the SOA.
    Zone,
    Changes(Arc<Delta>),
}

/// The record of a tree that is next.
#[derive(Clone, Copy, Default)]
struct Cursor {
    node: usize,
    set: usize,
    rdata: usize,
}

/// Why a client that asks for a zone does not get it. The client is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Its signature is not by a key of ours, or its clock is off.
    Signature,
    /// No rule lets it take the zone.
    Rule,
    /// Its view has no such zone, or none that was good.
    Zone,
    /// Whether it may have some of the zone is not known yet.
    Undecided,
    /// The question is malformed.
    Question,
}

impl Denied {
    /// In words, for the operator.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "its signature is not by a key of ours, or its clock is off",
            Self::Rule => "no [[transfer]] lets it take the zone",
            Self::Zone => "its view has no such zone",
            Self::Undecided => "some of the zone leads into a zone that never was good",
            Self::Question => "the question is malformed",
        }
    }
}

/// The transfer that a message asks for, if it asks for one and its sender may have it. All others get an answer.
pub fn transfer(
    world: &World,
    packet: &[u8],
    client: &Client,
    now: Moment,
) -> Option<Result<Transfer, Denied>> {
    let is_stream = matches!(client.transport, Transport::Tcp | Transport::Tls | Transport::Quic);
    if !is_stream || world.protocol.transfers.is_empty() || !query::asks_for_transfer(packet) {
        return None;
    }
    let message = query::read(packet).ok()?;
    if client.transport == Transport::Quic && !message.fits_quic() {
        return None;
    }
    let signature = Signature::of(&message, &world.protocol.keys, now);
    Some(Exchange::new(world, signature, &message, client, now).transfer())
}

impl<'w> Exchange<'w, '_> {
    fn transfer(&self) -> Result<Transfer, Denied> {
        let question = self.message.question.as_ref().filter(|question| question.qclass == CLASS_IN);
        let question = question.filter(|_| self.has_good_cookie()).ok_or(Denied::Question)?;
        let apex = Name::from_wire(question.name()).map_err(|_| Denied::Question)?;
        if matches!(self.signature, Signature::Refused(_)) {
            return Err(Denied::Signature);
        }
        let view = self.may_take(&apex).ok_or(Denied::Rule)?;
        let Some(Served::Zone(tree)) = self.world.given(view, &apex) else {
            return Err(Denied::Zone);
        };
        // Unknown is not "no": a secondary would spread it.
        if tree.withholds() {
            return Err(Denied::Undecided);
        }
        let serial = serial(tree).ok_or(Denied::Zone)?;
        let (kind, parts) = self.plan(tree, (view, &apex, serial));
        let (mut opt, mut closing) = (Vec::new(), Vec::new());
        if let Some(edns) = &self.message.edns {
            let first = self.opt(edns, None);
            first.write(Rcode::NoError, &mut opt);
            let keepalive = opt::close(edns, self.client);
            Opt { keepalive, ..first }.write(Rcode::NoError, &mut closing);
        }
        let signer = match &self.signature {
            Signature::Good(signer) => Some(signer.clone()),
            Signature::None | Signature::Refused(_) => None,
        };
        let key = signer.as_ref().map(|signer| Arc::clone(signer.key()));
        Ok(Transfer {
            about: About { apex, view, serial, key, kind },
            header: self.message.header,
            question: question.wire.into(),
            opt,
            closing: Some(closing),
            signer,
            guard: (view == Which::Public).then(|| self.world.guard.clone()),
            tree: Arc::clone(tree),
            parts,
            part: 0,
            at: Cursor::default(),
            is_first: true,
        })
    }

    /// Whether this zone's SOA answers a question for what changed.
    pub(super) fn may_ask_for_serial(&self, apex: &[u8]) -> bool {
        let is_of_view = |apex: Name| {
            self.may_take(&apex) == Some(self.view) && self.world.given(self.view, &apex).is_some()
        };
        self.client.transport == Transport::Udp && Name::from_wire(apex).is_ok_and(is_of_view)
    }

    /// The view from which the client may take this zone.
    pub(super) fn may_take(&self, apex: &Name) -> Option<Which> {
        let key = match (&self.signature, self.message.verdict) {
            (Signature::None, Verdict::Ask) => None,
            (Signature::Good(signer), Verdict::Signed) => Some(signer.key().as_ref()),
            _ => return None,
        };
        let client = (self.client.real_address(), &self.client.proved);
        let view = self.world.protocol.transfers.view(apex, key, client)?;
        // D17: a catalog names all zones that are here, so an address alone is not enough.
        (key.is_some() || !self.world.is_catalog(view, apex.as_wire())).then_some(view)
    }

    /// For how long the zone is good still: told to those who may take it, and to nobody else (D16).
    pub(super) fn expire(&self, edns: &Edns<'_>) -> Option<u32> {
        if !edns.wants_expire || edns.version != 0 {
            return None;
        }
        let question = self.message.question.as_ref().filter(|question| question.qclass == CLASS_IN)?;
        if !matches!(question.qtype, Type::SOA | Type::AXFR | Type::IXFR) {
            return None;
        }
        let apex = Name::from_wire(question.name()).ok()?;
        let view = self.may_take(&apex).filter(|view| *view == self.view)?;
        let Some(Served::Zone(tree)) = self.world.given(view, &apex) else { return None };
        if self.world.is_taken(&apex) {
            return self.world.expiries.left(&apex, self.unix_seconds);
        }
        // RFC 7314 §4: a primary tells what its SOA says.
        let soa = tree.soa()?;
        let rdata = soa.first()?;
        let at = rdata.len().checked_sub(SOA_NUMBERS_BYTES)? + 12;
        rdata.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// The zones that this question is answered from: only those who may take a catalog get an answer of it.
    pub(super) fn zones_for(&self, name: &[u8]) -> &'w View {
        let is_given = || Name::from_wire(name).is_ok_and(|apex| self.may_take(&apex) == Some(self.view));
        match self.world.is_catalog(self.view, name) && is_given() {
            true => self.world.catalogs(self.view),
            false => self.world.view(self.view),
        }
    }

    /// The changes since the client's version, if they are known and shorter; else the whole zone.
    fn plan(&self, tree: &Tree, (view, apex, serial): (Which, &Name, u32)) -> (TransferKind, Vec<Part>) {
        let whole = || (TransferKind::Whole, vec![Part::Soa, Part::Zone, Part::Soa]);
        let is_incremental = self.message.question.as_ref().is_some_and(|it| it.qtype == Type::IXFR);
        let Some(theirs) = self.message.soa_serial.filter(|_| is_incremental) else { return whole() };
        // RFC 1995 §2: a client whose version is as new gets the SOA alone.
        if !is_newer(serial, theirs) {
            return (TransferKind::Current, vec![Part::Soa]);
        }
        let Some(deltas) = self.world.versions.between(view, apex, theirs, serial) else { return whole() };
        // A record that is gone may have had a mark that published it.
        let is_hidden =
            view == Which::Public && deltas.iter().any(|delta| holds_hidden(delta, &self.world.guard));
        if is_hidden || deltas.iter().map(|delta| delta.bytes).sum::<usize>() >= tree.bytes() {
            return whole();
        }
        let changes = deltas.iter().map(|delta| Part::Changes(Arc::clone(delta)));
        (TransferKind::Changes, std::iter::once(Part::Soa).chain(changes).chain([Part::Soa]).collect())
    }
}

/// Whether a change names an address that is hidden by now.
fn holds_hidden(delta: &Delta, guard: &Guard) -> bool {
    delta.records.iter().any(|record| {
        let is_published =
            |address| Name::from_wire(&record.owner).is_ok_and(|owner| guard.publishes(&owner, address));
        let mut addresses = address::addresses(record.rtype, &record.rdata).into_iter();
        addresses.any(|address| address::hidden(address, &guard.private).is_some() && !is_published(address))
    })
}

impl Transfer {
    /// The messages that are still to come say that the client is to close its connection (TIMEOUT 0, RFC 7828 §3.3.2), as far as they
    /// have an OPT record. Each of a transfer may have one (RFC 5936 §2.2.5), and what it says of the connection holds from then on.
    pub fn tell_to_close(&mut self) {
        if let Some(closing) = self.closing.take() {
            self.opt = closing;
        }
    }

    /// Puts the next message into `out`, and says what comes after it.
    pub fn next(&mut self, unix_seconds: u64, out: &mut Vec<u8>) -> Next {
        let mut page = self.page(out);
        let is_done = loop {
            let Some(part) = self.parts.get(self.part) else { break true };
            let is_whole = match part {
                Part::Soa => put_soa(&self.tree, &mut page),
                Part::Zone => put_zone(&self.tree, &mut self.at, &mut page),
                Part::Changes(delta) => put_changes(delta, &mut self.at, &mut page),
            };
            if !is_whole {
                break false;
            }
            (self.part, self.at) = (self.part + 1, Cursor::default());
        };
        if page.records == 0 {
            return Next::TooLong;
        }
        let records = page.records;
        encode::set_count(out, Count::Answers, records);
        self.close(Rcode::NoError, unix_seconds, out);
        match &self.guard {
            Some(guard) if guard::inspect(out, guard).is_err() => Next::Stopped,
            _ if is_done => Next::Done,
            _ => Next::More,
        }
    }

    /// The answer of a server that has too many transfers under way.
    pub fn busy(mut self, unix_seconds: u64, out: &mut Vec<u8>) {
        let _ = self.page(out);
        self.close(Rcode::ServFail, unix_seconds, out);
    }

    /// RFC 5936 §2.2.1: the question is in the first message; the others need none.
    fn page<'o>(&self, out: &'o mut Vec<u8>) -> Page<'o> {
        out.clear();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        let mut names = Names::new();
        if self.is_first {
            let (name, rest) =
                self.question.split_at(self.question.len().saturating_sub(QUESTION_FIXED_BYTES));
            names.write(&name.to_ascii_lowercase(), out);
            out.extend_from_slice(rest);
            encode::set_count(out, Count::Questions, 1);
        }
        let tail = self.opt.len() + self.signer.as_ref().map_or(0, Signer::bytes);
        Page { names, full: FULL_BYTES - tail, most: MOST_BYTES - tail, records: 0, out }
    }

    fn close(&mut self, rcode: Rcode, unix_seconds: u64, out: &mut Vec<u8>) {
        if self.is_first {
            out[HEADER_BYTES..HEADER_BYTES + self.question.len()].copy_from_slice(&self.question);
        }
        if !self.opt.is_empty() {
            out.extend_from_slice(&self.opt);
            encode::count_one_additional(out);
        }
        encode::finish(self.header, Flags { rcode, authoritative: true, truncated: false }, out);
        if let Some(signer) = &mut self.signer {
            signer.sign(out, SignedError::None, unix_seconds);
        }
        self.is_first = false;
    }
}

/// Type and class.
const QUESTION_FIXED_BYTES: usize = 4;

/// A message that is being filled.
struct Page<'o> {
    names: Names,
    out: &'o mut Vec<u8>,
    /// Where it is full, and where a message ends.
    full: usize,
    most: usize,
    records: u16,
}

impl Page<'_> {
    /// Adds a record; none of it if there is no room. The first one may make the message longer than others.
    fn put(&mut self, owner: &[u8], (rtype, ttl): (Type, u32), rdata: &[u8]) -> bool {
        let start = self.out.len();
        encode::write_record((owner, rtype, ttl), rdata, &mut self.names, self.out);
        let limit = if self.records == 0 { self.most } else { self.full };
        if self.out.len() > limit || self.records == u16::MAX {
            self.out.truncate(start);
            self.names.forget_from(start);
            return false;
        }
        self.records += 1;
        true
    }
}

fn put_soa(tree: &Tree, page: &mut Page<'_>) -> bool {
    let soa = tree.soa();
    let Some((set, rdata)) = soa.as_ref().and_then(|set| Some((set, set.first()?))) else { return true };
    page.put(tree.apex().as_wire(), (set.rtype, set.ttl), rdata)
}

fn put_zone(tree: &Tree, at: &mut Cursor, page: &mut Page<'_>) -> bool {
    while let Some(node) = tree.nth(at.node) {
        for set in node.sets().skip(at.set) {
            let is_soa = set.rtype == Type::SOA;
            for rdata in set.rdatas().skip(at.rdata).filter(|_| !is_soa) {
                if !page.put(node.name(), (set.rtype, set.ttl), rdata) {
                    return false;
                }
                at.rdata += 1;
            }
            (at.set, at.rdata) = (at.set + 1, 0);
        }
        (at.node, at.set) = (at.node + 1, 0);
    }
    true
}

fn put_changes(delta: &Delta, at: &mut Cursor, page: &mut Page<'_>) -> bool {
    while let Some(record) = delta.records.get(at.node) {
        if !page.put(&record.owner, (record.rtype, record.ttl), &record.rdata) {
            return false;
        }
        at.node += 1;
    }
    true
}

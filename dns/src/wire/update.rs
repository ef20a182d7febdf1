//! Updates (RFC 2136): read once their sender has proved a key that may change something, and answered when they are done.
//!
//! Invariant: all others get the same answer, whatever the zone, the prerequisites and the changes (D14, D18).

use super::arrived::{name_at, written_out};
use super::encode::{self, Count, Flags};
use super::query::{Counts, HEADER_BYTES, Header, Reader, Verdict};
use super::signature::Signature;
use super::{CLASS_IN, Content, Draft, Exchange, Moment, query};
use crate::client::Client;
use crate::name::Name;
use crate::rcode::Rcode;
use crate::rtype::Type;
use crate::small_bytes::SmallBytes;
use crate::tsig::{SignedError, Signer};
use crate::update::{Item, Request, Rights};
use crate::view::Which;
use crate::world::World;

/// An update whose sender may change something in the zone.
#[derive(Debug)]
pub struct Submitted {
    /// None if it is malformed.
    pub request: Option<Request>,
    /// The zone.
    pub apex: Name,
    /// The key that was proved.
    pub key: Name,
    /// Its view.
    pub view: Which,
    header: Header,
    question: Box<[u8]>,
    opt: Vec<(Rcode, Vec<u8>)>,
    signer: Signer,
}

/// The codes that an update can be answered with.
const OUTCOMES: [Rcode; 9] = [
    Rcode::NoError,
    Rcode::FormErr,
    Rcode::ServFail,
    Rcode::NxDomain,
    Rcode::Refused,
    Rcode::YxDomain,
    Rcode::YxRrset,
    Rcode::NxRrset,
    Rcode::NotZone,
];

/// The update that a message is, if it is one and its sender may change something in its zone. All others get an answer.
pub fn submitted(world: &World, packet: &[u8], client: &Client, now: Moment) -> Option<Submitted> {
    if world.protocol.updates.is_empty() || !query::is_update(packet) {
        return None;
    }
    let message = query::read(packet).ok().filter(|message| message.verdict == Verdict::Update)?;
    let signature = Signature::of(&message, &world.protocol.keys, now);
    let exchange = Exchange::new(world, signature, &message, client, now);
    if !exchange.has_good_cookie() {
        return None;
    }
    let apex = exchange.may_update()?;
    let Signature::Good(signer) = &exchange.signature else { return None };
    let question = message.question.as_ref()?;
    let opt = |rcode: Rcode| {
        let mut bytes = Vec::new();
        if let Some(edns) = &message.edns {
            exchange.opt(edns, None).write(rcode, &mut bytes);
        }
        (rcode, bytes)
    };
    Some(Submitted {
        request: sections(packet, &apex),
        key: signer.key().name.clone(),
        view: exchange.view,
        header: message.header,
        question: question.wire.into(),
        opt: if message.edns.is_some() { OUTCOMES.map(opt).to_vec() } else { Vec::new() },
        signer: signer.clone(),
        apex,
    })
}

impl<'w: 'm, 'm> Exchange<'w, 'm> {
    /// The answer to an update that changes nothing.
    pub(super) fn answer_to_update(&self) -> Draft<'w, 'm> {
        if self.world.protocol.updates.is_empty() {
            return Draft { content: Content::HeaderOnly, ..Draft::without_data(Rcode::NotImp, None) };
        }
        Draft::without_data(self.signature.refusal().unwrap_or(Rcode::Refused), None)
    }

    /// The zone, if its sender has proved a key that may change something in it, and the key's view has it.
    fn may_update(&self) -> Option<Name> {
        let Signature::Good(signer) = &self.signature else { return None };
        let question =
            self.message.question.as_ref().filter(|it| it.qclass == CLASS_IN && it.qtype == Type::SOA)?;
        let apex = Name::from_wire(question.name()).ok()?;
        let is_there = self.world.view(self.view).zones.has_apex(apex.as_wire());
        let may = Rights::of(&self.world.protocol.updates, &apex, &signer.key().name).is_some();
        (may && is_there && !self.world.is_taken(&apex)).then_some(apex)
    }
}

/// The prerequisites and the changes; none if they have no form.
fn sections(packet: &[u8], apex: &Name) -> Option<Request> {
    let (fixed, body) = packet.split_first_chunk::<HEADER_BYTES>()?;
    let counts = Counts::of(fixed);
    let mut reader = Reader { rest: body };
    reader.name()?;
    reader.take(4)?;
    let mut read = |count: u16| (0..count).map(|_| item(packet, &mut reader)).collect::<Option<Vec<Item>>>();
    let (prerequisites, updates) = (read(counts.answers)?, read(counts.authorities)?);
    Some(Request { apex: apex.clone(), prerequisites, updates })
}

fn item(packet: &[u8], reader: &mut Reader<'_>) -> Option<Item> {
    let start = packet.len() - reader.rest.len();
    let came = reader.record()?;
    let owner = name_at(packet, start)?;
    let rdata_at = packet.len() - reader.rest.len() - came.rdata.len();
    let rdata: SmallBytes = match came.rdata {
        [] => [].into(),
        rdata => written_out(came.rtype, packet, (rdata_at, rdata.len()))?.into(),
    };
    Some(Item { owner, rtype: came.rtype, class: came.class, ttl: u32::from_be_bytes(came.ttl), rdata })
}

impl Submitted {
    /// The answer: the zone section goes back, and it is signed (RFC 2136 §3.8, RFC 8945 §5.3).
    pub fn answer(mut self, rcode: Rcode, unix_seconds: u64) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        out.extend_from_slice(&self.question);
        encode::set_count(&mut out, Count::Questions, 1);
        if let Some((_, opt)) = self.opt.iter().find(|(of, _)| *of == rcode) {
            out.extend_from_slice(opt);
            encode::count_one_additional(&mut out);
        }
        encode::finish(self.header, Flags { rcode, authoritative: false, truncated: false }, &mut out);
        self.signer.sign(&mut out, SignedError::None, unix_seconds);
        out
    }
}

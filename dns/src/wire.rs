//! From the bytes of a message to the bytes of its answer, for every transport: truncation, the egress guard, and
//! silence as an explicit outcome.
//!
//! ```text
//! bytes ─▶ query ─▶ view ─▶ answer ─▶ limit ─▶ encode ─▶ guard ─▶ bytes
//! ```
//!
//! Invariant: a response is never answered, so two servers cannot talk for ever (CVE-2024-2169).
//! Invariant: nothing of a message but its question reaches [`answer`]; no option of the client's picks data.

pub mod arrived;
pub mod guard;
pub mod ttl;

mod cut;
mod direct;
mod encode;
mod names;
mod notice;
mod opt;
mod outcome;
mod padding;
mod query;
mod signature;
mod subnet;
#[cfg(test)]
pub(crate) mod tests;
mod transfer;
mod update;

use std::time::Instant;

use crate::answer::{self, Answer, Class, Kind, Query};
use crate::client::{Client, Transport};
use crate::cookie::{Full, Proof, Secrets};
use crate::limit::{self, Limits, Pace, Source};
use crate::name::Name;
use crate::rcode::Rcode;
use crate::rtype::Type;
use crate::steer::Asker;
use crate::view::{View, Which};
use crate::world::World;
pub use cut::cut;
use encode::{Fit, Flags};
use names::Names;
pub(crate) use notice::{Noticed, noticed};
use opt::{ExtendedError, Opt};
pub use outcome::{Gist, Guarded, Outcome, Sent, Why};
pub(crate) use query::tsig_of;
use query::{Edns, Message, NotForUs, Verdict};
use signature::Signature;
use subnet::Subnet;
pub use transfer::{About, Denied, Next, Transfer, TransferKind, transfer};
pub use update::{Submitted, submitted};

/// The time, by both clocks that answers need.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For rates: never goes back.
    pub instant: Instant,
    /// Seconds since 1970, for the timestamps of server cookies (RFC 9018 §4.3).
    pub unix_seconds: u64,
}

/// Answers one message; `out` is overwritten with what to send.
///
/// Whatever the bytes are, this returns: it does not panic, its time is bounded by the size of the packet and of the
/// answer, and what it sends is never larger than the transport and the client allow.
pub fn respond<'w>(
    world: &'w World,
    limits: &mut Limits,
    packet: &[u8],
    client: &Client,
    now: Moment,
    out: &mut Vec<u8>,
) -> Outcome<'w> {
    out.clear();
    if client.transport == Transport::Udp && is_reflection_port(client.port) {
        return Outcome::Silent(Why::ReflectionPort);
    }
    let message = match query::read(packet) {
        Ok(message) => message,
        Err(NotForUs::TooShort) => return Outcome::Silent(Why::TooShort),
        Err(NotForUs::Response) => return Outcome::Silent(Why::NotAQuery),
    };
    if client.transport == Transport::Quic && !message.fits_quic() {
        return Outcome::Silent(Why::NotOverQuic);
    }
    let signature = Signature::of(&message, &world.protocol.keys, now);
    let exchange = Exchange::new(world, signature, &message, client, now);
    if let Some(outcome) = exchange.answer_directly(limits, now, out) {
        return outcome;
    }
    exchange.answer_by_draft(limits, now, out)
}

/// The name and the type that a message asks for; none if it is no question, or cannot be read.
pub(crate) fn asked(packet: &[u8]) -> Option<(Name, Type)> {
    let question = query::read(packet).ok()?.question?;
    Some((Name::from_wire(question.name()).ok()?, question.qtype))
}

/// Source ports that answer whatever they are sent, and the one that nobody can send from (CVE-2024-2169): echo,
/// discard, daytime, quote of the day, character generator, time.
fn is_reflection_port(port: u16) -> bool {
    matches!(port, 0 | 7 | 9 | 13 | 17 | 19 | 37)
}

/// Everything that is known of one question once it has been read.
struct Exchange<'w, 'm> {
    world: &'w World,
    view: Which,
    message: &'m Message<'m>,
    client: &'m Client,
    cookie: Option<(Proof, Full)>,
    signature: Signature,
    subnet: Option<Subnet>,
    /// The client subnet that a believed resolver sent makes no sense (RFC 7871 §7.1.2).
    has_bad_subnet: bool,
    unix_seconds: u64,
}

/// The reply before it is bytes.
struct Draft<'w, 'm> {
    rcode: Rcode,
    error: Option<ExtendedError>,
    truncated: bool,
    content: Content<'w, 'm>,
}

enum Content<'w, 'm> {
    /// The header and OPT.
    HeaderOnly,
    /// Question, OPT and TSIG, but no data.
    NoData,
    /// The view's answer.
    Answer(Answer<'w, 'm>),
}

impl Draft<'_, '_> {
    fn without_data(rcode: Rcode, error: Option<ExtendedError>) -> Self {
        Self { rcode, error, truncated: false, content: Content::NoData }
    }

    /// Nothing but "come back by TCP", where the address cannot be forged.
    fn slipped(&self) -> Self {
        Self { truncated: true, ..Self::without_data(Rcode::NoError, None) }
    }

    fn gist(&self) -> Gist {
        match &self.content {
            Content::Answer(answer) => Gist::Answer(answer.kind),
            // Whether an answer is too long is found out as it is written.
            Content::NoData if self.truncated => Gist::Slipped,
            Content::HeaderOnly | Content::NoData => Gist::Other,
        }
    }
}

impl<'w: 'm, 'm> Exchange<'w, 'm> {
    #[inline]
    fn new(
        world: &'w World,
        signature: Signature,
        message: &'m Message<'m>,
        client: &'m Client,
        now: Moment,
    ) -> Self {
        let view = signature.view(&world.access, client);
        let judge =
            |cookie: &[u8], secrets: &Secrets| secrets.judge(cookie, client.real_address(), now.unix_seconds);
        let edns = message.edns.as_ref();
        let cookie = edns
            .filter(|edns| opt::is_cookie_length(edns))
            .and_then(|edns| edns.cookie)
            .zip(world.protocol.cookies.as_ref())
            .map(|(cookie, secrets)| judge(cookie, secrets));
        // V1: the view is chosen, and nothing of this can change it.
        let believed = || world.view(view).pools.believes(client.real_address());
        let said = edns.filter(|edns| edns.version == 0).and_then(|edns| edns.subnet).filter(|_| believed());
        let subnet = said.and_then(subnet::read);
        let has_bad_subnet = said.is_some() && subnet.is_none();
        let unix_seconds = now.unix_seconds;
        Self { world, view, message, client, cookie, signature, subnet, has_bad_subnet, unix_seconds }
    }

    /// The plain pipeline: every answer there is.
    fn answer_by_draft(&self, limits: &mut Limits, now: Moment, out: &mut Vec<u8>) -> Outcome<'w> {
        let draft = self.decide();
        let (category, zone, synthesized) = match &draft.content {
            Content::Answer(answer) => (limit::Category::of(answer.kind), answer.zone, answer.synthesized),
            Content::HeaderOnly | Content::NoData => (limit::Category::Error, None, None),
        };
        match self.pace(limits, category, (zone, synthesized), now) {
            Pace::Send => self.send(&draft, out),
            // "Come back by TCP" is an answer to a question only; to another operation it would say that it was done.
            Pace::Slip if self.message.verdict == Verdict::Ask => self.send(&draft.slipped(), out),
            Pace::Slip | Pace::Drop => Outcome::Silent(Why::RateLimited),
        }
    }

    /// The usual answers, written without a draft; the same bytes as the plain pipeline's.
    fn answer_directly(&self, limits: &mut Limits, now: Moment, out: &mut Vec<u8>) -> Option<Outcome<'w>> {
        let question = self.message.question.as_ref().filter(|question| question.qclass == CLASS_IN)?;
        if self.message.verdict != Verdict::Ask || !self.has_good_cookie() || self.has_bad_subnet {
            return None;
        }
        let mut opt = self.message.edns.as_ref().map(|edns| self.opt(edns, None));
        let room = self.limit_bytes().saturating_sub(opt.as_ref().map_or(0, Opt::bytes));
        let view = self.world.view(self.view);
        let written = direct::write(view, self.asker_of(view), self.message, question, room, out)?;
        let from = (written.zone, written.synthesized);
        match self.pace(limits, limit::Category::of(written.kind), from, now) {
            Pace::Send => {}
            Pace::Slip => return Some(self.send(&Draft::without_data(Rcode::NoError, None).slipped(), out)),
            Pace::Drop => {
                out.clear();
                return Some(Outcome::Silent(Why::RateLimited));
            }
        }
        opt.iter_mut().for_each(|opt| opt.set_scope(written.scope));
        let rcode = written.kind.rcode();
        let flags = Flags { rcode, authoritative: written.authoritative, truncated: false };
        self.close(opt.as_ref(), flags, out);
        let sent = Sent { zone: written.zone, gist: Gist::Answer(written.kind), ..self.sent(rcode) };
        Some(Outcome::Sent(self.guarded(sent, out)))
    }

    /// The client, as pools see it.
    fn asker_of(&self, view: &View) -> Asker {
        if view.pools.is_empty() {
            return Asker::default();
        }
        match self.subnet {
            // A resolver that tells nothing of its client asks for itself (RFC 7871 §7.1.2).
            Some(Subnet { address, source: 1.. }) => Asker { address, is_subnet: true },
            _ => Asker::at(self.client.real_address()),
        }
    }

    fn has_good_cookie(&self) -> bool {
        self.world.protocol.cookies.is_none() || self.message.edns.as_ref().is_none_or(opt::is_cookie_length)
    }

    /// All branches of a question.
    fn decide(&self) -> Draft<'w, 'm> {
        let cookies_known = self.world.protocol.cookies.is_some();
        match self.message.verdict {
            Verdict::NotImp => {
                Draft { content: Content::HeaderOnly, ..Draft::without_data(Rcode::NotImp, None) }
            }
            Verdict::FormErr => Draft::without_data(Rcode::FormErr, None),
            Verdict::BadVers => Draft::without_data(Rcode::BadVers, None),
            _ if !self.has_good_cookie() || self.has_bad_subnet => Draft::without_data(Rcode::FormErr, None),
            Verdict::CookieOnly if cookies_known => Draft::without_data(Rcode::NoError, None),
            Verdict::CookieOnly => Draft::without_data(Rcode::FormErr, None),
            Verdict::Ask => self.ask(),
            Verdict::Notify => self.answer_to_notice(),
            Verdict::Update => self.answer_to_update(),
            Verdict::Signed => match self.signature.refusal() {
                Some(rcode) => Draft::without_data(rcode, None),
                None => self.ask(),
            },
        }
    }

    fn ask(&self) -> Draft<'w, 'm> {
        let Some(question) = &self.message.question else {
            return Draft::without_data(Rcode::FormErr, None);
        };
        let qclass = match question.qclass {
            CLASS_IN => Class::In,
            CLASS_ANY => Class::Any,
            // CHAOS is where servers tell their names and versions (S1).
            _ => return Draft::without_data(Rcode::Refused, Some(ExtendedError::Unsupported)),
        };
        let qtype = match question.qtype {
            // RFC 1995 §2: by UDP, the SOA says whether there is more to come for.
            Type::IXFR if self.may_ask_for_serial(question.name()) => Type::SOA,
            // Whether the zone exists makes no difference (D17, D14).
            Type::AXFR | Type::IXFR => {
                return Draft::without_data(Rcode::Refused, Some(ExtendedError::Unsupported));
            }
            other => other,
        };
        let dnssec_ok = self.message.edns.as_ref().is_some_and(|edns| edns.dnssec_ok);
        let view = self.zones_for(question.name());
        let query = Query { qname: question.name(), qtype, qclass, dnssec_ok, asker: self.asker_of(view) };
        let answer = answer::answer(view, query);
        let error = match answer.kind {
            Kind::NoZone => Some(ExtendedError::Elsewhere),
            Kind::BrokenZone | Kind::Undecided => Some(ExtendedError::Unready),
            _ => None,
        };
        Draft { rcode: answer.rcode, error, truncated: false, content: Content::Answer(answer) }
    }

    /// Only what a forged source could ask for is limited: UDP without a cookie of ours (RFC 7873 §7.1) or a signature.
    /// Insiders are known where nobody else asks (V5), and a flood to this machine itself harms nobody else.
    /// The answer is from a zone, and from an owner there that may stand for more names than the one asked for.
    fn pace(
        &self,
        limits: &mut Limits,
        category: limit::Category,
        (zone, synthesized): (Option<&Name>, Option<&[u8]>),
        now: Moment,
    ) -> Pace {
        let proved =
            matches!(self.cookie, Some((Proof::Proved, _))) || matches!(self.signature, Signature::Good(_));
        let is_known = self.view == Which::Internal && !self.world.access.is_shared;
        let is_exempt = proved || is_known || self.client.real_address().is_loopback();
        if self.client.transport != Transport::Udp || is_exempt || limits.are_none() {
            return Pace::Send;
        }
        let asked = || self.message.question.as_ref().map_or(&[][..], |question| question.name());
        let name = synthesized.unwrap_or_else(asked);
        let network = self.client.real_address();
        let source = Source { network, category, name, zone: zone.map(Name::as_wire) };
        limits.pace(&source, now.instant)
    }

    fn send(&self, draft: &Draft<'w, '_>, out: &mut Vec<u8>) -> Outcome<'w> {
        let sent = self.write(draft, out);
        match draft.content {
            Content::Answer(_) => Outcome::Sent(self.guarded(sent, out)),
            Content::HeaderOnly | Content::NoData => Outcome::Sent(sent),
        }
    }

    /// The reply that goes out after the egress guard has read an answer for the public view.
    fn guarded(&self, mut sent: Sent<'w>, out: &mut Vec<u8>) -> Sent<'w> {
        if self.view == Which::Public {
            sent.guard = Guarded::Clean;
            if guard::inspect(out, &self.world.guard).is_err() {
                sent = self.write(&Draft::without_data(Rcode::ServFail, None), out);
                sent.guard = Guarded::Stopped;
            }
        }
        sent
    }

    fn sent(&self, rcode: Rcode) -> Sent<'w> {
        Sent {
            view: self.view,
            zone: None,
            qtype: self.message.question.as_ref().map(|question| question.qtype),
            rcode,
            gist: Gist::Other,
            truncated: false,
            guard: Guarded::NotNeeded,
            cookie: self.cookie.map(|(proof, _)| proof),
        }
    }

    fn write(&self, draft: &Draft<'w, '_>, out: &mut Vec<u8>) -> Sent<'w> {
        let mut sent = Sent { gist: draft.gist(), truncated: draft.truncated, ..self.sent(draft.rcode) };
        let mut opt = self.message.edns.as_ref().map(|edns| self.opt(edns, draft.error));
        if matches!(draft.content, Content::HeaderOnly) {
            encode::header_only(self.message.header, draft.rcode, out);
            self.write_tail(opt.as_ref(), draft.rcode, out);
            self.signature.sign(self.message.tsig.as_ref(), self.unix_seconds, out);
            return sent;
        }
        let signature_bytes = self.signature.bytes(self.message.tsig.as_ref());
        let tail_bytes = opt.as_ref().map_or(0, Opt::bytes) + signature_bytes;
        let mut names = Names::new();
        encode::begin(self.message, &mut names, out);
        let mut authoritative = false;
        if let Content::Answer(answer) = &draft.content {
            authoritative = answer.authoritative;
            opt.iter_mut().for_each(|opt| opt.set_scope(answer.scope));
            sent.zone = answer.zone;
            let room = self.limit_bytes().saturating_sub(tail_bytes);
            sent.truncated |= encode::sections(answer, room, &mut names, out) == Fit::Cut;
        }
        encode::restore_letters(self.message, out);
        self.close(opt.as_ref(), Flags { rcode: draft.rcode, authoritative, truncated: sent.truncated }, out);
        sent
    }

    /// All that comes behind the RRsets, and the header.
    fn close(&self, opt: Option<&Opt<'_>>, flags: Flags, out: &mut Vec<u8>) {
        self.write_tail(opt, flags.rcode, out);
        encode::finish(self.message.header, flags, out);
        if let Some(opt) = opt.filter(|_| self.wants_padding()) {
            padding::pad(opt.bytes(), out);
        }
        // It covers all of the message, so it comes last (RFC 8945 §5.1).
        self.signature.sign(self.message.tsig.as_ref(), self.unix_seconds, out);
    }

    #[inline]
    fn write_tail(&self, opt: Option<&Opt<'_>>, rcode: Rcode, out: &mut Vec<u8>) {
        if let Some(opt) = opt {
            opt.write(rcode, out);
            encode::count_one_additional(out);
        }
    }

    /// Only who pads is padded for, and only where nobody else can read (RFC 7830 §4, §6). Signed messages are not: the
    /// TSIG stands behind OPT.
    fn wants_padding(&self) -> bool {
        let asked = self.message.edns.as_ref().is_some_and(|edns| edns.padded && edns.version == 0);
        asked && self.client.transport.is_encrypted() && self.message.tsig.is_none()
    }

    fn opt(&self, edns: &Edns<'_>, error: Option<ExtendedError>) -> Opt<'w> {
        let protocol = &self.world.protocol;
        let opt = Opt { error, ..Opt::bare(protocol.udp_limit_bytes, edns.dnssec_ok) };
        // Each option answers one of the client's, but for the word that it is to close.
        if !edns.has_options && !self.client.is_to_close {
            return opt;
        }
        Opt {
            nsid: protocol.nsid.as_deref().filter(|_| edns.wants_nsid && edns.version == 0),
            cookie: self.cookie.map(|(_, cookie)| cookie).filter(|_| edns.version == 0),
            keepalive: opt::keepalive(edns, self.client, protocol.idle_timeout),
            expire: self.expire(edns),
            subnet: self.subnet.map(|subnet| (subnet, 0)),
            ..opt
        }
    }

    /// RFC 1035 §4.2, RFC 6891 §6.2.3: what transport, client and operator all allow.
    fn limit_bytes(&self) -> usize {
        match (self.client.transport, &self.message.edns) {
            (transport, _) if transport != Transport::Udp => usize::from(u16::MAX),
            (_, None) => usize::from(MIN_UDP_BYTES),
            (_, Some(edns)) => {
                let ours = self.world.protocol.udp_limit_bytes.max(MIN_UDP_BYTES);
                usize::from(edns.udp_bytes.clamp(MIN_UDP_BYTES, ours))
            }
        }
    }
}

const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;
/// Every client takes this much (RFC 1035 §4.2.1, RFC 6891 §6.2.3).
const MIN_UDP_BYTES: u16 = 512;

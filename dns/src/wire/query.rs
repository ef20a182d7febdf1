//! Reading a message that claims to be a query: by hand, strictly, without a copy.
//!
//! Invariant: every byte is reached through a bounds check, and each name is walked forward only; a pointer is refused
//! in the question and merely skipped elsewhere, so nothing can loop (RFC 9267).

use crate::name::{MAX_LABEL_BYTES, MAX_NAME_BYTES, Name};
use crate::rtype::Type;
use crate::transfer::SOA_NUMBERS_BYTES;
use crate::tsig::Tsig;

/// Bytes of a header (RFC 1035 §4.1.1).
pub(crate) const HEADER_BYTES: usize = 12;

/// A message as far as it could be read.
#[derive(Clone, Debug)]
pub(super) struct Message<'p> {
    pub(super) header: Header,
    pub(super) question: Option<Question<'p>>,
    pub(super) edns: Option<Edns<'p>>,
    pub(super) tsig: Option<Tsig<'p>>,
    /// The serial of a SOA record behind the question: the version that a secondary has (RFC 1995 §3).
    pub(super) soa_serial: Option<u32>,
    pub(super) verdict: Verdict,
}

/// The reply that the form of a message calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A question to answer.
    Ask,
    /// No question but a cookie: only the cookie goes back (RFC 7873 §5.4).
    CookieOnly,
    /// Malformed.
    FormErr,
    /// An operation that is not QUERY.
    NotImp,
    /// An EDNS version that we do not speak.
    BadVers,
    /// Signed: whether by a key of ours is not judged here.
    Signed,
    /// A notice of change (RFC 1996), signed or not.
    Notify,
    /// A change (RFC 2136), signed or not.
    Update,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) id: [u8; 2],
    pub(super) opcode: u8,
    pub(super) recursion_desired: bool,
    pub(super) checking_disabled: bool,
}

/// A question (RFC 1035 §4.1.2).
#[derive(Clone, Debug)]
pub(super) struct Question<'p> {
    lower: [u8; MAX_NAME_BYTES],
    name_bytes: usize,
    /// As it came: letters, type and class.
    pub(super) wire: &'p [u8],
    pub(super) qtype: Type,
    pub(super) qclass: u16,
}

impl Question<'_> {
    /// The name in lower case.
    pub(super) fn name(&self) -> &[u8] {
        &self.lower[..self.name_bytes]
    }
}

/// The content of an OPT record (RFC 6891 §6.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Edns<'p> {
    pub(super) udp_bytes: u16,
    pub(super) version: u8,
    pub(super) dnssec_ok: bool,
    pub(super) has_options: bool,
    pub(super) wants_nsid: bool,
    /// The edns-tcp-keepalive option is there (RFC 7828).
    pub(super) keepalive: bool,
    /// The padding option is there (RFC 7830).
    pub(super) padded: bool,
    /// The EXPIRE option is there (RFC 7314).
    pub(super) wants_expire: bool,
    /// The data of the first client subnet option (RFC 7871); who may speak for others is not judged here.
    pub(super) subnet: Option<&'p [u8]>,
    /// The data of the first COOKIE option.
    pub(super) cookie: Option<&'p [u8]>,
}

/// Why a message is not answered at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotForUs {
    TooShort,
    Response,
}

const OPTION_NSID: u16 = 3;
const OPTION_EXPIRE: u16 = 9;
const OPTION_SUBNET: u16 = 8;
const OPTION_COOKIE: u16 = 10;
const OPTION_KEEPALIVE: u16 = 11;
const OPTION_PADDING: u16 = 12;
const OPCODE_QUERY: u8 = 0;
const OPCODE_NOTIFY: u8 = 4;
const OPCODE_UPDATE: u8 = 5;

/// Reads a message; what it calls for is in its verdict.
#[inline]
pub(super) fn read(packet: &[u8]) -> Result<Message<'_>, NotForUs> {
    let (fixed, body) = packet.split_first_chunk::<HEADER_BYTES>().ok_or(NotForUs::TooShort)?;
    if fixed[2] & 0x80 != 0 {
        return Err(NotForUs::Response);
    }
    let header = Header {
        id: [fixed[0], fixed[1]],
        opcode: fixed[2] >> 3 & 0x0f,
        recursion_desired: fixed[2] & 0x01 != 0,
        checking_disabled: fixed[3] & 0x10 != 0,
    };
    let mut message = Message {
        header,
        question: None,
        edns: None,
        tsig: None,
        soa_serial: None,
        verdict: Verdict::NotImp,
    };
    let counts = Counts::of(fixed);
    if matches!(header.opcode, OPCODE_QUERY | OPCODE_NOTIFY | OPCODE_UPDATE) {
        message.verdict = message.read_body(&counts, packet).unwrap_or(Verdict::FormErr);
    }
    if matches!(message.verdict, Verdict::Ask | Verdict::Signed) {
        message.verdict = match header.opcode {
            OPCODE_NOTIFY => Verdict::Notify,
            OPCODE_UPDATE => Verdict::Update,
            _ => message.verdict,
        };
    }
    if matches!(message.verdict, Verdict::FormErr | Verdict::NotImp) && message.edns.is_none() {
        message.seek_opt(&counts, Reader { rest: body });
    }
    Ok(message)
}

pub(super) struct Counts {
    pub(super) questions: u16,
    pub(super) answers: u16,
    pub(super) authorities: u16,
    pub(super) additionals: u16,
}

impl Counts {
    pub(super) fn of(fixed: &[u8; HEADER_BYTES]) -> Self {
        let count = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        Self { questions: count(4), answers: count(6), authorities: count(8), additionals: count(10) }
    }
}

impl<'p> Message<'p> {
    /// None where something does not fit.
    #[inline]
    fn read_body(&mut self, counts: &Counts, packet: &'p [u8]) -> Option<Verdict> {
        let mut reader = Reader { rest: packet.get(HEADER_BYTES..)? };
        // A query has one question (RFC 9619), or none and a cookie.
        match counts.questions {
            0 => {}
            1 => reader.question(&mut self.question)?,
            _ => return None,
        }
        for _ in 0..u32::from(counts.answers) + u32::from(counts.authorities) {
            let record = reader.record()?;
            match record.rtype {
                Type::OPT | Type::TSIG => return None,
                Type::SOA => self.soa_serial = serial(record.rdata),
                _ => {}
            }
        }
        for left in (0..counts.additionals).rev() {
            let covered = packet.len() - reader.rest.len();
            let record = reader.record()?;
            match record.rtype {
                Type::OPT => self.read_opt(&record)?,
                Type::TSIG => self.read_tsig(&record, left, packet.get(..covered)?)?,
                _ => {}
            }
        }
        reader.rest.is_empty().then(|| self.judge())
    }

    /// Finds the OPT record of a message that is otherwise not understood: its answer has one, too (RFC 6891 §6.1.1). The
    /// sections of NOTIFY and UPDATE have the form of a query's; where something does not fit, there is none.
    fn seek_opt(&mut self, counts: &Counts, mut reader: Reader<'p>) -> Option<()> {
        for _ in 0..counts.questions {
            reader.name()?;
            reader.take(4)?;
        }
        for _ in 0..u32::from(counts.answers) + u32::from(counts.authorities) {
            reader.record()?;
        }
        for _ in 0..counts.additionals {
            let record = reader.record()?;
            if record.rtype == Type::OPT {
                return self.read_opt(&record);
            }
        }
        None
    }

    /// RFC 9250 §4.2.1: the stream tells questions apart, so the ID is 0; §5.5.2: no keepalive of TCP.
    pub(super) fn fits_quic(&self) -> bool {
        self.header.id == [0, 0] && !self.edns.is_some_and(|edns| edns.keepalive)
    }

    fn judge(&self) -> Verdict {
        match (&self.question, &self.edns) {
            (_, Some(edns)) if edns.version != 0 => Verdict::BadVers,
            (None, Some(edns)) if edns.cookie.is_some() => Verdict::CookieOnly,
            (None, _) => Verdict::FormErr,
            (Some(_), _) if self.tsig.is_some() => Verdict::Signed,
            (Some(_), _) => Verdict::Ask,
        }
    }

    /// One OPT at most, owned by the root (RFC 6891 §6.1.1).
    fn read_opt(&mut self, record: &Record<'p>) -> Option<()> {
        if self.edns.is_some() || record.owner != [0] {
            return None;
        }
        let [_rcode, version, flags, _reserved] = record.ttl;
        let mut edns = Edns {
            udp_bytes: record.class,
            version,
            dnssec_ok: flags & 0x80 != 0,
            has_options: !record.rdata.is_empty(),
            wants_nsid: false,
            keepalive: false,
            padded: false,
            wants_expire: false,
            subnet: None,
            cookie: None,
        };
        let options = read_options(&mut edns, record.rdata);
        self.edns = Some(edns);
        // The options of another version may have another form.
        if version == 0 { options } else { Some(()) }
    }

    /// TSIG comes last (RFC 8945 §5.1).
    fn read_tsig(&mut self, record: &Record<'p>, left: u16, covered: &'p [u8]) -> Option<()> {
        self.tsig = Some(tsig(record, covered).filter(|_| left == 0)?);
        Some(())
    }
}

/// Whether a message is a notice of change, or the answer to one.
pub(super) fn is_notify(packet: &[u8]) -> bool {
    packet.get(2).is_some_and(|flags| flags >> 3 & 0x0f == OPCODE_NOTIFY)
}

/// Whether a message is an update, or the answer to one.
pub(super) fn is_update(packet: &[u8]) -> bool {
    packet.get(2).is_some_and(|flags| flags >> 3 & 0x0f == OPCODE_UPDATE)
}

/// Whether a message may be a question for a zone as a whole: of the first question, without the checks of [`read`].
pub(super) fn asks_for_transfer(packet: &[u8]) -> bool {
    let question = packet.get(HEADER_BYTES..).unwrap_or_default();
    let qtype = crate::name::wire_len(question).and_then(|bytes| question.get(bytes..)?.first_chunk::<2>());
    qtype.is_some_and(|qtype| matches!(Type(u16::from_be_bytes(*qtype)), Type::AXFR | Type::IXFR))
}

/// Of a SOA, whose names may be pointers: the first of the five numbers at its end.
fn serial(soa: &[u8]) -> Option<u32> {
    let numbers = soa.len().checked_sub(SOA_NUMBERS_BYTES)?;
    soa[numbers..].first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The TSIG record at the end of a message, a question or an answer, if it has one.
pub(crate) fn tsig_of(packet: &[u8]) -> Option<Tsig<'_>> {
    let (fixed, body) = packet.split_first_chunk::<HEADER_BYTES>()?;
    let counts = Counts::of(fixed);
    let mut reader = Reader { rest: body };
    for _ in 0..counts.questions {
        reader.name()?;
        reader.take(4)?;
    }
    let all = [counts.answers, counts.authorities, counts.additionals].map(u32::from);
    for _ in 1..all.iter().sum() {
        reader.record()?;
    }
    let covered = packet.len() - reader.rest.len();
    let last = reader.record().filter(|last| last.rtype == Type::TSIG && reader.rest.is_empty())?;
    tsig(&last, packet.get(..covered)?)
}

/// A TSIG record that covers all bytes before it (RFC 8945 §4.2).
fn tsig<'p>(record: &Record<'p>, covered: &'p [u8]) -> Option<Tsig<'p>> {
    if record.class != 255 || record.ttl != [0; 4] {
        return None;
    }
    let mut rdata = Reader { rest: record.rdata };
    let algorithm = rdata.name()?;
    let time = *rdata.take(8)?.first_chunk()?;
    let mac_bytes = rdata.u16()?;
    let mac = rdata.take(usize::from(mac_bytes))?;
    let original_id = *rdata.take(2)?.first_chunk()?;
    let error = rdata.u16()?;
    let other_bytes = rdata.u16()?;
    let other = rdata.take(usize::from(other_bytes))?;
    // Some clients point at the zone's name in the question; only the algorithm is always written out (RFC 3597 §4).
    let key = written_out(record.owner, covered)?;
    let tsig = Tsig { key, algorithm, time, mac, original_id, error, other, covered };
    (rdata.rest.is_empty() && !ends_in_pointer(algorithm)).then_some(tsig)
}

fn read_options<'p>(edns: &mut Edns<'p>, rdata: &'p [u8]) -> Option<()> {
    let mut reader = Reader { rest: rdata };
    while !reader.rest.is_empty() {
        let code = reader.u16()?;
        let bytes = reader.u16()?;
        let data = reader.take(usize::from(bytes))?;
        match code {
            OPTION_NSID => edns.wants_nsid = true,
            // Only the first counts (RFC 7873 §4).
            OPTION_COOKIE if edns.cookie.is_none() => edns.cookie = Some(data),
            OPTION_SUBNET if edns.subnet.is_none() => edns.subnet = Some(data),
            OPTION_KEEPALIVE => edns.keepalive = true,
            OPTION_PADDING => edns.padded = true,
            OPTION_EXPIRE => edns.wants_expire = true,
            _ => {}
        }
    }
    Some(())
}

/// A name that stands behind `before`, which its pointers lead into, each further back (RFC 9267 §2).
fn written_out(name: &[u8], before: &[u8]) -> Option<Name> {
    let (mut rest, mut lowest, mut wire) = (name, before.len(), Vec::with_capacity(MAX_NAME_BYTES));
    loop {
        let len = *rest.first()?;
        if len >= 0xc0 {
            let target = usize::from(u16::from_be_bytes([len & 0x3f, *rest.get(1)?]));
            (rest, lowest) = (before.get(..lowest)?.get(target..).filter(|it| !it.is_empty())?, target);
            continue;
        }
        let (label, after) = rest.split_at_checked(1 + usize::from(len))?;
        wire.extend_from_slice(label);
        if len == 0 || wire.len() > MAX_NAME_BYTES {
            return Name::from_wire(&wire).ok();
        }
        rest = after;
    }
}

/// A skipped name that is not written out in full cannot be copied elsewhere.
fn ends_in_pointer(name: &[u8]) -> bool {
    name.len() >= 2 && name[name.len() - 2] >= 0xc0 && crate::name::wire_len(name) != Some(name.len())
}

pub(super) struct Record<'p> {
    pub(super) owner: &'p [u8],
    pub(super) rtype: Type,
    pub(super) class: u16,
    pub(super) ttl: [u8; 4],
    pub(super) rdata: &'p [u8],
}

pub(super) struct Reader<'p> {
    pub(super) rest: &'p [u8],
}

impl<'p> Reader<'p> {
    pub(super) fn take(&mut self, bytes: usize) -> Option<&'p [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let (value, rest) = self.rest.split_first_chunk::<2>()?;
        self.rest = rest;
        Some(u16::from_be_bytes(*value))
    }

    /// A name in full; there is nothing before the question that a pointer could point at.
    ///
    /// It is made where it will be: to move it would copy room for the longest name.
    fn question(&mut self, place: &mut Option<Question<'p>>) -> Option<()> {
        let name_bytes = crate::name::wire_len(self.rest)?;
        let wire = self.take(name_bytes + 4)?;
        let [.., t1, t2, c1, c2] = *wire else { return None };
        let (qtype, qclass) = (Type(u16::from_be_bytes([t1, t2])), u16::from_be_bytes([c1, c2]));
        let question = place.insert(Question { lower: [0; MAX_NAME_BYTES], name_bytes, wire, qtype, qclass });
        let lower = &mut question.lower[..name_bytes];
        lower.copy_from_slice(&wire[..name_bytes]);
        lower.make_ascii_lowercase();
        Some(())
    }

    /// A name, perhaps with a pointer at its end; it is skipped, not followed.
    pub(super) fn name(&mut self) -> Option<&'p [u8]> {
        let mut bytes = 0;
        loop {
            let len = *self.rest.get(bytes)?;
            bytes += match len {
                0 => 1,
                0xc0.. => 2,
                _ if usize::from(len) <= MAX_LABEL_BYTES => 1 + usize::from(len),
                _ => return None,
            };
            if bytes > MAX_NAME_BYTES {
                return None;
            }
            if len == 0 || len >= 0xc0 {
                return self.take(bytes);
            }
        }
    }

    pub(super) fn record(&mut self) -> Option<Record<'p>> {
        let owner = self.name()?;
        let rtype = Type(self.u16()?);
        let class = self.u16()?;
        let (ttl, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        let bytes = self.u16()?;
        let rdata = self.take(usize::from(bytes))?;
        Some(Record { owner, rtype, class, ttl: *ttl, rdata })
    }
}

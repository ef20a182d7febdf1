//! Questions to primaries, and the short answer to the first of them, by hickory-proto.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name as HickoryName, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable as _;

use crate::name::Name;
use crate::transfer::Asked;

/// The option that tells what is left of the server's own copy (RFC 7314 §2).
const EXPIRE: u16 = 9;
/// Bytes that a server may send by UDP; over a stream it means nothing, and some servers want to see one.
const UDP_BYTES: u16 = 1232;

/// A question of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Which version it has.
    Soa,
    /// A transfer.
    Zone(Asked),
}

/// The message that asks a primary.
pub(super) fn message(apex: &Name, question: Question, id: u16) -> Option<Vec<u8>> {
    let name = HickoryName::from_bytes(apex.as_wire()).ok()?;
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    let rtype = match question {
        Question::Soa => RecordType::SOA,
        Question::Zone(Asked::Whole) => RecordType::AXFR,
        Question::Zone(Asked::ChangesSince(_)) => RecordType::IXFR,
    };
    message.add_query(Query::query(name.clone(), rtype));
    if let Question::Zone(Asked::ChangesSince(serial)) = question {
        // RFC 1995 §3: of this SOA the serial alone counts.
        let root = HickoryName::root();
        let soa = SOA::new(root.clone(), root, serial, 0, 0, 0, 0);
        message.add_authority(Record::from_rdata(name, 0, RData::SOA(soa)));
    }
    if question == Question::Soa {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_BYTES);
        edns.options_mut().insert(EdnsOption::Unknown(EXPIRE, Vec::new()));
        message.set_edns(edns);
    }
    message.to_vec().ok()
}

/// A primary's version, and for how long its own copy is good, in seconds, if it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) serial: u32,
    pub(super) expire: Option<u32>,
}

/// Why an answer tells no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoVersion {
    /// It is no answer to the question.
    Other,
    /// It refuses.
    Rcode(u16),
    /// It does not speak for the zone.
    NotAuthoritative,
}

/// The version that an answer tells.
pub(super) fn version(answer: &[u8], apex: &Name, id: u16) -> Result<Version, NoVersion> {
    let message = Message::from_vec(answer).map_err(|_| NoVersion::Other)?;
    let metadata = &message.metadata;
    if metadata.id != id || metadata.message_type != MessageType::Response {
        return Err(NoVersion::Other);
    }
    match u16::from(metadata.response_code) {
        0 => {}
        rcode => return Err(NoVersion::Rcode(rcode)),
    }
    if !metadata.authoritative {
        return Err(NoVersion::NotAuthoritative);
    }
    let name = HickoryName::from_bytes(apex.as_wire()).map_err(|_| NoVersion::Other)?;
    let serial = message.answers.iter().filter(|record| record.name == name).find_map(|it| match &it.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    });
    let expire = message.edns.as_ref().and_then(|edns| match edns.option(EXPIRE.into()) {
        Some(EdnsOption::Unknown(_, bytes)) => bytes.as_slice().try_into().ok().map(u32::from_be_bytes),
        _ => None,
    });
    serial.map(|serial| Version { serial, expire }).ok_or(NoVersion::NotAuthoritative)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(change: impl Fn(&mut Message)) -> Vec<u8> {
        let name = HickoryName::from_ascii("ex.").unwrap();
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.metadata.authoritative = true;
        let soa = SOA::new(name.clone(), name.clone(), 42, 1, 2, 3, 4);
        message.add_answer(Record::from_rdata(name, 60, RData::SOA(soa)));
        change(&mut message);
        message.to_vec().unwrap()
    }

    fn expiring(bytes: &[u8]) -> Vec<u8> {
        answer(|message| {
            let mut edns = Edns::new();
            edns.options_mut().insert(EdnsOption::Unknown(EXPIRE, bytes.to_vec()));
            message.set_edns(edns);
        })
    }

    #[test]
    fn a_version_is_believed_of_who_speaks_for_the_zone() {
        let ex = Name::parse_absolute("ex").unwrap();
        let with = |expire| Ok(Version { serial: 42, expire });
        for (answer, expected) in [
            (answer(|_| {}), with(None)),
            (expiring(&[0, 0, 1, 0]), with(Some(256))),
            (expiring(&[]), with(None)),
            (answer(|it| it.metadata.id = 8), Err(NoVersion::Other)),
            (answer(|it| it.metadata.message_type = MessageType::Query), Err(NoVersion::Other)),
            (answer(|it| it.metadata.authoritative = false), Err(NoVersion::NotAuthoritative)),
            (answer(|it| it.answers.clear()), Err(NoVersion::NotAuthoritative)),
            (answer(|it| it.metadata.response_code = 5.into()), Err(NoVersion::Rcode(5))),
            (vec![0; 5], Err(NoVersion::Other)),
        ] {
            assert_eq!(version(&answer, &ex, 7), expected);
        }
        let other = Name::parse_absolute("other").unwrap();
        assert_eq!(version(&answer(|_| {}), &other, 7), Err(NoVersion::NotAuthoritative));
    }

    #[test]
    fn a_question_for_changes_tells_our_version() {
        let ex = Name::parse_absolute("ex").unwrap();
        let asked = message(&ex, Question::Zone(Asked::ChangesSince(0x0102_0304)), 7).unwrap();
        assert!(asked.windows(4).any(|bytes| bytes == [1, 2, 3, 4]));
        assert_eq!((asked[..4].to_vec(), asked[9]), (vec![0, 7, 0, 0], 1));
        let soa = message(&ex, Question::Soa, 7).unwrap();
        assert!(soa.ends_with(&[0, EXPIRE as u8, 0, 0]), "{soa:?}");
    }
}

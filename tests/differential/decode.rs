//! A response as sets, by a decoder that shares nothing with verge-dns.

use std::collections::BTreeSet;
use std::fmt;

/// One record, names lower-cased and uncompressed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) owner: String,
    pub(crate) rtype: u16,
    pub(crate) ttl: u32,
    pub(crate) rdata: String,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} TYPE{} {}", self.owner, self.ttl, self.rtype, self.rdata)
    }
}

/// A server's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Whether the question came back as it was asked, letter case included.
    pub(crate) echoes: bool,
    pub(crate) rcode: u8,
    pub(crate) authoritative: bool,
    /// Whether the answer over UDP was cut; the records are then those of the answer over TCP.
    pub(crate) truncated: bool,
    /// Bytes of the answer over UDP.
    pub(crate) bytes: usize,
    pub(crate) answer: BTreeSet<Record>,
    pub(crate) authority: BTreeSet<Record>,
    pub(crate) additional: BTreeSet<Record>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aa = if self.authoritative { " aa" } else { "" };
        let tc = if self.truncated { " tc" } else { "" };
        writeln!(f, "rcode {}{aa}{tc}, {} bytes", self.rcode, self.bytes)?;
        for (section, records) in
            [("answer", &self.answer), ("authority", &self.authority), ("additional", &self.additional)]
        {
            for record in records {
                writeln!(f, "      {section}: {record}")?;
            }
        }
        Ok(())
    }
}

/// The whole answer to `query` as sets; none if it is malformed.
pub(crate) fn answer(query: &[u8], wire: &[u8]) -> Option<Answer> {
    let count = |at: usize| wire.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    let (flags_high, flags_low) = (*wire.get(2)?, *wire.get(3)?);
    let mut at = 12;
    for _ in 0..count(4)? {
        name(wire, &mut at)?;
        at += 4;
    }
    let mut said = Answer {
        echoes: query.get(12..at) == wire.get(12..at),
        bytes: wire.len(),
        rcode: flags_low & 15,
        authoritative: flags_high & 4 != 0,
        truncated: flags_high & 2 != 0,
        ..Answer::default()
    };
    for (number, section) in [(6, &mut said.answer), (8, &mut said.authority), (10, &mut said.additional)] {
        for _ in 0..count(number)? {
            let record = record(wire, &mut at)?;
            if record.rtype != 41 {
                section.insert(record);
            }
        }
    }
    (at == wire.len()).then_some(said)
}

fn record(wire: &[u8], at: &mut usize) -> Option<Record> {
    let owner = name(wire, at)?;
    let fixed = wire.get(*at..*at + 10)?;
    let rtype = u16::from_be_bytes([fixed[0], fixed[1]]);
    let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
    let len = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
    *at += 10;
    let end = *at + len;
    wire.get(*at..end)?;
    let rdata = rdata(wire, rtype, *at, end)?;
    *at = end;
    Some(Record { owner, rtype, ttl, rdata })
}

/// RDATA as text: names where the type has them, hexadecimal elsewhere.
fn rdata(wire: &[u8], rtype: u16, mut at: usize, end: usize) -> Option<String> {
    let (prefix, names) = match rtype {
        2 | 5 | 12 | 39 => (0, 1),
        6 => (0, 2),
        15 | 18 | 21 | 36 => (2, 1),
        33 => (6, 1),
        _ => (0, 0),
    };
    let mut text = hex(wire.get(at..at + prefix)?);
    at += prefix;
    for _ in 0..names {
        text.push(' ');
        text.push_str(&name(wire, &mut at)?);
    }
    text.push(' ');
    text.push_str(&hex(wire.get(at..end)?));
    Some(text.trim().to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name(wire: &[u8], at: &mut usize) -> Option<String> {
    let mut text = String::new();
    let mut here = *at;
    let mut jumps = 0;
    loop {
        let len = usize::from(*wire.get(here)?);
        if len & 0xc0 == 0xc0 {
            let target = (len & 0x3f) << 8 | usize::from(*wire.get(here + 1)?);
            if jumps == 0 {
                *at = here + 2;
            }
            jumps += 1;
            if target >= here || jumps > 127 {
                return None;
            }
            here = target;
            continue;
        }
        if len == 0 {
            if jumps == 0 {
                *at = here + 1;
            }
            if text.is_empty() {
                text.push('.');
            }
            return Some(text);
        }
        for byte in wire.get(here + 1..here + 1 + len)? {
            text.push(char::from(byte.to_ascii_lowercase()));
        }
        text.push('.');
        here += len + 1;
    }
}

//! RRsets: immutable, in one allocation of RDATA, shared between views.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::name::Name;
use crate::rtype::Type;
use crate::zone::Record;

/// Records of one owner and type (RFC 2181 §5).
#[derive(Clone, PartialEq, Eq)]
pub struct RrSet {
    /// The type of all of them.
    pub rtype: Type,
    /// Seconds; the least of its records, which all must share one (RFC 2181 §5.2).
    pub ttl: u32,
    /// Each RDATA behind its length in two octets, as on the wire.
    packed: Box<[u8]>,
}

impl RrSet {
    /// From uncompressed RDATA of at most 65535 octets each; a longer one cannot exist on the wire and is left out.
    pub fn new<'r>(rtype: Type, ttl: u32, rdatas: impl IntoIterator<Item = &'r [u8]>) -> Self {
        let mut packed = Vec::new();
        for rdata in rdatas {
            if let Ok(len) = u16::try_from(rdata.len()) {
                packed.extend_from_slice(&len.to_be_bytes());
                packed.extend_from_slice(rdata);
            }
        }
        Self { rtype, ttl, packed: packed.into() }
    }

    /// The RDATA of each record, in the order they were written.
    pub fn rdatas(&self) -> Rdatas<'_> {
        Rdatas { rest: &self.packed }
    }

    /// The first RDATA; of a CNAME, DNAME or SOA the only one.
    pub fn first(&self) -> Option<&[u8]> {
        self.rdatas().next()
    }
}

impl fmt::Debug for RrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.ttl, self.rtype)?;
        f.debug_list().entries(self.rdatas()).finish()
    }
}

/// See [`RrSet::rdatas`].
#[derive(Clone, Debug)]
pub struct Rdatas<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Rdatas<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.rest.split_first_chunk::<2>()?;
        let (rdata, rest) = rest.split_at(usize::from(u16::from_be_bytes(*len)));
        self.rest = rest;
        Some(rdata)
    }
}

/// Records to RRsets, in canonical order of owners and then by type; exact duplicates fall together.
///
/// Within an RRset the records keep the order they were written in.
pub fn group<'r>(records: impl IntoIterator<Item = &'r Record>) -> Vec<(Name, Arc<RrSet>)> {
    let mut sorted: Vec<&Record> = records.into_iter().collect();
    sorted.sort_by(|a, b| a.owner.canonical_cmp(&b.owner).then(a.rtype.cmp(&b.rtype)));
    sorted.chunk_by(|a, b| a.rtype == b.rtype && a.owner == b.owner).filter_map(one_set).collect()
}

fn one_set(records: &[&Record]) -> Option<(Name, Arc<RrSet>)> {
    let first = records.first()?;
    // RFC 2181 §5.2: the records of an RRset share one TTL; where they were written with several, the least holds.
    let ttl = records.iter().map(|record| record.ttl).min()?;
    let set = match records {
        [only] => RrSet::new(only.rtype, ttl, [&*only.rdata]),
        _ => {
            let mut seen = HashSet::new();
            let distinct = records.iter().map(|record| &*record.rdata).filter(|rdata| seen.insert(*rdata));
            RrSet::new(first.rtype, ttl, distinct)
        }
    };
    Some((first.owner.clone(), Arc::new(set)))
}

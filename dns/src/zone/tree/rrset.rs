//! RRsets: immutable, in one allocation of RDATA, shared between views.

use std::collections::HashMap;
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

/// Records to RRsets, in the order in which each RRset is first seen; exact duplicates fall together.
pub fn group<'r>(records: impl IntoIterator<Item = &'r Record>) -> Vec<(Name, Arc<RrSet>)> {
    let mut order: HashMap<(&Name, Type), usize> = HashMap::new();
    let mut groups: Vec<Vec<&Record>> = Vec::new();
    for record in records {
        let at = *order.entry((&record.owner, record.rtype)).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.push(record),
            None => groups.push(vec![record]),
        }
    }
    groups.into_iter().filter_map(|group| one_set(&group)).collect()
}

fn one_set(records: &[&Record]) -> Option<(Name, Arc<RrSet>)> {
    let first = records.first()?;
    let ttl = records.iter().map(|record| record.ttl).min()?;
    let mut seen = std::collections::HashSet::new();
    let distinct = records.iter().map(|record| &*record.rdata).filter(|rdata| seen.insert(*rdata));
    Some((first.owner.clone(), Arc::new(RrSet::new(first.rtype, ttl, distinct))))
}

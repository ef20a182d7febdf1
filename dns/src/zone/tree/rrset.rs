//! RRsets: records of one owner and type.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use crate::rtype::Type;

/// Records of one owner and type (RFC 2181 §5); a tree lends them out.
#[derive(Clone, PartialEq, Eq)]
pub struct RrSet<'a> {
    /// The type of all of them.
    pub rtype: Type,
    /// Seconds; the least of its records, which all must share one (RFC 2181 §5.2).
    pub ttl: u32,
    /// Each RDATA behind its length in two bytes, as on the wire.
    pub(super) packed: Cow<'a, [u8]>,
}

impl<'a> RrSet<'a> {
    /// From uncompressed RDATA of at most 65535 bytes each; a longer one cannot exist on the wire and is left out.
    pub fn new<'r>(rtype: Type, ttl: u32, rdatas: impl IntoIterator<Item = &'r [u8]>) -> RrSet<'static> {
        let mut packed = Vec::new();
        pack(rdatas, &mut packed);
        RrSet { rtype, ttl, packed: packed.into() }
    }

    /// The RDATA of each record, in the order they were written.
    #[inline]
    pub fn rdatas(&self) -> Rdatas<'_> {
        Rdatas { rest: &self.packed }
    }

    /// As [`RrSet::rdatas`] of a set that a tree lends: they live as long as the tree. None of a set of its own.
    #[inline]
    pub fn lent(&self) -> Option<Rdatas<'a>> {
        match self.packed {
            Cow::Borrowed(rest) => Some(Rdatas { rest }),
            Cow::Owned(_) => None,
        }
    }

    /// Whether a record is this address; the records are A or AAAA.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.rdatas().any(|rdata| match address {
            IpAddr::V4(address) => rdata == address.octets(),
            IpAddr::V6(address) => rdata == address.octets(),
        })
    }

    /// The first RDATA; of a CNAME, DNAME or SOA the only one.
    pub fn first(&self) -> Option<&[u8]> {
        self.rdatas().next()
    }

    /// The RDATA of its only record; none if it has several.
    pub fn only(&self) -> Option<&[u8]> {
        let mut rdatas = self.rdatas();
        rdatas.next().filter(|_| rdatas.next().is_none())
    }
}

/// Puts each RDATA behind its length.
pub(super) fn pack<'r>(rdatas: impl IntoIterator<Item = &'r [u8]>, out: &mut Vec<u8>) {
    for rdata in rdatas {
        if let Ok(len) = u16::try_from(rdata.len()) {
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(rdata);
        }
    }
}

impl fmt::Debug for RrSet<'_> {
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

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.rest.split_first_chunk::<2>()?;
        let (rdata, rest) = rest.split_at(usize::from(u16::from_be_bytes(*len)));
        self.rest = rest;
        Some(rdata)
    }
}

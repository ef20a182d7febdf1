//! RRsets to bytes, each name as short as what stands in the message already allows.

use super::super::encode;
use super::standing::{Names, pointer};
use crate::answer::walk::Section;
use crate::name;
use crate::rtype::Type;
use crate::steer::{Asker, Pool};
use crate::zone::tree::RrSet;

/// A message that grows behind its question.
pub(super) struct Writer<'a, 'o> {
    names: Names<'a>,
    /// Records of the answer, authority and additional sections.
    counts: [u16; 3],
    limit_bytes: usize,
    out: &'o mut Vec<u8>,
}

/// The owner of an RRset, and where in the message that name stands, if it does.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) name: &'a [u8],
    at: Option<usize>,
}

impl AsRef<[u8]> for Owner<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.name
    }
}

impl<'a, 'o> Writer<'a, 'o> {
    /// `out` holds the header and the question of this name; it grows to `limit_bytes` at most.
    #[inline]
    pub(super) fn new(question: &'a [u8], limit_bytes: usize, out: &'o mut Vec<u8>) -> Self {
        Self { names: Names::of(question), counts: [0; 3], limit_bytes, out }
    }

    /// A name that is not the root.
    pub(super) fn owner(&self, name: &'a [u8]) -> Owner<'a> {
        Owner { name, at: self.names.place(name) }
    }

    /// Writes an RRset and those of `signatures` that cover it (RFC 4035 §3.1.1). None if it does not fit, or is not of a
    /// type that is written here.
    pub(super) fn set(
        &mut self,
        section: Section,
        mut owner: Owner<'a>,
        set: &RrSet<'a>,
        ttl: u32,
        signatures: Option<&RrSet<'a>>,
    ) -> Option<()> {
        let form = form(set.rtype)?;
        let mut records = 0_u16;
        for rdata in set.lent()? {
            self.record(&mut owner, (set.rtype, form), ttl, rdata)?;
            records = records.checked_add(1)?;
        }
        if let Some(signatures) = signatures {
            let covered = set.rtype.0.to_be_bytes();
            for rdata in signatures.lent()?.filter(|rdata| rdata.starts_with(&covered)) {
                self.record(&mut owner, (Type::RRSIG, Form::Plain), ttl, rdata)?;
                records = records.checked_add(1)?;
            }
        }
        let count = &mut self.counts[section as usize];
        *count = count.checked_add(records)?;
        Some(())
    }

    /// Writes the records of a pool that a client is given. None if they do not fit.
    pub(super) fn chosen(
        &mut self,
        section: Section,
        owner: Owner<'a>,
        pool: &Pool,
        asker: Asker,
    ) -> Option<()> {
        let writing = |ttl| (ttl, owner, 0_u16, Some(()));
        let (_, _, records, written) =
            pool.answer(asker, writing, |(ttl, owner, records, written), rdata| {
                if written.is_some() {
                    *written = self.head(owner, pool.rtype, *ttl, rdata.len());
                    self.out.extend_from_slice(rdata);
                    *records += 1;
                }
            });
        written?;
        let count = &mut self.counts[section as usize];
        *count = count.checked_add(records)?;
        (self.out.len() <= self.limit_bytes).then_some(())
    }

    #[inline]
    fn record(
        &mut self,
        owner: &mut Owner<'a>,
        (rtype, form): (Type, Form),
        ttl: u32,
        rdata: &'a [u8],
    ) -> Option<()> {
        self.head(owner, rtype, ttl, rdata.len())?;
        match form {
            Form::Plain => self.out.extend_from_slice(rdata),
            Form::Names { before, count } => self.names_in_rdata(rdata, before, count)?,
        }
        (self.out.len() <= self.limit_bytes).then_some(())
    }

    /// Writes all that stands before RDATA of this length.
    #[inline(always)]
    fn head(&mut self, owner: &mut Owner<'a>, rtype: Type, ttl: u32, rdata_bytes: usize) -> Option<()> {
        let bytes = u16::try_from(rdata_bytes).ok()?;
        let ([t1, t2], [s1, s2, s3, s4], [n1, n2]) =
            (rtype.0.to_be_bytes(), ttl.to_be_bytes(), bytes.to_be_bytes());
        match owner.at {
            Some(at) => {
                let [o1, o2] = pointer(at);
                self.out.extend_from_slice(&[o1, o2, t1, t2, 0, 1, s1, s2, s3, s4, n1, n2]);
            }
            None => {
                owner.at = Some(self.names.write(owner.name, self.out)?);
                self.out.extend_from_slice(&[t1, t2, 0, 1, s1, s2, s3, s4, n1, n2]);
            }
        }
        Some(())
    }

    /// RDATA of which `count` names behind the first `before` bytes may be compressed; its length is mended.
    fn names_in_rdata(&mut self, rdata: &'a [u8], before: usize, count: usize) -> Option<()> {
        let start = self.out.len();
        let (fixed, mut rest) = rdata.split_at_checked(before)?;
        self.out.extend_from_slice(fixed);
        for _ in 0..count {
            let (name, after) = rest.split_at(name::wire_len(rest)?);
            self.names.write(name, self.out)?;
            rest = after;
        }
        self.out.extend_from_slice(rest);
        let bytes = u16::try_from(self.out.len() - start).expect("compression does not lengthen RDATA");
        *self.out[start - 2..].first_chunk_mut().expect("a length stands before RDATA") = bytes.to_be_bytes();
        Some(())
    }

    /// Writes the counts of the sections.
    #[inline]
    pub(super) fn finish(&mut self) {
        encode::set_counts(self.out, self.counts);
    }
}

/// How RDATA of a type is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it is: names in it, if any, are never compressed (RFC 3597 §4).
    Plain,
    /// Names behind the first bytes may be compressed; what comes behind them is written as it is.
    Names { before: usize, count: usize },
}

/// None for types that are seldom asked for.
#[inline]
fn form(rtype: Type) -> Option<Form> {
    Some(match rtype {
        Type::A | Type::AAAA | Type::TXT | Type::SRV | Type::SVCB | Type::HTTPS => Form::Plain,
        Type::CAA | Type::TLSA | Type::SSHFP | Type::URI | Type::NAPTR | Type::SMIMEA => Form::Plain,
        Type::DS | Type::DNSKEY | Type::CDS | Type::CDNSKEY | Type::NSEC | Type::NSEC3PARAM => Form::Plain,
        Type::NS | Type::CNAME | Type::PTR => Form::Names { before: 0, count: 1 },
        Type::MX => Form::Names { before: 2, count: 1 },
        Type::SOA => Form::Names { before: 0, count: 2 },
        _ => return None,
    })
}

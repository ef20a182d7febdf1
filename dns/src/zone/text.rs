//! RDATA in presentation form, both ways, by the shapes of [`crate::rdata`].

use std::fmt;

use crate::name::Name;
use crate::rtype::Type;

/// What is wrong with RDATA text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A stable name in kebab case.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Which token is at fault, counted from 0; none for what is missing at the end.
    pub token: Option<usize>,
}

/// RDATA of `rtype` from presentation form; names without a final dot are relative to `origin`.
pub fn read_rdata(rtype: Type, text: &str, origin: &Name) -> Result<Box<[u8]>, Fault> {
    let _ = (rtype, text, origin);
    todo!()
}

/// Writes `rdata` in presentation form; in the form of RFC 3597 §5 when it has no other.
pub fn write_rdata(rtype: Type, rdata: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    let _ = (rtype, rdata, out);
    todo!()
}

/// Writes one line of a zone file, without its line end.
pub fn write_record(
    owner: &Name,
    ttl: u32,
    rtype: Type,
    rdata: &[u8],
    out: &mut impl fmt::Write,
) -> fmt::Result {
    write!(out, "{owner} {ttl} IN {rtype} ")?;
    write_rdata(rtype, rdata, out)
}

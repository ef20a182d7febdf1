//! RDATA in presentation form, both ways, by the shapes of [`crate::rdata`].
//!
//! ```text
//! bytes ─▶ lexer ─▶ tokens ─▶ read (field by field) ─▶ wire RDATA ─▶ write (field by field) ─▶ text
//! ```
//!
//! Invariant: RDATA of a type with a known shape is accepted only if its own presentation form says the same bytes,
//! so whatever [`read_rdata`] accepts, [`write_rdata`] writes so that it is read again as it was.

mod address;
mod bitmap;
pub(crate) mod encoding;
pub(crate) mod fields;
pub(crate) mod lexer;
mod location;
pub(crate) mod mnemonic;
pub(crate) mod number;
mod opaque;
mod read;
mod service;
mod string;
mod write;

use std::fmt;

use self::fields::Fields;
use self::lexer::{Entry, Lexer};
use crate::name::Name;
use crate::rtype::Type;

pub use self::fields::Fault;
pub(crate) use self::read::read;

/// RDATA of `rtype` from presentation form; names without a final dot are relative to `origin`.
pub fn read_rdata(rtype: Type, text: &str, origin: &Name) -> Result<Box<[u8]>, Fault> {
    let mut entry = Entry::default();
    Lexer::new(text.as_bytes()).entry(&mut entry);
    if !entry.flaws.is_empty() {
        return Err(Fault::new("syntax", "quotes or parentheses are not closed, or a control character"));
    }
    let mut out = Vec::new();
    read(rtype, &mut Fields::new(&entry.tokens, 0, Some(origin.as_wire())), &mut out)?;
    Ok(out.into())
}

/// Writes `rdata` in presentation form; in the form of RFC 3597 §5 when it has no other.
pub fn write_rdata(rtype: Type, rdata: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    match write::own_form(rtype, rdata) {
        Some(text) => out.write_str(&text),
        None => opaque::write(rdata, out),
    }
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

#[cfg(test)]
mod tests;

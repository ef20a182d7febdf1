//! RDATA of any type as bytes: `\# length hexadecimal` (RFC 3597 §5).

use std::fmt;

use super::encoding;
use super::fields::{Fault, Fields};
use super::{number, write};
use crate::rdata::{self, Field};
use crate::rtype::Type;

/// The word that introduces the form.
pub(super) const MARKER: &[u8] = b"\\#";

/// Appends RDATA; the marker has been taken. A known type is held to its own form.
pub(super) fn read(rtype: Type, fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let start = out.len();
    let word = fields.word("the number of bytes")?;
    let said = number::decimal(word.text, u64::from(u16::MAX))
        .ok_or_else(|| Fault::not_a(&word, "a number of bytes (0 to 65535)"))?;
    encoding::from_hex(fields.rest_bytes(), out).ok_or_else(|| {
        Fault::new("bad-field", "what follows the length is not pairs of hexadecimal digits")
    })?;
    let found = out.len() - start;
    if u64::try_from(found) != Ok(said) {
        return Err(Fault::of(
            &word,
            "bad-length",
            format!("{said} bytes are promised, {found} are written"),
        )
        .help(format!("write `\\# {found}`")));
    }
    // Types without a shape may hold anything; the others what their own form can say.
    let is_free = rdata::shape(rtype).is_none_or(|shape| shape == [Field::Opaque]);
    if is_free || write::own_form(rtype, &out[start..]).is_some() {
        return Ok(());
    }
    Err(Fault::new("bad-rdata", format!("these bytes are not the data of a {rtype} record")))
}

/// Writes the form.
pub(super) fn write(rdata: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    write!(out, "\\# {}", rdata.len())?;
    if !rdata.is_empty() {
        out.write_char(' ')?;
    }
    encoding::write_hex(rdata, out)
}

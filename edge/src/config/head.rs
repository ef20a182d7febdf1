//! How big a head may be, from clients and towards origins.

use toml::Spanned;

use super::place::Fault;
use super::unit::Size;
use crate::http::head::{FIELDS, HeadLimits, TARGET_BYTES};

/// A request's head, as `[limits]` bounds it.
pub(super) fn head(
    size: Option<Size>,
    target: Option<&Spanned<Size>>,
    written: Option<&Spanned<usize>>,
) -> Result<HeadLimits, Fault> {
    // hyper refuses a buffer below 8 KiB.
    let bytes = size.map_or(16 << 10, |size| size.in_memory().max(8 << 10));
    let target_bytes = target.map_or(TARGET_BYTES, |size| size.get_ref().in_memory());
    if let Some(size) = target.filter(|_| target_bytes > MAX_TARGET_BYTES) {
        return Err(Fault::new(size.span(), "a target may have 60KiB at most")
            .help("longer targets belong into the request's content"));
    }
    if let Some(size) = target.filter(|_| target_bytes >= bytes) {
        let help = "write a bigger `head_size` too";
        return Err(Fault::new(size.span(), "the target is a part of the head, which is shorter").help(help));
    }
    Ok(HeadLimits { bytes, target_bytes, fields: fields(written, FIELDS)? })
}

/// A number of fields.
pub(super) fn fields(written: Option<&Spanned<usize>>, default: usize) -> Result<usize, Fault> {
    match written {
        None => Ok(default),
        Some(fields) if (1..=MAX_FIELDS).contains(fields.get_ref()) => Ok(*fields.get_ref()),
        Some(fields) => Err(Fault::new(fields.span(), format!("a head has from 1 to {MAX_FIELDS} fields"))
            .help("the default is 100; browsers send some 20")),
    }
}

/// A URI in memory has less than 64 KiB.
const MAX_TARGET_BYTES: usize = 60 << 10;
/// More than any program sends, and few enough to be read at once.
const MAX_FIELDS: usize = 1_000;

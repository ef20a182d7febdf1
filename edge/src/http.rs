//! HTTP as messages have it (RFC 9110): heads, lists, dates, ranges, structured fields, paths. Their meaning
//! for a cache is in [`crate::policy`].
//!
//! Invariant: nothing here knows a cache, a site, a clock or a socket, or panics on any bytes.

pub mod coding;
pub mod date;
pub(crate) mod digits;
pub mod endless;
pub mod field;
pub mod head;
pub mod list;
pub mod path;
pub mod range;
pub mod seconds;
pub mod spelling;
pub mod structured;
#[cfg(test)]
pub(crate) mod testing;
pub mod upgrade;
pub mod websocket;

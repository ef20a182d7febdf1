//! What a client may take: response rate limiting and cookies as plain state, time as an argument.

pub mod cookie;

/// The limits of one server loop: plain state of fixed size.
#[derive(Debug, Default)]
pub struct Limits {}

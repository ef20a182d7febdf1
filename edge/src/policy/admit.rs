//! May this response be kept (RFC 9111 §3)?

use std::time::SystemTime;

use super::{Lifetime, RequestHead, ResponseHead, Rules};

/// The verdict on storing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Store it, with this lifetime; it may need validation on every use.
    Keep(Lifetime),
    /// Do not store it.
    Leave(Unstorable),
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstorable {
    /// The method's responses are not stored by this cache.
    Method,
}

/// Whether the response to `request` may be stored, and for how long. `asked` is when the request left,
/// `now` when the response's head arrived.
pub fn admit(
    request: &RequestHead,
    response: &ResponseHead,
    asked: SystemTime,
    rules: &Rules,
    now: SystemTime,
) -> Admit {
    let _ = (request, response, asked, rules, now);
    todo!()
}

impl Unstorable {
    /// A label for logs and Cache-Status detail.
    pub fn as_str(self) -> &'static str {
        todo!()
    }
}

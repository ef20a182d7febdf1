//! Which stored response answers which request (RFC 9111 §4.1).

use http::HeaderName;

use super::{RequestHead, ResponseHead};

/// The request fields that select a stored response, normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selecting {
    fields: Vec<(HeaderName, Option<Vec<u8>>)>,
}

impl Selecting {
    /// The fields that `response` names in `Vary`, with their values in `request`.
    pub fn of(request: &RequestHead, response: &ResponseHead) -> Self {
        let _ = (request, response);
        todo!()
    }

    /// Whether `request` has the same values.
    pub fn matches(&self, request: &RequestHead) -> bool {
        let _ = (request, &self.fields);
        todo!()
    }
}

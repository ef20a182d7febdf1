//! The rest of a response whose file cannot be read: its origin has it too.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, Request, Version};

use super::{FetchSite, Flights};
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::range::Part;
use crate::origin::{OriginBody, RequestBody, Retry};
use crate::policy::headers::origin::{Ask, Hop, fields};
use crate::policy::{self, Entry, encoding};

/// A response that a client is sent out of a file, and all that its origin is asked with for the rest of it.
#[derive(Debug)]
pub struct Elsewhere {
    /// The site whose origins have it.
    pub site: Arc<FetchSite>,
    /// The request that it answers.
    pub request: RequestHead,
    /// Its client, for `X-Forwarded-For`.
    pub client: IpAddr,
    /// Its version, for `Via`.
    pub version: Version,
    /// The whole response, with its strong tag.
    pub entry: Entry,
    /// Bytes of its body.
    pub length: u64,
}

impl Flights {
    /// So many bytes of a response from `first` on, if the origin can tell that they are of the same (RFC 9110 §13.1.5).
    pub async fn rest_of(&self, of: &Elsewhere, first: u64, bytes: u64) -> Option<OriginBody> {
        let Elsewhere { site, request, entry, .. } = of;
        let last = first.checked_add(bytes)?.checked_sub(1)?;
        let missing = Part { first, last, complete: Some(of.length) };
        let if_range = policy::strong_tag(&entry.head.headers)?.clone();
        let ask = Ask::Rest { range: missing.range(), if_range };
        let limits = site.site.rules.origin_head;
        let hop = Hop { name: &self.name, client: of.client, version: of.version, limits };
        let mut asked = Request::new(RequestBody::Empty);
        *asked.method_mut() = Method::GET;
        *asked.headers_mut() = fields(request, &ask, &hop).ok()?;
        *asked.uri_mut() = site.site.target(&request.uri).into();
        site.site.tell_prefix(&request.uri, asked.headers_mut());
        let response = site.send(request, asked, Retry::Another).await.ok()?.response;
        let mut head = ResponseHead { status: response.status(), headers: response.headers().clone() };
        encoding::mark(&mut head, &site.site.compress);
        policy::complete(entry, &missing, &head)?;
        tracing::info!(target: "verge_edge::origin", first, bytes, "a response whose file cannot be read goes on");
        Some(response.into_body())
    }
}

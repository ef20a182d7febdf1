//! The encoding of a site's content: into which codings, which types, from which length on.

use crate::http::coding::Coding;
use crate::http::endless::is_endless;
use crate::site::pattern::{NamePattern, any_matches};

/// The codings and types that a site encodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Into what, the liked best first; none: responses stay as they came.
    pub codings: Vec<Coding>,
    /// The types of content, in lower case and without parameters; none: text of all kinds.
    pub types: Option<Vec<NamePattern>>,
    /// Shorter bodies stay as they came.
    pub least_bytes: u64,
}

/// Less does not become shorter in a packet.
pub const LEAST_BYTES: u64 = 256;

impl Default for Offer {
    fn default() -> Self {
        Self { codings: Vec::new(), types: None, least_bytes: LEAST_BYTES }
    }
}

impl Offer {
    /// Whether it is about content of this type, which is in lower case and without parameters.
    pub fn has_type(&self, kind: &str) -> bool {
        // Whatever a site names: browsers read events from behind proxies that hold encoded bytes back.
        kind != EVENTS
            && match &self.types {
                // Each line is to arrive when it is written.
                None => is_text(kind) && !is_endless(kind.as_bytes()),
                Some(types) => any_matches(types, kind),
            }
    }
}

/// WHATWG HTML §9.2.
pub const EVENTS: &str = "text/event-stream";

/// Whether content of this type is text, or else becomes much shorter.
fn is_text(kind: &str) -> bool {
    kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || OTHER_TEXT.contains(&kind)
}

const OTHER_TEXT: &[&str] = &[
    "application/javascript",
    "application/json",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/x-icon",
];

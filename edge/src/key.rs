//! From a request to the name under which it is cached.
//!
//! Invariant: parts are length-prefixed, so no two different lists of parts have the same key.
//! Invariant: what two requests share a key for, the origin could only tell apart by fields the key rules leave out.

use crate::policy::RequestHead;

/// The name under which a request's response is stored. Compare all of it on a hit; its hash alone is not enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    bytes: Box<[u8]>,
}

/// What goes into the key beside scheme, authority and path.
#[derive(Clone, Debug, Default)]
pub struct KeyRules {
    /// How the query takes part.
    pub query: Query,
    /// Request fields whose values take part.
    pub headers: Vec<http::HeaderName>,
    /// Cookies whose values take part.
    pub cookies: Vec<String>,
    /// Whether the device class takes part.
    pub device: Device,
}

/// How the query takes part in the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Which parameters.
    pub keep: Keep,
    /// In which order.
    pub order: Order,
}

/// Which query parameters take part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// All, as sent.
    #[default]
    All,
    /// None.
    Nothing,
    /// Only these; a trailing `*` matches a prefix.
    Only(Vec<String>),
    /// All but these; a trailing `*` matches a prefix.
    Except(Vec<String>),
}

/// The order of query parameters in the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As sent.
    #[default]
    AsSent,
    /// By name; parameters of the same name keep their order.
    Sorted,
}

/// Whether the device class takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// It does not.
    #[default]
    Ignored,
    /// `mobile`, `tablet` or `desktop`, from `Sec-CH-UA-Mobile` or `User-Agent`.
    Keyed,
}

/// The key of `request` under `rules`.
pub fn key(request: &RequestHead, rules: &KeyRules) -> Key {
    let _ = (request, rules);
    todo!()
}

impl Key {
    /// All of the key, for stores.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

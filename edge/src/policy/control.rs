//! `Cache-Control` (RFC 9111 §5.2) and the targeted fields that go before it (RFC 9213).
//!
//! Of a repeated directive the first occurrence counts (RFC 9111 §4.2.1). A directive that restricts counts however
//! it is written, behind a semicolon or a space and in quotes, too (`words`); one that permits must be right: a lifetime
//! that is not delta-seconds is 0 (stale).

mod vendor;
mod words;

use http::{HeaderMap, HeaderName, header};

use crate::http::list;
use crate::http::seconds::{MAX_DELTA_SECS, delta_secs};
use crate::http::structured::{Dictionary, Item};

/// A response's directives to a shared cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseControl {
    /// `max-age` in seconds.
    pub max_age: Option<u64>,
    /// `s-maxage` in seconds.
    pub s_maxage: Option<u64>,
    /// `stale-while-revalidate` in seconds (RFC 5861 §3).
    pub stale_while_revalidate: Option<u64>,
    /// `stale-if-error` in seconds (RFC 5861 §4).
    pub stale_if_error: Option<u64>,
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`, of all or of some fields.
    pub no_cache: Scope,
    /// `private`, of all or of some fields.
    pub private: Scope,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
}

/// A request's directives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestControl {
    /// `max-age` in seconds.
    pub max_age: Option<u64>,
    /// `min-fresh` in seconds.
    pub min_fresh: Option<u64>,
    /// `max-stale` in seconds; without a value any.
    pub max_stale: Option<u64>,
    /// `stale-if-error` in seconds (RFC 5861 §4).
    pub stale_if_error: Option<u64>,
    /// `no-cache`, or `Pragma: no-cache` where `Cache-Control` says nothing of an age (RFC 9111 §5.4 lets a cache look
    /// at it where there is any `Cache-Control`, too).
    pub no_cache: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
}

/// The fields that `no-cache` or `private` applies to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Nothing: the directive is absent.
    #[default]
    Nothing,
    /// The named fields only.
    Fields(Vec<HeaderName>),
    /// The whole response.
    Everything,
}

/// Which field gave the directives of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// `Cache-Control`; `Expires` counts too.
    General,
    /// A targeted field: `Cache-Control` and `Expires` do not count (RFC 9213 §2.2).
    Targeted,
}

/// The directives that rule a response for a cache that heeds the fields `targeted`, most specific first.
pub fn of_response(headers: &HeaderMap, targeted: &[HeaderName]) -> (ResponseControl, Voice) {
    let mut skipped = ResponseControl::default();
    for name in targeted {
        match of_targeted(headers, name) {
            Some(control) => return (control.and_restricted_by(skipped), Voice::Targeted),
            // RFC 9213 §2.1 has what is no dictionary ignored. That it is to be kept from others is no less clear.
            None => restrict_by(headers, name, &mut skipped),
        }
    }
    (from_lists(headers).and_restricted_by(skipped), Voice::General)
}

/// Heeds the restrictions in a targeted field that is no dictionary, but for its members that are well written: these are
/// ignored with the field (RFC 9213 §2.1).
fn restrict_by(headers: &HeaderMap, name: &HeaderName, control: &mut ResponseControl) {
    for element in list::elements(headers, name) {
        words::beside_name(element, |word| {
            control.restrict(word);
        });
    }
}

/// The directives of a request.
pub fn of_request(headers: &HeaderMap) -> RequestControl {
    let mut control = RequestControl::default();
    for element in list::elements(headers, &header::CACHE_CONTROL) {
        let directive = directive(element);
        let secs = || directive.secs().unwrap_or(0);
        match directive.name.as_str() {
            "max-age" => first(&mut control.max_age, secs),
            "min-fresh" => first(&mut control.min_fresh, || directive.secs().unwrap_or(MAX_DELTA_SECS)),
            "max-stale" if directive.value.is_none() => first(&mut control.max_stale, || MAX_DELTA_SECS),
            "max-stale" => first(&mut control.max_stale, secs),
            "stale-if-error" => first(&mut control.stale_if_error, secs),
            "no-cache" => control.no_cache = true,
            "no-store" => control.no_store = true,
            "only-if-cached" => control.only_if_cached = true,
            _ => {}
        }
        words::beside_name(element, |word| match word {
            b"no-cache" => control.no_cache = true,
            b"no-store" => control.no_store = true,
            b"max-age" => first(&mut control.max_age, || 0),
            _ => {}
        });
    }
    let is_about_age =
        control.max_age.is_some() || control.min_fresh.is_some() || control.max_stale.is_some();
    if !is_about_age {
        for element in list::elements(headers, &header::PRAGMA) {
            words::each(element, |word| control.no_cache |= word == b"no-cache");
        }
    }
    control
}

/// Whether the message is not to be transformed on its way (RFC 9110 §7.7), however it is written.
pub fn forbids_transforming(headers: &HeaderMap) -> bool {
    let mut forbids = false;
    for element in list::elements(headers, &header::CACHE_CONTROL) {
        words::each(element, |word| forbids |= word == b"no-transform");
    }
    forbids
}

fn of_targeted(headers: &HeaderMap, name: &HeaderName) -> Option<ResponseControl> {
    if !headers.contains_key(name) {
        return None;
    }
    vendor::of(headers, name).unwrap_or_else(|| {
        let mut control = from_dictionary(&dictionary(headers, name)?);
        for element in list::elements(headers, name) {
            // Parameters of a member, where a semicolon stands for a comma.
            words::beside_name(element, |word| {
                control.restrict(word);
            });
        }
        Some(control)
    })
}

fn dictionary(headers: &HeaderMap, name: &HeaderName) -> Option<Dictionary> {
    let lines: Vec<&[u8]> = headers.get_all(name).into_iter().map(|value| value.as_bytes()).collect();
    let joined = lines.join(b", ".as_slice());
    Dictionary::parse(&joined).ok().filter(|dictionary| !dictionary.is_empty())
}

fn from_dictionary(dictionary: &Dictionary) -> ResponseControl {
    let secs = |key: &str| dictionary.get(key).map(item_secs);
    let on = |key: &str| dictionary.get(key).is_some_and(|item| *item != Item::Boolean(false));
    let scope = |key: &str| dictionary.get(key).map_or(Scope::Nothing, item_scope);
    ResponseControl {
        max_age: secs("max-age"),
        s_maxage: secs("s-maxage"),
        stale_while_revalidate: secs("stale-while-revalidate"),
        stale_if_error: secs("stale-if-error"),
        no_store: on("no-store"),
        no_cache: scope("no-cache"),
        private: scope("private"),
        public: on("public"),
        must_revalidate: on("must-revalidate"),
        proxy_revalidate: on("proxy-revalidate"),
        must_understand: on("must-understand"),
        immutable: on("immutable"),
    }
}

fn item_secs(item: &Item) -> u64 {
    match item {
        Item::Integer(value) => u64::try_from(*value).map_or(0, |secs| secs.min(MAX_DELTA_SECS)),
        _ => 0,
    }
}

fn item_scope(item: &Item) -> Scope {
    match item {
        Item::Boolean(false) => Scope::Nothing,
        Item::String(names) => fields(names.as_bytes()),
        Item::Token(name) => fields(name.as_bytes()),
        _ => Scope::Everything,
    }
}

fn from_lists(headers: &HeaderMap) -> ResponseControl {
    let mut control = ResponseControl::default();
    for element in list::elements(headers, &header::CACHE_CONTROL) {
        let directive = directive(element);
        let secs = || directive.secs().unwrap_or(0);
        match directive.name.as_str() {
            "max-age" => first(&mut control.max_age, secs),
            "s-maxage" => first(&mut control.s_maxage, secs),
            "stale-while-revalidate" => first(&mut control.stale_while_revalidate, secs),
            "stale-if-error" => first(&mut control.stale_if_error, secs),
            "no-store" => control.no_store = true,
            "no-cache" => control.no_cache.widen(directive.scope()),
            "private" => control.private.widen(directive.scope()),
            "public" => control.public = true,
            "must-revalidate" => control.must_revalidate = true,
            "proxy-revalidate" => control.proxy_revalidate = true,
            "must-understand" => control.must_understand = true,
            "immutable" => control.immutable = true,
            _ => {}
        }
        words::beside_name(element, |word| match word {
            // A lifetime that is written so is not right.
            b"max-age" => first(&mut control.max_age, || 0),
            b"s-maxage" => first(&mut control.s_maxage, || 0),
            _ => {
                control.restrict(word);
            }
        });
    }
    control
}

impl ResponseControl {
    /// Heeds a word that is a directive, for the whole response. Whether it is one that restricts.
    fn restrict(&mut self, word: &[u8]) -> bool {
        match word {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = Scope::Everything,
            b"private" => self.private = Scope::Everything,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            _ => return false,
        }
        true
    }

    /// The same with the restrictions of `other`.
    fn and_restricted_by(mut self, other: Self) -> Self {
        self.no_store |= other.no_store;
        self.no_cache.widen(other.no_cache);
        self.private.widen(other.private);
        self.must_revalidate |= other.must_revalidate;
        self.proxy_revalidate |= other.proxy_revalidate;
        self
    }
}

fn first(slot: &mut Option<u64>, value: impl FnOnce() -> u64) {
    if slot.is_none() {
        *slot = Some(value());
    }
}

struct Directive {
    name: String,
    value: Option<Vec<u8>>,
}

fn directive(element: &[u8]) -> Directive {
    let equals = element.iter().position(|&byte| byte == b'=');
    let name = &element[..equals.unwrap_or(element.len())];
    // No space belongs round the `=`: the directive is known, and its value is wrong.
    let spaced = name.last().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    let value = equals.map(|at| if spaced { b" ".to_vec() } else { unquote(&element[at + 1..]) });
    Directive { name: String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase(), value }
}

/// RFC 9111 §5.2: recipients ought to accept both forms, token and quoted string.
fn unquote(value: &[u8]) -> Vec<u8> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return value.to_vec();
    };
    let mut escaped = false;
    let keep = |&byte: &u8| {
        escaped = byte == b'\\' && !escaped;
        !escaped
    };
    inner.iter().copied().filter(keep).collect()
}

impl Directive {
    fn secs(&self) -> Option<u64> {
        delta_secs(self.value.as_deref()?)
    }

    fn scope(&self) -> Scope {
        self.value.as_deref().map_or(Scope::Everything, fields)
    }
}

/// A list of field names; anything else in it, or nothing, means the whole response.
fn fields(list: &[u8]) -> Scope {
    let names: Result<Vec<_>, _> = list::split(list).map(HeaderName::from_bytes).collect();
    match names {
        Ok(names) if !names.is_empty() => Scope::Fields(names),
        _ => Scope::Everything,
    }
}

impl Scope {
    fn widen(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Fields(mine), Self::Fields(more)) => mine.extend(more),
            (Self::Everything, _) | (_, Self::Nothing) => {}
            (slot, other) => *slot = other,
        }
    }

    /// The named fields.
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(names) => names,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests;

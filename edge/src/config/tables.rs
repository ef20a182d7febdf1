//! The tables and words inside a `[[site]]`, as they are written.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::unit::Span;
use crate::http::coding::Coding;
use crate::site::Balance;

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ClientControlName {
    Limited,
    Full,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SetCookieName {
    WhenExplicit,
    Never,
    Strip,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SMaxageName {
    ForbidsStale,
    YieldsToWindows,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(super) enum BalanceName {
    RoundRobin,
    Random,
    LeastLoaded,
    Hash,
}

impl From<BalanceName> for Balance {
    fn from(name: BalanceName) -> Self {
        match name {
            BalanceName::RoundRobin => Self::RoundRobin,
            BalanceName::Random => Self::Random,
            BalanceName::LeastLoaded => Self::LeastLoaded,
            BalanceName::Hash => Self::Hash,
        }
    }
}

/// A `[site.health]`.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct HealthTable {
    pub(super) path: Option<Spanned<String>>,
    pub(super) method: Option<Spanned<String>>,
    pub(super) host: Option<String>,
    #[serde(default)]
    pub(super) status: Vec<Spanned<u16>>,
    pub(super) body: Option<String>,
    pub(super) interval: Option<Spanned<Span>>,
    pub(super) timeout: Option<Spanned<Span>>,
    pub(super) fall: Option<NonZeroU32>,
    pub(super) rise: Option<NonZeroU32>,
    pub(super) errors: Option<Spanned<String>>,
    pub(super) slow: Option<u32>,
    pub(super) panic: Option<Spanned<String>>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CodingName {
    Br,
    Zstd,
    Gzip,
}

impl From<CodingName> for Coding {
    fn from(name: CodingName) -> Self {
        match name {
            CodingName::Br => Self::Br,
            CodingName::Zstd => Self::Zstd,
            CodingName::Gzip => Self::Gzip,
        }
    }
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct TtlTable {
    pub(super) path: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) status: Vec<Spanned<u16>>,
    pub(super) ttl: Span,
}

#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyTable {
    pub(super) query: Option<Spanned<QueryName>>,
    pub(super) query_only: Option<Spanned<Vec<String>>>,
    pub(super) query_except: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    pub(super) query_sorted: bool,
    #[serde(default)]
    pub(super) headers: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) cookies: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) device: bool,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum QueryName {
    All,
    None,
}

#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct FieldsTable {
    #[serde(default)]
    pub(super) set: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(super) remove: Vec<Spanned<String>>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct RedirectTable {
    pub(super) from: Spanned<String>,
    pub(super) to: Spanned<String>,
    pub(super) status: Option<Spanned<u16>>,
}

impl RedirectTable {
    /// Where its target stands in the text.
    pub(super) fn target(&self) -> Range<usize> {
        self.to.span()
    }
}

/// A `[[site.error_page]]`.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct PageTable {
    pub(super) status: Spanned<Vec<Spanned<StatusEntry>>>,
    pub(super) file: Spanned<String>,
    #[serde(default)]
    pub(super) of_origin: bool,
}

#[derive(Deserialize, Clone)]
#[serde(untagged, expecting = "an error is a status from 400 to 599, or \"4xx\" or \"5xx\"")]
pub(super) enum StatusEntry {
    Number(u16),
    Text(String),
}

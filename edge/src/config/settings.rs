//! The keys of a `[[site]]`, and which of them a `[[site.route]]` may have instead.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::tables::{self, FieldsTable, KeyTable, PageTable, RedirectTable, TtlTable};
use super::unit::{Size, Span};

/// As written where a site or a route has none of what its site has.
pub(super) const OFF: &str = "off";

/// Three tables with the same keys: written once, so that a route can have whatever a site can.
macro_rules! settings {
    ($($name:ident: $kind:ty,)*) => {
        /// The settings that a route may have instead of its site's; none where they are not written.
        #[derive(Clone, Default)]
        pub(super) struct Settings {
            $(pub(super) $name: Option<$kind>,)*
        }

        /// A `[[site]]`.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct SiteTable {
            hosts: Spanned<Vec<Spanned<String>>>,
            origins: Spanned<Vec<Spanned<OriginEntry>>>,
            #[serde(default)]
            signed_paths: Vec<Spanned<String>>,
            #[serde(default)]
            signing_keys: Vec<Spanned<String>>,
            #[serde(default)]
            purge_from: Vec<Spanned<String>>,
            #[serde(default)]
            pub(super) redirect: Vec<RedirectTable>,
            #[serde(default)]
            pub(super) route: Vec<RouteTable>,
            $(pub(super) $name: Option<$kind>,)*
        }

        /// A `[[site.route]]`.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct RouteTable {
            pub(super) paths: Spanned<Vec<Spanned<String>>>,
            pub(super) origin_path: Option<Spanned<String>>,
            origins: Option<Spanned<Vec<Spanned<OriginEntry>>>>,
            $(pub(super) $name: Option<$kind>,)*
        }

        impl SiteTable {
            /// The keys that only a site has, and its settings.
            pub(super) fn parts(self) -> (OfSite, Settings) {
                let Self { hosts, origins, signed_paths, signing_keys, purge_from, redirect, route, $($name,)* } = self;
                let own = OfSite { hosts, origins, signed_paths, signing_keys, purge_from, redirect, route };
                (own, Settings { $($name,)* })
            }
        }

        impl SiteTable {
            /// The files whose content is part of the config; relative paths start at `base`.
            pub(super) fn files(&self, base: &Path) -> Vec<PathBuf> {
                let routes = self.route.iter().map(|route| (&route.basic_auth, &route.error_page));
                let parts = routes.chain([(&self.basic_auth, &self.error_page)]);
                let named = parts.flat_map(|(users, pages)| {
                    let pages = pages.iter().flatten().map(|page| page.file.get_ref());
                    users.iter().map(Spanned::get_ref).filter(|file| *file != OFF).chain(pages)
                });
                let keys = self.signing_keys.iter().map(Spanned::get_ref);
                named.chain(keys).map(|file| base.join(file)).collect()
            }
        }

        impl RouteTable {
            /// The keys that only a route has, and its settings: its own, and the site's where it has none.
            pub(super) fn parts(self, site: &Settings) -> (OfRoute, Settings) {
                let Self { paths, origin_path, origins, $($name,)* } = self;
                let settings = Settings { $($name: $name.or_else(|| site.$name.clone()),)* };
                (OfRoute { paths, origin_path, origins }, settings)
            }
        }
    };
}

settings! {
    canary: CanaryTable,
    parents: Spanned<Vec<Spanned<OriginEntry>>>,
    origin_networks: Vec<Spanned<String>>,
    origin_resolvers: Vec<Spanned<String>>,
    origin_names: Vec<Spanned<String>>,
    rewrite_origin_names: bool,
    origin_roots: Spanned<String>,
    origin_certificate: Spanned<String>,
    origin_key: Spanned<String>,
    origin_http2: bool,
    balance: tables::BalanceName,
    slow_start: Span,
    sticky: Spanned<String>,
    hedge: Span,
    origin_timeout: Span,
    origin_requests: u32,
    origin_queue: u32,
    origin_queue_timeout: Span,
    health: tables::HealthTable,
    default_ttl: Span,
    negative_ttl: Span,
    max_error_ttl: Span,
    heuristic: Spanned<String>,
    heuristic_max: Span,
    max_ttl: Span,
    stale_while_revalidate: Span,
    stale_if_error: Span,
    stale_on_disconnect: Span,
    client_control: tables::ClientControlName,
    set_cookie: tables::SetCookieName,
    s_maxage: tables::SMaxageName,
    bypass: Vec<Spanned<String>>,
    bypass_cookies: Vec<Spanned<String>>,
    bypass_headers: Vec<Spanned<String>>,
    bypass_query: Vec<Spanned<String>>,
    keep_cookies: Spanned<Vec<Spanned<String>>>,
    drop_cookies: Spanned<Vec<Spanned<String>>>,
    targeted: Vec<Spanned<String>>,
    origin_head_size: Spanned<Size>,
    origin_fields: Spanned<usize>,
    allow_fields: Vec<Spanned<String>>,
    ttl: Vec<TtlTable>,
    max_object: Spanned<Size>,
    compress: Vec<tables::CodingName>,
    compress_types: Spanned<Vec<Spanned<String>>>,
    compress_min: Size,
    dictionaries: Vec<Spanned<String>>,
    early_hints: bool,
    query_body: Size,
    buffer_requests: Size,
    origin_title_case: bool,
    forward_tags: bool,
    key: KeyTable,
    request: FieldsTable,
    response: FieldsTable,
    upgrades: bool,
    upgrade_idle_timeout: Span,
    connect_timeout: Span,
    first_byte_timeout: Span,
    between_bytes_timeout: Span,
    origin_idle_timeout: Span,
    allow: Vec<Spanned<String>>,
    deny: Vec<Spanned<String>>,
    basic_auth: Spanned<String>,
    realm: Spanned<String>,
    rate_limit: Spanned<String>,
    max_request_body: Size,
    error_page: Vec<PageTable>,
    https_only: Span,
    maintenance: bool,
    maintenance_exempt: Vec<Spanned<String>>,
    maintenance_retry_after: Span,
}

/// The part of a site that its routes do not have.
pub(super) struct OfSite {
    pub(super) hosts: Spanned<Vec<Spanned<String>>>,
    pub(super) origins: Spanned<Vec<Spanned<OriginEntry>>>,
    pub(super) signed_paths: Vec<Spanned<String>>,
    pub(super) signing_keys: Vec<Spanned<String>>,
    pub(super) purge_from: Vec<Spanned<String>>,
    pub(super) redirect: Vec<RedirectTable>,
    pub(super) route: Vec<RouteTable>,
}

/// The part of a route that its site does not have, and its origins if they are others.
pub(super) struct OfRoute {
    pub(super) paths: Spanned<Vec<Spanned<String>>>,
    pub(super) origin_path: Option<Spanned<String>>,
    pub(super) origins: Option<Spanned<Vec<Spanned<OriginEntry>>>>,
}

/// An origin as it is written.
#[derive(Clone)]
pub(super) enum OriginEntry {
    Url(String),
    Table(OriginTable),
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct OriginTable {
    pub(super) url: String,
    pub(super) host: Option<String>,
    pub(super) sni: Option<Spanned<String>>,
    pub(super) weight: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) backup: bool,
    #[serde(default)]
    pub(super) drain: bool,
}

// By hand: serde's untagged enums lose the places of what is in the table.
impl<'de> Deserialize<'de> for OriginEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EitherForm)
    }
}

struct EitherForm;

impl<'de> Visitor<'de> for EitherForm {
    type Value = OriginEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an origin: \"http://host:port\" or { url = \"http://host:port\", host = \"…\" }")
    }

    fn visit_str<E: de::Error>(self, url: &str) -> Result<OriginEntry, E> {
        Ok(OriginEntry::Url(url.to_owned()))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<OriginEntry, M::Error> {
        OriginTable::deserialize(MapAccessDeserializer::new(map)).map(OriginEntry::Table)
    }
}

impl Settings {
    /// The texts of `list`; empty without one.
    pub(super) fn texts(list: &Option<Vec<Spanned<String>>>) -> &[Spanned<String>] {
        list.as_deref().unwrap_or_default()
    }
}

/// The origins that a share of the requests tries.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct CanaryTable {
    pub(super) origins: Spanned<Vec<Spanned<OriginEntry>>>,
    pub(super) share: Option<Spanned<String>>,
    pub(super) errors: Option<Spanned<String>>,
    pub(super) answers: Option<u32>,
}

//! An operator's decisions about one site's caching: plain data, built by `config`.

use http::{HeaderMap, HeaderName, StatusCode, Uri};

use crate::http::head::{FIELDS, HeadLimits, RequestHead, ResponseHead};
use crate::http::path;
use crate::http::seconds::MAX_DELTA_SECS;
use crate::site::cookies::{self, Cookies};
use crate::site::pattern::{NamePattern, PathPattern, any_matches};

/// One site's caching rules. [`Rules::default`] is what the RFCs ask of a shared cache, and no more.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Lifetime of a cacheable response without any freshness information or validator, in seconds; 0 = not reused.
    pub default_ttl_secs: u64,
    /// Lifetime of a 404 or 410 without explicit freshness, in seconds; 0 = as other errors.
    pub negative_ttl_secs: u64,
    /// An error without explicit freshness lives no longer than this, in seconds, and neither does one of those that a
    /// client's own request or a moment of the origin causes, whatever it says of itself (400, 429, 5xx and others).
    /// 0 = not reused.
    pub max_error_ttl_secs: u64,
    /// Heuristic freshness (RFC 9111 §4.2.2).
    pub heuristic: Heuristic,
    /// Targeted fields (RFC 9213), most specific first. The first one present and valid rules alone.
    pub targeted: Vec<HeaderName>,
    /// The treatment of a response that sets a cookie.
    pub set_cookie: SetCookie,
    /// How far a client's `Cache-Control` may reach (RFC 9111 §5.2.1).
    pub client_control: ClientControl,
    /// TTLs that replace the origin's; the first match wins.
    pub overrides: Vec<TtlOverride>,
    /// Which requests are passed to the origin and never answered from the store.
    pub bypass: Bypass,
    /// Which cookies of a client count.
    pub cookies: Cookies,
    /// Fields that reach the origin though others like them are withheld: a gateway of the site's own writes them.
    pub allow_fields: Vec<NamePattern>,
    /// For how long after its end a response may be served when the origin cannot be reached (RFC 9111 §4.2.4),
    /// in seconds, where the response does not forbid it. 0 = never.
    pub stale_on_disconnect_secs: u64,
    /// `stale-if-error` where the response has none, in seconds (RFC 5861 §4). 0 = none.
    pub stale_if_error_secs: u64,
    /// `stale-while-revalidate` where the response has none, in seconds (RFC 5861 §3). 0 = none.
    pub stale_while_revalidate_secs: u64,
    /// Whether `s-maxage` alone forbids stale answers that the response allows in the same breath.
    pub s_maxage: SMaxage,
    /// No lifetime is longer than this, whatever the origin says, in seconds.
    pub max_ttl_secs: u64,
    /// The longest head that an origin gets.
    pub origin_head: HeadLimits,
    /// Whether 206 responses are stored as parts; the store must be able to hold them.
    pub parts: Parts,
}

/// Heuristic freshness: a share of the time since `Last-Modified`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heuristic {
    /// Only explicit freshness counts.
    Off,
    /// `percent` of Date − Last-Modified, at most `cap_secs`.
    Share {
        /// RFC 9111 §4.2.2 names 10 as typical.
        percent: u8,
        /// Seconds.
        cap_secs: u64,
    },
}

/// The meaning of `s-maxage` beside `stale-while-revalidate` or `stale-if-error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SMaxage {
    /// RFC 9111 §5.2.2.10: it has the meaning of `proxy-revalidate`, and what forbids goes before what allows.
    ForbidsStale,
    /// An explicit window of RFC 5861 counts all the same, as many frameworks expect that send both.
    YieldsToWindows,
}

/// The treatment of `Set-Cookie` in a response that could be stored (RFC 9111 §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCookie {
    /// Passed on and never stored: a session cookie that one visitor gets must not reach another.
    Never,
    /// Stored, with the cookie, when the origin itself gave it a lifetime. A heuristic, `default_ttl` or an override is
    /// not enough.
    WhenExplicit,
    /// Stored without it: only the request that caused the fetch gets the cookie.
    Strip,
}

/// How far a client's `Cache-Control` and `Pragma` request directives reach (RFC 9111 §5.2.1: they are advisory).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientControl {
    /// `only-if-cached` and `no-store` (the answer is not stored), and `no-cache` and `max-age` against what is only
    /// heuristically fresh. Nobody can make the cache validate what the origin or the site gave a lifetime.
    Limited,
    /// All of them: `no-cache`, `max-age`, `min-fresh`, `max-stale`, `stale-if-error` as well.
    Full,
}

/// Whether parts of a representation are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// A 206 is passed on and forgotten.
    Leave,
    /// A 206 with one range is stored as a [`crate::http::range::Part`].
    Store,
}

/// A TTL that replaces the origin's for some responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TtlOverride {
    /// Which paths.
    pub path: PathPattern,
    /// Which statuses; none = 200 only.
    pub statuses: Vec<StatusCode>,
    /// The lifetime in seconds; 0 = not reused without validation. It replaces the origin's number only:
    /// `no-store`, `private`, `no-cache`, cookies and `Authorization` mean what they mean.
    pub ttl_secs: u64,
}

impl Rules {
    /// The site's own lifetime for this response, if it has one.
    pub fn override_secs(&self, request: &RequestHead, response: &ResponseHead) -> Option<u64> {
        self.overriding(&request.uri, response.status).map(|rule| rule.ttl_secs)
    }

    /// The first override for this path and status.
    pub fn overriding(&self, uri: &Uri, status: StatusCode) -> Option<&TtlOverride> {
        if self.overrides.is_empty() {
            return None;
        }
        let path = path::normal(uri.path());
        self.overrides.iter().find(|rule| rule.covers(status) && rule.path.matches(&path))
    }
}

/// Which requests are passed to the origin and never answered from the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bypass {
    /// Requests for these paths, or for one that an origin may read as one of them.
    pub paths: Vec<PathPattern>,
    /// Requests with a cookie of such a name.
    pub cookies: Vec<NamePattern>,
    /// Requests with a field of such a name.
    pub headers: Vec<NamePattern>,
    /// Requests with a query parameter of such a name.
    pub query: Vec<NamePattern>,
}

/// Why a request is passed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypassed {
    /// Its path.
    Path,
    /// A cookie.
    Cookie,
    /// A field.
    Header,
    /// A parameter of its query.
    Query,
}

impl Bypass {
    /// The part of the request that the site names, if any.
    pub fn of(&self, request: &RequestHead) -> Option<Bypassed> {
        let by_path = self.has_path(&request.uri).then_some(Bypassed::Path);
        let by_query = || self.has_parameter(&request.uri).then_some(Bypassed::Query);
        by_path.or_else(|| self.by_fields(&request.headers)).or_else(by_query)
    }

    /// The same by these fields alone. A client's are judged as they came: some that a site names are withheld from keys
    /// and origins, as are cookies that do not count.
    pub fn by_fields(&self, headers: &HeaderMap) -> Option<Bypassed> {
        let has_header = || headers.keys().any(|name| any_matches(&self.headers, name.as_str()));
        if cookies::has_any(headers, &self.cookies) {
            Some(Bypassed::Cookie)
        } else if !self.headers.is_empty() && has_header() {
            Some(Bypassed::Header)
        } else {
            None
        }
    }

    fn has_path(&self, uri: &Uri) -> bool {
        if self.paths.is_empty() {
            return false;
        }
        let readings = path::readings(uri.path());
        self.paths.iter().any(|pattern| readings.iter().any(|path| pattern.matches(path)))
    }

    /// Some origins split a query at `;` too.
    fn has_parameter(&self, uri: &Uri) -> bool {
        let name = |pair: &str| path::decoded(pair.split('=').next().unwrap_or_default());
        !self.query.is_empty()
            && uri.query().is_some_and(|query| {
                query.split(['&', ';']).any(|pair| !pair.is_empty() && any_matches(&self.query, &name(pair)))
            })
    }
}

impl Bypassed {
    /// In a sentence: "the site bypasses …".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "its path",
            Self::Cookie => "a cookie of it",
            Self::Header => "a field of it",
            Self::Query => "a parameter of its query",
        }
    }
}

impl TtlOverride {
    fn covers(&self, status: StatusCode) -> bool {
        if self.statuses.is_empty() { status == StatusCode::OK } else { self.statuses.contains(&status) }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            default_ttl_secs: 0,
            negative_ttl_secs: 0,
            max_error_ttl_secs: MAX_ERROR_TTL_SECS,
            heuristic: Heuristic::Share { percent: DEFAULT_PERCENT, cap_secs: HEURISTIC_MAX_SECS },
            targeted: vec![HeaderName::from_static("cdn-cache-control")],
            set_cookie: SetCookie::Never,
            client_control: ClientControl::Limited,
            overrides: Vec::new(),
            bypass: Bypass::default(),
            cookies: Cookies::All,
            allow_fields: Vec::new(),
            stale_on_disconnect_secs: STALE_ON_DISCONNECT_SECS,
            stale_if_error_secs: 0,
            stale_while_revalidate_secs: 0,
            s_maxage: SMaxage::ForbidsStale,
            max_ttl_secs: MAX_DELTA_SECS,
            origin_head: HeadLimits {
                bytes: ORIGIN_HEAD_BYTES,
                target_bytes: ORIGIN_HEAD_BYTES,
                fields: FIELDS,
            },
            parts: Parts::Store,
        }
    }
}

/// As much as nginx, Apache and gunicorn take of one line, and Tomcat of all.
pub const ORIGIN_HEAD_BYTES: usize = 8192;
/// Long enough that a crowd does not all ask a failing origin, short enough that nobody notices a passing error twice.
const MAX_ERROR_TTL_SECS: u64 = 5;
/// A day: RFC 9111 §4.2.2 wants care beyond it, and browsers cap alike.
pub const HEURISTIC_MAX_SECS: u64 = 86_400;
/// RFC 9111 §4.2.2 names a tenth as typical.
pub const DEFAULT_PERCENT: u8 = 10;
/// A day: long enough to bridge an outage over night, short enough to be noticed.
const STALE_ON_DISCONNECT_SECS: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::request;

    #[test]
    fn a_request_is_passed_by_for_what_the_site_names() {
        let names = |names: &[&str]| names.iter().map(|name| NamePattern::parse(name).unwrap()).collect();
        let bypass = Bypass {
            paths: vec![PathPattern::parse("/wp-admin/*").unwrap()],
            cookies: names(&["wordpress_logged_in_*", "woocommerce_*", "SESS*"]),
            headers: names(&["x-preview", "x-debug-*"]),
            query: names(&["preview", "nocache*"]),
        };
        for (target, fields, expected) in [
            ("/", &[][..], None),
            ("/", &[("cookie", "a=1; b=2"), ("x-other", "1")], None),
            ("/wp-admin/x", &[], Some(Bypassed::Path)),
            ("/x/..%2fwp-admin/x", &[], Some(Bypassed::Path)),
            ("/x%3f%2f..%2fwp-admin/x", &[], Some(Bypassed::Path)),
            ("/", &[("cookie", "a=1; wordpress_logged_in_8f3a=u")], Some(Bypassed::Cookie)),
            ("/", &[("cookie", "a=1"), ("cookie", "SESSabc=")], Some(Bypassed::Cookie)),
            ("/", &[("cookie", "a=1,woocommerce_cart_hash=2")], Some(Bypassed::Cookie)),
            ("/", &[("cookie", "x=wordpress_logged_in_8f3a")], None),
            ("/", &[("x-preview", "")], Some(Bypassed::Header)),
            ("/", &[("x-debug-token", "1")], Some(Bypassed::Header)),
            ("/?a=1&preview=true", &[], Some(Bypassed::Query)),
            ("/?previe%77", &[], Some(Bypassed::Query)),
            ("/?a;nocache1", &[], Some(Bypassed::Query)),
            ("/?x=preview&", &[], None),
        ] {
            let request = request("GET", &format!("http://a.example{target}"), fields);
            assert_eq!(bypass.of(&request), expected, "{target} {fields:?}");
            assert_eq!(Bypass::default().of(&request), None);
        }
    }
}

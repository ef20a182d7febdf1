//! May this response be kept (RFC 9111 §3)?

use std::cell::LazyCell;
use std::ops::Deref;
use std::time::SystemTime;

use http::{HeaderName, Method, StatusCode, Uri, header};

use super::control::{self, ResponseControl, Scope};
use super::freshness::{self, WhenStale};
use super::{Lifetime, disguise, invalidate, transient, vary};
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::range::part;
use crate::site::Rules;
use crate::site::rules::{Parts, SetCookie};

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
    /// The method's responses are not stored; a POST's only with freshness and its own `Content-Location`.
    Method,
    /// The site's rules pass this request by.
    Bypass,
    /// The request said `no-store`.
    RequestNoStore,
    /// 304, 412, 416, 417, 425, 426: it answers this request's conditions, ranges, expectations and connection only.
    ForThisRequest,
    /// A 206 that the site does not store, or with several ranges or a wrong `Content-Range`.
    Part,
    /// `must-understand` and a status this cache does not know (RFC 9111 §5.2.2.3).
    NotUnderstood,
    /// `no-store`.
    NoStore,
    /// `private`.
    Private,
    /// The request had `Authorization`, and the response does not allow sharing (RFC 9111 §3.5).
    Authorization,
    /// `Vary: *`: no request would match.
    VaryStar,
    /// `Vary` depends on more fields than this cache compares, or on ones it overwrites.
    VaryTooWide,
    /// It sets a cookie, and the site does not let cookies be stored, or only with explicit freshness.
    SetCookie,
    /// A page under a file's name, without freshness of its own.
    Disguised,
    /// The status needs explicit freshness or `public`, and has none.
    StatusNeedsFreshness,
    /// Never fresh, and nothing to validate it by.
    NothingToReuse,
    /// A transient error, while a good response is stored that may still be used: [`super::worse::is_worse_than`].
    WorseThanStored,
}

/// Whether the response to `request` may be stored, and for how long. `asked` is when the request left,
/// `now` when the response's head arrived. A POST's response is stored under the key of a GET.
///
/// It judges the head; a body that ends too early is the shell's to drop.
pub fn admit(
    request: &RequestHead,
    response: &ResponseHead,
    asked: SystemTime,
    rules: &Rules,
    now: SystemTime,
) -> Admit {
    // Most of what is not stored says so itself, whatever its lifetime is.
    let lifetime = LazyCell::new(|| freshness::lifetime(request, response, asked, rules, now));
    match obstacle(request, response, &lifetime, rules) {
        Some(why) => Admit::Leave(why),
        None => Admit::Keep(Lifetime::clone(&lifetime)),
    }
}

fn obstacle(
    request: &RequestHead,
    response: &ResponseHead,
    lifetime: &impl Deref<Target = Lifetime>,
    rules: &Rules,
) -> Option<Unstorable> {
    let (control, _) = control::of_response(&response.headers, &rules.targeted);
    of_method(request, response, lifetime)
        .or_else(|| of_rules(request, rules))
        .or_else(|| of_status(response, &control, rules))
        .or_else(|| of_directives(request, response, &control))
        .or_else(|| of_vary(response))
        .or_else(|| of_cookie(response, lifetime, rules))
        .or_else(|| of_disguise(request, response, lifetime))
        .or_else(|| of_use(response, &control, lifetime))
}

fn of_method(
    request: &RequestHead,
    response: &ResponseHead,
    lifetime: &impl Deref<Target = Lifetime>,
) -> Option<Unstorable> {
    let storable = match request.method {
        Method::GET => true,
        // RFC 9110 §9.3.3: a POST's response stands for a later GET if it says so and how long.
        Method::POST => lifetime.source.is_explicit() && is_own_location(request, response),
        _ => false,
    };
    (!storable).then_some(Unstorable::Method)
}

fn is_own_location(request: &RequestHead, response: &ResponseHead) -> bool {
    let same = |uri: Uri| {
        invalidate::same_origin(&uri, &request.uri) && uri.path_and_query() == request.uri.path_and_query()
    };
    let location = response.headers.get(header::CONTENT_LOCATION);
    let resolved = location.and_then(|value| invalidate::resolve(&request.uri, value.as_bytes()));
    response.status.is_success() && resolved.is_some_and(same)
}

fn of_rules(request: &RequestHead, rules: &Rules) -> Option<Unstorable> {
    if rules.bypass.of(request).is_some() {
        Some(Unstorable::Bypass)
    } else if control::of_request(&request.headers).no_store {
        Some(Unstorable::RequestNoStore)
    } else {
        None
    }
}

fn of_status(response: &ResponseHead, control: &ResponseControl, rules: &Rules) -> Option<Unstorable> {
    match response.status {
        StatusCode::NOT_MODIFIED
        | StatusCode::PRECONDITION_FAILED
        | StatusCode::RANGE_NOT_SATISFIABLE
        | StatusCode::EXPECTATION_FAILED
        // RFC 8470 §5.2: about the way that this request came; no other one may be told to try again.
        | StatusCode::TOO_EARLY
        // RFC 9110 §15.5.22: what it asks for is a matter of this connection.
        | StatusCode::UPGRADE_REQUIRED => Some(Unstorable::ForThisRequest),
        StatusCode::PARTIAL_CONTENT if rules.parts == Parts::Leave || part(response).is_none() => {
            Some(Unstorable::Part)
        }
        status if control.must_understand && !freshness::is_understood(status) => {
            Some(Unstorable::NotUnderstood)
        }
        _ => None,
    }
}

fn of_directives(
    request: &RequestHead,
    response: &ResponseHead,
    control: &ResponseControl,
) -> Option<Unstorable> {
    // RFC 9111 §5.2.2.3: a cache that understands the status ignores no-store beside must-understand.
    if control.no_store && !(control.must_understand && freshness::is_understood(response.status)) {
        return Some(Unstorable::NoStore);
    }
    if control.private == Scope::Everything {
        return Some(Unstorable::Private);
    }
    // RFC 9111 §3.5.
    let shared = control.public || control.must_revalidate || control.s_maxage.is_some();
    (request.headers.contains_key(header::AUTHORIZATION) && !shared).then_some(Unstorable::Authorization)
}

fn of_vary(response: &ResponseHead) -> Option<Unstorable> {
    match vary::of(response) {
        vary::Vary::Star => Some(Unstorable::VaryStar),
        vary::Vary::TooWide => Some(Unstorable::VaryTooWide),
        vary::Vary::Fields(_) => None,
    }
}

/// RFC 9111 §7.3 lets a cache store a response that sets a cookie when it has explicit freshness. Frameworks add a
/// session cookie to any response, also to those whose freshness another part of the program has set, so the default
/// is to store none of them.
fn of_cookie(response: &ResponseHead, lifetime: &Lifetime, rules: &Rules) -> Option<Unstorable> {
    let sets = |name: &HeaderName| response.headers.contains_key(name) && !lifetime.omitted.contains(name);
    if !freshness::COOKIES.iter().any(sets) {
        return None;
    }
    let meant = lifetime.source.is_explicit()
        && lifetime.fresh_secs > 0
        && lifetime.stale != WhenStale::NeverUnvalidated;
    let kept = rules.set_cookie == SetCookie::WhenExplicit && meant;
    (!kept).then_some(Unstorable::SetCookie)
}

/// The site's own rules must not store under a file's name what the origin did not call fresh and is a page.
fn of_disguise(request: &RequestHead, response: &ResponseHead, lifetime: &Lifetime) -> Option<Unstorable> {
    let guessed = lifetime.fresh_secs > 0 && !lifetime.source.is_explicit();
    let disguised = guessed && disguise::is_disguised(request.uri.path(), &response.headers);
    disguised.then_some(Unstorable::Disguised)
}

fn of_use(response: &ResponseHead, control: &ResponseControl, lifetime: &Lifetime) -> Option<Unstorable> {
    // RFC 9111 §3: public, explicit freshness, or a status that is cacheable by default.
    let explicit = lifetime.source != freshness::Source::Nothing;
    if !(explicit || control.public || freshness::is_heuristically_cacheable(response)) {
        return Some(Unstorable::StatusNeedsFreshness);
    }
    // A transient error is not kept for its validator: a 304 about the good response would make the error last.
    let validator = !transient::is_transient(response.status)
        && (response.headers.contains_key(header::ETAG)
            || response.headers.contains_key(header::LAST_MODIFIED));
    let windows = match lifetime.stale {
        WhenStale::NeverUnvalidated => return (!validator).then_some(Unstorable::NothingToReuse),
        WhenStale::MustRevalidate => 0,
        WhenStale::May { while_revalidate_secs, if_error_secs } => while_revalidate_secs.max(if_error_secs),
    };
    let usable = validator || lifetime.fresh_secs > 0 || windows > 0;
    (!usable).then_some(Unstorable::NothingToReuse)
}

impl Unstorable {
    /// Whether a response of this status that is not stored for this reason tells what any request for it would get now.
    /// Then what is stored is not that any more: RFC 9111 §4.3.3 has a full response replace it. A transient error tells
    /// nothing of the resource (§4.3.3 as well), nor does a reason that stands in the one request.
    pub fn speaks_for_all(self, status: StatusCode) -> bool {
        !transient::is_transient(status) && !self.is_of_request()
    }

    /// Whether it stands in the request, so that it is no obstacle to what was stored for another.
    pub fn is_of_request(self) -> bool {
        matches!(
            self,
            Self::Authorization
                | Self::Bypass
                | Self::ForThisRequest
                | Self::Method
                | Self::Part
                | Self::RequestNoStore
        )
    }

    /// A label for logs and Cache-Status detail.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Bypass => "bypass",
            Self::RequestNoStore => "request-no-store",
            Self::ForThisRequest => "for-this-request",
            Self::Part => "part",
            Self::NotUnderstood => "must-understand",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::VaryStar => "vary-star",
            Self::VaryTooWide => "vary-too-wide",
            Self::SetCookie => "set-cookie",
            Self::Disguised => "disguised",
            Self::StatusNeedsFreshness => "status",
            Self::NothingToReuse => "no-freshness",
            Self::WorseThanStored => "worse-than-stored",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::bypassing;
    use super::*;
    use crate::http::testing::{at, get, request, response};

    const FRESH: (&str, &str) = ("cache-control", "max-age=3600");

    fn verdict(
        request: &RequestHead,
        status: u16,
        fields: &[(&str, &str)],
        rules: &Rules,
    ) -> Option<Unstorable> {
        match admit(request, &response(status, fields), at(1000), rules, at(1000)) {
            Admit::Keep(_) => None,
            Admit::Leave(why) => Some(why),
        }
    }

    fn check(status: u16, fields: &[(&str, &str)], expected: Option<Unstorable>) {
        assert_eq!(verdict(&get(&[]), status, fields, &Rules::default()), expected, "{status} {fields:?}");
    }

    #[test]
    fn any_final_status_is_kept_with_explicit_freshness() {
        for status in (200..=999).filter(|status| ![206, 304, 412, 416, 417, 425, 426].contains(status)) {
            check(status, &[FRESH], None);
        }
        for status in [304, 412, 416, 417, 425, 426] {
            check(status, &[FRESH], Some(Unstorable::ForThisRequest));
        }
    }

    #[test]
    fn without_freshness_only_a_validator_keeps() {
        check(200, &[], Some(Unstorable::NothingToReuse));
        check(200, &[("etag", "\"a\"")], None);
        check(200, &[("cache-control", "max-age=0")], Some(Unstorable::NothingToReuse));
        check(200, &[("cache-control", "max-age=0, stale-if-error=9")], None);
        check(
            200,
            &[("cache-control", "max-age=0, stale-if-error=9, must-revalidate")],
            Some(Unstorable::NothingToReuse),
        );
        check(200, &[("cache-control", "no-cache, max-age=9")], Some(Unstorable::NothingToReuse));
        check(200, &[("cache-control", "no-cache"), ("etag", "\"a\"")], None);
        check(
            403,
            &[("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")],
            Some(Unstorable::StatusNeedsFreshness),
        );
        check(599, &[("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT"), ("cache-control", "public")], None);
    }

    #[test]
    fn directives_that_forbid() {
        check(200, &[("cache-control", "no-store, max-age=9")], Some(Unstorable::NoStore));
        check(200, &[("cache-control", "private, max-age=9")], Some(Unstorable::Private));
        check(200, &[("cache-control", "private=\"a\", max-age=9")], None);
        check(200, &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=9")], None);
        check(200, &[FRESH, ("cdn-cache-control", "no-store")], Some(Unstorable::NoStore));
        check(200, &[FRESH, ("cdn-cache-control", "private")], Some(Unstorable::Private));
        check(200, &[FRESH, ("cdn-cache-control", "no-cache")], Some(Unstorable::NothingToReuse));
        check(
            200,
            &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=\"10\"")],
            Some(Unstorable::NothingToReuse),
        );
    }

    #[test]
    fn must_understand() {
        check(599, &[("cache-control", "max-age=9, must-understand")], Some(Unstorable::NotUnderstood));
        check(200, &[("cache-control", "max-age=9, must-understand, no-store")], None);
        check(
            599,
            &[("cache-control", "max-age=9, must-understand, no-store")],
            Some(Unstorable::NotUnderstood),
        );
    }

    #[test]
    fn a_full_response_speaks_for_all_unless_the_server_or_the_request_is_the_matter() {
        use Unstorable::{Authorization, NoStore, Private, RequestNoStore, StatusNeedsFreshness};
        for (status, why, expected) in [
            (200, NoStore, true),
            (200, Private, true),
            (301, StatusNeedsFreshness, true),
            (401, StatusNeedsFreshness, true),
            (404, StatusNeedsFreshness, true),
            (501, StatusNeedsFreshness, false),
            (400, StatusNeedsFreshness, false),
            (429, NoStore, false),
            (500, StatusNeedsFreshness, false),
            (503, NoStore, false),
            (200, RequestNoStore, false),
            (404, RequestNoStore, false),
            (200, Authorization, false),
            (416, Unstorable::ForThisRequest, false),
            (206, Unstorable::Part, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(why.speaks_for_all(status), expected, "{status} {why:?}");
        }
    }

    #[test]
    fn authorization_needs_leave_to_share() {
        let authorized = get(&[("authorization", "x")]);
        for (directives, expected) in [
            ("max-age=9", Some(Unstorable::Authorization)),
            ("max-age=9, proxy-revalidate", Some(Unstorable::Authorization)),
            ("max-age=9, public", None),
            ("max-age=9, must-revalidate", None),
            ("s-maxage=9", None),
        ] {
            let found = verdict(&authorized, 200, &[("cache-control", directives)], &Rules::default());
            assert_eq!(found, expected, "{directives}");
        }
        let rules = Rules { default_ttl_secs: 60, ..Rules::default() };
        assert_eq!(verdict(&authorized, 200, &[], &rules), Some(Unstorable::Authorization));
    }

    #[test]
    fn a_response_that_sets_a_cookie_is_not_stored_by_default() {
        for cookie in [("set-cookie", "a=b"), ("set-cookie2", "a=b; Version=1")] {
            let kept = Some(Unstorable::SetCookie);
            check(200, &[FRESH, cookie], kept);
            check(200, &[("cache-control", "public, s-maxage=9"), cookie], kept);
            check(200, &[FRESH, cookie, ("cdn-cache-control", "max-age=9")], kept);
            check(404, &[("expires", "Sun, 06 Nov 2094 08:49:37 GMT"), cookie], kept);
            check(200, &[cookie, ("etag", "\"a\"")], kept);
        }
        // RFC 9111 §5.2.2.4, §5.2.2.7: the origin has said that the cookie, and nothing else, is not to be stored.
        for directive in ["no-cache=\"set-cookie\"", "max-age=9, private=\"Set-Cookie\""] {
            check(200, &[("cache-control", directive), ("set-cookie", "a=b"), ("etag", "\"a\"")], None);
        }
    }

    #[test]
    fn a_site_may_let_cookies_be_stored_that_the_origin_gave_a_lifetime() {
        let cookie = ("set-cookie", "a=b");
        let check = |fields: &[(&str, &str)], default_ttl_secs, expected| {
            let rules = Rules { set_cookie: SetCookie::WhenExplicit, default_ttl_secs, ..Rules::default() };
            assert_eq!(verdict(&get(&[]), 200, fields, &rules), expected, "{fields:?}");
        };
        check(&[FRESH, cookie], 0, None);
        for fields in [
            &[cookie][..],
            &[cookie, ("etag", "\"a\"")],
            &[cookie, ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")],
            &[cookie, ("cache-control", "max-age=9, no-cache"), ("etag", "\"a\"")],
        ] {
            check(fields, 60, Some(Unstorable::SetCookie));
        }
    }

    #[test]
    fn stripped_cookies_are_no_obstacle_and_not_stored() {
        let strip = Rules { set_cookie: SetCookie::Strip, default_ttl_secs: 60, ..Rules::default() };
        let head = response(200, &[("set-cookie", "a=b")]);
        let Admit::Keep(lifetime) = admit(&get(&[]), &head, at(1000), &strip, at(1000)) else { panic!() };
        assert_eq!(lifetime.omitted, freshness::COOKIES);
    }

    #[test]
    fn a_page_under_a_files_name_needs_the_origins_own_freshness() {
        let rules = Rules { default_ttl_secs: 60, ..Rules::default() };
        let page = ("content-type", "text/html");
        let check = |uri: &str, fields: &[(&str, &str)], expected| {
            assert_eq!(verdict(&request("GET", uri, &[]), 200, fields, &rules), expected, "{uri} {fields:?}");
        };
        check("http://a.example/account/x.css", &[page], Some(Unstorable::Disguised));
        check("http://a.example/account/x.css", &[page, FRESH], None);
        check("http://a.example/account/x.css", &[("content-type", "text/css")], None);
        check("http://a.example/account", &[page], None);
    }

    #[test]
    fn methods() {
        let check = |method: &str, fields: &[(&str, &str)], expected| {
            let request = request(method, "http://a.example/p?q", &[]);
            assert_eq!(verdict(&request, 200, fields, &Rules::default()), expected, "{method} {fields:?}");
        };
        check("HEAD", &[FRESH], Some(Unstorable::Method));
        check("PUT", &[FRESH], Some(Unstorable::Method));
        check("M-SEARCH", &[FRESH], Some(Unstorable::Method));
        check("POST", &[FRESH], Some(Unstorable::Method));
        check("POST", &[FRESH, ("content-location", "/p?q")], None);
        check("POST", &[FRESH, ("content-location", "http://A.example:80/p?q")], None);
        check("POST", &[FRESH, ("content-location", "/p")], Some(Unstorable::Method));
        check("POST", &[FRESH, ("content-location", "http://b.example/p?q")], Some(Unstorable::Method));
        check("POST", &[("etag", "\"a\""), ("content-location", "/p?q")], Some(Unstorable::Method));
    }

    #[test]
    fn the_request_and_the_site_may_forbid() {
        let rules = Rules { bypass: bypassing("/private*"), ..Rules::default() };
        for uri in ["http://a.example/private/x", "http://a.example/x/../%70rivate"] {
            let private = request("GET", uri, &[]);
            assert_eq!(verdict(&private, 200, &[FRESH], &rules), Some(Unstorable::Bypass), "{uri}");
        }
        let no_store = get(&[("cache-control", "no-store")]);
        assert_eq!(verdict(&no_store, 200, &[FRESH], &Rules::default()), Some(Unstorable::RequestNoStore));
    }

    #[test]
    fn parts_need_one_right_content_range() {
        check(206, &[FRESH, ("content-range", "bytes 0-4/10")], None);
        check(206, &[FRESH], Some(Unstorable::Part));
        check(206, &[FRESH, ("content-range", "bytes 5-4/10")], Some(Unstorable::Part));
        check(206, &[FRESH, ("content-type", "multipart/byteranges; boundary=x")], Some(Unstorable::Part));
        let leave = Rules { parts: Parts::Leave, ..Rules::default() };
        assert_eq!(
            verdict(&get(&[]), 206, &[FRESH, ("content-range", "bytes 0-4/10")], &leave),
            Some(Unstorable::Part)
        );
    }

    #[test]
    fn vary_star_is_not_kept() {
        for value in ["*", "*, *", ", *", "*, Foo", "Foo, *"] {
            check(200, &[FRESH, ("vary", value)], Some(Unstorable::VaryStar));
        }
        check(200, &[FRESH, ("vary", ""), ("vary", "*")], Some(Unstorable::VaryStar));
        check(200, &[FRESH, ("vary", "X-Forwarded-For")], Some(Unstorable::VaryTooWide));
        check(200, &[FRESH, ("vary", "Foo, Bar")], None);
    }
}

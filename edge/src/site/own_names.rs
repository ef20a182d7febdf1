//! The names by which an origin knows itself, put right in what its responses tell clients.
//!
//! An application that does not know of the edge sends clients to itself: to the address that the edge dials, or to the
//! name that the edge gives it as `Host`. Clients cannot follow such a redirect, and no browser keeps a cookie for such
//! a domain. So `Location`, `Content-Location` and `Refresh` get the scheme and the authority that the client asked for,
//! and the `Domain` of a cookie its host. This happens when a response arrives: what is stored lies under a key that has
//! the client's scheme and host in it, so each host of a site has its own.
//!
//! Where a route asks its origins for other paths than clients do, paths that are the origin's become the clients' too.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use crate::http::head::RequestHead;
use crate::http::path;
use crate::site::route::Route;

/// The names of a site's origins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnNames {
    names: Vec<Name>,
    /// The ports that the edge dials: an origin that gets the client's `Host` may add its own to that.
    ports: Vec<u16>,
    is_on: bool,
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// In lower case.
    host: String,
    /// None: the port that a URI's scheme has when it names none, or one that the edge dials.
    port: Option<u16>,
}

impl Name {
    /// `host` or `host:port`; an IPv6 address stands in brackets. None if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let authority: http::uri::Authority = text.parse().ok()?;
        let host = authority.host();
        let is_whole = !host.is_empty() && !authority.as_str().contains('@');
        is_whole.then(|| Self { host: host.to_ascii_lowercase(), port: authority.port_u16() })
    }
}

impl OwnNames {
    /// Of origins that are dialled at the first names, which have ports, and may call themselves by the others.
    pub fn new(dialled: Vec<Name>, others: Vec<Name>) -> Self {
        let ports = dialled.iter().filter_map(|name| name.port).collect();
        Self { names: dialled.into_iter().chain(others).collect(), ports, is_on: true }
    }

    /// Puts the fields of a response to `request` right. `route` is the part of the site that answers: what it asks its
    /// origins for under another path has that path in their URLs.
    pub fn apply(&self, headers: &mut HeaderMap, request: &RequestHead, route: Option<&Route>) {
        if !self.is_on {
            return;
        }
        let asked = &Asked { uri: &request.uri, route };
        // A redirect from a URL to itself never ends, but for one that leads from a form's POST to its page.
        let never_ends = |url: &str| request.method.is_safe() && is_same(url, asked.uri);
        let next = |value: &str| self.public(value, asked).filter(|url| !never_ends(url));
        replace(headers, &header::LOCATION, |value| next(&encoded(value)));
        replace(headers, &header::REFRESH, |value| refreshed(&encoded(value), next));
        replace(headers, &header::CONTENT_LOCATION, |value| self.public(&encoded(value), asked));
        replace(headers, &header::SET_COOKIE, |value| self.cookie(&each_byte(value), asked));
    }

    /// The same URL as the client would ask for it; none if it is not the origin's own.
    fn public(&self, url: &str, asked: &Asked<'_>) -> Option<String> {
        let Some(given) = Given::of(url) else { return asked.moved(url) };
        let Asked { uri, .. } = *asked;
        let (asked_scheme, asked_authority) = (uri.scheme_str()?, uri.authority()?.as_str());
        let is_asked = given.authority.eq_ignore_ascii_case(asked_authority);
        let own = match given.scheme {
            // A redirect from one scheme to the other is meant, unless the origin cannot know that it is secured.
            Some("http") if is_asked => asked_scheme == "https",
            _ if is_asked => false,
            _ => self.has(&given, uri),
        };
        if !own && is_asked && given.scheme == Some(asked_scheme) {
            // It knows the client's name, and may still know only its own paths.
            return asked.moved(given.rest).map(|rest| format!("{asked_scheme}://{}{rest}", given.authority));
        }
        if !own {
            return None;
        }
        let scheme = match given.scheme {
            Some("https") => "https",
            _ => asked_scheme,
        };
        // A port belongs to a scheme.
        let authority = if scheme == asked_scheme { asked_authority } else { uri.host()? };
        let rest = asked.found_at(given.rest).unwrap_or_else(|| given.rest.to_owned());
        Some(match given.scheme {
            None => format!("//{authority}{rest}"),
            Some(_) => format!("{scheme}://{authority}{rest}"),
        })
    }

    fn has(&self, given: &Given<'_>, asked: &Uri) -> bool {
        let Some((host, port)) = given.host_and_port() else { return false };
        let is_default = port.is_none() || port == given.scheme.map(default_port);
        let is_dialled = port.is_some_and(|port| self.ports.contains(&port));
        let named = |name: &Name| {
            let at_port = match name.port {
                Some(own) => port.or_else(|| given.scheme.map(default_port)) == Some(own),
                None => is_default || is_dialled,
            };
            at_port && name.host == host
        };
        let with_own_port = || {
            is_dialled
                && given.scheme != Some("https")
                && asked.host().is_some_and(|asked| asked.eq_ignore_ascii_case(&host))
        };
        self.names.iter().any(named) || with_own_port()
    }

    /// RFC 6265 §4.1.2.3: browsers refuse a cookie for a domain that is not the host's.
    fn cookie(&self, value: &str, asked: &Asked<'_>) -> Option<String> {
        let mut changed = false;
        let mut parts = value.split(';');
        let mut cookie = parts.next()?.to_owned();
        for part in parts {
            let other = self.attribute(part, asked);
            changed |= other.is_some();
            cookie.push(';');
            cookie.push_str(other.as_deref().unwrap_or(part));
        }
        changed.then_some(cookie)
    }

    /// One attribute of a cookie, if it has to change.
    fn attribute(&self, part: &str, asked: &Asked<'_>) -> Option<String> {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("path") {
            // A path that covers the client's URL does as it is.
            let is_of_origin = !covers(value, asked.uri.path());
            return is_of_origin
                .then(|| asked.at_client(value))
                .flatten()
                .map(|path| format!(" Path={path}"));
        }
        let (host, own) = (asked.uri.host()?, value.trim_start_matches('.').to_ascii_lowercase());
        let is_own = name.eq_ignore_ascii_case("domain") && self.names.iter().any(|name| name.host == own);
        (is_own && !is_within(host, &own)).then(|| format!(" Domain={host}"))
    }
}

/// `5; url=http://…` (WHATWG HTML, "shared declarative refresh steps"), with what `next` makes of its URL.
fn refreshed(value: &str, next: impl Fn(&str) -> Option<String>) -> Option<String> {
    let at = value.to_ascii_lowercase().find("url")?;
    let after = value[at + 3..].trim_start().strip_prefix('=')?.trim_start();
    let url = after.trim_start_matches(['"', '\'']);
    let end = if url.len() < after.len() { url.find(['"', '\'']).unwrap_or(url.len()) } else { url.len() };
    let public = next(&url[..end])?;
    let (before, behind) = (&value[..value.len() - url.len()], &url[end..]);
    Some(format!("{before}{public}{behind}"))
}

/// The target that a client asked for.
struct Asked<'a> {
    uri: &'a Uri,
    route: Option<&'a Route>,
}

impl Asked<'_> {
    /// Where clients ask for what has this path at the origin, if that is another one.
    fn at_client(&self, at_origin: &str) -> Option<String> {
        let route = self.route.filter(|route| route.origin_path().is_some())?;
        route.at_client(&path::normal(self.uri.path()), at_origin)
    }
}

impl Asked<'_> {
    /// As [`Asked::at_client`], for what a client asks for next. A folder without its slash is found with it, where the
    /// route has it only so.
    fn found_at(&self, named: &str) -> Option<String> {
        // RFC 9110 §4.2.3: an authority alone is the same as with the root.
        let rooted = format!("/{}", named.strip_prefix('/').unwrap_or(named));
        let found = self.at_client(&rooted)?;
        let end = found.find(['?', '#']).unwrap_or(found.len());
        let (path, behind) = found.split_at(end);
        let folder = format!("{path}/");
        let has = |path: &str| self.route.is_some_and(|route| route.has(&path::normal(path)));
        Some(if !has(path) && has(&folder) { format!("{folder}{behind}") } else { found })
    }

    /// Where clients ask for what an origin names by a path alone, unless that is a path of theirs already.
    fn moved(&self, named: &str) -> Option<String> {
        let end = named.find(['?', '#']).unwrap_or(named.len());
        let is_clients = |route: &Route| route.has(&path::normal(&named[..end]));
        let is_path = named.starts_with('/') && !named.starts_with("//");
        if !is_path || self.route.is_some_and(is_clients) {
            return None;
        }
        self.found_at(named)
    }
}

/// The parts of a URL that has an authority.
struct Given<'a> {
    /// `http` or `https`; none in `//host/path`.
    scheme: Option<&'static str>,
    authority: &'a str,
    /// Path, query and fragment.
    rest: &'a str,
}

impl<'a> Given<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let (scheme, behind) = match url.split_once("//")? {
            ("", behind) => (None, behind),
            (scheme, behind) if scheme.eq_ignore_ascii_case("http:") => (Some("http"), behind),
            (scheme, behind) if scheme.eq_ignore_ascii_case("https:") => (Some("https"), behind),
            _ => return None,
        };
        let end = behind.find(['/', '?', '#', '\\']).unwrap_or(behind.len());
        let (authority, rest) = behind.split_at(end);
        Some(Self { scheme, authority, rest })
    }

    /// None of what has user information: that is no name which an origin gives itself.
    fn host_and_port(&self) -> Option<(String, Option<u16>)> {
        Name::parse(self.authority).map(|name| (name.host, name.port))
    }
}

fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

/// Whether a browser sends a cookie with this `Path` for that path (RFC 6265 §5.1.4).
fn covers(cookie: &str, path: &str) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|behind| behind.is_empty() || behind.starts_with('/') || cookie.ends_with('/'))
}

fn is_within(host: &str, domain: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == domain || host.strip_suffix(domain).is_some_and(|before| before.ends_with('.'))
}

/// Whether a client that follows `url` asks for the same again.
fn is_same(url: &str, asked: &Uri) -> bool {
    let url = url.split('#').next().unwrap_or_default();
    url.parse::<Uri>().is_ok_and(|url| url == *asked)
}

/// A value with URLs, each byte beyond ASCII percent-encoded (RFC 3986 §2.1), as a client reads it.
fn encoded(value: &HeaderValue) -> String {
    let mut text = String::with_capacity(value.len());
    for &byte in value.as_bytes() {
        if byte.is_ascii() { text.push(char::from(byte)) } else { text.push_str(&format!("%{byte:02X}")) }
    }
    text
}

/// A value as text with a character for each byte, whatever it is written in.
fn each_byte(value: &HeaderValue) -> String {
    value.as_bytes().iter().copied().map(char::from).collect()
}

/// `change` gives a new value with a character for each byte.
fn replace(headers: &mut HeaderMap, name: &HeaderName, change: impl Fn(&HeaderValue) -> Option<String>) {
    let changed = |value: &HeaderValue| {
        let bytes: Option<Vec<u8>> = change(value)?.chars().map(|c| u8::try_from(c).ok()).collect();
        HeaderValue::try_from(bytes?).ok()
    };
    if !headers.get_all(name).iter().any(|value| changed(value).is_some()) {
        return;
    }
    let values: Vec<HeaderValue> =
        headers.get_all(name).iter().map(|value| changed(value).unwrap_or_else(|| value.clone())).collect();
    headers.remove(name);
    for value in values {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{fields, request};

    fn names() -> OwnNames {
        let parse = |names: &[&str]| names.iter().map(|name| Name::parse(name).unwrap()).collect();
        OwnNames::new(
            parse(&["app.internal:8000", "[fd00::1]:8000"]),
            parse(&["shop.local", "admin.local:81"]),
        )
    }

    #[test]
    fn names_are_put_right_beside_any_bytes() {
        let asked = "https://www.test/x";
        location(asked, "http://shop.local/\u{fc}ber?q=\u{e9}", "https://www.test/%C3%BCber?q=%C3%A9");
        check(asked, "refresh", "5; url=\"http://shop.local/\u{fc}\"", "5; url=\"https://www.test/%C3%BC\"");
        // Of what has no such name nothing changes, and of a cookie only the name.
        let kept = |name: &str, value: &str| {
            let mut headers = fields(&[(name, value)]);
            names().apply(&mut headers, &request("GET", asked, &[]), None);
            assert_eq!(headers[name].as_bytes(), value.as_bytes());
        };
        kept("location", "/\u{fc}ber");
        kept("location", "http://elsewhere.test/\u{fc}");
        kept("set-cookie", "a=\u{fc}\u{a0}; Path=/");
        let mut headers = HeaderMap::new();
        let cookie = b"a=\xfc\xff \xc3\xa0; domain=shop.local; Path=/";
        headers.insert("set-cookie", HeaderValue::from_bytes(cookie).unwrap());
        names().apply(&mut headers, &request("GET", asked, &[]), None);
        assert_eq!(headers["set-cookie"].as_bytes(), b"a=\xfc\xff \xc3\xa0; Domain=www.test; Path=/");
    }

    #[track_caller]
    fn check(asked: &str, name: &str, value: &str, expected: &str) {
        let mut headers = fields(&[(name, value)]);
        names().apply(&mut headers, &request("GET", asked, &[]), None);
        assert_eq!(headers[name], expected, "{asked} {name}: {value}");
        let mut untouched = fields(&[(name, value)]);
        OwnNames::default().apply(&mut untouched, &request("GET", asked, &[]), None);
        assert_eq!(untouched[name], value);
    }

    fn location(asked: &str, value: &str, expected: &str) {
        check(asked, "location", value, expected);
        check(asked, "content-location", value, expected);
    }

    #[test]
    fn a_url_by_which_an_origin_names_itself_becomes_the_clients() {
        const PLAIN: &str = "http://www.test:8080/x?y";
        const SECURE: &str = "https://www.test/x?y";
        for own in [
            "app.internal:8000",
            "App.Internal:8000",
            "[fd00::1]:8000",
            "shop.local",
            "shop.local:80",
            "shop.local:8000",
            "admin.local:81",
        ] {
            location(PLAIN, &format!("http://{own}/a?b#c"), "http://www.test:8080/a?b#c");
            location(SECURE, &format!("http://{own}/a?b#c"), "https://www.test/a?b#c");
            location(SECURE, &format!("HTTP://{own}"), "https://www.test");
        }
        location(PLAIN, "//shop.local/a", "//www.test:8080/a");
        // It knows what the edge tells it of the client's scheme.
        location(SECURE, "https://shop.local/a", "https://www.test/a");
        location(PLAIN, "https://shop.local/a", "https://www.test/a");
        // The client's name with the origin's own port, as nginx redirects to a folder.
        location(PLAIN, "http://www.test:8000/sub/", "http://www.test:8080/sub/");
        location(SECURE, "http://www.test:8000/sub/", "https://www.test/sub/");
        // It does not know of TLS.
        location(SECURE, "http://www.test/a", "https://www.test/a");
    }

    #[test]
    fn any_other_url_stays() {
        for other in [
            "/a",
            "a//shop.local/",
            "?u=http://shop.local/",
            "https://www.test/a",
            "http://other.test/",
            "http://app.internal/a",
            "http://app.internal:8001/",
            "http://shop.local.evil.test/",
            "http://shop.local:8001/",
            "http://u@shop.local/",
            "http://shop.local@evil.test/",
            "ftp://shop.local/",
            "http://www.test:81/",
            "",
        ] {
            location("http://www.test/x", other, other);
        }
        location("http://www.test/x", "https://app.internal:8001/", "https://app.internal:8001/");
        // From http to https on purpose.
        location("http://www.test/x", "https://www.test/x", "https://www.test/x");
    }

    #[test]
    fn a_redirect_that_would_not_end_stays() {
        let asked = "https://www.test/x";
        for own in ["http://www.test/x", "http://shop.local/x#a"] {
            check(asked, "location", own, own);
            check(
                asked,
                "content-location",
                own,
                &own.replace("http://www.test", "https://www.test")
                    .replace("http://shop.local", "https://www.test"),
            );
        }
        let mut headers = fields(&[("location", "http://www.test/x")]);
        names().apply(&mut headers, &request("POST", asked, &[]), None);
        assert_eq!(headers["location"], asked, "a form's page comes after its POST");
    }

    #[test]
    fn a_refresh_is_a_redirect_too() {
        let check = |value, expected| check("https://www.test/x", "refresh", value, expected);
        check("5; url=http://shop.local/a", "5; url=https://www.test/a");
        check("0;URL = 'http://app.internal:8000/a'", "0;URL = 'https://www.test/a'");
        check("0;url=\"//shop.local/a\"; x", "0;url=\"//www.test/a\"; x");
        for other in ["5", "5; url=/a", "5; url=http://other.test/", "5; url", "url\u{e9}=x"] {
            let mut headers = HeaderMap::new();
            headers.insert("refresh", HeaderValue::from_bytes(other.as_bytes()).unwrap());
            let before = headers.clone();
            names().apply(&mut headers, &request("GET", "https://www.test/x", &[]), None);
            assert_eq!(headers, before);
        }
    }

    #[test]
    fn a_cookie_for_the_origins_domain_is_for_the_clients_host() {
        let check = |value, expected| check("http://www.test:8080/x", "set-cookie", value, expected);
        check("a=1; Domain=shop.local; Path=/", "a=1; Domain=www.test; Path=/");
        check("a=1;domain = .App.Internal;Secure", "a=1; Domain=www.test;Secure");
        for other in [
            "a=1",
            "Domain=shop.local",
            "a=1; Domain=www.test",
            "a=1; Domain=.test",
            "a=1; Domain=other.test",
            "a=1; Domain",
        ] {
            check(other, other);
        }
        let mut headers =
            fields(&[("set-cookie", "a=1"), ("set-cookie", "b=2; domain=shop.local"), ("set-cookie", "c")]);
        names().apply(&mut headers, &request("GET", "http://x.shop.local/", &[]), None);
        assert_eq!(
            headers,
            fields(&[("set-cookie", "a=1"), ("set-cookie", "b=2; domain=shop.local"), ("set-cookie", "c")])
        );
        names().apply(&mut headers, &request("GET", "http://www.test/", &[]), None);
        assert_eq!(
            headers,
            fields(&[("set-cookie", "a=1"), ("set-cookie", "b=2; Domain=www.test"), ("set-cookie", "c")])
        );
    }

    #[test]
    fn a_path_at_the_origin_is_the_one_that_the_route_has_for_clients() {
        let route = Route::new(&["/api/*"], Some("/v2/*".to_owned())).unwrap();
        for (name, value, expected) in [
            ("location", "/v2/home?a#b", "/api/home?a#b"),
            ("location", "/api/home", "/api/home"),
            ("location", "/other", "/other"),
            ("location", "home", "home"),
            ("location", "//other.test/v2/home", "//other.test/v2/home"),
            ("location", "https://www.test/v2/home", "https://www.test/api/home"),
            ("location", "https://www.test/api/home", "https://www.test/api/home"),
            ("content-location", "/v2/home", "/api/home"),
            ("refresh", "1; url=/v2/home", "1; url=/api/home"),
            ("location", "http://shop.local/v2/home", "https://www.test/api/home"),
            ("location", "http://shop.local/other", "https://www.test/other"),
            ("location", "http://other.test/v2/home", "http://other.test/v2/home"),
            ("refresh", "0; url=http://shop.local/v2/home?a", "0; url=https://www.test/api/home?a"),
            ("set-cookie", "a=1; Path=/v2/; Domain=shop.local", "a=1; Path=/api/; Domain=www.test"),
            ("set-cookie", "a=1; path=/", "a=1; path=/"),
            ("set-cookie", "a=1; path=/api/", "a=1; path=/api/"),
            ("set-cookie", "a=1; Path=/v2", "a=1; Path=/api"),
            ("set-cookie", "a=1; Path=/v20", "a=1; Path=/v20"),
            ("set-cookie", "a=1; path=/api", "a=1; path=/api"),
            ("location", "/v2", "/api/"),
            ("location", "/v2?x=1#y", "/api/?x=1#y"),
            ("location", "/v20", "/v20"),
            ("location", "http://shop.local/v2", "https://www.test/api/"),
            ("location", "http://shop.local", "https://www.test"),
        ] {
            let mut headers = fields(&[(name, value)]);
            names().apply(&mut headers, &request("GET", "https://www.test/api/x", &[]), Some(&route));
            assert_eq!(headers[name], expected, "{name}: {value}");
        }
    }
}

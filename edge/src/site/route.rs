//! A part of a site, by path: which paths it has, and the path that its origins are asked for.
//!
//! Invariant: a rewritten path is in normal form, and lies where `origin_path` says: the text that takes the place of
//! its `*` is made of whole segments of a path in normal form, so no dot segment can lead out of there.
//! Invariant: the key holds the path that the client asked for. A rewrite brings no two requests under one key.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;

use super::key;
use super::pattern::PathPattern;
use crate::http::path;

/// A part of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The first of its paths, as it was written; in logs and explanations.
    pub name: String,
    /// Its paths.
    paths: Vec<PathPattern>,
    /// The same as the loosest origin would read them.
    loose: Vec<PathPattern>,
    /// Both in small letters.
    folded: Vec<PathPattern>,
    /// The path at its origins, in normal form; none: as the client asked. A `*` is what the last one of the path that
    /// matches stood for.
    origin_path: Option<String>,
}

impl Route {
    /// Reads its paths as patterns; none if there is none, or one is no pattern. `origin_path` is as [`origin_path`]
    /// gives it.
    pub fn new(written: &[&str], origin_path: Option<String>) -> Option<Self> {
        let name = (*written.first()?).to_owned();
        let read = |text: &str| PathPattern::parse(text);
        let paths: Vec<PathPattern> = written.iter().map(|text| read(text)).collect::<Option<_>>()?;
        let loose = |text: &&str| read(&path::loosest_reading(text));
        let loose: Vec<PathPattern> = written.iter().map(loose).collect::<Option<_>>()?;
        let folded = paths.iter().chain(&loose).map(PathPattern::folded).collect();
        Some(Self { name, paths, loose, folded, origin_path })
    }

    /// The beginning of a client's path in normal form that its origins do not see, if the rest is all that they see:
    /// `/api` of `/api/users`. Applications make their links with it.
    pub fn stripped<'p>(&self, asked: &'p str) -> Option<&'p str> {
        let captured = self.paths.iter().find_map(|pattern| pattern.captured(asked))?;
        let prefix = asked.strip_suffix(captured)?.trim_end_matches('/');
        (self.origin_path.as_deref() == Some("/*") && !prefix.is_empty()).then_some(prefix)
    }

    /// Whether what a client asks for decides where below [`Route::origin_path`] an origin is asked.
    pub fn leads_below(&self) -> bool {
        self.origin_path.as_ref().is_some_and(|path| path.contains('*'))
    }

    /// The path at its origins, if it is another one.
    pub fn origin_path(&self) -> Option<&str> {
        self.origin_path.as_deref()
    }

    /// Whether requests for its paths may ask an origin for a path by which the origin knows one of `other`'s. The part of a
    /// pattern behind its first `*` is not looked at: this may see too much, and never too little.
    pub fn leads_into(&self, other: &Self) -> bool {
        let Some(there) = self.origin_path.as_deref().map(str::to_lowercase) else { return false };
        let is_met = |beginning: &str, is_wild: bool| match there.split_once('*') {
            Some((above, _)) => beginning.starts_with(above) || is_wild && above.starts_with(beginning),
            None => beginning == there || is_wild && there.starts_with(beginning),
        };
        match other.origin_path.as_deref().map(str::to_lowercase) {
            Some(path) => is_met(path.split('*').next().unwrap_or_default(), path.contains('*')),
            None => other.folded.iter().any(|path| is_met(path.beginning(), path.wildcards() > 0)),
        }
    }

    /// Whether this path in normal form is one of its.
    pub fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether this path, as an origin may read it, is one of its.
    pub fn has_loosely(&self, path: &str) -> bool {
        self.loose.iter().chain(&self.paths).any(|pattern| pattern.matches(path))
    }

    /// Whether this path in small letters, as an origin may read it that does not tell them from capitals, is one of its.
    pub fn has_folded(&self, path: &str) -> bool {
        self.folded.iter().any(|pattern| pattern.matches(path))
    }

    /// The path that its origins are asked for, for one in normal form.
    pub fn at_origin<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let captured = self.paths.iter().find_map(|pattern| pattern.captured(path));
        match (&self.origin_path, captured) {
            (Some(there), Some(captured)) => joined(there, captured).into(),
            _ => path.into(),
        }
    }

    /// The path that a client asks for to get this one of an origin, if its answer to `asked` names it; `asked` is in
    /// normal form. None where both are the same or the origin's path is not one that this route leads to. The folder that
    /// the route leads to is one of them without its slash, too: applications name it so.
    pub fn at_client(&self, asked: &str, at_origin: &str) -> Option<String> {
        let pattern = self.paths.iter().find(|pattern| pattern.matches(asked))?;
        let (before, after) = self.origin_path.as_deref()?.split_once('*')?;
        let captured = pattern.captured(asked)?;
        // The `*` of origin_path stands for the end of the pattern: see `config`.
        let base = asked.strip_suffix(captured).filter(|_| pattern.wildcards() > 0)?;
        if let Some(inside) = at_origin.strip_prefix(before) {
            return inside.strip_suffix(after).map(|inside| format!("{base}{inside}"));
        }
        let behind = at_origin.strip_prefix(before.strip_suffix('/')?)?;
        let is_folder =
            after.is_empty() && before != "/" && (behind.is_empty() || behind.starts_with(['?', '#']));
        let folder = base.strip_suffix('/').filter(|folder| !folder.is_empty()).unwrap_or(base);
        is_folder.then(|| format!("{folder}{behind}"))
    }
}

/// `there` with this text for its `*`. A path with a wrong encoding keeps the others as they came, dots among them; if the
/// wrong one is left out here, they would be right ones again. So then none of them is one.
fn joined(there: &str, captured: &str) -> String {
    let joined = there.replacen('*', captured, 1);
    if path::normal(&joined) == joined {
        joined
    } else {
        there.replacen('*', &captured.replace('%', "%25"), 1)
    }
}

/// The path and query to ask an origin for: those of [`key::target`], with the path that the route has there.
pub fn target(uri: &Uri, route: Option<&Route>) -> PathAndQuery {
    let sent = key::target(uri);
    let Some(route) = route.filter(|route| route.origin_path.is_some()) else { return sent };
    let there = route.at_origin(sent.path());
    let text = sent.query().map_or_else(|| there.to_string(), |query| format!("{there}?{query}"));
    text.parse().unwrap_or(sent)
}

/// Whether `*` of an `origin_path` may stand for what the last `*` of this pattern stands for: whole segments, to the
/// path's end.
pub fn ends_in_segments(pattern: &str) -> bool {
    pattern.ends_with("/*") || !pattern.contains('*')
}

/// A path at an origin, in normal form; none if it is no path, or has more than one `*`.
pub fn origin_path(written: &str) -> Option<String> {
    let is_path = written.starts_with('/') && written.parse::<PathAndQuery>().is_ok();
    let plain = written.bytes().all(|byte| byte.is_ascii_graphic()) && !written.contains(['?', '#']);
    let once = written.matches('*').count() <= 1;
    let segments = written.split_once('*').is_none_or(|(before, _)| before.ends_with('/'));
    (is_path && plain && once && segments).then(|| path::normal(written))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(paths: &[&str], there: Option<&str>) -> Route {
        Route::new(paths, there.map(|there| origin_path(there).unwrap())).unwrap()
    }

    fn check(paths: &[&str], there: &str, asked: &str, expected: &str) {
        let uri = format!("http://a.test{asked}").parse().unwrap();
        assert_eq!(
            target(&uri, Some(&route(paths, Some(there)))).as_str(),
            expected,
            "{paths:?} {there} {asked}"
        );
    }

    #[test]
    fn a_prefix_is_stripped_replaced_or_put_before() {
        check(&["/api/*"], "/*", "/api/users?a=1", "/users?a=1");
        check(&["/api/*"], "/*", "/api/", "/");
        check(&["/api", "/api/*"], "/*", "/api", "/");
        check(&["/api/*"], "/v2/*", "/api/a/b", "/v2/a/b");
        check(&["/*"], "/app/*", "/a", "/app/a");
        check(&["/shop/*"], "/index.html", "/shop/cart?x", "/index.html?x");
        check(&["/a/*/x/*"], "/b/*", "/a/1/x/2", "/b/2");
        check(&["/a/*/x/*"], "/b/*", "/a/%zz/x/%2e%2e/c%20", "/b/%252e%252e/c%2520");
        check(&["/api/*"], "/%7ev/*", "/api/%7Eme", "/~v/~me");
        let uri = "http://a.test/api/x".parse().unwrap();
        assert_eq!(target(&uri, Some(&route(&["/api/*"], None))).as_str(), "/api/x");
        assert_eq!(target(&uri, None).as_str(), "/api/x");
    }

    #[test]
    fn it_is_seen_where_a_rewrite_leads_into_the_paths_of_another_route() {
        let check = |there: Option<&str>, other: &[&str], others: Option<&str>, expected: bool| {
            let found = route(&["/api/*"], there).leads_into(&route(other, others));
            assert_eq!(found, expected, "{there:?} {other:?} {others:?}");
        };
        check(Some("/*"), &["/admin/*"], None, true);
        check(Some("/*"), &["/login"], None, true);
        check(Some("/Admin/x/*"), &["/admin/*"], None, true);
        check(Some("/v2/*"), &["/admin/*"], None, false);
        check(Some("/v2/*"), &["*.php"], None, true);
        check(Some("/v2/*"), &["/v2"], None, false);
        check(Some("/admin/index.html"), &["/admin/*"], None, true);
        check(Some("/index.html"), &["/admin/*"], None, false);
        check(Some("/v2/*"), &["/admin/*"], Some("/v2/intern/*"), true);
        check(Some("/v2/*"), &["/v2/*"], Some("/intern/*"), false);
        check(None, &["/admin/*"], None, false);
    }

    #[test]
    fn the_prefix_that_an_origin_does_not_see_is_known() {
        let check = |paths: &[&str], there: Option<&str>, asked: &str, expected: Option<&str>| {
            assert_eq!(route(paths, there).stripped(asked), expected, "{paths:?} {there:?} {asked}");
        };
        check(&["/api", "/api/*"], Some("/*"), "/api/users/1", Some("/api"));
        check(&["/api", "/api/*"], Some("/*"), "/api", Some("/api"));
        check(&["/a/*/b/*"], Some("/*"), "/a/x/b/y", Some("/a/x/b"));
        check(&["/*"], Some("/*"), "/x", None);
        check(&["/api/*"], Some("/v2/*"), "/api/x", None);
        check(&["/api/*"], None, "/api/x", None);
    }

    #[test]
    fn no_path_leads_out_of_where_the_route_leads() {
        for asked in ["/api/../x", "/api/%2e%2e/x", "/api/..%2fx", "/api//..", "/api/./../api/x"] {
            let uri: Uri = format!("http://a.test{asked}").parse().unwrap();
            let route = route(&["/api/*"], Some("/app/*"));
            let found = target(&uri, Some(&route));
            let kept = found.path() == path::normal(asked) || found.path().starts_with("/app/");
            assert!(kept && path::normal(found.path()) == found.path(), "{asked} {found}");
        }
        assert!(!ends_in_segments("/api*") && !ends_in_segments("/api/*.css") && !ends_in_segments("*.css"));
        assert!(ends_in_segments("/api/*") && ends_in_segments("/api") && ends_in_segments("/*"));
    }

    #[test]
    fn a_path_is_read_as_loosely_as_a_routes_own_paths_are() {
        for path in ["/caf%C3%A9/*", "/a%20b/*", "//x/*", "*.css", "/a;b/*"] {
            let example = PathPattern::parse(path).unwrap().example();
            let read = path::loosest_reading(&example);
            assert!(route(&[path], None).has(&example) && route(&[path], None).has_loosely(&read), "{path}");
        }
        let admin = route(&["/admin/*"], None);
        assert!(
            !admin.has("/x/..%2Fadmin/y") && admin.has_loosely(&path::loosest_reading("/x/..%2Fadmin/y"))
        );
    }

    proptest::proptest! {
        /// Whatever a client asks for, an origin is asked below where the route leads, in normal form.
        #[test]
        fn no_path_leads_out_by_chance(middle in "[x/%2e.]{0,8}", rest in "[a./%2eE5cfFx;\\\\]{0,16}") {
            let Ok(uri) = format!("http://a.test/api/{middle}/x/{rest}").parse::<Uri>() else { return Ok(()) };
            let route = route(&["/api/*/x/*"], Some("/app/*"));
            let found = target(&uri, Some(&route));
            let asked = path::normal(uri.path());
            proptest::prop_assert_eq!(route.has(&asked), found.path().starts_with("/app/"));
            proptest::prop_assert_eq!(path::normal(found.path()), found.path());
            // A path whose encodings were no encodings comes back as another.
            let back = route.at_client(&asked, found.path()).filter(|_| !found.path().contains("%25"));
            proptest::prop_assert!(back.is_none_or(|back| back == asked));
        }
    }

    #[test]
    fn an_origin_path_is_a_path_with_one_wildcard_at_most() {
        for (written, expected) in [
            ("/*", Some("/*")),
            ("/a/../b/*", Some("/b/*")),
            ("a/*", None),
            ("/*/*", None),
            ("/a*", None),
            ("/a?b", None),
            ("/a b", None),
            ("/a#b", None),
            ("http://a/b", None),
            ("/ü", None),
        ] {
            assert_eq!(origin_path(written).as_deref(), expected, "{written}");
        }
    }

    #[test]
    fn what_an_origin_names_is_found_where_clients_ask_for_it() {
        let check = |there: Option<&str>, asked: &str, named: &str, expected: Option<&str>| {
            let found = route(&["/api", "/api/*"], there).at_client(asked, named);
            assert_eq!(found.as_deref(), expected, "{there:?} {asked} {named}");
        };
        check(Some("/*"), "/api/login", "/home", Some("/api/home"));
        check(Some("/v2/*"), "/api/login", "/v2/a?b", Some("/api/a?b"));
        check(Some("/v2/*"), "/api/login", "/other", None);
        check(Some("/v2/*"), "/api", "/v2/a", None);
        check(Some("/v2/*"), "/api/login", "/v2", Some("/api"));
        check(Some("/v2/*"), "/api/login", "/v2?a#b", Some("/api?a#b"));
        check(Some("/v2/*"), "/api/login", "/v2#b", Some("/api#b"));
        check(Some("/v2/*"), "/api/login", "/v20", None);
        check(Some("/v2/*"), "/api/login", "", None);
        check(Some("/*"), "/api/login", "", None);
        let all = route(&["/*"], Some("/v2/*"));
        assert_eq!(all.at_client("/x", "/v2?a").as_deref(), Some("/?a"));
        check(Some("/one"), "/api/login", "/one", None);
        check(None, "/api/login", "/one", None);
    }
}

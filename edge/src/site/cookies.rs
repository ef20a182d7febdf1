//! The cookies of a request: their values, and which of them count.

use http::{HeaderMap, HeaderValue, header};

use super::pattern::{NamePattern, any_matches};

/// Which cookies of a client count for key, Vary and origin. The others are taken out of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cookies {
    /// All.
    #[default]
    All,
    /// These.
    Keep(Vec<NamePattern>),
    /// All but these.
    Drop(Vec<NamePattern>),
}

impl Cookies {
    /// Takes out what does not count, but for what is `passed_by`: a request with such a cookie goes to the origin, which
    /// is to see it. A field that nothing is left of goes.
    pub fn apply(&self, headers: &mut HeaderMap, passed_by: &[NamePattern]) {
        let counts = |name: &str| match self {
            Self::All => true,
            Self::Keep(patterns) => any_matches(patterns, name),
            Self::Drop(patterns) => !any_matches(patterns, name),
        };
        if *self == Self::All || names(headers).all(|name| counts(&name)) {
            return;
        }
        let lines = headers.get_all(header::COOKIE).into_iter();
        let pairs =
            lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';')).map(<[u8]>::trim_ascii);
        let is_kept = |pair: &&[u8]| {
            !pair.is_empty() && (counts(&text(split(pair).0)) || is_passed_by(pair, passed_by))
        };
        let kept: Vec<&[u8]> = pairs.filter(is_kept).collect();
        let kept = HeaderValue::from_bytes(&kept.join(&b"; "[..])).expect("bytes of field values");
        match kept.is_empty() {
            true => drop(headers.remove(header::COOKIE)),
            false => drop(headers.insert(header::COOKIE, kept)),
        }
    }
}

/// Whether the request has a cookie that one of `patterns` names.
pub fn has_any(headers: &HeaderMap, patterns: &[NamePattern]) -> bool {
    !patterns.is_empty() && all(headers).any(|(name, _)| any_matches(patterns, &text(name)))
}

/// The same of one pair.
fn is_passed_by(pair: &[u8], patterns: &[NamePattern]) -> bool {
    !patterns.is_empty() && each(pair).any(|(name, _)| any_matches(patterns, &text(name)))
}

/// The cookies that `pattern` names, in the order sent; a name may be there more than once.
pub fn named<'a>(headers: &'a HeaderMap, pattern: &NamePattern) -> Vec<(&'a [u8], &'a [u8])> {
    all(headers).filter(|(name, _)| pattern.matches(&text(name))).collect()
}

/// All pairs of name and value. RFC 6265 §4.2.1 separates them by `;`. Some origins split at `,` as well (RFC 2965), so
/// what they would find behind one is there too, beside the whole value.
fn all(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';')).map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !pair.is_empty()).flat_map(each)
}

fn each(pair: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let behind = pair.split(|&byte| byte == b',').skip(1).map(<[u8]>::trim_ascii);
    std::iter::once(split(pair)).chain(behind.filter(|part| part.contains(&b'=')).map(split))
}

fn names(headers: &HeaderMap) -> impl Iterator<Item = String> {
    all(headers).map(|(name, _)| text(name))
}

/// RFC 6265 §5.2 of a browser: without `=` all of it is the value of a cookie without a name. Here all of it is the name.
fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|&byte| byte == b'=') {
        Some(equals) => (pair[..equals].trim_ascii(), &pair[equals + 1..]),
        None => (pair, b""),
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// The value of a cookie in a request's fields; the first counts.
#[must_use]
pub fn value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let sent = headers.get_all(header::COOKIE).iter().filter_map(|sent| sent.to_str().ok());
    let mut pairs = sent.flat_map(|sent| sent.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(one, _)| *one == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields;

    fn patterns(texts: &[&str]) -> Vec<NamePattern> {
        texts.iter().map(|text| NamePattern::parse(text).unwrap()).collect()
    }

    fn check(cookies: &Cookies, sent: &[&str], expected: Option<&str>) {
        let lines: Vec<(&str, &str)> = sent.iter().map(|line| ("cookie", *line)).collect();
        let mut headers = fields(&lines);
        cookies.apply(&mut headers, &patterns(&["SESS*"]));
        let found: Vec<&str> =
            headers.get_all("cookie").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{cookies:?} {sent:?}");
    }

    #[test]
    fn cookies_that_do_not_count_are_taken_out() {
        let tracking = Cookies::Drop(patterns(&["_ga*", "_gid"]));
        check(&tracking, &["_ga=1; sid=2; _gid=3; _ga_X=4"], Some("sid=2"));
        check(&tracking, &["_ga=1", "_gid=2"], None);
        check(&tracking, &["a=1;  b=2;c"], Some("a=1;  b=2;c"));
        check(&tracking, &["_ga=1", "a=1; b"], Some("a=1; b"));
        check(&tracking, &[], None);
        let session = Cookies::Keep(patterns(&["sid", "lang"]));
        check(&session, &["x=1; lang=de; sid=2=3"], Some("lang=de; sid=2=3"));
        check(&session, &["x=1"], None);
        // The origin sees what has its request passed by, however a cookie is separated.
        check(&session, &["x=1; SESSa=2; sid=3"], Some("SESSa=2; sid=3"));
        check(&session, &["x=1; y=2,SESSa=3"], Some("y=2,SESSa=3"));
        check(&Cookies::Drop(patterns(&["SESS*", "x"])), &["SESSa=1; x=2"], Some("SESSa=1"));
        check(&Cookies::All, &["_ga=1"], Some("_ga=1"));
    }

    #[test]
    fn a_cookie_behind_a_comma_is_found_too() {
        let headers = fields(&[("cookie", "x=1,lang=evil; lang=en"), ("cookie", "lang=a,b")]);
        let found = named(&headers, &patterns(&["lang"])[0]);
        let values: Vec<&[u8]> = found.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [&b"evil"[..], b"en", b"a,b"]);
        assert!(has_any(&headers, &patterns(&["la*"])) && !has_any(&headers, &patterns(&["b", "evil"])));
    }
}

//! A path's normal form (RFC 3986 §6.2.2): one spelling for what means the same, and no more.
//!
//! Percent-encodings get upper-case digits, unreserved characters are decoded, dot segments are removed. Reserved
//! characters (`%2F` and the like), empty segments, parameters and what is not a right percent-encoding stay as sent:
//! origins may tell them apart.

use std::collections::BTreeSet;

mod hiding;

pub(crate) use hiding::hides_segments;

/// The normal form of a path; an empty one is `/` (RFC 3986 §6.2.3).
pub(crate) fn normal(path: &str) -> String {
    match path {
        "" => "/".to_owned(),
        path if !path.starts_with('/') || has_one_reading(path) => path.to_owned(),
        path => {
            let once = without_dot_segments(&decoded(path));
            // A wrong encoding, for which the others stayed as sent, may have gone with its segment.
            if is_rightly_encoded(path) { once } else { without_dot_segments(&decoded(&once)) }
        }
    }
}

/// RFC 3986 §5.2.4, for a path that begins with a slash; others come back as they are.
pub fn without_dot_segments(path: &str) -> String {
    let Some(rest) = path.strip_prefix('/') else { return path.to_owned() };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// Whether every origin reads this path as it is written: it is in normal form, and its own loosest reading.
pub(crate) fn has_one_reading(path: &str) -> bool {
    let mut before = b' ';
    let is_plain = |byte: u8| {
        let is_plain = byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\' | b';' | b'#' | b'?');
        let begins_anew = before == b'/' && matches!(byte, b'/' | b'.');
        before = byte;
        is_plain && !begins_anew
    };
    path.starts_with('/') && path.bytes().all(is_plain)
}

/// The path as an origin might read it that decodes all of it, twice, ends it at what ends a path or a line, takes `\`
/// for `/`, cuts parameters off, and merges slashes. For rules that forbid: what may be read as forbidden is.
pub(crate) fn loosest_reading(path: &str) -> String {
    let once = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let decoded = once(&once(path));
    without_dot_segments(&with_single_slashes(&without_parameters(&with_slashes(&ended(&decoded)))))
}

/// The paths that origins might take this one for, itself and its [`loosest_reading`] among them: each of what makes that
/// one is done by some origins and not by others. One that decodes `%3f` and `%2f` and does not cut there sees `/x/../a`
/// where another sees `/x`. For rules that forbid: what any of them reads as forbidden is. Some dozens at most.
pub(crate) fn readings(path: &str) -> BTreeSet<String> {
    let normal = normal(path);
    if has_one_reading(&normal) && normal == path {
        return BTreeSet::from([normal]);
    }
    let once = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let decoded = once(&normal);
    let mut all = BTreeSet::from([once(&decoded), decoded]);
    for step in [ended, with_slashes, without_parameters, with_single_slashes, without_dot_segments] {
        let more: Vec<String> = all.iter().map(|reading| step(reading)).collect();
        all.extend(more);
    }
    all.extend([loosest_reading(path), normal]);
    all
}

/// Cut off at what ends a path or a line.
fn ended(path: &str) -> String {
    path.split(['?', '#', '\0', '\r', '\n']).next().unwrap_or_default().to_owned()
}

fn with_slashes(path: &str) -> String {
    path.replace('\\', "/")
}

fn without_parameters(path: &str) -> String {
    let segments: Vec<&str> =
        path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
    segments.join("/")
}

fn with_single_slashes(path: &str) -> String {
    let kept: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

fn is_rightly_encoded(path: &str) -> bool {
    path.match_indices('%').all(|(at, _)| encoded(&path.as_bytes()[at..]).is_some())
}

/// Unreserved characters decoded, other encodings in upper case. With a wrong one anywhere all stay as sent: decoding
/// its neighbour could make it a right one.
pub(crate) fn decoded(path: &str) -> String {
    if !is_rightly_encoded(path) {
        return path.to_owned();
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match encoded(rest.as_bytes()) {
            Some(byte) if is_unreserved(byte) => out.push(char::from(byte)),
            Some(_) => out.push_str(&rest[..3].to_ascii_uppercase()),
            None => break,
        }
        rest = &rest[3..];
    }
    out.push_str(rest);
    out
}

fn encoded(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match text {
        [b'%', high, low, ..] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_spelling_for_what_means_the_same() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            ("/%7Euser", "/~user"),
            ("/%c3%a4", "/%C3%A4"),
            ("/a/./b/../c", "/a/c"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/%2e%2E/a", "/a"),
            ("/a/%2e/b", "/a/b"),
            ("/%2e/%/..", "/"),
            ("/%41/%/../%", "/%41/%"),
            ("*", "*"),
        ] {
            assert_eq!(normal(path), expected, "{path}");
        }
    }

    #[test]
    fn what_may_differ_stays_different() {
        for path in [
            "/a%2Fb",
            "/static/..%2Faccount",
            "/a//b",
            "//",
            "/a/",
            "/a;x",
            "/a%3Bx",
            "/A",
            "/a+b",
            "/a%20b",
            "/%zz",
            "/%",
            "/%4",
            "/...",
            "/.a",
            "/a\\b",
            "/%00",
            "/%0A",
            "/%a%30",
            "/%%37e",
            "/%257e",
        ] {
            assert_eq!(normal(path), path, "{path}");
        }
    }

    #[test]
    fn what_may_be_read_as_forbidden_is() {
        for path in [
            "/admin/x",
            "//admin/x",
            "/x/..%2fadmin/x",
            "/x/..%252fadmin/x",
            "/x%5c..%5cadmin%5cx",
            "/x/..;a=b/admin;c/x",
            "/%61dmin/x",
            "/admin/x%00.css",
            "/admin/x%3fy/z.css",
            "/admin/x%23y",
            "/admin/x%250ay",
            "/admin/x%0d/z",
        ] {
            assert_eq!(loosest_reading(path), "/admin/x", "{path}");
        }
        assert_eq!(loosest_reading("/a/"), "/a/");
        assert_eq!(loosest_reading(""), "/");
        assert_eq!(loosest_reading("/"), "/");
    }

    /// Each of these is one that a server in use makes of it: nginx decodes and removes dot segments, and cuts nothing.
    #[test]
    fn what_any_origin_may_read_is_a_reading() {
        for (path, reading) in [
            ("/pub/x%3f%2f..%2f..%2fadmin/y", "/admin/y"),
            ("/pub/x%23%2f..%2f..%2fadmin/y", "/admin/y"),
            ("/pub/x%0a%2f..%2f..%2fadmin/y", "/admin/y"),
            ("/admin%2fy%2f..%2f..%2fpub", "/admin/y/../../pub"),
            ("/admin%2fy%5c..%5c..%5cpub", "/admin/y\\..\\..\\pub"),
            ("/admin%2fy%252f..%252f..", "/admin/y%2f..%2f.."),
            ("/pub/x%3f%2f..%2f..%2fadmin/y", "/pub/x"),
            ("/a//../b", "/a/b"),
            ("/a", "/a"),
        ] {
            assert!(readings(path).contains(reading), "{path} {:?}", readings(path));
        }
        assert_eq!(readings("/a/b").len(), 1);
        assert!(readings("/a%253f%252f..;x%5c//..%2f./%3fb").len() <= 66);
    }

    proptest! {
        #[test]
        fn every_path_has_its_plain_and_its_loosest_reading(path in "/[a-c/.%2ef;?5\\\\]{0,16}") {
            let readings = readings(&path);
            prop_assert!(readings.contains(&normal(&path)) && readings.contains(&loosest_reading(&path)));
        }

        #[test]
        fn normal_is_normal(path in "/[a-c./%2eE7f]{0,16}") {
            let once = normal(&path);
            prop_assert!(once.starts_with('/'));
            prop_assert_eq!(normal(&once), once.clone());
        }

        #[test]
        fn one_reading_is_all_there_is(path in "/[a-c/.%2e;\\\\~]{0,10}") {
            if has_one_reading(&path) {
                prop_assert_eq!(normal(&path), path.clone());
                prop_assert_eq!(loosest_reading(&path), path);
            }
        }

        #[test]
        fn no_text_panics(path in "\\PC{0,20}") {
            let _ = normal(&path);
        }
    }
}

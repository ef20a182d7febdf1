//! Cache deception (EDGE §2, class 3): a page under a name that looks like a file.
//!
//! `/account/x.css` makes many origins answer with the account page, and `/static/..%2faccount` some. If it is stored
//! because the site's rules trust what ends in `.css` or lies below `/static/`, everyone gets it. So what the origin did
//! not itself call fresh is not stored when its path may be read as another one, or when its `Content-Type` is not one
//! that files of that extension have.

mod kinds;

use http::{HeaderMap, header};
use kinds::KINDS;

use crate::http::path;

/// Whether a response may be of another kind or from another place than its path shows: a path that an origin may read
/// as another one, or a type that does not belong to the path's extension. A response without a type may be anything.
/// An extension that is not known says nothing.
pub fn is_disguised(path: &str, headers: &HeaderMap) -> bool {
    if path::hides_segments(path) {
        return true;
    }
    let path = path.to_ascii_lowercase();
    let end = path.rsplit('/').next().unwrap_or_default();
    // A rule may be about the part before the parameters or about all of it.
    let mut extensions = end.split(';').chain([end]).filter_map(extension);
    extensions.any(|types| !types.iter().any(|kind| is_of(kind, headers)))
}

/// The types of files with this name's extension, if it has one that is known.
fn extension(name: &str) -> Option<&'static [&'static str]> {
    let (_, extension) = name.rsplit_once('.')?;
    KINDS.iter().find(|(extensions, _)| extensions.contains(&extension)).map(|(_, types)| *types)
}

/// Whether the response says once and clearly that it is of this type; `image/*` stands for all images. Storage services
/// call bytes what they were told nothing about, and no browser shows that as a page.
fn is_of(kind: &str, headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::CONTENT_TYPE).into_iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let said = line.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let said = String::from_utf8_lossy(said).to_ascii_lowercase();
    let within =
        kind.strip_suffix('*').is_some_and(|start| said.starts_with(start) && is_token(&said[start.len()..]));
    within || said == kind || BYTES.contains(&said.as_str())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.+_".contains(&byte))
}

const BYTES: [&str; 3] = ["application/octet-stream", "binary/octet-stream", "application/x-download"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields;

    fn check(path: &str, content_type: &str, expected: bool) {
        let found = is_disguised(path, &fields(&[("content-type", content_type)]));
        assert_eq!(found, expected, "{path} {content_type}");
    }

    #[test]
    fn what_does_not_fit_the_extension_is_disguised() {
        for path in
            ["/account/x.css", "/account/x.JS", "/account;x.css", "/account/a.b.ico", "/account/x.woff2;v=1"]
        {
            for page in [
                "text/html; charset=utf-8",
                "Application/JSON",
                "application/xhtml+xml",
                "application/problem+json",
                "application/vnd.api+json",
                "application/ld+json",
                "text/json",
                "application/xml",
                "text/xml",
                "text/plain",
                "text/html,x",
                "text/css, text/html",
                "image/",
                "multipart/form-data",
                "",
            ] {
                check(path, page, true);
            }
        }
        check("/account/x.css", "text/javascript", true);
        check("/account/x.js", "text/css", true);
        check("/account/x.png", "text/css", true);
        check("/account/x.svg", "image/png, text/html", true);
        check("/report.txt", "text/html", true);
        check("/page.html", "application/json", true);
    }

    #[test]
    fn what_fits_its_extension_is_not() {
        for (path, content_type) in [
            ("/a.css", "text/css"),
            ("/a.css", "Text/CSS; charset=utf-8"),
            ("/a.js", "application/javascript"),
            ("/a.mjs", "text/javascript"),
            ("/a.js.map", "application/json"),
            ("/a.png", "image/png"),
            ("/a.jpg", "image/webp"),
            ("/a.svg", "image/svg+xml"),
            ("/a.woff2", "font/woff2"),
            ("/a.woff", "application/font-woff"),
            ("/a.tar.gz", "application/x-gzip"),
            ("/a.deb", "application/vnd.debian.binary-package"),
            ("/a.pdf", "application/pdf"),
            ("/a.bin", "application/octet-stream"),
            ("/a.css", "binary/octet-stream"),
            ("/a.mp4", "video/mp4"),
            ("/live.m3u8", "application/vnd.apple.mpegurl"),
            ("/live.ts", "video/mp2t"),
            ("/feed.xml", "application/rss+xml"),
            ("/a.html", "text/html"),
            ("/a.json", "application/problem+json"),
            ("/account", "text/html"),
            ("/a.css/", "text/html"),
            ("/css", "text/html"),
            ("/v1.2/x", "application/json"),
            ("/users/john.doe", "application/json"),
        ] {
            check(path, content_type, false);
        }
    }

    #[test]
    fn a_type_is_said_once() {
        assert!(is_disguised("/a.css", &fields(&[])));
        let twice = [("content-type", "text/css"), ("content-type", "text/html")];
        assert!(is_disguised("/a.css", &fields(&twice)));
        assert!(!is_disguised("/a", &fields(&[])));
    }

    #[test]
    fn a_path_that_may_be_read_otherwise_is_disguised_whatever_the_type() {
        for path in [
            "/static/..%2faccount",
            "/static/..%c0%afaccount",
            "/account%00.gif",
            "/a%0a.css",
            "/static/..%20/a",
        ] {
            check(path, "text/css", true);
        }
    }
}

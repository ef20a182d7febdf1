//! Cache deception (EDGE §2, class 3): a page under a name that looks like a file.
//!
//! `/account/x.css` makes many origins answer with the account page, and `/static/..%2faccount` some. If it is stored
//! because the site's rules trust what ends in `.css` or lies below `/static/`, everyone gets it. So what the origin did
//! not itself call fresh is not stored when its path may be read as another one, or when it is a page and its path says
//! that it is something else.

use http::{HeaderMap, header};

use crate::http::path;

/// Whether a response may be of another kind or from another place than its path shows: a path that an origin may read
/// as another one, or a page although its path has the extension of something else. Delimiters that origins cut
/// paths at (`;`, `%2f`, `%3b`, `%00`, `%0a`, `%23`, `%3f`) do not hide the extension.
pub fn is_disguised(path: &str, headers: &HeaderMap) -> bool {
    if path::hides_segments(path) {
        return true;
    }
    let path = path.to_ascii_lowercase();
    let end = path.rsplit('/').next().unwrap_or_default();
    let extension = end.rsplit('.').next().filter(|_| end.contains('.'));
    extension.is_some_and(|extension| FILES.contains(&extension)) && is_page(headers)
}

fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    [&b"text/html"[..], b"application/xhtml+xml", b"application/json"]
        .iter()
        .any(|page| kind.eq_ignore_ascii_case(page))
        && !kind.is_empty()
}

/// What sites let caches keep by their names.
const FILES: &[&str] = &[
    "7z", "avi", "avif", "bmp", "bz2", "class", "css", "csv", "doc", "docx", "dmg", "ejs", "eot", "eps",
    "exe", "flac", "gif", "gz", "ico", "iso", "jar", "jpeg", "jpg", "js", "mid", "midi", "mjs", "mkv", "mp3",
    "mp4", "ogg", "otf", "pdf", "pict", "pls", "png", "ppt", "pptx", "ps", "rar", "svg", "svgz", "swf",
    "tar", "tif", "tiff", "ttf", "wasm", "webm", "webp", "woff", "woff2", "xls", "xlsx", "zip", "zst",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields;

    fn check(path: &str, content_type: &str, expected: bool) {
        let found = is_disguised(path, &fields(&[("content-type", content_type)]));
        assert_eq!(found, expected, "{path} {content_type}");
    }

    #[test]
    fn a_page_under_a_files_name_is_disguised() {
        for path in [
            "/account/x.css",
            "/account;x.css",
            "/account%2fx.JS",
            "/static/..%2faccount%2f.png",
            "/account%00.gif",
            "/account%0a.woff2",
            "/account/a.b.ico",
        ] {
            check(path, "text/html; charset=utf-8", true);
            check(path, "Application/JSON", true);
        }
        check("/a.css", "text/css", false);
        check("/a.html", "text/html", false);
        check("/account", "text/html", false);
        check("/a.css/", "text/html", false);
        check("/css", "text/html", false);
        for path in ["/static/..%2faccount", "/static/..;/account", "/static/%2E%2e%5Caccount", "/a%252fb"] {
            check(path, "text/plain", true);
        }
        assert!(!is_disguised("/a.css", &fields(&[])));
    }
}

//! The demo's web site: files that are part of the program, so that it needs none beside it.

/// One file of the site.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Where it is found, with the leading slash.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Seconds for which a shared cache may answer without asking again.
    pub shared_max_age_s: u32,
    /// The file itself.
    pub body: &'static [u8],
}

impl Asset {
    /// A browser asks each time (`max-age=0`), an edge answers for it (`s-maxage`, RFC 9111 §5.2.2.10).
    pub fn cache_control(&self) -> String {
        format!("public, max-age=0, s-maxage={}", self.shared_max_age_s)
    }

    /// A strong validator: FNV-1a over the bytes, which change only with the program.
    pub fn etag(&self) -> String {
        let hash =
            self.body.iter().fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME));
        format!("\"{hash:016x}\"")
    }
}

/// Every file of the site.
pub const ASSETS: [Asset; 6] = [
    asset("/", "text/html; charset=utf-8", 60, include_bytes!("site/index.html")),
    asset("/style.css", "text/css; charset=utf-8", 300, include_bytes!("site/style.css")),
    asset("/app.js", "text/javascript; charset=utf-8", 300, include_bytes!("site/app.js")),
    asset("/logo.svg", "image/svg+xml", 300, include_bytes!("site/logo.svg")),
    asset("/path.svg", "image/svg+xml", 300, include_bytes!("site/path.svg")),
    asset("/horizon.png", "image/png", 300, include_bytes!("site/horizon.png")),
];

/// The file at `path`, if there is one.
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

const fn asset(
    path: &'static str,
    content_type: &'static str,
    shared_max_age_s: u32,
    body: &'static [u8],
) -> Asset {
    Asset { path, content_type, shared_max_age_s, body }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_page_asks_for_is_there() {
        let page = std::str::from_utf8(find("/").unwrap().body).unwrap();
        let script = std::str::from_utf8(find("/app.js").unwrap().body).unwrap();
        for asset in ASSETS.iter().filter(|asset| asset.path != "/app.js") {
            assert!(
                script.contains(&format!("\"{}\"", asset.path)),
                "app.js does not ask for {}",
                asset.path
            );
        }
        let linked: Vec<_> =
            page.split(['"']).filter(|text| text.starts_with('/') && text.len() > 1).collect();
        assert!(linked.len() >= 4, "the page links to its files");
        for path in linked {
            assert!(find(path).is_some(), "the page links to {path}");
        }
    }
}

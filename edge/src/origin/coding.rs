//! Whether a response's body is the response, once the connection has taken the chunks off it.
//!
//! Edges ask for no transfer coding but `chunked`, which needs no asking (RFC 9112 §7.4): whoever sends another sends
//! bytes that neither the store nor a client could read, as the field that says so ends here.

use http::{HeaderMap, header};

/// The coding of a response's body without its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// The response.
    None,
    /// Something that nothing here decodes.
    Foreign,
}

/// The framing of a response's body by `Transfer-Encoding` (RFC 9112 §6.1, §7).
///
/// A name that is no transfer coding says nothing: origins write `binary`, `utf-8` or `identity` there for want of
/// another place, and browsers let them. RFC 9112 §6.3 rule 4 has such a body end with its connection.
pub(super) fn coding(headers: &HeaderMap) -> Coding {
    let lines: Result<Vec<&str>, _> =
        headers.get_all(header::TRANSFER_ENCODING).iter().map(|line| line.to_str()).collect();
    let Ok(lines) = lines else { return Coding::Foreign };
    if lines.len() > 1 && lines.iter().all(|line| line.trim().eq_ignore_ascii_case("chunked")) {
        // A framework and its server each announced the one layer that is there. By the letter these are two; HAProxy,
        // curl and browsers take them for one.
        return Coding::None;
    }
    // RFC 9110 §5.6.1: an element without a byte is none. hyper takes chunks off where the last one of all has the name.
    let names = lines.iter().flat_map(|line| line.split(',')).map(str::trim);
    let last_is_empty = names.clone().next_back() == Some("");
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    if last_is_empty && names.iter().any(|name| is_coding(name)) {
        return Coding::Foreign;
    }
    let is_none = match names.split_last() {
        None => true,
        // Only as the last one are chunks taken off, and only one layer of them.
        Some((last, before)) => {
            (last.eq_ignore_ascii_case("chunked") || !is_coding(last))
                && !before.iter().any(|name| is_coding(name))
        }
    };
    if is_none { Coding::None } else { Coding::Foreign }
}

/// Whether the field is there and says nothing at all, or nothing but `identity`, which RFC 2616 §3.6 had for no coding.
pub(super) fn is_identity(headers: &HeaderMap) -> bool {
    let lines = || headers.get_all(header::TRANSFER_ENCODING).iter();
    let all = |line: &http::HeaderValue| {
        line.as_bytes()
            .split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii)
            .all(|name| name.is_empty() || name.eq_ignore_ascii_case(b"identity"))
    };
    lines().next().is_some() && lines().all(all)
}

fn is_coding(element: &str) -> bool {
    let name = element.split(';').next().unwrap_or_default().trim();
    CODINGS.iter().any(|coding| coding.eq_ignore_ascii_case(name))
}

/// The registry of RFC 9112 §7.3, and the content codings that are taken for one.
const CODINGS: [&str; 8] = ["br", "chunked", "compress", "deflate", "gzip", "x-compress", "x-gzip", "zstd"];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_one_last_layer_of_chunks_is_taken_off() {
        use Coding::{Foreign, None};
        for (lines, expected) in [
            (&[][..], None),
            (&["chunked"][..], None),
            (&["ChunKed"][..], None),
            (&["gzip"][..], Foreign),
            (&["gzip, chunked"][..], Foreign),
            (&["gzip", "chunked"][..], Foreign),
            (&["x-gzip;q=1,chunked"][..], Foreign),
            (&["Deflate"][..], Foreign),
            (&["br, chunked"][..], Foreign),
            (&["chunked, gzip"][..], Foreign),
            (&["chunked, chunked"][..], Foreign),
            (&["chunked", "chunked"][..], None),
            (&["chunked", "Chunked ", "chunked"][..], None),
            (&["chunked", "chunked, chunked"][..], Foreign),
            (&["chunked", "gzip", "chunked"][..], Foreign),
            (&["chunked,"][..], Foreign),
            (&["chunked, binary"][..], Foreign),
            (&["chunked;a=b"][..], Foreign),
            (&["chunked\u{fc}"][..], Foreign),
            (&["binary"][..], None),
            (&["identity"][..], None),
            (&["utf-8, chunked"][..], None),
            (&[""][..], None),
            (&[" , "][..], None),
            (&[",chunked"][..], None),
            (&["identity, , chunked"][..], None),
            (&["", "chunked"][..], None),
            (&[", gzip,"][..], Foreign),
            (&["chunked", ""][..], Foreign),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::TRANSFER_ENCODING, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            assert_eq!(coding(&headers), expected, "{lines:?}");
        }
    }
}

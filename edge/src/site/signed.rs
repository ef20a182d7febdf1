//! Signed URLs: a link that works until a time, and that nobody can make without the site's key.
//!
//! The application appends `expires=SECONDS` (of the epoch) and then `signature=HEX`, the HMAC-SHA256 (RFC 2104) of the
//! path and the query before `&signature=`. `/video/a.mp4?expires=1900000000` is signed so:
//! `printf %s '/video/a.mp4?expires=1900000000' | openssl dgst -sha256 -hmac "$(cat url.key)"`.
//!
//! The path may be signed in any spelling that the client's request may have: in the normal form of RFC 3986 §6.2.2, as it
//! stands in the link, or without percent-encodings of characters that every client has to encode (`Ü`, `|`).
//!
//! Both parameters are checked before the key is made and taken out of the request, so that all holders of links share
//! one stored response.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use http::Uri;
use http::uri::PathAndQuery;

use super::pattern::PathPattern;
use crate::http::{path, spelling};

/// Which paths need a signature, and by which keys.
#[derive(Clone, Debug, Default)]
pub struct Signed {
    /// These, or what an origin may read as one of them.
    pub paths: Vec<PathPattern>,
    /// A signature by any of them is good: so a key can be changed while old links are about.
    pub keys: Vec<SigningKey>,
}

/// A secret that signs.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

/// Why a request for a signed path is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// It has not one `expires` and, after it at the end of the query, one `signature`.
    Unsigned,
    /// No key has signed this.
    Wrong,
    /// Its time is over.
    Expired,
}

/// A shorter secret can be guessed.
pub const MIN_KEY_BYTES: usize = 16;

impl SigningKey {
    /// The key of a secret; none if it is shorter than [`MIN_KEY_BYTES`].
    pub fn new(secret: &[u8]) -> Option<Self> {
        (secret.len() >= MIN_KEY_BYTES).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// The signature of a target, in hexadecimal digits.
    pub fn sign(&self, target: &str) -> String {
        let tag = hmac::sign(&self.0, target.as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The secret is nobody's to see.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl Signed {
    /// The URI to ask for, without the signature; `uri` itself where none is needed.
    pub fn checked(&self, uri: Uri, now: SystemTime) -> Result<Uri, Rejected> {
        if !self.covers(&uri) {
            return Ok(uri);
        }
        let Parts { signed, end, signature } = Parts::of(&uri).ok_or(Rejected::Unsigned)?;
        let signature = bytes(signature).ok_or(Rejected::Wrong)?;
        // In constant time each.
        let is_of =
            |target: &Vec<u8>| self.keys.iter().any(|key| hmac::verify(&key.0, target, &signature).is_ok());
        if !spellings(uri.path(), signed).iter().any(is_of) {
            return Err(Rejected::Wrong);
        }
        let now_secs = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if end.parse::<u64>().is_ok_and(|end| end > now_secs) {
            Ok(without(&uri, signed))
        } else {
            Err(Rejected::Expired)
        }
    }

    /// The URI that a signed one is kept under, whether or not its signature is good; `uri` itself where none is needed.
    #[must_use]
    pub fn bare(&self, uri: Uri) -> Uri {
        match Parts::of(&uri).filter(|_| self.covers(&uri)) {
            Some(Parts { signed, .. }) => without(&uri, signed),
            None => uri,
        }
    }

    /// Whether this URI needs a signature.
    pub fn covers(&self, uri: &Uri) -> bool {
        !self.paths.is_empty() && {
            let readings = path::readings(uri.path());
            let is_read_as = |pattern: &PathPattern| readings.iter().any(|path| pattern.matches(path));
            // Some origins do not tell capitals from small letters.
            let folded: Vec<String> = readings.iter().map(|path| path.to_lowercase()).collect();
            let is_folded_to = |pattern: &PathPattern| folded.iter().any(|path| pattern.matches(path));
            self.paths.iter().any(|pattern| is_read_as(pattern) || is_folded_to(&pattern.folded()))
        }
    }
}

/// The parts of a query that has the form of a signed one.
struct Parts<'a> {
    /// The query before `&signature=`.
    signed: &'a str,
    /// The value of `expires`.
    end: &'a str,
    /// The value of `signature`.
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn of(uri: &'a Uri) -> Option<Self> {
        let (signed, signature) = uri.query()?.rsplit_once("signature=")?;
        let signed = signed.strip_suffix('&')?;
        let mut ends = signed.split('&').filter_map(|pair| pair.strip_prefix("expires="));
        let (Some(end), None) = (ends.next(), ends.next()) else { return None };
        Some(Self { signed, end, signature })
    }
}

/// The targets of this path and query, up to the signature, that an application may have signed. They mean one resource:
/// the path in normal form, as it was sent, or with what the client or the edge alone has percent-encoded in it; the query
/// as it was sent or likewise.
fn spellings(path: &str, query: &str) -> Vec<Vec<u8>> {
    let normal = path::normal(path);
    let as_is = |text: &str| text.as_bytes().to_vec();
    let raw = |text: &str| spelling::raw(text).into_owned();
    let paths = [as_is(&normal), as_is(path), raw(path), raw(&normal)];
    let queries = [as_is(query), raw(query)];
    let mut targets: Vec<Vec<u8>> = Vec::with_capacity(1);
    for path in &paths {
        for query in &queries {
            let target = [&path[..], b"?", &query[..]].concat();
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    targets
}

/// The URI with what of its signed query is for the origin.
fn without(uri: &Uri, signed: &str) -> Uri {
    let rest: Vec<&str> = signed.split('&').filter(|pair| !pair.starts_with("expires=")).collect();
    let target = match rest.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), rest.join("&")),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).expect("a part of a right target"));
    Uri::from_parts(parts).expect("a right URI with another target")
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
    let digits = digits.filter(|digits| digits.len() == 2 * SHA256_BYTES)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

const SHA256_BYTES: usize = 32;

impl Rejected {
    /// For the client.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "this address needs a signature",
            Self::Wrong => "the signature is wrong",
            Self::Expired => "the link has expired",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::at;

    const OLD: &[u8] = b"an old secret of 25 bytes";
    const NEW: &[u8] = b"a new secret of 24 bytes";

    fn signed() -> Signed {
        let keys = [OLD, NEW].iter().filter_map(|secret| SigningKey::new(secret)).collect();
        Signed { paths: vec![PathPattern::parse("/video/*").unwrap()], keys }
    }

    fn check(target: &str, expected: Result<&str, Rejected>) {
        let uri: Uri = format!("http://a.example{target}").parse().unwrap();
        let found = signed().checked(uri, at(1000));
        let found = found.as_ref().map(|uri| uri.path_and_query().unwrap().as_str()).map_err(|why| *why);
        assert_eq!(found, expected, "{target}");
    }

    /// A target with its signature by a key of this secret.
    fn by(secret: &[u8], target: &str) -> String {
        format!("{target}&signature={}", SigningKey::new(secret).unwrap().sign(target))
    }

    #[test]
    fn a_signed_target_is_asked_for_without_its_signature() {
        check(&by(NEW, "/video/a.mp4?expires=1001"), Ok("/video/a.mp4"));
        check(&by(OLD, "/video/a.mp4?q=1&expires=1001&r=2"), Ok("/video/a.mp4?q=1&r=2"));
        check(&by(NEW, "/video/a.mp4?expires=1001").replace("/video", "/%76ideo"), Ok("/%76ideo/a.mp4"));
        check(
            &by(NEW, "/video/a.mp4?expires=1001")
                .to_uppercase()
                .replace("/VIDEO/A.MP4?EXPIRES=1001&SIGNATURE", "/video/a.mp4?expires=1001&signature"),
            Ok("/video/a.mp4"),
        );
        check("/other?signature=x", Ok("/other?signature=x"));
    }

    #[test]
    fn an_address_is_signed_in_the_spelling_that_its_application_has() {
        let check_sent = |signed: &str, sent: &str, expected: &str| {
            let signature = SigningKey::new(NEW).unwrap().sign(signed);
            check(&format!("{sent}&signature={signature}"), Ok(expected));
        };
        let normal = "/video/%C3%9C%7C-a.mp4?q=%7Bx%7D&expires=1001";
        let (path, lower) = ("/video/%C3%9C%7C-a.mp4?q=%7Bx%7D", "/video/%c3%9c%7c-a.mp4?q=%7Bx%7D");
        check_sent(normal, normal, path);
        // The gate has encoded what was raw.
        check_sent("/video/\u{dc}|-a.mp4?q={x}&expires=1001", normal, path);
        check_sent("/video/%C3%9C%7C-a.mp4?q={x}&expires=1001", normal, path);
        check_sent("/video/\u{dc}|-a.mp4?q=%7Bx%7D&expires=1001", normal, path);
        let sent = "/video/%c3%9c%7c-a.mp4?q=%7Bx%7D&expires=1001";
        check_sent(sent, sent, lower);
        check_sent(normal, sent, lower);
        let dashed = "/video/%C3%9C%7C%2Da.mp4?q=%7Bx%7D&expires=1001";
        check_sent(dashed, dashed, "/video/%C3%9C%7C%2Da.mp4?q=%7Bx%7D");
        check_sent("/video/\u{dc}|-a.mp4?q={x}&expires=1001", dashed, "/video/%C3%9C%7C%2Da.mp4?q=%7Bx%7D");
    }

    #[test]
    fn another_address_is_no_other_spelling() {
        let check_sent = |signed: &str, sent: &str| {
            let signature = SigningKey::new(NEW).unwrap().sign(signed);
            check(&format!("{sent}&signature={signature}"), Err(Rejected::Wrong));
        };
        check_sent("/video/a/b.mp4?expires=1001", "/video/a%2Fb.mp4?expires=1001");
        check_sent("/video/a&b.mp4?expires=1001", "/video/a%26b.mp4?expires=1001");
        check_sent("/video/a.mp4?q=1&r=2&expires=1001", "/video/a.mp4?q=1%26r=2&expires=1001");
        check_sent("/video/a.mp4?q=-&expires=1001", "/video/a.mp4?q=%2D&expires=1001");
        check_sent("/video/a%.mp4?expires=1001", "/video/a%25.mp4?expires=1001");
    }

    #[test]
    fn what_is_not_signed_so_is_turned_away() {
        use Rejected::{Expired, Unsigned, Wrong};
        let good = by(NEW, "/video/a.mp4?expires=1001");
        check("/video/a.mp4", Err(Unsigned));
        check("/video/a.mp4?expires=1001", Err(Unsigned));
        check(&good.replace("expires=1001&", ""), Err(Unsigned));
        check(&by(NEW, "/video/a.mp4?expires=1001&expires=9999"), Err(Unsigned));
        check(&good.replace("1001", "9999"), Err(Wrong));
        check(&good.replace("a.mp4", "b.mp4"), Err(Wrong));
        check(&format!("{good}&more=1"), Err(Wrong));
        check(&good[..good.len() - 2], Err(Wrong));
        check(&by(b"somebody else's secret", "/video/a.mp4?expires=1001"), Err(Wrong));
        check(&by(NEW, "/video/a.mp4?expires=1000"), Err(Expired));
        check(&by(NEW, "/video/a.mp4?expires=never"), Err(Expired));
        check("/x/..%2fvideo/a.mp4", Err(Unsigned));
        check("/Video/a.mp4", Err(Unsigned));
        check("/x%3f%2f..%2fvideo/a.mp4", Err(Unsigned));
    }

    #[test]
    fn a_signed_address_is_kept_under_the_one_without_its_signature_good_or_not() {
        let check = |target: &str, expected: &str| {
            let uri: Uri = format!("http://a.example{target}").parse().unwrap();
            assert_eq!(signed().bare(uri).path_and_query().unwrap().as_str(), expected, "{target}");
        };
        check(&by(NEW, "/video/a.mp4?q=1&expires=1001"), "/video/a.mp4?q=1");
        check("/video/a.mp4?expires=1&signature=wrong", "/video/a.mp4");
        check("/video/a.mp4?expires=1", "/video/a.mp4?expires=1");
        check("/other?expires=1&signature=x", "/other?expires=1&signature=x");
    }

    #[test]
    fn a_signature_is_that_of_other_tools() {
        // printf %s '/video/a.mp4?expires=1900000000' | openssl dgst -sha256 -hmac 'a new secret of 24 bytes'
        let key = SigningKey::new(NEW).unwrap();
        assert_eq!(
            key.sign("/video/a.mp4?expires=1900000000"),
            "e373d78719b3f7c25dcb08bab8986a102b22f974b9aae9bb520cfadbf5138c17"
        );
        assert!(SigningKey::new(b"short").is_none());
        assert_eq!(format!("{key:?}"), "SigningKey");
    }
}

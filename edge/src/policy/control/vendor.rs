//! Targeted fields that are older than RFC 9213 and have a syntax of their own.

use http::{HeaderMap, HeaderName, header};

use super::{ResponseControl, directive, first, words};
use crate::http::list;
use crate::http::seconds::{MAX_DELTA_SECS, delta_secs};

/// The directives of the field, if it is one of these, is there, and says something about storing.
pub(super) fn of(headers: &HeaderMap, name: &HeaderName) -> Option<Option<ResponseControl>> {
    match name.as_str() {
        "surrogate-control" => Some(surrogate(headers, name)),
        "x-accel-expires" => Some(accel(headers, name)),
        _ => None,
    }
}

/// `Surrogate-Control` (W3C Edge Architecture, Fastly, Drupal): `max-age=N` or `max-age=N+M` with M seconds of grace,
/// `no-store`, and what `Cache-Control` has. A directive may be for one cache (`no-store;varnish`) and counts for this one
/// too. `content="ESI/1.0"` alone is no word about storing.
fn surrogate(headers: &HeaderMap, name: &HeaderName) -> Option<ResponseControl> {
    let mut control = ResponseControl::default();
    let mut grace = None;
    let mut said = false;
    for element in list::elements(headers, name) {
        let own = element.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let directive = directive(own);
        words::beside_name(element, |word| said |= control.restrict(word));
        let value = directive.value.clone().unwrap_or_default();
        let mut numbers = value.split(|&byte| byte == b'+').map(|number| delta_secs(number.trim_ascii()));
        let secs = numbers.next().flatten().unwrap_or(0);
        match directive.name.as_str() {
            "max-age" => {
                first(&mut control.max_age, || secs);
                grace = grace.or(numbers.next().flatten());
            }
            "s-maxage" => first(&mut control.s_maxage, || secs),
            "stale-while-revalidate" => first(&mut control.stale_while_revalidate, || secs),
            "stale-if-error" => first(&mut control.stale_if_error, || secs),
            "no-store" | "no-store-remote" => control.no_store = true,
            "no-cache" => control.no_cache.widen(directive.scope()),
            "private" => control.private.widen(directive.scope()),
            "public" => control.public = true,
            "must-revalidate" => control.must_revalidate = true,
            "proxy-revalidate" => control.proxy_revalidate = true,
            "immutable" => control.immutable = true,
            _ => continue,
        }
        said = true;
    }
    control.stale_while_revalidate = control.stale_while_revalidate.or(grace);
    said.then_some(control)
}

/// `X-Accel-Expires` (nginx): seconds, `0` for "do not store", or `@` and the second of the epoch when it ends.
fn accel(headers: &HeaderMap, name: &HeaderName) -> Option<ResponseControl> {
    let mut lines = headers.get_all(name).into_iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let value = line.as_bytes().trim_ascii();
    let secs = match value.strip_prefix(b"@") {
        None => delta_secs(value)?,
        Some(end) => {
            let end: u64 = std::str::from_utf8(end).ok()?.parse().ok()?;
            // Counted from the origin's own clock; without a Date it says nothing.
            end.saturating_sub(date_secs(headers)?).min(MAX_DELTA_SECS)
        }
    };
    let no_store = secs == 0;
    Some(ResponseControl { max_age: Some(secs), no_store, ..ResponseControl::default() })
}

fn date_secs(headers: &HeaderMap) -> Option<u64> {
    let date = crate::http::date::single(headers, &header::DATE, std::time::UNIX_EPOCH)?;
    date.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields;

    fn check(name: &'static str, value: &str, expected: Option<ResponseControl>) {
        let sent = fields(&[("date", "Thu, 01 Jan 1970 00:16:40 GMT"), (name, value)]);
        assert_eq!(of(&sent, &HeaderName::from_static(name)), Some(expected), "{name}: {value}");
    }

    fn max_age(secs: u64) -> ResponseControl {
        ResponseControl { max_age: Some(secs), ..ResponseControl::default() }
    }

    #[test]
    fn surrogate_control_speaks_as_its_senders_mean_it() {
        let check = |value: &str, expected| check("surrogate-control", value, expected);
        check("max-age=3600", Some(max_age(3600)));
        check("max-age=3600, content=\"ESI/1.0\"", Some(max_age(3600)));
        check("max-age=60+30", Some(ResponseControl { stale_while_revalidate: Some(30), ..max_age(60) }));
        check("max-age=60;varnish", Some(max_age(60)));
        check("no-store;akamai", Some(ResponseControl { no_store: true, ..Default::default() }));
        check("no-store", Some(ResponseControl { no_store: true, ..Default::default() }));
        check(
            "Max-Age=60, stale-if-error=9",
            Some(ResponseControl { stale_if_error: Some(9), ..max_age(60) }),
        );
        check("max-age=x", Some(max_age(0)));
        check("content=\"ESI/1.0\"", None);
        check("", None);
    }

    #[test]
    fn x_accel_expires_is_seconds_or_an_end() {
        let check = |value: &str, expected| check("x-accel-expires", value, expected);
        check("600", Some(max_age(600)));
        check("0", Some(ResponseControl { no_store: true, ..max_age(0) }));
        check("@1060", Some(max_age(60)));
        check("@999", Some(ResponseControl { no_store: true, ..max_age(0) }));
        check("off", None);
        check("-1", None);
        let twice = fields(&[("x-accel-expires", "5"), ("x-accel-expires", "6")]);
        assert_eq!(of(&twice, &HeaderName::from_static("x-accel-expires")), Some(None));
        let undated = fields(&[("x-accel-expires", "@1060")]);
        assert_eq!(of(&undated, &HeaderName::from_static("x-accel-expires")), Some(None));
    }
}

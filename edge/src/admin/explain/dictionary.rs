//! The sentence of an explanation about dictionaries (RFC 9842).

use std::sync::Arc;

use http::HeaderMap;

use crate::cache::{Cache, Found};
use crate::flight::dictionaries::{Known, origin};
use crate::policy::dictionary::{AVAILABLE, fault, obstacle};
use crate::site::rewrite;
use crate::store::Object;

/// Whether a hit would be the difference to what the client has, and why; none of a site without dictionaries. `asked` are the
/// fields as the client sent them, `hit` what is stored.
pub(super) fn told(
    cache: &Cache,
    found: &Found,
    asked: &HeaderMap,
    hit: Option<&Arc<Object>>,
) -> Option<String> {
    let site = &found.site.site;
    if site.dictionaries.paths.is_empty() {
        return None;
    }
    if let Some(why) = obstacle(site, &found.request.uri) {
        return Some(format!("none: {why}"));
    }
    let Some(hit) = hit else { return Some("none: only hits are compressed with one".into()) };
    if let Some(why) = fault(&hit.entry) {
        return Some(format!("none: {why}"));
    }
    let dictionaries = &cache.flights.dictionaries;
    if !dictionaries.takes(hit) {
        return Some("none: the response is empty, or too long for the memory that dictionaries have".into());
    }
    let Some(had) = &found.dictionary else {
        let why = match asked.contains_key(AVAILABLE) {
            true => "its Available-Dictionary is no hash, or its Accept-Encoding has neither dcz nor dcb",
            false => "it names none that it has; it is told to keep this one",
        };
        return Some(format!("none: {why}"));
    };
    if !had.asker.may_read(&rewrite::said_of_readers(&hit.entry.head.headers, site)) {
        return Some(
            "none: the page that asks may not read the answer (Sec-Fetch-Site, Sec-Fetch-Mode, CORS)".into(),
        );
    }
    let coding = had.coding.as_str();
    Some(match dictionaries.known(&origin(&found.request.uri), hit, had) {
        Known::No { held } => {
            format!("none: what the client has is none of the {held} texts that are held here")
        }
        Known::Text => format!(
            "{coding}: what the client has is held here, and the difference to it is made when it is asked for"
        ),
        Known::Useless => format!(
            "none: the difference to what the client has, in {coding}, is not shorter, or a browser could not read it"
        ),
        Known::Short(bytes) => format!("{coding}: {bytes} bytes in the place of {}", hit.body.bytes()),
    })
}

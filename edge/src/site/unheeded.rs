//! The fields that most requests have and no rule of a site looks at.
//!
//! Whether a fresh stored response answers a request does not depend on them, but for a `Vary` that names them. So a request
//! need not be read further than to tell that these are what it has.

use std::sync::Arc;

use http::header;

use super::Site;
use super::key::Device;
use super::pattern::any_matches;

/// The `USUAL` fields that are not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unheeded(u32);

/// By length. The rules of HTTP (`policy`) look at none of them unless a stored `Vary` names it.
pub(crate) const USUAL: [&str; 16] = [
    "dnt",
    "accept",
    "cookie",
    "referer",
    "sec-gpc",
    "priority",
    "sec-ch-ua",
    "user-agent",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "accept-language",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "upgrade-insecure-requests",
];

impl Unheeded {
    /// The usual fields that no rule of any of these sites looks at.
    pub fn of(sites: &[Arc<Site>]) -> Self {
        let parts = || sites.iter().flat_map(|site| site.routes.iter().chain([site]));
        let free = USUAL.iter().enumerate().filter(|(_, name)| !parts().any(|part| heeds(part, name)));
        Self(free.fold(0, |bits, (place, _)| bits | 1 << place))
    }

    /// Whether the field of this name, in any case, is one of them.
    pub fn has(self, name: &[u8]) -> bool {
        place(name).is_some_and(|place| self.0 & 1 << place != 0)
    }
}

/// Where the name stands among the usual ones.
fn place(name: &[u8]) -> Option<usize> {
    let alike = match name.len() {
        3 => 0..1,
        6 => 1..3,
        7 => 3..5,
        8 => 5..6,
        9 => 6..7,
        10 => 7..8,
        14 => 8..12,
        15 => 12..13,
        16 => 13..14,
        18 => 14..15,
        25 => 15..16,
        _ => return None,
    };
    let is_it = |usual: &&str| usual.as_bytes().eq_ignore_ascii_case(name);
    let start = alike.start;
    USUAL[alike].iter().position(is_it).map(|place| start + place)
}

/// Whether a rule of this part of a site looks at the field.
fn heeds(site: &Site, name: &str) -> bool {
    let Site { key, rules, request_fields, .. } = site;
    let is_cookie = name == header::COOKIE.as_str();
    key.headers.iter().any(|header| header == name)
        || key.device == Device::Keyed && ["user-agent", "sec-ch-ua-mobile"].contains(&name)
        || any_matches(&rules.bypass.headers, name)
        || is_cookie && !(key.cookies.is_empty() && rules.bypass.cookies.is_empty())
        || request_fields.remove.iter().any(|removed| removed == name)
        || request_fields.set.iter().any(|(set, _)| set == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_field_has_its_place_in_any_case() {
        let all = Unheeded::of(&[]);
        for (at, name) in USUAL.iter().enumerate() {
            assert_eq!(place(name.as_bytes()), Some(at), "{name}");
            assert!(all.has(name.to_ascii_uppercase().as_bytes()), "{name}");
        }
        for other in ["", "a", "host", "accept-encoding", "if-none-match", "cache-control", "x-xxxx-xxxx-xx"]
        {
            assert!(!all.has(other.as_bytes()), "{other}");
        }
    }
}

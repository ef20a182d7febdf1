//! Which fields of a client no origin gets to see.
//!
//! An origin behind gateways believes fields that name the host, the path, the scheme, the method, the client or its
//! user, or that steer its own cache. The key does not hold them, so a client that sends one chooses what everybody else
//! gets from the store. Each is in a table with its reason; a site lets in those that a gateway of its own writes.
//!
//! A field whose name has another character than letters, digits and `-` is withheld too. CGI (RFC 3875 §4.1.18) and
//! what descends from it write `HTTP_X_TENANT` for `X_Tenant` and `X-Tenant`, some for `X.Tenant` as well: the twin would
//! speak for a field that is in the key.

mod table;

use http::{HeaderName, Method, header};
use table::{BEGINNINGS, NAMES};

use crate::site::pattern::NamePattern;

/// A name, or the beginning of some, that origins take for something the key does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Withheld {
    /// In lower case, with `-`; a `*` at its end stands for any rest.
    pub name: &'static str,
    /// The meaning that it is given.
    pub taken: Taken,
    /// The software that takes it so.
    pub by: &'static str,
}

/// The meaning that an origin gives a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The host that is asked.
    Host,
    /// The path that is asked, or one to fetch.
    Path,
    /// The scheme, or that TLS was used.
    Scheme,
    /// The method.
    Method,
    /// The client's address, or where it is.
    Client,
    /// The user's identity.
    User,
    /// A directive to a cache of the origin.
    Cache,
    /// A message between parts of a framework.
    Internal,
    /// Another field, by its name.
    Twin,
}

/// Why a field of this name in a request of this method does not reach the origin; none if it does. Method overrides
/// reach it with methods that are never answered from the store: no key is at stake.
pub fn withheld(name: &HeaderName, method: &Method, allowed: &[NamePattern]) -> Option<Withheld> {
    if *name == header::HOST {
        // In every request, and in no table.
        return None;
    }
    let found = listed(name.as_str())?;
    // RFC 10008 §2.7: QUERY too.
    let stored = method == Method::GET || method == Method::HEAD || method.as_str() == "QUERY";
    // A pattern lets those in that say who the client is only if it is about them: `x-*` is not.
    let is_meant =
        |one: &&NamePattern| !name.as_str().starts_with(FORWARDED) || one.as_str().starts_with(FORWARDED);
    let is_allowed = allowed.iter().filter(is_meant).any(|one| one.matches(name.as_str()));
    let passes = found.taken == Taken::Method && !stored || is_allowed;
    (!passes).then_some(found)
}

const FORWARDED: &str = "x-forwarded-";

/// The row for a name, whatever a site allows.
pub fn listed(name: &str) -> Option<Withheld> {
    if name.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-') {
        return Some(TWIN);
    }
    // Asked of each field of each request: most begin otherwise.
    if !matches!(name.as_bytes().first(), Some(b'a'..=b'd' | b'e'..=b'i' | b'o'..=b'u' | b'w' | b'x')) {
        return None;
    }
    let begins = |row: &&Withheld| name.starts_with(&row.name[..row.name.len() - 1]);
    match NAMES.binary_search_by(|row| row.name.cmp(name)) {
        Ok(at) => Some(NAMES[at]),
        Err(_) => BEGINNINGS.iter().find(begins).copied(),
    }
}

const TWIN: Withheld = Withheld {
    name: "*_*",
    taken: Taken::Twin,
    by: "CGI and WSGI origins, which read `_` and other characters in a name as `-`",
};

impl Taken {
    /// In a sentence: "taken for …".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "the host",
            Self::Path => "the path",
            Self::Scheme => "the scheme",
            Self::Method => "the method",
            Self::Client => "the client's address",
            Self::User => "the user",
            Self::Cache => "a wish about a cache",
            Self::Internal => "a message of a framework to itself",
            Self::Twin => "another field",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<Taken>) {
        let name: HeaderName = name.parse().unwrap();
        let found = withheld(&name, &Method::GET, &[]);
        assert_eq!(found.map(|row| row.taken), expected, "{name}");
    }

    /// A field that is left unread must be one that the rules would see as it came.
    #[test]
    fn what_most_requests_have_is_not_withheld() {
        for name in crate::site::unheeded::USUAL {
            check(name, None);
        }
    }

    #[test]
    fn an_explanation_says_what_a_field_is_taken_for() {
        use Taken::{Cache, Client, Host, Internal, Method, Path, Scheme, Twin, User};
        let all = [Host, Path, Scheme, Method, Client, User, Cache, Internal, Twin].map(Taken::as_str);
        let different: std::collections::BTreeSet<&str> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
        assert!(all.iter().all(|words| !words.is_empty()));
        assert_eq!(
            withheld(&"x-host".parse().unwrap(), &http::Method::GET, &[]).unwrap().taken.as_str(),
            "the host"
        );
    }

    #[test]
    fn a_field_that_origins_take_for_something_the_key_does_not_hold_is_withheld() {
        use Taken::{Cache, Client, Host, Internal, Method, Path, Scheme, User};
        for (taken, names) in [
            (Host, "X-Host X-HTTP-Host X-Real-Host X-Backend-Host X-Proxy-Host Disguised-Host"),
            (
                Path,
                "X-Original-URL X-Rewrite-URL X-Matched-Path X-Replaced-Path X-URL X-Original-Forwarded-Host",
            ),
            (Scheme, "X-Proto X-ARR-SSL Front-End-Https X-Url-Scheme X-AppService-Proto"),
            (Client, "X-Forward-For X-Forward-Host Forwarded-Server Forwarded-Port X-True-Client-IP"),
            (
                Client,
                "X-ProxyUser-Ip X-Custom-IP-Authorization CF-Connecting-IPv6 CF-Visitor X-Azure-ClientIP",
            ),
            (Client, "Fly-Client-IP CloudFront-Forwarded-Proto X-Forwarded-Anything Forwarded X-Real-IP"),
            (User, "Remote-User X-Remote-User SSL-Client-Cert X-Authenticated-UserId Client-Cert"),
            (User, "X-Remote-Group X-Amzn-Oidc-Data X-Goog-Iap-Jwt-Assertion X-MS-CLIENT-PRINCIPAL-ID"),
            (User, "X-Userinfo X-ID-Token X-Token-Subject X-Shib-User Shib-Identity-Provider"),
            (Internal, "X-Middleware-Subrequest X-Now-Route-Matches X-Invoke-Path X-Sendfile-Type"),
            (Internal, "X-Accel-Mapping X-Envoy-Original-Path Proxy X-Php-Ob-Level"),
            (Internal, "X-React-Router-SPA-Mode X-React-Router-Prerender-Data X-Astro-Path X-Nuxt-No-SSR"),
            (Cache, "X-Prerender-Revalidate Surrogate-Capability X-Purge"),
            (Method, "X-Method X-HTTP-Method-Override X-Purge-Method"),
        ] {
            names.split(' ').for_each(|name| check(name, Some(taken)));
        }
    }

    #[test]
    fn a_name_that_a_cgi_origin_folds_into_another_is_withheld() {
        for name in ["X_Tenant", "Accept_Language", "x.forwarded.host", "X~Forwarded~Host", "_", "a!b"] {
            check(name, Some(Taken::Twin));
        }
    }

    #[test]
    fn what_clients_send_for_themselves_is_let_through() {
        let own = "host accept accept-encoding accept-language authorization cookie cache-control pragma dnt te \
            user-agent referer origin range if-none-match if-modified-since sec-fetch-mode sec-ch-ua-mobile priority \
            upgrade-insecure-requests save-data via cdn-loop traceparent x-requested-with x-csrf-token x-xsrf-token \
            x-request-id x-api-key x-wp-nonce x-tenant x-hosts x-nextjs-data next-router-state-tree rsc hx-request \
            x-inertia x-amz-date x-goog-api-key x-client-version x-user depth destination overwrite if client x \
            content-type content-length expect transfer-encoding sentry-trace apikey x-livewire turbo-frame";
        own.split_whitespace().for_each(|name| check(name, None));
    }

    #[test]
    fn a_site_lets_in_what_its_own_gateway_writes() {
        let allowed: Vec<NamePattern> =
            ["cf-*", "x-real-ip", "x_tenant"].map(|text| NamePattern::parse(text).unwrap()).into();
        for (name, passes) in [
            ("cf-connecting-ip", true),
            ("x-real-ip", true),
            ("x_tenant", true),
            ("x-real-host", false),
            ("x_other", false),
        ] {
            let name: HeaderName = name.parse().unwrap();
            assert_eq!(withheld(&name, &Method::GET, &allowed).is_none(), passes, "{name}");
        }
    }

    #[test]
    fn a_method_override_is_for_methods_that_no_stored_response_answers() {
        for name in ["x-http-method-override", "x-http-method", "x-method-override", "x-method"] {
            let name: HeaderName = name.parse().unwrap();
            for (method, passes) in [
                ("GET", false),
                ("HEAD", false),
                ("QUERY", false),
                ("POST", true),
                ("PUT", true),
                ("PATCH", true),
            ] {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                assert_eq!(withheld(&name, &method, &[]).is_none(), passes, "{name} {method}");
            }
        }
    }

    #[test]
    fn a_pattern_of_all_names_lets_in_nobodys_word_of_who_the_client_is() {
        let check = |pattern: &str, name: &'static str, passes: bool| {
            let allowed = [NamePattern::parse(pattern).unwrap()];
            let found = withheld(&HeaderName::from_static(name), &Method::GET, &allowed);
            assert_eq!(found.is_none(), passes, "{pattern} {name}");
        };
        for general in ["*", "x-*", "x-f*"] {
            check(general, "x-forwarded-user", false);
        }
        check("x-*", "x-real-ip", true);
        check("x-forwarded-user", "x-forwarded-user", true);
        check("x-forwarded-u*", "x-forwarded-user", true);
    }

    #[test]
    fn the_table_is_in_order_and_each_row_has_its_reason() {
        assert!(
            NAMES.is_sorted_by(|a, b| a.name < b.name) && BEGINNINGS.is_sorted_by(|a, b| a.name < b.name)
        );
        assert!(NAMES.iter().all(|row| !row.name.contains('*') && !row.by.is_empty()));
        assert!(BEGINNINGS.iter().all(|row| row.name.ends_with('*') && !row.by.is_empty()));
        for row in NAMES.iter().chain(BEGINNINGS) {
            assert_eq!(
                listed(row.name.trim_end_matches('*')).map(|found| found.by.is_empty()),
                Some(false),
                "{row:?}"
            );
        }
    }
}

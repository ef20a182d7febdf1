//! Which certificate is for which name: an exact name, a wildcard for one label (RFC 9525 §6.3), else the first.

use std::collections::HashMap;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The DNS names that a certificate is for, in lower case; none if it cannot be understood.
pub(super) fn dns_names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

/// Certificates by name.
#[derive(Debug)]
pub(super) struct Names<C> {
    by_name: HashMap<String, C>,
    default: C,
}

impl<C: Clone> Names<C> {
    /// `certificates` with the names each is for. Where two are for one name the first is taken, and the first of all
    /// answers clients that ask for a name which none is for.
    pub(super) fn new(default: C, certificates: Vec<(Vec<String>, C)>) -> Self {
        let mut by_name = HashMap::new();
        for (names, certificate) in certificates {
            for name in names {
                by_name.entry(name).or_insert_with(|| certificate.clone());
            }
        }
        Self { by_name, default }
    }

    /// The certificate for a client that asks for `server_name` (SNI, RFC 6066 §3).
    pub(super) fn choose(&self, server_name: Option<&str>) -> &C {
        server_name.and_then(|name| self.named(&name.to_ascii_lowercase())).unwrap_or(&self.default)
    }

    /// Whether a certificate is for `host`.
    pub(super) fn covers(&self, host: &str) -> bool {
        self.named(&host.to_ascii_lowercase()).is_some()
    }

    fn named(&self, name: &str) -> Option<&C> {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.by_name.get(name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_comes_before_a_wildcard_and_the_first_certificate_answers_the_rest() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let table = Names::new(
            0,
            vec![
                (names(&["a.example", "*.shop.example"]), 0),
                (names(&["*.example", "www.shop.example", "a.example"]), 1),
            ],
        );
        let check = |asked: Option<&str>, expected: i32, covered: bool| {
            assert_eq!(*table.choose(asked), expected, "{asked:?}");
            assert_eq!(asked.is_some_and(|name| table.covers(name)), covered, "{asked:?}");
        };
        check(Some("a.example"), 0, true);
        check(Some("A.Example."), 0, true);
        check(Some("b.example"), 1, true);
        check(Some("www.shop.example"), 1, true);
        check(Some("img.shop.example"), 0, true);
        // A wildcard stands for one label.
        check(Some("a.b.shop.example"), 0, false);
        check(Some("shop.example"), 1, true);
        check(Some("example"), 0, false);
        check(None, 0, false);
    }
}

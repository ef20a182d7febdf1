//! Which certificate is for which name: an exact name, a wildcard for one label (RFC 9525 §6.3), else the first.

use std::collections::{HashMap, HashSet};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The DNS names that one certificate is for, in lower case.
#[derive(Debug, Default)]
pub struct DnsNames(HashSet<String>);

impl DnsNames {
    /// Those of this certificate; none if it cannot be understood.
    pub(super) fn of(certificate: &[u8]) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Self::default() };
        let Ok(Some(names)) = certificate.subject_alternative_name() else { return Self::default() };
        let dns = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        Self(dns.collect())
    }

    /// Whether the certificate is for `host`.
    #[must_use]
    pub fn cover(&self, host: &str) -> bool {
        find(host, |name| self.0.get(name)).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &String> {
        self.0.iter()
    }
}

/// The result of `get` for this name, else for the wildcard in the place of its first label (RFC 9525 §6.3).
fn find<T>(host: &str, get: impl Fn(&str) -> Option<T>) -> Option<T> {
    let name = host.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    get(name).or_else(|| {
        let (_, parent) = name.split_once('.')?;
        get(&format!("*.{parent}"))
    })
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
    pub(super) fn new(default: C, certificates: Vec<(&DnsNames, C)>) -> Self {
        let mut by_name = HashMap::new();
        for (names, certificate) in certificates {
            for name in names.iter() {
                by_name.entry(name.clone()).or_insert_with(|| certificate.clone());
            }
        }
        Self { by_name, default }
    }

    /// The certificate for a client that asks for `server_name` (SNI, RFC 6066 §3).
    pub(super) fn choose(&self, server_name: Option<&str>) -> &C {
        server_name.and_then(|host| find(host, |name| self.by_name.get(name))).unwrap_or(&self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_comes_before_a_wildcard_and_the_first_certificate_answers_the_rest() {
        let names = |list: &[&str]| DnsNames(list.iter().map(ToString::to_string).collect());
        let certificates =
            [names(&["a.example", "*.shop.example"]), names(&["*.example", "www.shop.example", "a.example"])];
        let table = Names::new(0, vec![(&certificates[0], 0), (&certificates[1], 1)]);
        let check = |asked: Option<&str>, expected: usize, covered: bool| {
            let chosen = *table.choose(asked);
            assert_eq!(chosen, expected, "{asked:?}");
            assert_eq!(asked.is_some_and(|name| certificates[chosen].cover(name)), covered, "{asked:?}");
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

//! Which site a host name belongs to: its exact name, then the longest wildcard, then `*`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::Site;

/// A host name as a site claims it; lower case, without a trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This name only.
    Exact(String),
    /// `*.example.com`: every name below, at any depth, and not the name itself. Holds `example.com`.
    Below(String),
    /// `*`: what no other pattern has.
    Any,
}

impl HostPattern {
    /// Reads `example.com`, `*.example.com` or `*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = normal(text);
        if text == "*" {
            return Some(Self::Any);
        }
        let (name, pattern): (&str, fn(String) -> Self) = match text.strip_prefix("*.") {
            Some(rest) => (rest, Self::Below),
            None => (&text, Self::Exact),
        };
        is_host(name).then(|| pattern(name.to_owned()))
    }

    /// How well it is for a name in small letters; none if it is not.
    #[must_use]
    pub fn fits(&self, name: &str) -> Option<usize> {
        match self {
            Self::Exact(own) => (own == name).then_some(usize::MAX),
            Self::Below(above) => {
                let below = name.strip_suffix(above.as_str())?.strip_suffix('.')?;
                (!below.is_empty()).then_some(above.len())
            }
            Self::Any => Some(0),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// A name or an address in the characters that Host allows here; ports belong to listeners.
fn is_host(text: &str) -> bool {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !text.is_empty()
                && text.split('.').all(|label| !label.is_empty())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    }
}

fn normal(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => host.to_ascii_lowercase().into(),
        false => host.into(),
    }
}

/// The sites, found by host name.
#[derive(Debug, Clone, Default)]
pub struct Sites {
    all: Vec<Arc<Site>>,
    exact: HashMap<String, usize>,
    below: HashMap<String, usize>,
    any: Option<usize>,
}

impl Sites {
    /// In the file's order. Invariant: no pattern occurs twice; `config` refuses that with a place.
    #[must_use]
    pub fn new(sites: Vec<Site>) -> Self {
        let mut found = Self { all: Vec::new(), exact: HashMap::new(), below: HashMap::new(), any: None };
        for (index, site) in sites.into_iter().enumerate() {
            for pattern in &site.hosts {
                match pattern.clone() {
                    HostPattern::Exact(name) => drop(found.exact.insert(name, index)),
                    HostPattern::Below(name) => drop(found.below.insert(name, index)),
                    HostPattern::Any => found.any = Some(index),
                }
            }
            found.all.push(Arc::new(site));
        }
        found
    }

    /// The index of the site that a host name without port belongs to.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<usize> {
        let host = normal(host);
        self.exact.get(&*host).or_else(|| self.longest_wildcard(&host)).copied().or(self.any)
    }

    fn longest_wildcard(&self, host: &str) -> Option<&usize> {
        let mut rest = host;
        // A label has a character at least (RFC 1035 §2.3.1).
        while let Some((_, parent)) = rest.split_once('.').filter(|(label, _)| !label.is_empty()) {
            if let Some(index) = self.below.get(parent) {
                return Some(index);
            }
            rest = parent;
        }
        None
    }

    /// With the settings of each site and route as `settings` tells them.
    #[must_use]
    pub fn as_written(mut self, settings: impl Fn(&Site) -> Vec<String>) -> Self {
        for site in self.all.iter_mut().map(Arc::make_mut) {
            site.settings = settings(site);
            for route in site.routes.iter_mut().map(Arc::make_mut) {
                route.settings = settings(route);
            }
        }
        self
    }

    /// The sites in the file's order.
    #[must_use]
    pub fn all(&self) -> &[Arc<Site>] {
        &self.all
    }
}

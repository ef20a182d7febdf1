//! How a query takes part in the key. The origin gets it as sent, whatever the key leaves out.

use crate::http::path;

/// How the query takes part in the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Which parameters.
    pub keep: Keep,
    /// In which order.
    pub order: Order,
}

/// Which query parameters take part. Names are compared with their unreserved percent-encodings decoded, by case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// All, as sent.
    #[default]
    All,
    /// None.
    Nothing,
    /// Only these; a trailing `*` matches a prefix.
    Only(Vec<String>),
    /// All but these; a trailing `*` matches a prefix.
    Except(Vec<String>),
}

/// The order of query parameters in the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As sent.
    #[default]
    AsSent,
    /// By name; parameters of the same name keep their order.
    Sorted,
}

impl Query {
    /// The part of `query` that is in the key; none if a list leaves nothing of it.
    pub fn normal(&self, query: &str) -> Option<String> {
        let kept: Vec<&str> = match &self.keep {
            Keep::Nothing => return None,
            Keep::All if self.order == Order::AsSent => return Some(query.to_owned()),
            Keep::All => query.split('&').collect(),
            Keep::Only(names) => query.split('&').filter(|pair| matches_any(names, pair)).collect(),
            Keep::Except(names) => query.split('&').filter(|pair| !matches_any(names, pair)).collect(),
        };
        let emptied = kept.is_empty();
        (!emptied).then(|| self.ordered(kept).join("&"))
    }

    fn ordered<'a>(&self, mut pairs: Vec<&'a str>) -> Vec<&'a str> {
        if self.order == Order::Sorted {
            // Each name is decoded once, however many there are.
            pairs.sort_by_cached_key(|pair| name(pair));
        }
        pairs
    }
}

/// Only `&` separates: an origin that splits at `;` too sees more parameters, but the key has all their bytes.
fn name(pair: &str) -> String {
    path::decoded(pair.split('=').next().unwrap_or_default())
}

fn matches_any(patterns: &[String], pair: &str) -> bool {
    let name = name(pair);
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keep: Keep, order: Order, query: &str, expected: Option<&str>) {
        assert_eq!(Query { keep, order }.normal(query).as_deref(), expected, "{query}");
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn all_of_it_as_sent_by_default() {
        check(Keep::All, Order::AsSent, "b&a=%7e&&a=;c", Some("b&a=%7e&&a=;c"));
        check(Keep::All, Order::AsSent, "", Some(""));
    }

    #[test]
    fn lists_keep_and_drop() {
        let tracking = || Keep::Except(names(&["utm_*", "fbclid"]));
        check(tracking(), Order::AsSent, "a=1&utm_source=x&fbclid=y&b", Some("a=1&b"));
        check(tracking(), Order::AsSent, "utm%5Fsource=x&a", Some("a"));
        check(tracking(), Order::AsSent, "utm_source=x", None);
        check(tracking(), Order::AsSent, "UTM_source=x", Some("UTM_source=x"));
        check(tracking(), Order::AsSent, "a=1;utm_source=x", Some("a=1;utm_source=x"));
        check(Keep::Only(names(&["id", "p*"])), Order::AsSent, "x=1&id=2&page=3&id", Some("id=2&page=3&id"));
        check(Keep::Only(names(&["id"])), Order::AsSent, "x=1", None);
        check(Keep::Nothing, Order::Sorted, "x=1", None);
    }

    #[test]
    fn sorting_keeps_the_order_of_equal_names() {
        check(Keep::All, Order::Sorted, "b=1&a=2&b=0&a=1", Some("a=2&a=1&b=1&b=0"));
        check(Keep::Except(names(&["x"])), Order::Sorted, "b&x&a", Some("a&b"));
    }
}

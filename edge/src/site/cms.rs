//! PURGE and BAN as content management systems send them through the front door.
//!
//! | system | request | what is to go |
//! |---|---|---|
//! | WordPress (Proxy Cache Purge, WP Rocket, W3 Total Cache), Nextcloud, MediaWiki | `PURGE /path` | the URL |
//! | WordPress | `PURGE /path/.*` with `X-Purge-Method: regex` | the URLs that match |
//! | Drupal (Purge, Varnish Purger) | `BAN /` with `Cache-Tags`, `Purge-Cache-Tags` or `X-Drupal-Cache-Tags` | what has one of the tags |
//! | Magento | `PURGE /` with `X-Magento-Tags-Pattern: ((^|,)cat_p_7(,|$))\|…`, or `.*` | what has one of the tags, or the site |
//! | Fastly's and others' | `PURGE /` with `Surrogate-Key` or `xkey-purge` | what has one of the tags |
//! | any | `BAN /path*`, `PURGE /path*` | the URLs that match; `*` stands for any run of characters |
//!
//! Of regular expressions only `.*` and `.+`, `^`, `$`, `\` and alternatives of tags are understood. Others are refused, not guessed.

use http::{HeaderMap, Method};

use super::tags;

/// The target of such a request, on its own site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The URL of the request with this path and query in the place of its own, in which `*` stands for any run.
    Target(String),
    /// Responses with one of these tags.
    Tags(Vec<String>),
    /// Everything of the site.
    Site,
}

/// Why such a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotUnderstood {
    /// A regular expression with more than what is understood.
    Expression,
    /// Something that is no tag.
    Tag,
}

impl NotUnderstood {
    /// In a sentence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expression => "of regular expressions only .* is understood here, as in /blog/.*",
            Self::Tag => "what this names is no list of tags",
        }
    }
}

/// Whether a request with this method is one.
pub fn is_purge(method: &Method) -> bool {
    ["PURGE", "BAN"].contains(&method.as_str())
}

/// The target of a request [that is one](is_purge); `target` is its path and query.
pub fn wanted(target: &str, headers: &HeaderMap) -> Result<Wanted, NotUnderstood> {
    if let Some(named) = TAG_FIELDS.iter().find_map(|name| headers.get(*name)) {
        return of_tags(&String::from_utf8_lossy(named.as_bytes()));
    }
    let says_regex =
        |name| headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"regex"));
    if says_regex("x-purge-method") || target.contains(".*") {
        return of_expression(target).map(Wanted::Target);
    }
    Ok(Wanted::Target(target.to_owned()))
}

/// The fields that name tags, and what sends them: Magento, Drupal, Drupal, Drupal, Fastly's API, Varnish's xkey.
const TAG_FIELDS: &[&str] = &[
    "x-magento-tags-pattern",
    "cache-tags",
    "purge-cache-tags",
    "x-drupal-cache-tags",
    "surrogate-key",
    "xkey-purge",
    "cache-tag",
];

/// Tags with spaces, commas or `|` between them, each perhaps between `(^|,)` and `(,|$)`.
fn of_tags(text: &str) -> Result<Wanted, NotUnderstood> {
    let mut bare = text.trim().to_owned();
    for anchor in ["(^|,)", "(,|$)", "(^|\\s)", "(\\s|$)", "(^| )", "( |$)"] {
        bare = bare.replace(anchor, "");
    }
    if bare == ".*" {
        return Ok(Wanted::Site);
    }
    let separators = |c: char| c.is_whitespace() || c == ',' || c == '|';
    let named = bare.split(separators).map(|tag| tag.trim_matches(['(', ')', '^', '$']).replace('\\', ""));
    let named: Vec<String> = named.filter(|tag| !tag.is_empty()).collect();
    let sound = |tag: &String| {
        tags::is_tag(tag.as_bytes()) && !tag.contains(['*', '+', '?', '[', ']', '{', '}', '(', ')'])
    };
    if named.is_empty() || named.len() > tags::MAX_TAGS || !named.iter().all(sound) {
        return Err(NotUnderstood::Tag);
    }
    Ok(Wanted::Tags(named))
}

/// A regular expression as a pattern with `*`. Varnish anchors neither end; a path begins at its beginning.
fn of_expression(expression: &str) -> Result<String, NotUnderstood> {
    let rest = expression.strip_prefix('^').unwrap_or(expression);
    let (rest, is_anchored) = match rest.strip_suffix('$') {
        Some(rest) if !rest.ends_with('\\') => (rest, true),
        _ => (rest, false),
    };
    let rest = rest.replace("(.*)", "*").replace("(.+)", "*").replace(".*", "*").replace(".+", "*");
    let mut pattern = String::with_capacity(rest.len() + 1);
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                pattern.push(chars.next().filter(|c| !c.is_alphanumeric()).ok_or(NotUnderstood::Expression)?)
            }
            '(' | ')' | '[' | ']' | '{' | '}' | '|' | '+' | '^' | '$' => {
                return Err(NotUnderstood::Expression);
            }
            c => pattern.push(c),
        }
    }
    if !is_anchored && !pattern.ends_with('*') {
        pattern.push('*');
    }
    Ok(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields;

    fn check(target: &str, sent: &[(&str, &str)], expected: Result<Wanted, NotUnderstood>) {
        assert_eq!(wanted(target, &fields(sent)), expected, "{target} {sent:?}");
    }

    fn target(text: &str) -> Result<Wanted, NotUnderstood> {
        Ok(Wanted::Target(text.to_owned()))
    }

    #[test]
    fn a_purge_names_its_own_url_or_those_that_a_simple_expression_matches() {
        let regex = [("x-purge-method", "regex")];
        check("/a?b", &[], target("/a?b"));
        check("/a?b", &[("x-purge-method", "default")], target("/a?b"));
        check("/a/*", &[], target("/a/*"));
        check("/.*", &regex, target("/*"));
        check("/.*", &[], target("/*"));
        check("/blog/(.*)", &regex, target("/blog/*"));
        check("^/blog/.+\\.css$", &regex, target("/blog/*.css"));
        check("/blog", &regex, target("/blog*"));
        check("/a.css$", &regex, target("/a.css"));
        for more in ["/(a|b)", "/[ab]", "/a{2}", "/\\d", "/a\\"] {
            check(more, &regex, Err(NotUnderstood::Expression));
        }
    }

    #[test]
    fn tags_are_named_as_each_system_names_them() {
        let tags = |tags: &[&str]| Ok(Wanted::Tags(tags.iter().map(ToString::to_string).collect()));
        let magento = "((^|,)cat_p_7(,|$))|((^|,)cat_c_3(,|$))";
        check("/", &[("x-magento-tags-pattern", magento)], tags(&["cat_p_7", "cat_c_3"]));
        check("/", &[("x-magento-tags-pattern", ".*")], Ok(Wanted::Site));
        check("/", &[("cache-tags", "node:1 node_list")], tags(&["node:1", "node_list"]));
        check("/", &[("purge-cache-tags", "node:1|config:x.y")], tags(&["node:1", "config:x.y"]));
        check("/", &[("surrogate-key", "a b")], tags(&["a", "b"]));
        let most: Vec<String> = (0..tags::MAX_TAGS).map(|at| format!("t{at}")).collect();
        check("/", &[("cache-tags", &most.join(" "))], Ok(Wanted::Tags(most.clone())));
        check("/", &[("cache-tags", &format!("{} more", most.join(" ")))], Err(NotUnderstood::Tag));
        for none in ["", "(,|$)", "a.*b", "[ab]"] {
            check("/", &[("cache-tags", none)], Err(NotUnderstood::Tag));
        }
    }
}

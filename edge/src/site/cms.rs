//! PURGE and BAN as content management systems send them through the front door.
//!
//! | system | request | what is to go |
//! |---|---|---|
//! | WordPress (Proxy Cache Purge, WP Rocket, W3 Total Cache), Nextcloud, MediaWiki | `PURGE /path` | the URL |
//! | WordPress | `PURGE /path/.*` with `X-Purge-Method: regex` | the URLs that match |
//! | Drupal (Purge, Varnish Purger) | `BAN /` with `Cache-Tags`, `Purge-Cache-Tags` or `X-Drupal-Cache-Tags` | what has one of the tags |
//! | Magento | `PURGE /` with `X-Magento-Tags-Pattern: ((^|,)cat_p_7(,|$))\|…`, or `.*` | what has one of the tags, or the site |
//! | FOSHttpCache (Symfony) | `BAN /` with `X-Cache-Tags`, beside `X-Host`, `X-Url` and `X-Content-Type` that are `.*` | what has one of the tags, or the site |
//! | Fastly's and others' | `PURGE /` with `Surrogate-Key`, `xkey` or `xkey-purge` | what has one of the tags |
//! | the same | … with `xkey-softpurge`, or with `Fastly-Soft-Purge: 1` | the same, which becomes stale |
//! | any | `BAN /path*`, `PURGE /path*` | the URLs that match; `*` stands for any run of characters |
//!
//! Of regular expressions only `.*` and `.+`, `^`, `$`, `\` and alternatives of tags are understood. Others are refused, not
//! guessed, and so is a field that selects in another way: the URL of such a request stands for nothing.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::tags;

/// Such a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// The responses that are to go.
    pub wanted: Wanted,
    /// It becomes stale instead.
    pub is_soft: bool,
}

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
    /// This field, by which other caches choose.
    Selector(&'static str),
}

impl NotUnderstood {
    /// In a sentence.
    pub fn sentence(self) -> String {
        match self {
            Self::Expression => {
                "of regular expressions only .* is understood here, as in /blog/.*".to_owned()
            }
            Self::Tag => "what this names is no list of tags".to_owned(),
            Self::Selector(name) => {
                format!(
                    "`{name}` selects nothing here: purge /path, /path/*, or tags by Cache-Tags or xkey-purge"
                )
            }
        }
    }
}

/// Whether a request with this method is one.
pub fn is_purge(method: &Method) -> bool {
    ["PURGE", "BAN"].contains(&method.as_str())
}

/// Reads a request [that is one](is_purge); `target` is its path and query, `headers` are its fields as they came.
pub fn purge(target: &str, headers: &HeaderMap) -> Result<Purge, NotUnderstood> {
    let is_everything = chosen_otherwise(headers)?;
    let named: Vec<&TagField> = TAG_FIELDS.iter().filter(|field| headers.contains_key(field.name)).collect();
    let says_soft = headers.get("fastly-soft-purge").is_some_and(|value| value == "1");
    let is_soft = says_soft || !named.is_empty() && named.iter().all(|field| field.is_soft);
    let wanted = if !named.is_empty() {
        let lines = named.iter().flat_map(|field| headers.get_all(field.name));
        of_tags(lines.map(|line| String::from_utf8_lossy(line.as_bytes())))?
    } else if is_everything && matches!(target, "/" | "/*" | "/.*") {
        Wanted::Site
    } else if is_everything {
        // All of what begins so.
        Wanted::Target(of_expression(&format!("{}.*", target.trim_end_matches(".*")))?)
    } else if says_regex(headers) || target.contains(".*") {
        Wanted::Target(of_expression(target)?)
    } else {
        Wanted::Target(target.to_owned())
    };
    Ok(Purge { wanted, is_soft })
}

/// A field that names tags.
struct TagField {
    name: &'static str,
    /// Responses with the tags become stale.
    is_soft: bool,
}

const fn hard(name: &'static str) -> TagField {
    TagField { name, is_soft: false }
}

/// The fields that name tags, and what sends them: Magento, Drupal, Drupal, Drupal, Symfony, Fastly's API, Varnish's xkey.
const TAG_FIELDS: &[TagField] = &[
    hard("x-magento-tags-pattern"),
    hard("cache-tags"),
    hard("purge-cache-tags"),
    hard("x-drupal-cache-tags"),
    hard("x-cache-tags"),
    hard("surrogate-key"),
    hard("xkey"),
    hard("xkey-purge"),
    hard("cache-tag"),
    TagField { name: "xkey-softpurge", is_soft: true },
];

/// Fields by which other caches choose what goes, as their configs have them; a `*` at the end stands for any rest.
const SELECTORS: &[&str] = &[
    "ban-*",
    "varnish-ban-*",
    "x-ban*",
    "x-cache-invalidate*",
    "x-content-type",
    "x-host",
    "x-invalidate*",
    "x-key",
    "x-purge-*",
    "x-shopware-*",
    "x-surrogate-key",
    "x-tag",
    "x-tags",
    "x-url",
    "x-varnish-*",
    "x-vc-purge-*",
    "xkey-*",
];

/// Those of them that only say how the target is meant.
const METHODS: [&str; 2] = ["x-purge-method", "x-vc-purge-method"];

fn says_regex(headers: &HeaderMap) -> bool {
    let says = |name| headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"regex"));
    METHODS.into_iter().any(says)
}

/// Whether fields of that kind choose everything; an error if one chooses less. The host of the request may be named again.
fn chosen_otherwise(headers: &HeaderMap) -> Result<bool, NotUnderstood> {
    let mut chooses_all = false;
    for (name, value) in headers {
        let Some(selector) = selector(name) else { continue };
        let names_host = selector.ends_with("host") || name.as_str().ends_with("-host");
        if matches!(value.as_bytes(), b".*" | b"^.*$" | b"*") {
            chooses_all = true;
        } else if !(names_host && is_host(headers, value)) {
            return Err(NotUnderstood::Selector(selector));
        }
    }
    Ok(chooses_all)
}

fn selector(name: &HeaderName) -> Option<&'static str> {
    let name = name.as_str();
    if METHODS.contains(&name) || is_secret(name) || TAG_FIELDS.iter().any(|field| field.name == name) {
        return None;
    }
    let is_it = |selector: &&&'static str| match selector.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == **selector,
    };
    SELECTORS.iter().find(is_it).copied()
}

/// Whether it proves to Varnish that its sender may purge, and chooses nothing: `purge_from` says who may purge here.
fn is_secret(name: &str) -> bool {
    let begins =
        ["x-vc-purge-", "x-purge-", "x-varnish-"].iter().any(|beginning| name.starts_with(beginning));
    begins && ["-key", "-token", "-secret", "-auth"].iter().any(|end| name.ends_with(end))
}

fn is_host(headers: &HeaderMap, value: &HeaderValue) -> bool {
    headers.get(header::HOST).is_some_and(|host| host.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
}

/// Tags of all these lines, with spaces, commas or `|` between them, each perhaps between `(^|,)` and `(,|$)`.
fn of_tags(lines: impl Iterator<Item = impl AsRef<str>>) -> Result<Wanted, NotUnderstood> {
    let mut named = Vec::new();
    for line in lines {
        let mut bare = line.as_ref().trim().to_owned();
        for anchor in ["(^|,)", "(,|$)", "(^|\\s)", "(\\s|$)", "(^| )", "( |$)"] {
            bare = bare.replace(anchor, "");
        }
        if bare == ".*" {
            return Ok(Wanted::Site);
        }
        let separates = |c: char| c.is_whitespace() || c == ',' || c == '|';
        let tags = bare.split(separates).map(|tag| tag.trim_matches(['(', ')', '^', '$']).replace('\\', ""));
        named.extend(tags.filter(|tag| !tag.is_empty()));
    }
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
        let found = purge(target, &fields(sent)).map(|purge| purge.wanted);
        assert_eq!(found, expected, "{target} {sent:?}");
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
        for name in ["xkey", "xkey-purge", "xkey-softpurge", "x-cache-tags", "cache-tag"] {
            check("/", &[(name, "a b")], tags(&["a", "b"]));
        }
        check("/", &[("xkey", "a"), ("xkey", "b, c"), ("cache-tags", "d")], tags(&["d", "a", "b", "c"]));
        check("/", &[("cache-tags", "a"), ("cache-tags", ".*")], Ok(Wanted::Site));
        check("/", &[("cache-tags", "a"), ("cache-tags", "[b]")], Err(NotUnderstood::Tag));
    }

    #[test]
    fn what_chooses_in_a_way_that_is_not_understood_is_refused() {
        let any = [("x-host", ".*"), ("x-url", ".*"), ("x-content-type", ".*")];
        for (name, selector) in [
            ("x-url", "x-url"),
            ("x-host", "x-host"),
            ("x-content-type", "x-content-type"),
            ("x-ban", "x-ban*"),
            ("x-ban-url", "x-ban*"),
            ("varnish-ban-all", "varnish-ban-*"),
            ("varnish-ban-typo3-pid", "varnish-ban-*"),
            ("x-purge-regex", "x-purge-*"),
            ("x-vc-purge-host", "x-vc-purge-*"),
            ("xkey-more", "xkey-*"),
            ("x-tags", "x-tags"),
        ] {
            check("/", &[(name, "^/blog"), ("host", "a.test")], Err(NotUnderstood::Selector(selector)));
            check("/", &[(name, "1"), ("cache-tags", "a")], Err(NotUnderstood::Selector(selector)));
        }
        check("/", &any, Ok(Wanted::Site));
        let tagged = [&any[..], &[("x-cache-tags", "((^|,)a(,|$))|((^|,)b(,|$))")]].concat();
        check("/", &tagged, Ok(Wanted::Tags(vec!["a".into(), "b".into()])));
        check("/a", &[("x-purge-host", "A.test"), ("host", "a.test")], target("/a"));
        let regex = [("x-vc-purge-method", "regex"), ("x-vc-purge-host", "a.test"), ("host", "a.test")];
        check("/a/.*", &regex, target("/a/*"));
        check("/a", &[("x-requested-with", "x"), ("accept", "*/*"), ("x-cache", "1")], target("/a"));
    }

    #[test]
    fn a_secret_chooses_nothing_and_a_purge_of_everything_keeps_to_its_path() {
        let secret = [("x-vc-purge-key", "s3cret"), ("x-purge-token", "1"), ("x-varnish-purge-secret", ".*")];
        check("/a", &secret, target("/a"));
        let all = [("x-purge-regex", ".*"), ("x-vc-purge-key", "s3cret")];
        for everything in ["/", "/.*"] {
            check(everything, &all, Ok(Wanted::Site));
        }
        check("/news/", &all, target("/news/*"));
        check("/news/.*", &all, target("/news/*"));
    }

    #[test]
    fn a_purge_is_soft_if_all_of_it_is_meant_so() {
        let check = |sent: &[(&str, &str)], expected: bool| {
            assert_eq!(purge("/a", &fields(sent)).map(|purge| purge.is_soft), Ok(expected), "{sent:?}");
        };
        check(&[], false);
        check(&[("fastly-soft-purge", "1")], true);
        check(&[("fastly-soft-purge", "0")], false);
        check(&[("xkey-softpurge", "a")], true);
        check(&[("xkey-softpurge", "a"), ("xkey-purge", "b")], false);
        check(&[("surrogate-key", "a"), ("fastly-soft-purge", "1")], true);
    }
}

//! Paths and names as an operator writes them: `/a` is that path, `*` stands for any run of characters, slashes too.

/// A path with wildcards. It is compared with the path in normal form, the one that the origin is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// The text between the wildcards; one piece more than there are wildcards.
    pieces: Vec<String>,
}

impl PathPattern {
    /// Reads a pattern; none if it begins with neither `/` nor `*`, or has more than [`MAX_WILDCARDS`].
    pub fn parse(text: &str) -> Option<Self> {
        let pieces: Vec<String> = text.split('*').map(str::to_owned).collect();
        let valid = text.starts_with(['/', '*']) && pieces.len() <= MAX_WILDCARDS + 1;
        valid.then_some(Self { pieces })
    }

    /// The same in small letters, for paths in small letters.
    pub fn folded(&self) -> Self {
        Self { pieces: self.pieces.iter().map(|piece| piece.to_lowercase()).collect() }
    }

    /// The text before its first wildcard; all of it if it has none.
    pub fn beginning(&self) -> &str {
        self.pieces.first().map_or("", String::as_str)
    }

    /// How many wildcards it has.
    pub fn wildcards(&self) -> usize {
        self.pieces.len() - 1
    }

    /// A path that it matches.
    pub fn example(&self) -> String {
        let path = self.pieces.join("x");
        if path.starts_with('/') { path } else { format!("/{path}") }
    }

    /// Whether it matches all of `path`.
    pub fn matches(&self, path: &str) -> bool {
        self.captured(path).is_some()
    }

    /// Whether it matches every path that `other` matches; it may not see that of one with more wildcards than it has.
    pub fn covers(&self, other: &Self) -> bool {
        // No pattern holds this character, so only a wildcard can stand for it.
        self.matches(&other.pieces.join("\u{1}"))
    }

    /// The text of the last wildcard in `path`, the earlier ones as short as they can be; empty without one.
    pub fn captured<'p>(&self, path: &'p str) -> Option<&'p str> {
        captured(&self.pieces, path)
    }
}

/// Which URLs a wildcard purge takes: the whole URL in normal form, its query only if the pattern has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPattern {
    text: String,
    pattern: PathPattern,
}

impl UrlPattern {
    /// Reads `http://host/img/*`, which is in normal form; none if it has more wildcards than [`MAX_WILDCARDS`].
    pub fn parse(text: &str) -> Option<Self> {
        let pieces: Vec<String> = text.split('*').map(str::to_owned).collect();
        (pieces.len() <= MAX_WILDCARDS + 1)
            .then(|| Self { text: text.to_owned(), pattern: PathPattern { pieces } })
    }

    /// As it was read.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches this URL in normal form.
    pub fn matches(&self, url: &str) -> bool {
        let without_query = || url.split_once('?').map_or(url, |(url, _)| url);
        self.pattern.matches(if self.text.contains('?') { url } else { without_query() })
    }
}

/// A name with wildcards, of a cookie, a field or a parameter. It is compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    text: String,
    pieces: Vec<String>,
}

impl NamePattern {
    /// Reads a pattern; none if it is empty or has more than [`MAX_WILDCARDS`].
    pub fn parse(text: &str) -> Option<Self> {
        let pieces: Vec<String> = text.split('*').map(str::to_owned).collect();
        let valid = !text.is_empty() && pieces.len() <= MAX_WILDCARDS + 1;
        valid.then(|| Self { text: text.to_owned(), pieces })
    }

    /// Whether it matches all of `name`.
    pub fn matches(&self, name: &str) -> bool {
        captured(&self.pieces, name).is_some()
    }

    /// Whether it stands for more than one name.
    pub fn is_wild(&self) -> bool {
        self.pieces.len() > 1
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Whether one of `patterns` matches `name`.
pub fn any_matches(patterns: &[NamePattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

fn captured<'p>(pieces: &[String], path: &'p str) -> Option<&'p str> {
    let (first, rest) = pieces.split_first()?;
    let mut left = path.strip_prefix(first.as_str())?;
    let Some((last, middle)) = rest.split_last() else { return left.is_empty().then_some(left) };
    for piece in middle {
        left = &left[left.find(piece.as_str())? + piece.len()..];
    }
    left.strip_suffix(last.as_str())
}

/// More make matching slow and mean nothing.
pub const MAX_WILDCARDS: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, path: &str, expected: Option<&str>) {
        assert_eq!(PathPattern::parse(pattern).unwrap().captured(path), expected, "{pattern} {path}");
    }

    #[test]
    fn a_star_is_any_run_and_all_of_the_path_must_match() {
        check("/a", "/a", Some(""));
        check("/a", "/a/", None);
        check("/a", "/b", None);
        check("/a/*", "/a/", Some(""));
        check("/a/*", "/a/b/c", Some("b/c"));
        check("/a/*", "/a", None);
        check("*", "/any", Some("/any"));
        check("*.css", "/x/y.css", Some("/x/y"));
        check("*.css", "/x/y.css/z", None);
        check("/a/*.css", "/a/b.css", Some("b"));
        check("/*/x/*", "/a/x/y/x/z", Some("y/x/z"));
        check("/aa*a", "/aa", None);
        check("/**", "/x", Some("x"));
        assert_eq!(PathPattern::parse("a"), None);
        assert_eq!(PathPattern::parse(""), None);
        assert_eq!(PathPattern::parse(&"*".repeat(MAX_WILDCARDS + 1)), None);
    }

    #[test]
    fn a_url_pattern_looks_at_the_query_only_if_it_has_one() {
        let check = |pattern: &str, url: &str, expected: bool| {
            assert_eq!(UrlPattern::parse(pattern).unwrap().matches(url), expected, "{pattern} {url}");
        };
        check("http://a/*.css", "http://a/x/y.css", true);
        check("http://a/*.css", "http://a/y.css?v=1", true);
        check("http://a/*.css", "http://a/y.js?f=.css", false);
        check("http://a/*?v=*", "http://a/y.css?v=1", true);
        check("http://a/*?v=*", "http://a/y.css", false);
        check("http://a/*", "http://ab/", false);
        assert_eq!(UrlPattern::parse(&format!("http://a/{}", "*".repeat(MAX_WILDCARDS + 1))), None);
    }

    #[test]
    fn a_name_is_a_pattern_without_a_slash() {
        for (pattern, name, expected) in [
            ("wordpress_logged_in_*", "wordpress_logged_in_8f3a", true),
            ("wordpress_logged_in_*", "wordpress_test_cookie", false),
            ("SESS*", "SESSabc", true),
            ("SESS*", "sessabc", false),
            ("*_session", "app_session", true),
            ("lang", "lang2", false),
            ("*", "", true),
        ] {
            assert_eq!(NamePattern::parse(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        }
        assert_eq!(NamePattern::parse(""), None);
        assert_eq!(NamePattern::parse(&"*".repeat(MAX_WILDCARDS + 1)), None);
    }

    /// By trying every length of every run.
    fn naive(pattern: &[u8], path: &[u8]) -> bool {
        match pattern.split_first() {
            None => path.is_empty(),
            Some((b'*', rest)) => (0..=path.len()).any(|run| naive(rest, &path[run..])),
            Some((byte, rest)) => path.first() == Some(byte) && naive(rest, &path[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_is_trying_everything(pattern in "/[ab*]{0,6}", path in "/[ab]{0,8}") {
            let found = PathPattern::parse(&pattern).unwrap().matches(&path);
            prop_assert_eq!(found, naive(pattern.as_bytes(), path.as_bytes()));
            let pattern = PathPattern::parse(&pattern).unwrap();
            prop_assert!(pattern.matches(&pattern.example()));
        }
    }

    #[test]
    fn a_pattern_covers_those_that_match_less() {
        let covers = |one: &str, other: &str| {
            PathPattern::parse(one).unwrap().covers(&PathPattern::parse(other).unwrap())
        };
        assert!(covers("/api/*", "/api/v2/*") && covers("/api/*", "/api/x") && covers("*", "*.css"));
        assert!(covers("/a*", "/a") && covers("/a", "/a"));
        assert!(
            !covers("/api/v2/*", "/api/*") && !covers("/api/x", "/api/*") && !covers("*.css", "/static/*")
        );
    }
}

//! Rust, as far as the walls need it: which paths a source names, which of its code is for tests, how long its functions are.

/// A path that a source names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    /// As it is written, a `use` tree spelled out.
    pub(crate) path: String,
    /// The name that a `use` gives it; none for a path in code.
    pub(crate) name: Option<String>,
}

/// A function and how many lines it has, from `fn` to its last brace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// A word, `::` or one other character.
struct Token {
    text: String,
    line: usize,
}

/// Every path that a source file names: those of its `use` trees, spelled out, and those in its code.
pub(crate) fn paths_in(source: &str) -> Vec<String> {
    used_in(source).into_iter().map(|used| used.path).collect()
}

/// As [`paths_in`], with the names that `use` gives them.
pub(crate) fn used_in(source: &str) -> Vec<Used> {
    used(&tokens(&without_comments_and_literals(source)))
}

/// As [`used_in`], without what is compiled for tests only.
pub(crate) fn used_outside_tests(source: &str) -> Vec<Used> {
    used(&split_tests(tokens(&without_comments_and_literals(source))).0)
}

/// The modules that `source` declares for tests only, in files of their own.
pub(crate) fn test_modules(source: &str) -> Vec<String> {
    split_tests(tokens(&without_comments_and_literals(source))).1
}

/// Every function of a source with its length.
pub(crate) fn functions(source: &str) -> Vec<Function> {
    let tokens = tokens(&without_comments_and_literals(source));
    let starts =
        (0..tokens.len()).filter(|at| token(&tokens, *at) == "fn" && is_word(token(&tokens, at + 1)));
    starts
        .map(|at| {
            let (name, line) = (tokens[at + 1].text.clone(), tokens[at].line);
            let last = tokens.get(end_of_item(&tokens, at) - 1).map_or(line, |token| token.line);
            Function { name, line, lines: last - line + 1 }
        })
        .collect()
}

fn used(tokens: &[Token]) -> Vec<Used> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = match token(tokens, at) {
            "use" => use_tree(tokens, at + 1, "", &mut found),
            "crate" if at > 0 && token(tokens, at - 1) == "extern" => {
                let name = token(tokens, at + 1).to_owned();
                found.push(Used { path: name.clone(), name: Some(name) });
                at + 2
            }
            // Where something may be seen, as in `pub(in crate::a)`, is no use of that place.
            "in" if at > 0 && token(tokens, at - 1) == "(" => path_at(tokens, at + 1).1,
            word if is_word(word) => {
                let (path, next) = path_at(tokens, at);
                if path.contains("::") {
                    found.push(Used { path, name: None });
                }
                next
            }
            _ => at + 1,
        };
    }
    found
}

/// Reads one use tree from `at`, adds its paths under `prefix` and returns where it ends.
fn use_tree(tokens: &[Token], at: usize, prefix: &str, found: &mut Vec<Used>) -> usize {
    let at = if token(tokens, at) == "::" { at + 1 } else { at };
    if token(tokens, at) == "{" {
        return use_group(tokens, at + 1, prefix, found);
    }
    let (path, next) = path_at(tokens, at);
    let path = if prefix.is_empty() { path } else { format!("{prefix}::{path}") };
    if token(tokens, next) == "::" && token(tokens, next + 1) == "{" {
        return use_group(tokens, next + 2, &path, found);
    }
    let path = path.strip_suffix("::self").map_or(path.clone(), str::to_owned);
    let renamed = token(tokens, next) == "as";
    let name = if renamed { token(tokens, next + 1) } else { path.rsplit("::").next().unwrap_or_default() };
    let name = Some(name.to_owned());
    found.push(Used { path, name });
    if renamed { next + 2 } else { next.max(at + 1) }
}

/// Reads what stands in the braces of a use tree and returns where they end.
fn use_group(tokens: &[Token], mut at: usize, prefix: &str, found: &mut Vec<Used>) -> usize {
    while at < tokens.len() && token(tokens, at) != "}" {
        at = if token(tokens, at) == "," { at + 1 } else { use_tree(tokens, at, prefix, found) };
    }
    at + 1
}

/// The path `a::b::c` that starts at `at`, and where it ends.
fn path_at(tokens: &[Token], at: usize) -> (String, usize) {
    let mut path = token(tokens, at).to_owned();
    let mut next = at + 1;
    while token(tokens, next) == "::" && is_word(token(tokens, next + 1)) {
        path = format!("{path}::{}", token(tokens, next + 1));
        next += 2;
    }
    (path, next)
}

/// The tokens without items marked `#[cfg(test)]`, and the modules among these that are files of their own.
fn split_tests(tokens: Vec<Token>) -> (Vec<Token>, Vec<String>) {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    let mut rest = tokens.iter();
    while at < tokens.len() {
        let marked = MARK.iter().enumerate().all(|(place, text)| token(&tokens, at + place) == *text);
        let end = if marked { end_of_item(&tokens, at + MARK.len()) } else { at + 1 };
        if marked && token(&tokens, end - 1) == ";" && token(&tokens, end - 3) == "mod" {
            modules.push(token(&tokens, end - 2).to_owned());
        }
        let item = rest.by_ref().take(end - at);
        let item = item.map(|token| Token { text: token.text.clone(), line: token.line });
        if marked {
            item.for_each(drop)
        } else {
            kept.extend(item)
        }
        at = end;
    }
    (kept, modules)
}

/// Where the item that starts at `at` ends: behind its `;`, or behind the last of its braces.
fn end_of_item(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(token.text.as_str(), "}" | ";") {
            return place + 1;
        }
    }
    tokens.len()
}

fn token(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::`, and every other character by itself.
fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let len = match first {
            _ if word > 0 => word,
            _ if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        line += usize::from(first == '\n');
        if !first.is_whitespace() {
            tokens.push(Token { text: rest[..len].to_owned(), line });
        }
        rest = &rest[len..];
    }
    tokens
}

/// The source with a blank in place of each comment, string and character; its lines stay where they are.
fn without_comments_and_literals(source: &str) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' => comment(rest),
            '"' => Some(quoted(rest)),
            '\'' => character(rest),
            'r' if !kept.ends_with(|c: char| c.is_alphanumeric() || c == '_' && c != 'b') => raw_string(rest),
            'b' if rest.starts_with("br") => raw_string(&rest[1..]).map(|len| len + 1),
            _ => None,
        };
        match skipped {
            Some(len) => {
                kept.push(' ');
                kept.extend(rest[..len].chars().filter(|c| *c == '\n'));
            }
            None => kept.push(first),
        }
        rest = &rest[skipped.unwrap_or(first.len_utf8())..];
    }
    kept
}

/// Length of the comment that `rest` starts with; block comments nest.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        let step = if here.starts_with(b"/*") || here.starts_with(b"*/") { 2 } else { 1 };
        depth += i32::from(here.starts_with(b"/*")) - i32::from(here.starts_with(b"*/"));
        at += step;
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// Length of the string that `rest` starts with.
fn quoted(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Length of the raw string that `rest` starts with, if it is one (and not a word that starts with r).
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest[1..].bytes().take_while(|b| *b == b'#').count();
    if rest.as_bytes().get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    Some(rest[body..].find(&end).map_or(rest.len(), |found| body + found + end.len()))
}

/// Length of the character that `rest` starts with, if it is one (and not a lifetime).
fn character(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        return rest[3..].find('\'').map(|found| found + 4);
    }
    let (at, second) = characters.next()?;
    (second == '\'').then_some(at + 1)
}

/// Whether `path` is `prefix` or something in it.
pub(crate) fn starts_with_path(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn the_detector_reads_rust() {
    #[track_caller]
    fn check(source: &str, expected: &[&str]) {
        assert_eq!(paths_in(source), expected, "in {source}");
    }
    check("use tokio::net::UdpSocket;", &["tokio::net::UdpSocket"]);
    check("use ::tokio::net;", &["tokio::net"]);
    check(
        "use std::{fs, net::{IpAddr, UdpSocket}};",
        &["std::fs", "std::net::IpAddr", "std::net::UdpSocket"],
    );
    check("pub(crate) use crate::config as settings;", &["crate::config"]);
    check("fn f() { tracing::info!(\"x\"); }", &["tracing::info"]);
    check("extern crate tokio;", &["tokio"]);
    check("use tokio;", &["tokio"]);
    check("pub(in crate::a::b) fn f() { c::d(); }", &["c::d"]);
    check("use std::time :: Instant;", &["std::time::Instant"]);
    check("// tokio::net\n/* hyper::body /* toml::x */ */ let a = \"moka::sync\";", &[]);
    check(
        "let a = r#\"use \"tokio::net\"\"#; let c = '\"'; let d: &'static str; clap::run();",
        &["clap::run"],
    );
}

#[test]
fn the_detector_tells_test_code_and_measures_functions() {
    let source = "fn a() {\n    b(\"}\n\");\n}\n#[cfg(test)]\nmod tests {\n use super::x::y;\n fn t() {}\n}\n\
        #[cfg(test)]\npub(crate) mod testing;\nuse c::d as e;\n#[cfg(test)]\nfn u() { f::g() }\nfn h();";
    let used = |path: &str, name: &str| Used { path: path.to_owned(), name: Some(name.to_owned()) };
    assert_eq!(used_outside_tests(source), [used("c::d", "e")]);
    assert_eq!(test_modules(source), ["testing"]);
    let function = |name: &str, line, lines| Function { name: name.to_owned(), line, lines };
    let expected = [function("a", 1, 4), function("t", 8, 1), function("u", 14, 1), function("h", 15, 1)];
    assert_eq!(functions(source), expected);
}

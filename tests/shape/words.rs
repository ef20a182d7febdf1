//! The words of comments, pages and settings: a sentence names its actor.

use super::house::{entries, read, root, rust_files};
use std::path::{Path, PathBuf};

/// Words that stand for somebody or something at the beginning of a sentence and leave the reader to guess the actor.
const BARE: &[&str] = &["What", "Who", "Whoever", "Whom", "Whose", "Those who"];

/// Texts of a file that are read as one: the lines of a comment, of a paragraph, of an entry in a list.
fn texts(file: &Path) -> Vec<String> {
    let (mut texts, mut text, mut is_code) = (Vec::new(), String::new(), false);
    let is_page = file.extension().is_some_and(|extension| extension == "md");
    for line in read(file).lines() {
        let line = line.trim();
        let words = if is_page { page_words(line, &mut is_code) } else { comment_words(line) };
        let begins = words.is_none_or(|words| words.is_empty() || words.starts_with(['-', '*', '|']));
        if begins && !text.is_empty() {
            texts.push(std::mem::take(&mut text));
        }
        let words = words.unwrap_or_default().trim_start_matches(['-', '*', '|', '>']).trim();
        if !words.is_empty() {
            text += words;
            text.push(' ');
        }
    }
    texts.push(text);
    texts
}

/// A line of a page, if it is neither code nor a heading.
fn page_words<'l>(line: &'l str, is_code: &mut bool) -> Option<&'l str> {
    let is_fence = line.starts_with("```");
    *is_code ^= is_fence;
    (!is_fence && !*is_code && !line.starts_with('#')).then_some(line)
}

/// The comment that a line of Rust or of TOML is, or ends with.
fn comment_words(line: &str) -> Option<&str> {
    let rust = line.strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!']));
    Some(rust.or_else(|| Some(line.split_once("# ")?.1))?.trim())
}

/// The sentences of a text that name no actor; a question may.
fn without_actor(text: &str) -> Vec<&str> {
    let sentences = text.split_inclusive(['.', '!', '?', ';']);
    let sentences = sentences.map(|sentence| sentence.trim_start_matches([' ', '*', '_', '(']));
    let is_bare = |sentence: &str| {
        BARE.iter().any(|bare| sentence.strip_prefix(bare).is_some_and(|rest| rest.starts_with(' ')))
    };
    sentences.filter(|sentence| is_bare(sentence) && !sentence.ends_with('?')).collect()
}

fn files() -> Vec<PathBuf> {
    let rust = ["dns", "edge", "tests"].iter().flat_map(|folder| rust_files(&root().join(folder)));
    let rust = rust.filter(|file| !file.components().any(|part| part.as_os_str() == "target"));
    let of = |folder: &str, extension: &str| {
        let all = entries(&root().join(folder)).into_iter();
        let extension = extension.to_owned();
        all.filter(move |file| file.extension().is_some_and(|it| *it == *extension))
    };
    let pages = of("", "md").chain(of("docs", "md"));
    rust.chain(pages).chain(of("dns", "toml")).chain(of("edge", "toml")).collect()
}

#[test]
fn sentences_name_the_actor() {
    let files = files();
    assert!(
        files.iter().any(|file| file.ends_with("README.md"))
            && files.iter().any(|file| file.ends_with("edge/reference.toml"))
    );
    let bare = files.iter().flat_map(|file| {
        let bare = |text: &String| without_actor(text).into_iter().map(str::to_owned).collect::<Vec<_>>();
        texts(file)
            .iter()
            .flat_map(bare)
            .map(|bare| format!("{}: {bare}", file.display()))
            .collect::<Vec<_>>()
    });
    let bare: Vec<_> = bare.collect();
    assert!(bare.is_empty(), "name the actor: {bare:#?}");
}

#[test]
fn the_detector_reads_sentences() {
    let cases = [
        ("It comes. What comes is kept.", 1),
        ("It comes. What comes?", 0),
        ("**Who asks** is told.", 1),
        ("A client asks what it wants.", 0),
        ("It goes; those who ask are told. Those who wait are not.", 1),
        ("Whatever comes is read.", 0),
    ];
    for (text, bare) in cases {
        assert_eq!(without_actor(text).len(), bare, "{text}");
    }
    assert_eq!(comment_words("/// What comes."), Some("What comes."));
    assert_eq!(comment_words("size = 5   # It comes."), Some("It comes."));
    assert_eq!(comment_words("let what = 5;"), None);
}

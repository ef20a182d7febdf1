//! Marks: comments that say who may see the record whose last line they end.
//!
//! A semicolon begins a mark, so one may stand behind another comment: `; old box ; verge: internal`. Blanks that editors
//! and web pages leave behind (no-break spaces, characters without a width) do not matter.
//!
//! Invariant: a comment that tries to be a mark is a mark or an error. An author who wrote `[verge: internal]` relies on it,
//! and a record that stays public because its mark was not seen is a leak that nobody notices.

use std::ops::Range;

use crate::zone::text::mnemonic;
use crate::zone::{Mark, Marks};

/// The marks, as they are written.
const MARKS: &[(&str, Mark)] = &[
    ("public", Mark::Public),
    ("internal", Mark::Internal),
    ("outside", Mark::Outside),
    ("both", Mark::Both),
];
/// The word that makes pools of the name's address RRsets; it may stand beside a mark.
const STEER: &str = "steer";
/// Words that people write instead of a mark, and the mark that they mean.
const MEANT: &[(&str, &str)] = &[
    ("public", "public"),
    ("external", "public"),
    ("outside", "outside"),
    ("both", "both"),
    ("internal", "internal"),
    ("inside", "internal"),
    ("private", "internal"),
    ("hidden", "internal"),
    ("secret", "internal"),
    ("steer", STEER),
    ("steered", STEER),
    ("steering", STEER),
    ("pool", STEER),
];

/// A part of a comment that is a mark, or tries to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Bytes of the comment, semicolon included.
    pub(super) span: Range<usize>,
    pub(super) said: Said,
}

/// The meaning of a part of a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Marks(Marks),
    /// It is meant as a mark, but is none.
    Unknown {
        message: String,
        help: String,
    },
}

/// The marks in a comment, and what tries to be one; `comment` begins with its semicolon.
pub(super) fn judge(comment: &[u8]) -> Vec<Found> {
    let letters = letters(comment);
    let starts = letters.iter().enumerate().filter(|(_, letter)| letter.shape == ';').map(|(at, _)| at);
    let starts: Vec<usize> = starts.chain([letters.len()]).collect();
    let parts = starts.array_windows().map(|[start, end]| &letters[*start..*end]);
    parts.filter_map(judge_part).collect()
}

/// A letter as it is compared: without case, and whatever its width.
#[derive(Clone, Copy)]
struct Letter {
    /// `' '` for every kind of blank, `?` for what is not ASCII.
    shape: char,
    bytes: (usize, usize),
}

/// The letters of a comment. Those that show nothing are left out.
fn letters(comment: &[u8]) -> Vec<Letter> {
    let mut letters = Vec::with_capacity(comment.len());
    let mut at = 0;
    for chunk in comment.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let bytes = (at, at + letter.len_utf8());
            letters.extend(shape(letter).map(|shape| Letter { shape, bytes }));
            at = bytes.1;
        }
        for byte in chunk.invalid() {
            // The no-break space and the next-line character of Latin-1.
            let shape = if matches!(byte, 0xa0 | 0x85) { ' ' } else { '?' };
            letters.push(Letter { shape, bytes: (at, at + 1) });
            at += 1;
        }
    }
    letters
}

fn shape(letter: char) -> Option<char> {
    match letter {
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' => None,
        '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => None,
        '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}' => None,
        _ if letter.is_whitespace() || letter.is_control() => Some(' '),
        // The wide forms of ASCII, as Asian keyboards write them.
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(letter as u32 - 0xfee0).map(|letter| letter.to_ascii_lowercase())
        }
        _ if letter.is_ascii() => Some(letter.to_ascii_lowercase()),
        _ => Some('?'),
    }
}

/// `part` begins with a semicolon and has no other.
fn judge_part(part: &[Letter]) -> Option<Found> {
    let said = shown(&part[1..]);
    let text = said.trim_matches(' ');
    let said = match after_colon(text) {
        Some(words) => of_words(words),
        None => attempt(text)?,
    };
    let last = part.iter().rfind(|letter| letter.shape != ' ')?;
    Some(Found { span: part[0].bytes.0..last.bytes.1, said })
}

fn shown(letters: &[Letter]) -> String {
    letters.iter().map(|letter| letter.shape).collect()
}

/// The text that follows `verge:`, if the text begins so.
fn after_colon(text: &str) -> Option<&str> {
    text.strip_prefix("verge")?.trim_start_matches(' ').strip_prefix(':')
}

/// The words of a mark. All must be known; those that say who may see the record must agree.
fn of_words(words: &str) -> Said {
    let mut marks = Marks::default();
    for word in words.split([' ', ',']).filter(|word| !word.is_empty()) {
        if word == STEER {
            marks.steer = true;
            continue;
        }
        let known = MARKS.iter().find(|(name, _)| *name == word);
        let Some((_, said)) = known else { return unknown(words, word) };
        if marks.seen_by.replace(*said).is_some_and(|before| before != *said) {
            return Said::Unknown {
                message: format!("`verge: {}` says two things", words.trim_matches(' ')),
                help: "a record has one of the marks".to_owned(),
            };
        }
    }
    if marks == Marks::default() { unknown(words, "") } else { Said::Marks(marks) }
}

fn unknown(words: &str, word: &str) -> Said {
    let words = crate::zone::text::fields::shown(words.trim_matches(' ').as_bytes());
    Said::Unknown { message: format!("`verge: {words}` is not a mark"), help: help(word) }
}

/// A text that is no mark, but may be meant as one.
fn attempt(text: &str) -> Option<Said> {
    let meant = text.char_indices().filter(|(_, letter)| matches!(letter, ':' | '=')).find_map(|(at, _)| {
        let (name, next) = (last_word(&text[..at]), first_word(&text[at + 1..]));
        is_attempt(name, next).then_some((name, next))
    });
    if let Some((name, next)) = meant {
        let message = match name {
            "verge" if text.starts_with("verge") => NO_COLON.to_owned(),
            "verge" => "this is no mark: a mark begins with its own semicolon".to_owned(),
            name => format!("this is no mark: `{name}` stands where `verge` belongs"),
        };
        return Some(Said::Unknown { message, help: help(next) });
    }
    // `; verge internal` would be taken for a mark by its author.
    let rest = text.strip_prefix("verge-dns").or_else(|| text.strip_prefix("verge"))?;
    let word = rest.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
    mark_meant(word).filter(|_| word.len() < rest.len())?;
    Some(Said::Unknown { message: NO_COLON.to_owned(), help: help(word) })
}

const NO_COLON: &str = "a mark has a colon after `verge`";

/// Whether `name: next` is meant as a mark. A name that only resembles ours is, when the word of a mark follows.
fn is_attempt(name: &str, next: &str) -> bool {
    let ours = |name: &str| mnemonic::closest(name.as_bytes(), ["verge", "verge-dns"].into_iter()).is_some();
    matches!(name, "verge" | "verge-dns")
        || (ours(name) || name.split(['-', '_']).any(ours)) && mark_meant(next).is_some()
}

fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '?')
}

/// The word that `text` ends with, blanks aside.
fn last_word(text: &str) -> &str {
    let text = text.trim_end_matches(' ');
    let start = text.rfind(|letter| !is_of_word(letter)).map_or(0, |at| at + 1);
    text[start..].trim_start_matches(['-', '_', '?'])
}

/// The first word of `text`, whatever stands before it.
fn first_word(text: &str) -> &str {
    let text = text.trim_start_matches(|letter| !is_of_word(letter));
    &text[..text.find(|letter| !is_of_word(letter)).unwrap_or(text.len())]
}

fn help(word: &str) -> String {
    match mark_meant(word) {
        Some(meant) => format!("did you mean `; verge: {meant}`?"),
        None => "the marks are `; verge: public`, `internal`, `outside`, `both` and `steer`".to_owned(),
    }
}

fn mark_meant(word: &str) -> Option<&'static str> {
    let near = mnemonic::closest(word.as_bytes(), MEANT.iter().map(|(name, _)| *name))?;
    MEANT.iter().find(|(name, _)| *name == near).map(|(_, mark)| *mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEITHER: &str = "the marks are `; verge: public`, `internal`, `outside`, `both` and `steer`";
    const PUBLIC: &str = "did you mean `; verge: public`?";
    const INTERNAL: &str = "did you mean `; verge: internal`?";

    /// Each mark by its name, each attempt by its help.
    fn check(comment: &[u8], expected: &[&str]) {
        let found: Vec<String> = judge(comment)
            .into_iter()
            .map(|found| match found.said {
                Said::Marks(Marks { seen_by, steer }) => {
                    let seen_by = seen_by.map(|mark| format!("{mark:?}"));
                    let words = seen_by.into_iter().chain(steer.then(|| "Steer".to_owned()));
                    words.collect::<Vec<_>>().join(" ")
                }
                Said::Unknown { help, .. } => help,
            })
            .collect();
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(comment));
    }

    #[test]
    fn a_mark_is_exact_and_a_near_miss_is_told() {
        for (comment, expected) in [
            ("; verge: public", "Public"),
            (";verge:internal", "Internal"),
            (";; VERGE :  Internal \r", "Internal"),
            ("; verge: public, public", "Public"),
            ("; verge: outside", "Outside"),
            ("; verge: both", "Both"),
            ("; verge: outsid", "did you mean `; verge: outside`?"),
            ("; verge: pubic", PUBLIC),
            ("; verge: private", INTERNAL),
            ("; verge: public please", NEITHER),
            ("; verge: public steer", "Public Steer"),
            ("; verge: steer", "Steer"),
            ("; edge 1 ; verge: steer, internal", "Internal Steer"),
            ("; verge: steering", "did you mean `; verge: steer`?"),
            ("; verge steer", "did you mean `; verge: steer`?"),
            ("; verge: public internal", "a record has one of the marks"),
            ("; verge:", NEITHER),
            ("; verge: : internal", NEITHER),
            ("; verge internal", INTERNAL),
            ("; verge - internal", INTERNAL),
            ("; verge=public", PUBLIC),
            ("; verge-dns internal", INTERNAL),
        ] {
            check(comment.as_bytes(), &[expected]);
        }
    }

    #[test]
    fn a_mark_may_stand_behind_other_comments_and_odd_blanks() {
        for comment in [
            "; old box ; verge: internal",
            "; db replica; verge: internal",
            "; verge: internal ; old box",
            ";\u{a0}verge:\u{a0}internal\u{a0}",
            ";\u{200b}verge: internal\u{feff}",
            ";\u{b}verge: internal",
            ";\u{c}verge: internal",
            ";\0verge: internal",
            "; ver\u{ad}ge: inter\u{200d}nal",
            ";\u{3000}ｖｅｒｇｅ：\u{2003}internal",
            "; 日本 ； verge: internal",
        ] {
            check(comment.as_bytes(), &["Internal"]);
        }
        check(b";\xa0verge:\xa0internal\x85", &["Internal"]);
        check(b"; caf\xe9 ; verge: internal", &["Internal"]);
        check(b"; verge: public ; verge: internal", &["Public", "Internal"]);
    }

    #[test]
    fn whatever_tries_to_be_a_mark_is_told() {
        for comment in [
            "; # verge: internal",
            "; [verge: internal]",
            "; - verge: internal",
            "; \"verge: internal\"",
            "; note verge: internal",
            "; see verge= internal",
            "; verge-dns: internal",
            "; verge-dns = internal",
            "; my-verge: internal",
            "; vergr: internal",
            "; vegre: internal",
            "; verg: internal",
            "; verge_dns: internal",
            "; vergedns: internal",
            "; v\u{435}rge: internal",
            "; verges: (internal)",
            "; note; vrge : internal",
        ] {
            check(comment.as_bytes(), &[INTERNAL]);
        }
        check("; see verge: the manual".as_bytes(), &[NEITHER]);
        check("; verge-dns: see the manual".as_bytes(), &[NEITHER]);
    }

    #[test]
    fn other_comments_are_no_marks() {
        for comment in [
            "; verge-dns reads this",
            "; verge",
            "; vergeben",
            "; convergence: internal",
            "; merge: branch of 2019",
            "; server: internal",
            "; usage: public",
            "; at the verge of what is public",
            "; verge internal routers are below",
            "; a=b:c",
            "",
            ";",
        ] {
            check(comment.as_bytes(), &[]);
        }
    }

    #[test]
    fn the_place_of_a_mark_begins_with_its_semicolon() {
        let text = "; é ; verge: public ; x";
        let found = judge(text.as_bytes());
        assert_eq!(&text[found[0].span.clone()], "; verge: public");
    }
}

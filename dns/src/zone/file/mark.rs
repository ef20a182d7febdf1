//! Marks: comments that say who may see the record whose last line they end.

use crate::zone::Mark;
use crate::zone::text::mnemonic;

/// What a comment that begins with `verge` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Mark(Mark),
    /// It is meant as a mark, but is none.
    Unknown {
        message: String,
        help: String,
    },
    /// It only begins with the same letters.
    Nothing,
}

/// `comment` is without its semicolon and begins with `verge`, in any case of letters.
pub(super) fn judge(comment: &[u8]) -> Said {
    let rest = comment[5..].trim_ascii_start();
    let Some(word) = rest.strip_prefix(b":") else { return without_colon(rest) };
    let word = word.trim_ascii();
    if word.eq_ignore_ascii_case(b"public") {
        return Said::Mark(Mark::Public);
    }
    if word.eq_ignore_ascii_case(b"internal") {
        return Said::Mark(Mark::Internal);
    }
    let shown = crate::zone::text::fields::shown(word);
    Said::Unknown { message: format!("`verge: {shown}` is not a mark"), help: help(word) }
}

/// `; verge internal` would be taken for a mark by its author, and for nothing by us.
fn without_colon(rest: &[u8]) -> Said {
    let word = rest.strip_prefix(b"=").unwrap_or(rest).trim_ascii();
    if meant(word).is_none() {
        return Said::Nothing;
    }
    Said::Unknown { message: "a mark has a colon after `verge`".to_owned(), help: help(word) }
}

fn help(word: &[u8]) -> String {
    match meant(word) {
        Some(meant) => format!("did you mean `; verge: {meant}`?"),
        None => "the marks are `; verge: public` and `; verge: internal`".to_owned(),
    }
}

fn meant(word: &[u8]) -> Option<&'static str> {
    match mnemonic::closest(word, ["public", "internal", "private", "hidden", "secret"].into_iter())? {
        "public" => Some("public"),
        _ => Some("internal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_exact_and_a_near_miss_is_told() {
        for (comment, expected) in [
            ("verge: public", "Public"),
            ("verge:internal", "Internal"),
            ("VERGE :  Internal", "Internal"),
            ("verge: pubic", "did you mean `; verge: public`?"),
            ("verge: private", "did you mean `; verge: internal`?"),
            ("verge: public please", "the marks are `; verge: public` and `; verge: internal`"),
            ("verge:", "the marks are `; verge: public` and `; verge: internal`"),
            ("verge internal", "did you mean `; verge: internal`?"),
            ("verge=public", "did you mean `; verge: public`?"),
            ("verge-dns reads this", ""),
            ("verge", ""),
            ("vergeben", ""),
        ] {
            let found = match judge(comment.as_bytes()) {
                Said::Mark(mark) => format!("{mark:?}"),
                Said::Unknown { help, .. } => help,
                Said::Nothing => String::new(),
            };
            assert_eq!(found, expected, "{comment}");
        }
    }
}

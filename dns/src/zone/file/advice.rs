//! Faults that a record's words show and its data no longer does: a mailbox with `@`, a text without quotes.

use super::reader::{Reader, Scope};
use crate::rdata::{self, Field};
use crate::rtype::Type;
use crate::zone::text::fields::shown;
use crate::zone::text::lexer::{Entry, Token};

/// Warns of words that were read otherwise than their author meant; `rdata` is the index of the first token of the data.
pub(super) fn judge(reader: &mut Reader, rtype: Type, rdata: usize, entry: &Entry<'_>, scope: &Scope<'_>) {
    let words = entry.tokens.get(rdata..).unwrap_or_default();
    match rtype {
        Type::TXT | Type::SPF => {
            split(reader, words, scope);
            lost(reader, words, scope);
        }
        Type::SOA | Type::RP | Type::MINFO => mailboxes(reader, rtype, words, scope),
        _ => {}
    }
}

/// A mail address is written as a name, its `@` as a dot (RFC 1035 §8). An `@` that is escaped is a letter of the label.
fn mailboxes(reader: &mut Reader, rtype: Type, words: &[Token<'_>], scope: &Scope<'_>) {
    let is_mailbox = |field: &Field| matches!(field, Field::CompressibleMailbox | Field::Mailbox);
    let fields = rdata::shape(rtype).unwrap_or_default();
    for (word, _) in words.iter().zip(fields).filter(|(_, field)| is_mailbox(field)) {
        let Some(at) = bare_at(word.text).filter(|_| word.text.len() > 1) else { continue };
        let (local, domain) = (shown(&word.text[..at]), shown(&word.text[at + 1..]));
        let message =
            format!("`{}` holds an `@`, which is read as a letter of its first label", shown(word.text));
        let help = match local.contains('.') {
            true => format!("write `{}.{}.`", local.replace('.', "\\."), domain.trim_end_matches('.')),
            false => format!("write `{local}.{}.`", domain.trim_end_matches('.')),
        };
        reader.report.warning(Some(scope.position(word.spot)), "bad-mailbox", message, Some(help));
    }
}

/// Where an `@` stands that no backslash precedes.
fn bare_at(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'@' => return Some(at),
            _ => at += 1,
        }
    }
    None
}

/// `TXT v=spf1 mx -all` is three texts, which readers join without blanks (RFC 7208 §3.3).
fn split(reader: &mut Reader, words: &[Token<'_>], scope: &Scope<'_>) {
    let apart = |[one, next]: &[Token<'_>; 2]| !one.quoted && !next.quoted;
    if !words.array_windows().any(apart) {
        return;
    }
    let (Some(first), Some(last)) = (words.first(), words.last()) else { return };
    let joined: Vec<u8> = words.iter().flat_map(|word| word.text).copied().collect();
    let message = format!(
        "these are {} texts, because they do not stand in quotes; together they are read as `{}`",
        words.len(),
        shown(&joined)
    );
    let mut spot = first.spot;
    if last.spot.line == first.spot.line {
        spot.len = last.spot.start + last.spot.len - first.spot.start;
    }
    let words: Vec<String> =
        words.iter().map(|word| String::from_utf8_lossy(word.text).into_owned()).collect();
    let help = format!("put the whole text in quotes: \"{}\"", shown(words.join(" ").as_bytes()));
    reader.report.warning(Some(scope.position(spot)), "text-in-pieces", message, Some(help));
}

/// `TXT v=DMARC1; p=none` ends at its semicolon: what follows is a comment.
fn lost(reader: &mut Reader, words: &[Token<'_>], scope: &Scope<'_>) {
    let Some(last) = words.last().filter(|last| !last.quoted) else { return };
    let end = last.spot.start + last.spot.len;
    let Some(rest) = scope.text.get(end..) else { return };
    let rest = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let blanks = rest.len() - rest.trim_ascii_start().len();
    let Some(comment) = rest[blanks..].strip_prefix(b";") else { return };
    let comment = comment.trim_ascii();
    if comment.is_empty() || blanks > 0 && !is_tag(comment) {
        return;
    }
    let message = format!("this text ends before the semicolon; `{}` is read as a comment", shown(comment));
    let all = [last.text, &rest[..blanks], b";", &rest[blanks + 1..]].concat();
    let help = format!("put the whole text in quotes: \"{}\"", shown(all.trim_ascii_end()));
    reader.report.warning(Some(scope.position(last.spot)), "text-cut", message, Some(help));
}

/// `p=none`: what policies in texts are made of, and comments are not.
fn is_tag(comment: &[u8]) -> bool {
    let name = comment.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    name > 0 && comment.get(name) == Some(&b'=')
}

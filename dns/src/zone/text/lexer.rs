//! Bytes to entries: the tokens of one directive or record, over as many lines as its parentheses span.
//!
//! Tokens borrow from the text. Nothing is unescaped here, because what an escape means depends on the field: `\.`
//! is a letter of a label in a name and a full stop in a text.
//!
//! Invariant: every call of [`Lexer::entry`] moves on by at least one byte, whatever the text holds.

/// Most bytes of one entry. The longest RDATA there is takes 262,140 bytes when each of its bytes is written
/// `\DDD`; the rest is room for comments. An unclosed parenthesis is found after this much.
const MAX_ENTRY_BYTES: usize = 1 << 20;

/// Flaws of one entry that are kept; a half-written file may be a gigabyte of zeros.
const MAX_FLAWS: usize = 5;

/// A place in one text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Offset of the first byte.
    pub(crate) start: usize,
    /// Bytes.
    pub(crate) len: usize,
    /// Line, counted from 1.
    pub(crate) line: u32,
    /// Offset of the first byte of that line.
    pub(crate) line_start: usize,
}

/// A word or a quoted string, still escaped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    /// Its bytes, without the quotes.
    pub(crate) text: &'a [u8],
    /// Whether it was written in quotes.
    pub(crate) quoted: bool,
    /// Whether nothing stands between the token before and this one (`alpn="h2"`).
    pub(crate) glued: bool,
    /// Where it is, quotes included.
    pub(crate) spot: Spot,
}

/// Flaws that the lexer itself finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    UnclosedQuote,
    UnclosedParenthesis,
    StrayParenthesis,
    Control(u8),
    TooLong,
}

/// The comment of a line, when it may hold a mark.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comment<'a> {
    /// From the semicolon to the end of the line, without blanks at the end.
    pub(crate) text: &'a [u8],
    /// Where it is.
    pub(crate) spot: Spot,
    /// Whether it stands on the line that ends the entry.
    pub(crate) ends_entry: bool,
}

/// One directive or record. Reused from entry to entry, so that reading allocates nothing per token.
#[derive(Debug, Default)]
pub(crate) struct Entry<'a> {
    pub(crate) tokens: Vec<Token<'a>>,
    /// Whether the first line begins with a blank: the owner is that of the record before (RFC 1035 §5.1).
    pub(crate) blank: bool,
    /// Comments that may hold a mark, in order.
    pub(crate) comments: Vec<Comment<'a>>,
    pub(crate) flaws: Vec<(Spot, Flaw)>,
}

/// Reads entry after entry.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    line_start: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        let at = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Self { text, at, line: 1, line_start: at }
    }

    /// The next entry that has tokens, flaws or comments to judge; false at the end of the text.
    pub(crate) fn entry(&mut self, entry: &mut Entry<'a>) -> bool {
        loop {
            entry.tokens.clear();
            entry.comments.clear();
            entry.flaws.clear();
            if self.at >= self.text.len() {
                return false;
            }
            self.one_entry(entry);
            if !(entry.tokens.is_empty() && entry.comments.is_empty() && entry.flaws.is_empty()) {
                return true;
            }
        }
    }

    fn one_entry(&mut self, entry: &mut Entry<'a>) {
        let begin = self.at;
        entry.blank = matches!(self.text[begin], b' ' | b'\t');
        let mut open: Vec<Spot> = Vec::new();
        let mut token_end = usize::MAX;
        while let Some(&byte) = self.text.get(self.at) {
            if self.at - begin > MAX_ENTRY_BYTES {
                return self.give_up(&open, begin, entry);
            }
            match byte {
                b'\n' => {
                    self.end_line();
                    if open.is_empty() {
                        return;
                    }
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                b';' => self.comment(open.is_empty(), entry),
                b'(' => {
                    open.push(self.spot(self.at, 1));
                    self.at += 1;
                }
                b')' => {
                    if open.pop().is_none() {
                        entry.flaws.push((self.spot(self.at, 1), Flaw::StrayParenthesis));
                    }
                    self.at += 1;
                }
                _ => {
                    let glued = self.at == token_end;
                    if byte == b'"' {
                        self.quoted(glued, entry)
                    } else {
                        self.word(glued, entry)
                    }
                    token_end = self.at;
                }
            }
        }
        if !open.is_empty() {
            self.give_up(&open, begin, entry);
        }
    }

    fn end_line(&mut self) {
        self.at += 1;
        self.line += 1;
        self.line_start = self.at;
    }

    fn spot(&self, start: usize, len: usize) -> Spot {
        Spot { start, len, line: self.line, line_start: self.line_start }
    }

    /// To the end of the line; kept only when it may hold a mark.
    fn comment(&mut self, ends_entry: bool, entry: &mut Entry<'a>) {
        let start = self.at;
        let rest = &self.text[start..];
        let len = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        self.at += len;
        let text = rest[..len].trim_ascii_end();
        if may_hold_mark(text) {
            entry.comments.push(Comment { text, spot: self.spot(start, text.len()), ends_entry });
        }
    }

    fn quoted(&mut self, glued: bool, entry: &mut Entry<'a>) {
        let start = self.at + 1;
        let mut at = start;
        loop {
            match self.text.get(at) {
                Some(b'"') => break,
                Some(b'\\') if self.text.get(at + 1).is_some_and(|next| *next != b'\n') => at += 2,
                None | Some(b'\n') => {
                    entry.flaws.push((self.spot(self.at, at - self.at), Flaw::UnclosedQuote));
                    self.at = at;
                    return;
                }
                Some(_) => at += 1,
            }
        }
        let spot = self.spot(start - 1, at + 2 - start);
        entry.tokens.push(Token { text: &self.text[start..at], quoted: true, glued, spot });
        self.at = at + 1;
    }

    fn word(&mut self, glued: bool, entry: &mut Entry<'a>) {
        let start = self.at;
        let mut at = start;
        while let Some(&byte) = self.text.get(at) {
            match WORD[usize::from(byte)] {
                Class::Plain => at += 1,
                Class::Escape => {
                    at += if matches!(self.text.get(at + 1), None | Some(b'\n')) { 1 } else { 2 }
                }
                Class::End => break,
                Class::Control => {
                    if entry.flaws.len() < MAX_FLAWS {
                        entry.flaws.push((self.spot(at, 1), Flaw::Control(byte)));
                    }
                    at += 1;
                }
            }
        }
        let spot = self.spot(start, at - start);
        entry.tokens.push(Token { text: &self.text[start..at], quoted: false, glued, spot });
        self.at = at;
    }

    /// Text after an unclosed parenthesis is read again from the next line that looks like a new entry. So
    /// one forgotten `)` does not hide every other problem.
    fn give_up(&mut self, open: &[Spot], begin: usize, entry: &mut Entry<'a>) {
        let (spot, flaw) = match open.first() {
            Some(spot) => (*spot, Flaw::UnclosedParenthesis),
            None => (self.spot(self.at, 1), Flaw::TooLong),
        };
        entry.tokens.clear();
        entry.comments.clear();
        entry.flaws.clear();
        entry.flaws.push((spot, flaw));
        if flaw == Flaw::UnclosedParenthesis {
            (self.at, self.line, self.line_start) = (spot.start, spot.line, spot.line_start);
        }
        debug_assert!(self.at >= begin);
        loop {
            let rest = &self.text[self.at..];
            let Some(len) = rest.iter().position(|byte| *byte == b'\n') else {
                self.at = self.text.len();
                return;
            };
            self.at += len;
            self.end_line();
            if self.text.get(self.at).is_some_and(|byte| !b" \t\r\n;()\"".contains(byte)) {
                return;
            }
        }
    }
}

/// A first look, so that few comments are read letter by letter: a mark has a colon (or what its author takes for one), or
/// begins with `verge`.
fn may_hold_mark(comment: &[u8]) -> bool {
    let begins = |part: &[u8]| part.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"verge"));
    comment.iter().any(|byte| matches!(byte, b':' | b'=' | 0x80..))
        || comment.split(|byte| *byte == b';').any(|part| begins(part.trim_ascii_start()))
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Escape,
    End,
    Control,
}

/// The meaning of a byte inside a word.
static WORD: [Class; 256] = {
    let mut table = [Class::Plain; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"' => Class::End,
            b'\\' => Class::Escape,
            0..=31 | 127 => Class::Control,
            _ => Class::Plain,
        };
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Each entry as its words, quoted ones in quotes, `_` before what begins with a blank, flaws in brackets.
    fn check(text: &[u8], expected: &[&str]) {
        let mut lexer = Lexer::new(text);
        let mut entry = Entry::default();
        let mut found = Vec::new();
        while lexer.entry(&mut entry) {
            let mut shown = String::from(if entry.blank { "_" } else { "" });
            for token in &entry.tokens {
                let word = String::from_utf8_lossy(token.text);
                shown += if token.glued { "+" } else { " " };
                shown += &if token.quoted { format!("\"{word}\"") } else { word.into_owned() };
            }
            for comment in &entry.comments {
                let end = if comment.ends_entry { "" } else { " inside" };
                shown += &format!(" ;{}{end}", String::from_utf8_lossy(comment.text));
            }
            for (spot, flaw) in &entry.flaws {
                shown += &format!(" [{flaw:?} {}:{}]", spot.line, spot.start - spot.line_start + 1);
            }
            found.push(shown.trim_start().to_owned());
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_is_an_entry_unless_parentheses_span_more() {
        check(b"a b\n c ; d\n\n;x\n  \ne", &["a b", "_ c", "e"]);
        check(b"a ( b ; c\n d ) e\nf", &["a b d e", "f"]);
        check(b"a ((b\n) c\n) d\r\ne\r\n", &["a b c d", "e"]);
    }

    #[test]
    fn quotes_and_escapes_hide_what_is_special() {
        check(br#"a "b ; (c" d\;e\ f alpn="h2""#, &[r#"a "b ; (c" d\;e\ f alpn=+"h2""#]);
        check(br#""a\"b" "" x\"#, &[r#""a\"b" "" x\"#]);
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        check(b"\xef\xbb\xbfa\n b", &["a", "_ b"]);
    }

    #[test]
    fn only_comments_that_may_hold_a_mark_are_kept() {
        check(b"a ; verge: public\n", &["a ;; verge: public"]);
        check(b"a ; old ; Verge x\nb ; old verge\n", &["a ;; old ; Verge x", "b"]);
        check(
            b";; Verge:x \r\na ( ; verge: internal\n) b;verge",
            &[";;; Verge:x", "a b ;; verge: internal inside ;;verge"],
        );
    }

    #[test]
    fn a_flaw_does_not_hide_the_next_entry() {
        check(b"a \"b\nc", &["a [UnclosedQuote 1:3]", "c"]);
        check(b"a ) b\nc", &["a b [StrayParenthesis 1:3]", "c"]);
        check(b"a ( b\n c\nd e\nf", &["[UnclosedParenthesis 1:3]", "d e", "f"]);
        check(b"a\0b c", &["a\0b c [Control(0) 1:2]"]);
    }

    #[test]
    fn a_file_of_zeros_has_few_flaws() {
        let zeros = vec![0; 100_000];
        let mut lexer = Lexer::new(&zeros);
        let mut entry = Entry::default();
        assert!(lexer.entry(&mut entry));
        assert_eq!(entry.flaws.len(), MAX_FLAWS);
        assert!(!lexer.entry(&mut entry));
    }

    #[test]
    fn an_entry_without_an_end_is_given_up() {
        let mut text = b"a ".repeat(MAX_ENTRY_BYTES / 2 + 10);
        text.extend_from_slice(b"\nb");
        let mut lexer = Lexer::new(&text);
        let mut entry = Entry::default();
        assert!(lexer.entry(&mut entry));
        assert_eq!(entry.flaws[0].1, Flaw::TooLong);
        assert!(lexer.entry(&mut entry));
        assert_eq!(entry.tokens[0].text, b"b");
    }
}

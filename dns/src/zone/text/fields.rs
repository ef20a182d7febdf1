//! The tokens of one record's RDATA, taken one after the other.

use super::lexer::Token;
use crate::name::{self, NameError};

/// A fault of RDATA text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A stable name in kebab case.
    pub code: &'static str,
    /// The fault.
    pub message: String,
    /// The remedy.
    pub help: Option<String>,
    /// Which token is at fault, counted from 0; none for what is missing at the end.
    pub token: Option<usize>,
}

impl Fault {
    /// A fault of what is missing, or of the record as a whole.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, token: None }
    }

    /// A fault of a token.
    pub(crate) fn of(word: &Word<'_>, code: &'static str, message: impl Into<String>) -> Self {
        Self { token: Some(word.index), ..Self::new(code, message) }
    }

    /// A token that is not what its field needs.
    pub(crate) fn not_a(word: &Word<'_>, what: &str) -> Self {
        Self::of(word, "bad-field", format!("`{}` is not {what}", word.shown()))
    }

    /// Adds the remedy.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A token with its index in the record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) quoted: bool,
    pub(crate) index: usize,
}

impl Word<'_> {
    /// The text as it may be quoted in a message: never long, never with control characters.
    pub(crate) fn shown(&self) -> String {
        shown(self.text)
    }
}

/// `text` as it may be quoted in a message: never long, never with control characters.
pub(crate) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut short: String = text
        .chars()
        .take(MAX_SHOWN_CHARACTERS)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(MAX_SHOWN_CHARACTERS).is_some() {
        short.push('…');
    }
    short
}

/// Longer words are cut in messages; the line itself is shown below them.
const MAX_SHOWN_CHARACTERS: usize = 60;

/// A cursor over the tokens of a record.
#[derive(Debug)]
pub(crate) struct Fields<'t, 'a> {
    tokens: &'t [Token<'a>],
    next: usize,
    /// The ending of names that have no final dot.
    pub(crate) origin: Option<&'t [u8]>,
}

impl<'t, 'a> Fields<'t, 'a> {
    /// RDATA begins at the token `next`.
    pub(crate) fn new(tokens: &'t [Token<'a>], next: usize, origin: Option<&'t [u8]>) -> Self {
        Self { tokens, next, origin }
    }

    pub(crate) fn peek(&self) -> Option<Word<'a>> {
        self.tokens.get(self.next).map(|token| Word {
            text: token.text,
            quoted: token.quoted,
            index: self.next,
        })
    }

    pub(crate) fn next(&mut self) -> Option<Word<'a>> {
        let word = self.peek()?;
        self.next += 1;
        Some(word)
    }

    /// The next token, in quotes or not.
    pub(crate) fn text(&mut self, what: &str) -> Result<Word<'a>, Fault> {
        self.next()
            .ok_or_else(|| Fault::new("missing-field", format!("the record ends early; {what} is missing")))
    }

    /// The next token, which must not be in quotes.
    pub(crate) fn word(&mut self, what: &str) -> Result<Word<'a>, Fault> {
        let word = self.text(what)?;
        if word.quoted {
            return Err(Fault::of(&word, "bad-field", format!("expected {what}, found a quoted text"))
                .help("take the quotes away"));
        }
        Ok(word)
    }

    /// The quoted token that touches the one taken last (`key="value"`).
    pub(crate) fn glued_text(&mut self) -> Option<Word<'a>> {
        let token = self.tokens.get(self.next)?;
        if token.glued && token.quoted { self.next() } else { None }
    }

    /// The next token parsed by `parse`.
    pub(crate) fn parsed<T>(
        &mut self,
        what: &str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Fault> {
        let word = self.word(what)?;
        parse(word.text).ok_or_else(|| Fault::not_a(&word, what))
    }

    /// Appends the next token as a name.
    pub(crate) fn name(&mut self, out: &mut Vec<u8>) -> Result<Word<'a>, Fault> {
        let word = self.word("a name")?;
        name::parse_onto(word.text, self.origin, out).map_err(|why| bad_name(&word, why))?;
        Ok(word)
    }

    /// Every byte of the tokens that are left; encodings may be split by blanks.
    pub(crate) fn rest_bytes(&mut self) -> impl Iterator<Item = u8> + use<'t> {
        let rest = &self.tokens[self.next.min(self.tokens.len())..];
        self.next = self.tokens.len();
        rest.iter().flat_map(|token| token.text.iter().copied())
    }

    /// Nothing may be left.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        match self.peek() {
            None => Ok(()),
            Some(word) => Err(Fault::of(
                &word,
                "surplus-field",
                format!("the record is complete before `{}`", word.shown()),
            )
            .help("a comment begins with `;`, and a text with blanks stands in quotes")),
        }
    }
}

/// A word that is no name, and why.
pub(crate) fn bad_name(word: &Word<'_>, why: NameError) -> Fault {
    Fault::of(word, "bad-name", format!("`{}` is not a name: {why}", word.shown()))
}

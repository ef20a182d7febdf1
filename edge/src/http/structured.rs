//! Structured Field Dictionaries (RFC 9651 §4.2.2), as far as targeted cache control needs them: parameters are
//! checked and forgotten, and values that no cache directive uses keep their type only.
//!
//! Invariant: one wrong byte refuses the whole field (RFC 9651 §4.2).

/// A dictionary's members in the order of their first appearance; the last value of a repeated key counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionary {
    members: Vec<(String, Item)>,
}

/// As many as a parser has to take (RFC 9651 §3.2). Each is compared with those before it.
pub const MAX_MEMBERS: usize = 1_024;

/// A member's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// `key` or `key=?1`, `key=?0`.
    Boolean(bool),
    /// At most 15 digits.
    Integer(i64),
    /// `"…"`, unescaped.
    String(String),
    /// A token.
    Token(String),
    /// A decimal, byte sequence, date, display string or inner list: right in form, of no use to a cache.
    Other,
}

/// The field is not a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The offset of the first byte that does not fit, in the joined field value.
    pub at: usize,
}

impl Dictionary {
    /// Parses a field value; several lines are joined by `, ` before (RFC 9651 §4.2).
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let mut scan = Scan { bytes: value, at: 0 };
        let mut dictionary = Self::default();
        scan.skip(b" ");
        while scan.peek().is_some() {
            let key = scan.key()?;
            let item = if scan.eat(b'=') { scan.member()? } else { Item::Boolean(true) };
            scan.parameters()?;
            dictionary.put(key, item);
            if dictionary.members.len() > MAX_MEMBERS {
                return Err(Malformed { at: scan.at });
            }
            scan.comma()?;
        }
        Ok(dictionary)
    }

    /// The member's value.
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.members.iter().find(|(name, _)| name == key).map(|(_, item)| item)
    }

    /// Whether there are no members: RFC 9213 §2.1 has such a field ignored.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn put(&mut self, key: String, item: Item) {
        match self.members.iter_mut().find(|(name, _)| *name == key) {
            Some(member) => member.1 = item,
            None => self.members.push((key, item)),
        }
    }
}

/// The strings of a list (RFC 9651 §4.2.1), unescaped; members of other types are left out, parameters too.
pub fn strings(value: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut scan = Scan { bytes: value, at: 0 };
    let mut strings = Vec::new();
    scan.skip(b" ");
    while scan.peek().is_some() {
        let item = scan.member()?;
        scan.parameters()?;
        if let Item::String(text) = item {
            strings.push(text);
        }
        if strings.len() > MAX_MEMBERS {
            return Err(Malformed { at: scan.at });
        }
        scan.comma()?;
    }
    Ok(strings)
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    fn skip(&mut self, these: &[u8]) {
        while self.peek().is_some_and(|byte| these.contains(&byte)) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> &[u8] {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        &self.bytes[start..self.at]
    }

    fn wrong<T>(&self) -> Result<T, Malformed> {
        Err(Malformed { at: self.at })
    }

    /// Between members: OWS, a comma, OWS and another member; or the end.
    fn comma(&mut self) -> Result<(), Malformed> {
        let end = self.at;
        self.skip(b" \t");
        if self.peek().is_none() {
            // Only spaces may trail (RFC 9651 §4.2 step 6).
            return if self.bytes[end..].contains(&b'\t') { self.wrong() } else { Ok(()) };
        }
        if !self.eat(b',') {
            return self.wrong();
        }
        self.skip(b" \t");
        if self.peek().is_none() { self.wrong() } else { Ok(()) }
    }

    fn key(&mut self) -> Result<String, Malformed> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'*') {
            return self.wrong();
        }
        let key = self.take(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b'*')
        });
        Ok(text(key))
    }

    fn parameters(&mut self) -> Result<(), Malformed> {
        while self.eat(b';') {
            self.skip(b" ");
            self.key()?;
            if self.eat(b'=') {
                self.item()?;
            }
        }
        Ok(())
    }

    fn member(&mut self) -> Result<Item, Malformed> {
        if self.eat(b'(') { self.inner_list() } else { self.item() }
    }

    fn inner_list(&mut self) -> Result<Item, Malformed> {
        loop {
            self.skip(b" ");
            if self.eat(b')') {
                return Ok(Item::Other);
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.peek(), Some(b' ' | b')')) {
                return self.wrong();
            }
        }
    }

    fn item(&mut self) -> Result<Item, Malformed> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'"') => self.string(),
            Some(b'?') => self.boolean(),
            Some(b':') => self.bytes(),
            Some(b'@') => self.date(),
            Some(b'%') => self.display_string(),
            Some(byte) if byte.is_ascii_alphabetic() || byte == b'*' => Ok(self.token()),
            _ => self.wrong(),
        }
    }

    fn number(&mut self) -> Result<Item, Malformed> {
        let negative = self.eat(b'-');
        let whole = text(self.take(|byte| byte.is_ascii_digit()));
        if self.eat(b'.') {
            let fraction = self.take(|byte| byte.is_ascii_digit()).len();
            let right = (1..=12).contains(&whole.len()) && (1..=3).contains(&fraction);
            return if right { Ok(Item::Other) } else { self.wrong() };
        }
        if whole.is_empty() || whole.len() > 15 {
            return self.wrong();
        }
        let value: i64 = whole.parse().or_else(|_| self.wrong())?;
        Ok(Item::Integer(if negative { -value } else { value }))
    }

    fn string(&mut self) -> Result<Item, Malformed> {
        self.at += 1;
        let mut value = String::new();
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(byte @ (b'"' | b'\\')) => value.push(char::from(byte)),
                        _ => return self.wrong(),
                    }
                }
                Some(byte @ 0x20..=0x7e) => value.push(char::from(byte)),
                _ => return self.wrong(),
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(Item::String(value))
    }

    fn boolean(&mut self) -> Result<Item, Malformed> {
        self.at += 1;
        if self.eat(b'1') {
            Ok(Item::Boolean(true))
        } else if self.eat(b'0') {
            Ok(Item::Boolean(false))
        } else {
            self.wrong()
        }
    }

    fn bytes(&mut self) -> Result<Item, Malformed> {
        self.at += 1;
        self.take(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
        if self.eat(b':') { Ok(Item::Other) } else { self.wrong() }
    }

    fn date(&mut self) -> Result<Item, Malformed> {
        self.at += 1;
        let start = self.at;
        match self.number()? {
            Item::Integer(_) => Ok(Item::Other),
            _ => Err(Malformed { at: start }),
        }
    }

    fn display_string(&mut self) -> Result<Item, Malformed> {
        self.at += 1;
        if !self.eat(b'"') {
            return self.wrong();
        }
        let mut value = Vec::new();
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'%') => value.push(self.percent()?),
                Some(byte @ 0x20..=0x7e) => {
                    value.push(byte);
                    self.at += 1;
                }
                _ => return self.wrong(),
            }
        }
        self.at += 1;
        if std::str::from_utf8(&value).is_ok() { Ok(Item::Other) } else { self.wrong() }
    }

    fn percent(&mut self) -> Result<u8, Malformed> {
        let digit = |byte: Option<&u8>| match byte {
            Some(byte @ b'0'..=b'9') => Some(byte - b'0'),
            Some(byte @ b'a'..=b'f') => Some(byte - b'a' + 10),
            _ => None,
        };
        match (digit(self.bytes.get(self.at + 1)), digit(self.bytes.get(self.at + 2))) {
            (Some(high), Some(low)) => {
                self.at += 3;
                Ok(high << 4 | low)
            }
            _ => self.wrong(),
        }
    }

    fn token(&mut self) -> Item {
        Item::Token(text(
            self.take(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)),
        ))
    }
}

fn text(ascii: &[u8]) -> String {
    ascii.iter().map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(value: &str, expected: Option<&[(&str, Item)]>) {
        let parsed = Dictionary::parse(value.as_bytes()).ok().map(|dictionary| dictionary.members);
        let expected =
            expected.map(|list| list.iter().map(|(key, item)| ((*key).into(), item.clone())).collect());
        assert_eq!(parsed, expected, "{value}");
    }

    #[test]
    fn display_strings_are_read_to_their_end() {
        check("a=%\"x%c3%bc\", b=1", Some(&[("a", Item::Other), ("b", Item::Integer(1))]));
        check("a=%\"\"", Some(&[("a", Item::Other)]));
        check("a=%\"x", None);
        check("a=%\"%c3\"", None);
        check("a=%x", None);
    }

    #[test]
    fn a_thousand_and_twenty_four_members_are_taken_and_one_more_is_not() {
        let of = |count: usize| (0..count).map(|n| format!("k{n}")).collect::<Vec<_>>().join(",");
        assert!(Dictionary::parse(of(MAX_MEMBERS).as_bytes()).is_ok());
        assert!(Dictionary::parse(of(MAX_MEMBERS + 1).as_bytes()).is_err());
        assert!(Dictionary::parse([of(MAX_MEMBERS), "k0=1".into()].join(",").as_bytes()).is_ok());
    }

    #[test]
    fn members_have_types() {
        use Item::*;
        check("max-age=60, no-cache", Some(&[("max-age", Integer(60)), ("no-cache", Boolean(true))]));
        check(
            "a=\"x\\\"y\", b=tok/en;p=1;q",
            Some(&[("a", String("x\"y".into())), ("b", Token("tok/en".into()))]),
        );
        check("a=?0,b=-5\t,\tc=1.5", Some(&[("a", Boolean(false)), ("b", Integer(-5)), ("c", Other)]));
        check(
            "a=(1 \"b\";x c), b=:YWJj:, c=@1, d=%\"%c3%bc\"  ",
            Some(&[("a", Other), ("b", Other), ("c", Other), ("d", Other)]),
        );
        check("", Some(&[]));
        check("  ", Some(&[]));
    }

    #[test]
    fn the_last_of_a_repeated_key_counts() {
        check("a=1, b, a=2", Some(&[("a", Item::Integer(2)), ("b", Item::Boolean(true))]));
    }

    #[test]
    fn one_wrong_byte_refuses_the_whole_field() {
        for value in [
            "MaX-aGe=3600",
            "max-age =100",
            "max-age= 100",
            "max-age=10000, &&&&&",
            "a,",
            ",a",
            "a=",
            "a=1.",
            "a=1.2345",
            "a=1234567890123456",
            "a=\"",
            "a=\"\\x\"",
            "a=?2",
            "a=:x",
            "a=(1",
            "a=(1)2",
            "a b",
            "a=%\"%C3\"",
            "a=@1.5",
            "a=\u{fc}",
            "a\t",
            "1a",
        ] {
            check(value, None);
        }
    }

    proptest! {
        #[test]
        fn integers_come_back(key in "[a-z*][a-z0-9_.*-]{0,8}", value in -999_999_999_999_999i64..=999_999_999_999_999) {
            let parsed = Dictionary::parse(format!("{key}={value}").as_bytes()).unwrap();
            prop_assert_eq!(parsed.get(&key), Some(&Item::Integer(value)));
        }

        #[test]
        fn no_bytes_panic(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Dictionary::parse(&value);
        }
    }
}

//! Users and their passwords, as a file of `htpasswd -B` has them, and the credentials of requests (RFC 7617).
//!
//! Only bcrypt is read: the older hashes of such files are broken quickly on a graphics card. The cost of a wrong password
//! is in its hash; [`MAX_COST`] is the highest that a file may ask for.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, header};

/// About a second of one core. A higher cost would make strangers' guesses an attack on the edge itself.
pub const MAX_COST: u32 = 14;
/// Users of one file; a lookup is by name.
pub const MAX_USERS: usize = 10_000;
/// bcrypt looks at 72 bytes; a longer header is nobody's password.
const MAX_CREDENTIALS_BYTES: usize = 1024;

/// The users that may ask for something.
#[derive(Clone, PartialEq, Eq)]
pub struct Users {
    challenge: HeaderValue,
    by_name: BTreeMap<String, String>,
}

/// A name and a password that a request has.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    name: String,
    password: String,
}

/// Why a file has no users to let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongUsers {
    /// A line is not `name:hash`; its number.
    Line(usize),
    /// A line has a hash of another kind than bcrypt.
    Hash(usize),
    /// A line has a cost above [`MAX_COST`].
    Cost(usize, u32),
    /// There is no line with a user.
    Nobody,
    /// There are more than [`MAX_USERS`].
    TooMany,
}

impl fmt::Display for WrongUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line} is not `name:hash`"),
            Self::Hash(line) => write!(f, "line {line} has no bcrypt hash ($2y$…)"),
            Self::Cost(line, cost) => {
                write!(
                    f,
                    "line {line} has cost {cost}: a guess would take seconds; {MAX_COST} is the highest here"
                )
            }
            Self::Nobody => f.write_str("it names no user"),
            Self::TooMany => write!(f, "it names more than {MAX_USERS} users"),
        }
    }
}

impl Users {
    /// Reads lines of `name:hash`; empty ones and those that begin with `#` say nothing. The realm is shown by browsers.
    ///
    /// # Errors
    /// When a line is no user with a bcrypt hash of a bearable cost, or there is none.
    pub fn read(text: &str, realm: &str) -> Result<Self, WrongUsers> {
        let mut by_name = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) = line.split_once(':').ok_or(WrongUsers::Line(number))?;
            match cost(hash).ok_or(WrongUsers::Hash(number))? {
                cost if cost > MAX_COST => return Err(WrongUsers::Cost(number, cost)),
                _ => drop(by_name.insert(name.to_owned(), hash.to_owned())),
            }
        }
        if by_name.is_empty() {
            return Err(WrongUsers::Nobody);
        }
        if by_name.len() > MAX_USERS {
            return Err(WrongUsers::TooMany);
        }
        Ok(Self { challenge: challenge(realm), by_name })
    }

    /// The challenge to a request without the right credentials.
    pub fn challenge(&self) -> HeaderValue {
        self.challenge.clone()
    }

    /// The hash that a password must fit, and whether there is such a user. For a name that is nobody's it is another
    /// user's, so that such a guess takes as long.
    pub fn hash_of(&self, name: &str) -> (&str, bool) {
        match self.by_name.get(name) {
            Some(hash) => (hash, true),
            None => (self.by_name.values().next().map_or("", String::as_str), false),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_name.len()
    }
}

/// RFC 7617 §2: a realm is a quoted string, and names and passwords are UTF-8.
fn challenge(realm: &str) -> HeaderValue {
    let quoted: String =
        realm.chars().filter(|c| (' '..='~').contains(c) && !matches!(c, '"' | '\\')).collect();
    let text = format!("Basic realm=\"{quoted}\", charset=\"UTF-8\"");
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Basic realm=\"site\""))
}

/// Of a bcrypt hash: `$2y$10$` and 53 characters.
fn cost(hash: &str) -> Option<u32> {
    let mut parts = hash.split('$');
    let (before, version, cost, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_one = before.is_empty() && matches!(version, "2a" | "2b" | "2x" | "2y") && parts.next().is_none();
    let digits =
        rest.len() == 53 && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/');
    let cost = cost.parse().ok().filter(|cost| (4..=31).contains(cost));
    if is_one && digits { cost } else { None }
}

impl Credentials {
    /// The credentials of an `Authorization: Basic` field; none if it is another.
    pub fn read(field: &HeaderValue) -> Option<Self> {
        let text = field.to_str().ok().filter(|text| text.len() <= MAX_CREDENTIALS_BYTES)?;
        let (scheme, encoded) = text.split_once(' ')?;
        let decoded =
            scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
        let text = String::from_utf8(decoded).ok().filter(|text| !text.contains('\0'))?;
        let (name, password) = text.split_once(':')?;
        Some(Self { name: name.to_owned(), password: password.to_owned() })
    }

    /// Takes them out of a request's fields, so that they reach neither key nor origin.
    pub fn take(headers: &mut http::HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::AUTHORIZATION).into_iter();
        let found = match (lines.next(), lines.next()) {
            (Some(field), None) => Self::read(field),
            _ => None,
        };
        headers.remove(header::AUTHORIZATION);
        found
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The password.
    pub fn password(&self) -> &str {
        &self.password
    }
}

/// The hashes are nobody's to see.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.by_name.len())
    }
}

/// The password is nobody's to see.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form of `htpasswd -nbB -C 4 ann secret`.
    const ANN: &str = "ann:$2y$04$abcdefghijklmnopqrstuu0123456789012345678901234567890";

    #[test]
    fn lines_are_users_with_bearable_hashes() {
        let check = |text: &str, expected: Result<usize, WrongUsers>| {
            assert_eq!(Users::read(text, "x").map(|users| users.count()), expected, "{text}");
        };
        check(&format!("# staff\n\n{ANN}\n"), Ok(1));
        check(&format!("{ANN}\n{}", ANN.replace("ann", "bob").replace("$04$", "$14$")), Ok(2));
        check(&ANN.replace("$04$", "$15$"), Err(WrongUsers::Cost(1, 15)));
        check("ann", Err(WrongUsers::Line(1)));
        check("ann:$apr1$x$y", Err(WrongUsers::Hash(1)));
        check("ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", Err(WrongUsers::Hash(1)));
        check("ann:secret", Err(WrongUsers::Hash(1)));
        check(&ANN.replace("$04$", "$03$"), Err(WrongUsers::Hash(1)));
        check("# nobody\n", Err(WrongUsers::Nobody));
    }

    #[test]
    fn a_stranger_is_measured_by_somebodys_hash() {
        let users = Users::read(ANN, "x").unwrap();
        let (hash, known) = users.hash_of("ann");
        assert!(known && hash.starts_with("$2y$04$"));
        assert_eq!(users.hash_of("eve"), (hash, false));
        assert_eq!(format!("{users:?}"), "Users(1)");
    }

    #[test]
    fn a_realm_cannot_end_its_own_string() {
        let users = |realm| Users::read(ANN, realm).unwrap().challenge();
        assert_eq!(users("Staff only"), "Basic realm=\"Staff only\", charset=\"UTF-8\"");
        assert_eq!(users("a\"b\\c\r\nd"), "Basic realm=\"abcd\", charset=\"UTF-8\"");
    }

    #[test]
    fn credentials_are_a_name_and_a_password() {
        let check = |field: &'static str, expected: Option<(&str, &str)>| {
            let found = Credentials::read(&HeaderValue::from_static(field));
            assert_eq!(found.as_ref().map(|one| (one.name(), one.password())), expected, "{field}");
        };
        check("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", "open sesame")));
        check("basic  YTpiOmM=", Some(("a", "b:c")));
        check("Basic dGVzdDoxMjPCow==", Some(("test", "123£")));
        check("Bearer YTpi", None);
        check("Basic", None);
        check("Basic YWI=", None);
        check("Basic /w==", None);
        check("Basic YQA6Yg==", None);
        check("Basic !!!", None);
    }

    #[test]
    fn credentials_are_taken_out_of_a_request() {
        let field = HeaderValue::from_static("Basic YTpi");
        let mut headers = http::HeaderMap::from_iter([(header::AUTHORIZATION, field.clone())]);
        assert_eq!(Credentials::take(&mut headers).unwrap().name(), "a");
        assert!(headers.is_empty());
        // Two lines are two stories.
        headers.append(header::AUTHORIZATION, field.clone());
        headers.append(header::AUTHORIZATION, field);
        assert!(Credentials::take(&mut headers).is_none() && headers.is_empty());
    }
}

//! The secret that purging asks for, kept in a file that only its owner may read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use http::{HeaderMap, header};

/// A secret. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token in `path`; a new one, in a new file with mode 0600, if there is none.
    ///
    /// # Errors
    /// When the file cannot be read or made, or is empty.
    pub fn read_or_make(path: &Path) -> io::Result<Self> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                let token = Self::random();
                writeln!(file, "{}", token.0)?;
                Ok(token)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(error),
        }
    }

    /// The token in `path`.
    ///
    /// # Errors
    /// When the file cannot be read or is empty.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        match text.trim() {
            "" => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file is empty; remove it to get a new token",
            )),
            token => Ok(Self(token.to_owned())),
        }
    }

    /// The field value that proves to have it.
    #[must_use]
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
        // RFC 9110 §11.1: the scheme has no case.
        let token = given.and_then(|given| {
            let (scheme, rest) = given.split_at_checked(BEARER.len())?;
            scheme.eq_ignore_ascii_case(BEARER).then_some(rest)
        });
        token.is_some_and(|token| same(token, self.0.as_bytes()))
    }

    fn random() -> Self {
        let secret: [u8; 32] = rand::random();
        Self(secret.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

const BEARER: &[u8] = b"Bearer ";

/// Takes as long for a near miss as for a far one.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_absent_token_file_is_made_for_its_owner_only_and_then_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let made = Token::read_or_make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Token::read_or_make(&path).unwrap(), made);
        assert_eq!(made.0.len(), 64);
    }

    #[test]
    fn an_empty_token_file_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "\n").unwrap();
        assert!(Token::read_or_make(&path).is_err());
    }

    #[test]
    fn only_the_whole_token_is_accepted() {
        let token = Token("abc".to_owned());
        let check = |value: &'static str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, http::HeaderValue::from_static(value));
            assert_eq!(token.is_in(&headers), expected, "{value}");
        };
        check("Bearer abc", true);
        check("bearer abc", true);
        check("Basic abc", false);
        check("Bearer ab", false);
        check("Bearer abcd", false);
        check("abc", false);
        check("", false);
        assert!(!token.is_in(&HeaderMap::new()));
    }
}

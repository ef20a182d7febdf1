//! The secrets of server cookies, from the config's file or made here.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::Cookies;
use crate::cookie::{SECRET_OCTETS, Secrets};

/// The secret file is of no use.
#[derive(Debug)]
pub struct SecretError {
    /// Which file.
    pub path: PathBuf,
    /// Line, counted from 1; none for the file as a whole.
    pub line: Option<usize>,
    /// Why.
    pub source: io::Error,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": the cookie secret: {} (setting `cookies.secret_file`)", self.source)
    }
}

impl std::error::Error for SecretError {}

/// The secrets that the config asks for; none if cookies are off.
pub(super) fn load(cookies: &Cookies) -> Result<Option<Secrets>, SecretError> {
    match cookies {
        Cookies::Off => Ok(None),
        Cookies::Random => Ok(Some(Secrets { active: rand::random(), accepted: Vec::new() })),
        Cookies::File(path) => {
            let fault = |source| SecretError { path: path.clone(), line: None, source };
            let text = std::fs::read_to_string(path).map_err(fault)?;
            if std::fs::metadata(path).is_ok_and(|it| it.mode() & 0o007 != 0) {
                // Whoever knows it can forge others' cookies. Nothing saves these from a flood then.
                tracing::warn!(file = %path.display(), "everybody on this machine can read the cookie secret; chmod 640 it");
            }
            parse(&text, path).map(Some)
        }
    }
}

fn parse(text: &str, path: &Path) -> Result<Secrets, SecretError> {
    let fault = |line, message: &str| SecretError {
        path: path.to_path_buf(),
        line,
        source: io::Error::new(io::ErrorKind::InvalidData, message),
    };
    let mut secrets = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let secret = hex(line).ok_or_else(|| fault(Some(at + 1), "a secret is 32 hexadecimal digits"))?;
        secrets.push(secret);
    }
    if secrets.is_empty() {
        return Err(fault(None, "there is none; make one with: openssl rand -hex 16"));
    }
    let active = secrets.remove(0);
    Ok(Secrets { active, accepted: secrets })
}

fn hex(line: &str) -> Option<[u8; SECRET_OCTETS]> {
    let digits: Vec<u8> =
        line.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let octets: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |octet, d| octet << 4 | d)).collect();
    octets.try_into().ok().filter(|_| digits.len() == 2 * SECRET_OCTETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_secret_is_active_and_bad_ones_are_named() {
        let path = Path::new("secret");
        let text = "# next\n000102030405060708090a0b0c0d0e0f\n\nFFffffffffffffffffffffffffffffff\n";
        let secrets = parse(text, path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(secrets.active, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(secrets.accepted, [[255; 16]]);
        for (text, line) in [
            ("", None),
            ("# only a comment", None),
            ("\n00", Some(2)),
            ("000102030405060708090a0b0c0d0e0f00", Some(1)),
            ("000102030405060708090a0b0c0d0e0g", Some(1)),
        ] {
            let error = parse(text, path).expect_err(text);
            assert_eq!(error.line, line, "{text}: {error}");
        }
    }
}

//! The secrets of server cookies, from the config's file or made here, and those of the keys that other servers prove.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::catalog::Terms;
use crate::config::{Config, Cookies, KeyFile};
use crate::cookie::{SECRET_BYTES, Secrets};
use crate::name::Name;
use crate::transfer::Rule;
use crate::tsig::{Key, Keys};
use crate::world::Roots;
use crate::zone::text::encoding;

/// The secret file is of no use.
#[derive(Debug)]
pub struct SecretError {
    /// Which file.
    pub path: PathBuf,
    /// Line, counted from 1; none for the file as a whole.
    pub line: Option<usize>,
    /// Why.
    pub source: io::Error,
    what: What,
}

/// The use of a secret, and the setting that names its file.
#[derive(Clone, Debug)]
enum What {
    Cookies,
    Key(Name),
    Roots,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match &self.what {
            What::Cookies => {
                write!(f, ": the cookie secret: {} (setting `cookies.secret_file`)", self.source)
            }
            What::Roots => write!(
                f,
                ": the roots of certificates of clients: {} (setting `transfer.client_ca`)",
                self.source
            ),
            What::Key(name) => write!(
                f,
                ": the secret of the key {name}: {} (setting `keys.….secret_file`); {KEY_HELP}",
                self.source
            ),
        }
    }
}

impl std::error::Error for SecretError {}

const KEY_HELP: &str =
    "`verge-dns key new` makes a key: its file holds the secret in base64 and nothing else";
/// Fewer bytes can be guessed (RFC 8945 §10.1: as long as the signature is best).
const LEAST_SECRET_BYTES: usize = 16;
/// A file that holds more is none of a key's.
const MOST_FILE_BYTES: u64 = 4096;

/// The keys of the config, with the secrets that their files hold.
pub(crate) fn keys(files: &[KeyFile]) -> Result<Keys, SecretError> {
    files.iter().map(key).collect::<Result<Vec<Key>, _>>().map(Keys::from_iter)
}

fn key(file: &KeyFile) -> Result<Key, SecretError> {
    let path = &file.secret_file;
    let fault =
        |source| SecretError { path: path.clone(), line: None, source, what: What::Key(file.name.clone()) };
    let metadata = std::fs::metadata(path).map_err(fault)?;
    if metadata.len() > MOST_FILE_BYTES {
        return Err(fault(io::Error::new(io::ErrorKind::InvalidData, "the file is too long for a secret")));
    }
    if metadata.mode() & 0o007 != 0 {
        tracing::warn!(file = %path.display(), "everybody on this machine can read the secret of a key; chmod 600 it");
    }
    let text = std::fs::read_to_string(path).map_err(fault)?;
    let secret =
        decode(&text).map_err(|message| fault(io::Error::new(io::ErrorKind::InvalidData, message)))?;
    Ok(Key::new(file.name.clone(), file.algorithm, &secret, file.view))
}

fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut secret = Vec::new();
    let letters = text.trim().bytes();
    encoding::from_base64(letters, &mut secret).ok_or("it is not base64")?;
    match secret.len() {
        0..LEAST_SECRET_BYTES => Err("it has fewer than 16 bytes, which can be guessed"),
        _ => Ok(secret),
    }
}

/// All secrets of a config.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Held {
    pub(super) cookies: Option<Secrets>,
    pub(super) keys: Keys,
    pub(super) roots: Roots,
}

impl Held {
    /// Terms with these secrets.
    pub(super) fn over(self, terms: Terms) -> Terms {
        terms.with_secrets(self.cookies, self.keys, self.roots)
    }

    /// As the config says; `before` has those that were made here.
    pub(super) fn load(config: &Config, before: Option<(&Config, &Self)>) -> Result<Self, SecretError> {
        let cookies = match before.map(|(old, held)| (&old.cookies, held)) {
            // A new random secret would make every cookie out there worthless.
            Some((Cookies::Random, held)) if config.cookies == Cookies::Random => held.cookies.clone(),
            _ => load(&config.cookies)?,
        };
        Ok(Self { cookies, keys: keys(&config.keys)?, roots: roots(&config.transfers)? })
    }
}

/// The certificates that those of clients must lead to.
fn roots(rules: &[Rule]) -> Result<Roots, SecretError> {
    let mut roots = HashMap::new();
    for demand in rules.iter().filter_map(|rule| rule.certificate.as_ref()) {
        let path = &demand.roots;
        let fault = |why: String| SecretError {
            path: path.clone(),
            line: None,
            source: io::Error::new(io::ErrorKind::InvalidData, why),
            what: What::Roots,
        };
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let read = read.map_err(|error| fault(error.to_string()))?;
        if read.is_empty() {
            return Err(fault("there is no certificate in it (BEGIN CERTIFICATE)".to_owned()));
        }
        roots.insert(path.clone(), read.iter().map(|it| it.as_ref().into()).collect());
    }
    Ok(Arc::new(roots))
}

/// The secrets that the config asks for; none if cookies are off.
fn load(cookies: &Cookies) -> Result<Option<Secrets>, SecretError> {
    match cookies {
        Cookies::Off => Ok(None),
        Cookies::Random => Ok(Some(Secrets { active: rand::random(), accepted: Vec::new() })),
        Cookies::File(path) => {
            let fault = |source| SecretError { path: path.clone(), line: None, source, what: What::Cookies };
            let text = std::fs::read_to_string(path).map_err(fault)?;
            if std::fs::metadata(path).is_ok_and(|it| it.mode() & 0o007 != 0) {
                // A client that knows it can forge others' cookies, and flood in their name.
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
        what: What::Cookies,
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

fn hex(line: &str) -> Option<[u8; SECRET_BYTES]> {
    let digits: Vec<u8> =
        line.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | d)).collect();
    bytes.try_into().ok().filter(|_| digits.len() == 2 * SECRET_BYTES)
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

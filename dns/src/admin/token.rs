//! The secret that the operator shows, in a file that only the server's user may read.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// 128 bits, written in hexadecimal.
const TOKEN_BYTES: usize = 16;

/// The secret that the operator shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(pub(super) String);

/// The token file is of no use.
#[derive(Debug)]
pub struct TokenError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        write!(f, "{}: the admin token: {}", path.display(), self.source)?;
        match self.source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound => {
                let cure = "set `admin.token_file` to a path where this user may make files, such as \
                            /var/lib/verge-dns/token";
                write!(f, "\n  = help: {cure}")
            }
            _ => write!(f, " (setting `admin.token_file`)"),
        }
    }
}

impl std::error::Error for TokenError {}

/// Reads the token, or makes one that only this user can read. A file that is empty is as good as none: a power cut
/// leaves such files.
pub(crate) fn token(path: &Path) -> Result<Token, TokenError> {
    let fault = |source| TokenError { path: path.to_path_buf(), source };
    match read(path) {
        Ok(Some(token)) => Ok(token),
        Ok(None) => make(path).map_err(fault),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(fault),
        Err(error) => Err(fault(error)),
    }
}

/// Puts a new token in the place of the file, whole and on the disk.
fn make(path: &Path) -> io::Result<Token> {
    let secret: [u8; TOKEN_BYTES] = rand::random();
    let token: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    // An earlier try that a power cut ended may have left one, with other rights.
    remove(Path::new(&beside))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(Token(token))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The token in a file; none if the file is empty.
fn read(path: &Path) -> io::Result<Option<Token>> {
    let text = fs::read_to_string(path)?;
    let token = text.trim();
    if token.is_empty() {
        return Ok(None);
    }
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "others can read the admin token; chmod 600 it");
    }
    Ok(Some(Token(token.to_owned())))
}

impl Token {
    /// In a time that does not tell how much of it was right.
    pub(super) fn matches(&self, shown: &[u8]) -> bool {
        let own = self.0.as_bytes();
        own.len() == shown.len() && own.iter().zip(shown).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let made = token(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(made.0.len(), 2 * TOKEN_BYTES);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(token(&path).is_ok_and(|again| again == made));
    }

    /// A power cut can leave the file that was just made without its content, and one beside it.
    #[test]
    fn an_empty_token_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for text in ["", "\n"] {
            fs::write(&path, text).unwrap();
            fs::write(folder.path().join("token.new"), "half").unwrap();
            let made = token(&path).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(made.0.len(), 2 * TOKEN_BYTES);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(token(&path).is_ok_and(|again| again == made));
        }
    }

    #[test]
    fn a_token_that_cannot_be_made_names_the_setting() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("absent/token"), folder.path().to_path_buf()] {
            let error = token(&path).err().expect("it is of no use").to_string();
            assert!(error.contains("admin.token_file"), "{error}");
        }
    }
}

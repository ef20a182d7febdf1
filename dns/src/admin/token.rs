//! The secrets that operators show, each with its right, kept in a file that only its owner may read.
//!
//! One stands on each line, behind `read` or `all`; without a word it is for all. So a token is changed without a
//! gap: a second line, a reload, the clients, and the first line goes. Lines that begin with `#` are comments.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use hyper::header;
use procfs::process::Process;

use crate::clock;
use crate::zone::text::encoding::from_base64;

/// The secrets of one file. Its `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Vec<(Right, String)>);

/// The operations that a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// The calls that change nothing.
    Read,
    /// All.
    All,
}

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
        let path =
            std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone()).display().to_string();
        let why = self.source.to_string();
        // A fault of one line has its place already.
        match why.strip_prefix(&path) {
            Some(why) => write!(f, "{path}{why}")?,
            None => write!(f, "{path}: the admin token: {why}")?,
        }
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

/// Reads the tokens, or makes one that only this user can read.
pub(crate) fn token(path: &Path) -> Result<Token, TokenError> {
    Token::read_or_make(path).map_err(|source| TokenError { path: path.to_path_buf(), source })
}

impl Right {
    /// Whether it suffices for a path of the admin listener.
    pub(super) fn suffices(self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Read => !matches!(path, "/reload" | "/drain" | "/undrain"),
        }
    }
}

impl Token {
    /// The token in `path`; a new one, in a new file with mode 0600, if there is none. A file without a byte of text is as good
    /// as none: a power cut leaves such files.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds comments alone.
    fn read_or_make(path: &Path) -> io::Result<Self> {
        if let Ok(own) = Process::myself().and_then(|me| me.uid()) {
            sweep(path, own, clock::system_now());
        }
        match fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => Self::read(path),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Self::make(path),
        }
    }

    /// Puts a new token in the place of the file, whole and on the disk; another process that does so at once wins or loses as
    /// a whole, and both have the token of the file.
    fn make(path: &Path) -> io::Result<Self> {
        let token = Self::random();
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}.new", &Self::random()[..NUMBER_LETTERS]));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        let placed = writeln!(file, "{token}").and_then(|()| file.sync_all()).and_then(|()| {
            // A link takes no other file's place, and an empty file has none to lose.
            match fs::hard_link(&beside, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && holds_text(path) => Ok(false),
                Err(_) => fs::rename(&beside, path).map(|()| true),
                Ok(()) => Ok(true),
            }
        });
        // It is gone already if it was renamed.
        let _ = fs::remove_file(&beside);
        if !placed? {
            return Self::read(path);
        }
        File::open(folder_of(path))?.sync_all()?;
        Ok(Self(vec![(Right::All, token)]))
    }

    /// The tokens in `path`.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, or a token is so short that it can be guessed or has white space within.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let fault = |sentence: String| io::Error::new(io::ErrorKind::InvalidData, sentence);
        // A group that may read is its owner's choice: that of a Secret in Kubernetes always may.
        if fs::metadata(path)?.permissions().mode() & 0o007 != 0 {
            tracing::warn!(file = %path.display(), "others can read the admin token; chmod 600 it");
        }
        let tokens = parse(&fs::read_to_string(path)?).map_err(|line| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
            fault(format!(
                "{}:{line}: a token has no white space; before it may stand {RIGHTS}",
                path.display()
            ))
        })?;
        if tokens.is_empty() {
            return Err(fault("the file is empty; remove it to get a new token".to_owned()));
        }
        match tokens.iter().all(|(_, token)| token.len() >= FEWEST_BYTES) {
            true => Ok(Self(tokens)),
            false => Err(fault(format!(
                "a token of fewer than {FEWEST_BYTES} characters can be guessed; `openssl rand -hex 32` makes one"
            ))),
        }
    }

    /// The token to show when a path is asked for: the first whose right suffices, else the first. `path` may have a query.
    pub(crate) fn shown_for(&self, path: &str) -> &str {
        let path = path.split('?').next().unwrap_or_default();
        let fit = self.0.iter().find(|(right, _)| right.suffices(path));
        &fit.or(self.0.first()).expect("a file without a token is an error").1
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Result<Self, usize> {
        parse(text).map(Self)
    }

    /// The right of the token that a request shows; none if it shows none of ours.
    pub(super) fn right_in(&self, headers: &HeaderMap) -> Option<Right> {
        self.right_of(credentials(headers, BEARER)?)
    }

    /// The right of the token that a person has typed as a password, with any name. A browser sends it by itself from then
    /// on, whoever makes it ask: it is for reading only.
    pub(super) fn right_of_password(&self, headers: &HeaderMap) -> Option<Right> {
        let mut decoded = Vec::new();
        from_base64(credentials(headers, BASIC)?.iter().copied(), &mut decoded)?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        self.right_of(&decoded[colon + 1..])
    }

    fn right_of(&self, shown: &[u8]) -> Option<Right> {
        // All are compared, so that the time does not tell how many there are before the right one.
        let own = self.0.iter();
        own.fold(None, |found, (right, own)| same(shown, own.as_bytes()).then_some(*right).or(found))
    }

    fn random() -> String {
        let secret: [u8; 32] = rand::random();
        secret.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Of the number in the name of a token that is being made.
const NUMBER_LETTERS: usize = 16;
/// None is being made for so long.
const LEFT_AFTER: Duration = Duration::from_secs(60);
/// A folder of more than this is not the token's.
const MOST_ENTRIES: usize = 10_000;

fn holds_text(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| !text.trim().is_empty())
}

/// Removes what a process has left that was killed while it made a token: files of this user with the names that [`Token::make`]
/// gives, and older than any that is being made.
fn sweep(path: &Path, own: u32, now: SystemTime) {
    let Some(name) = path.file_name() else { return };
    let Ok(entries) = fs::read_dir(folder_of(path)) else { return };
    for entry in entries.take(MOST_ENTRIES).flatten() {
        let is_of_token =
            entry.file_name().as_bytes().strip_prefix(name.as_bytes()).is_some_and(is_unfinished);
        let is_left = |file: Metadata| {
            let age = file.modified().ok().and_then(|at| now.duration_since(at).ok());
            file.is_file() && file.uid() == own && age.is_some_and(|age| age >= LEFT_AFTER)
        };
        if is_of_token && entry.metadata().is_ok_and(is_left) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Behind the name of the token's file.
fn is_unfinished(rest: &[u8]) -> bool {
    let number = rest.strip_prefix(b".").and_then(|rest| rest.strip_suffix(b".new"));
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    number.is_some_and(|number| number.len() == NUMBER_LETTERS && number.iter().all(is_digit))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// As an error names them.
const RIGHTS: &str = "`read` or `all`";

/// The tokens of a file, or the number of a line that has white space within its token, or an unknown word before it.
fn parse(text: &str) -> Result<Vec<(Right, String)>, usize> {
    let lines = (1..).zip(text.lines().map(str::trim));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let token = |(number, line): (usize, &str)| {
        let rights = [("read", Right::Read), ("all", Right::All)];
        let with = |(word, right): &(&str, Right)| {
            let rest = line.strip_prefix(word)?.strip_prefix([' ', '\t'])?;
            Some((*right, rest.trim()))
        };
        let (right, token) = rights.iter().find_map(with).unwrap_or((Right::All, line));
        if token.contains(char::is_whitespace) { Err(number) } else { Ok((right, token.to_owned())) }
    };
    lines.map(token).collect()
}

/// The network's rate bounds how fast one is guessed; this many characters take longer than anybody lives.
const FEWEST_BYTES: usize = 12;

const BEARER: &[u8] = b"Bearer ";
const BASIC: &[u8] = b"Basic ";

fn credentials<'a>(headers: &'a HeaderMap, wanted: &[u8]) -> Option<&'a [u8]> {
    let given = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = given.split_at_checked(wanted.len())?;
    // RFC 9110 §11.1: the scheme has no case.
    scheme.eq_ignore_ascii_case(wanted).then_some(rest)
}

/// Takes as long for a near miss as for a far one.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn all_who_make_the_token_at_once_have_that_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let barrier = std::sync::Barrier::new(8);
        let make = || {
            barrier.wait();
            Token::read_or_make(&path).unwrap()
        };
        std::thread::scope(|scope| {
            let made = [(); 8].map(|()| scope.spawn(make));
            let made = made.map(|made| made.join().unwrap().0);
            assert!(made.iter().all(|made| *made == Token::read(&path).unwrap().0), "{made:?}");
        });
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn an_absent_token_file_is_made_for_its_owner_only_and_then_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let made = Token::read_or_make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Token::read_or_make(&path).unwrap(), made);
        assert_eq!(
            made.0.iter().map(|(right, token)| (*right, token.len())).collect::<Vec<_>>(),
            [(Right::All, 64)]
        );
    }

    /// A power cut can leave the file that was just made without its content.
    #[test]
    fn an_empty_token_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for text in ["", "\n"] {
            fs::write(&path, text).unwrap();
            let made = Token::read_or_make(&path).unwrap();
            assert_eq!(made.shown_for("/").len(), 64);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(Token::read_or_make(&path).unwrap(), made);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        }
    }

    #[test]
    fn a_token_file_without_a_good_token_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for (text, is_good) in [
            ("# none\n", false),
            ("x\n", false),
            ("correct-horse-battery\n", true),
            ("correct-horse-battery\nread x\n", false),
            ("correct horse battery\n", false),
            ("purge correct-horse-battery\n", false),
            ("read correct-horse-battery staple\n", false),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(Token::read_or_make(&path).is_ok(), is_good, "{text}");
        }
    }

    #[test]
    fn only_the_whole_token_is_accepted() {
        let token = Token::of("# rotated on Monday\nabc\n\nread  seer\n all abd\n").unwrap();
        let check = |value: &'static str, bearer, password| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(
                (token.right_in(&headers), token.right_of_password(&headers)),
                (bearer, password),
                "{value}"
            );
        };
        check("Bearer abc", Some(Right::All), None);
        check("bearer abd", Some(Right::All), None);
        check("Bearer seer", Some(Right::Read), None);
        for none in [
            "Bearer read  seer",
            "Bearer ab",
            "Bearer abcd",
            "abc",
            "",
            "Basic bWU6bm8=",
            "Basic bWU=",
            "Basic %%%",
        ] {
            check(none, None, None);
        }
        // me:seer and :abc.
        check("Basic bWU6c2Vlcg==", None, Some(Right::Read));
        check("basic OmFiYw==", None, Some(Right::All));
        assert_eq!(token.right_in(&HeaderMap::new()), None);
    }

    #[test]
    fn a_command_shows_the_first_token_whose_right_suffices() {
        for (text, read, change) in [
            ("abc\nread seer\n", "abc", "abc"),
            ("read seer\nall abc\nabd\n", "seer", "abc"),
            ("read seer\nread other\n", "seer", "seer"),
        ] {
            let token = Token::of(text).unwrap();
            for (path, expected) in [
                ("/status", read),
                ("/metrics", read),
                ("/tail?view=inside", read),
                ("/explain?name=a.example", read),
                ("/drain?address=192.0.2.1", change),
                ("/undrain?address=192.0.2.1", change),
                ("/reload", change),
            ] {
                assert_eq!(token.shown_for(path), expected, "{text:?} {path}");
            }
        }
    }

    #[test]
    fn a_word_that_is_no_right_is_told_with_its_line_and_without_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for line in ["push 0123456789abcdef", "purge\t0123456789abcdef", "all 01234567 89abcdef"] {
            fs::write(&path, format!("# ours\n0123456789abcdef\n{line}\n")).unwrap();
            let error = token(&path).unwrap_err().to_string();
            let expected = format!(
                "{}:3: a token has no white space; before it may stand `read` or `all` (setting `admin.token_file`)",
                path.display()
            );
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn a_right_to_read_changes_nothing() {
        for (path, read) in [
            ("/metrics", true),
            ("/explain", true),
            ("/", true),
            ("/reload", false),
            ("/drain", false),
            ("/undrain", false),
        ] {
            assert_eq!((Right::Read.suffices(path), Right::All.suffices(path)), (read, true), "{path}");
        }
    }

    #[test]
    fn what_a_crash_left_of_a_token_goes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let own = fs::metadata(&folder).unwrap().uid();
        let at = |secs: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        let make = |name: &str| {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(at(1_000)).unwrap();
        };
        let left = "token.0123456789abcdef.new";
        let others = [
            "token",
            "token.0123456789abcdef",
            "token.0123456789abcde.new",
            "token.0123456789abcdeg.new",
            "token.0123456789ABCDEF.new",
            "other.0123456789abcdef.new",
            "token.new",
        ];
        [left].iter().chain(&others).for_each(|name| make(name));
        fs::create_dir(folder.path().join("token.0000000000000000.new")).unwrap();
        let is_there = |name: &str| folder.path().join(name).exists();
        sweep(&path, own, at(1_059));
        assert!(is_there(left), "it may be being made");
        sweep(&path, own + 1, at(1_060));
        assert!(is_there(left), "it is another user's");
        sweep(&path, own, at(1_060));
        assert!(!is_there(left));
        assert!(others.iter().all(|name| is_there(name)) && is_there("token.0000000000000000.new"));
        fs::write(&path, "correct-horse-battery\n").unwrap();
        make(left);
        Token::read_or_make(&path).unwrap();
        assert!(!is_there(left), "a start does it");
    }
}

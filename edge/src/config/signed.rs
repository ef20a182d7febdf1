//! Which paths of a site need a signature, and the files of the keys that sign.

use std::io::Read as _;
use std::path::Path;

use toml::Spanned;

use super::place::Fault;
use super::rules::pattern;
use crate::site::signed::{MIN_KEY_BYTES, Signed, SigningKey};

pub(super) fn signed(
    paths: &[Spanned<String>],
    keys: &[Spanned<String>],
    base: &Path,
) -> Result<Signed, Fault> {
    if let (Some(path), []) = (paths.first(), keys) {
        return Err(Fault::new(path.span(), "paths that need a signature need a key that signs")
            .help("name the file of one in `signing_keys`"));
    }
    Ok(Signed {
        paths: paths.iter().map(pattern).collect::<Result<_, _>>()?,
        keys: keys.iter().map(|file| key(file, base)).collect::<Result<_, _>>()?,
    })
}

/// The secret is what the file holds, without white space round it.
fn key(file: &Spanned<String>, base: &Path) -> Result<SigningKey, Fault> {
    let path = base.join(file.get_ref());
    let read = || {
        let mut secret = Vec::new();
        std::fs::File::open(&path)?.take(MAX_KEY_BYTES).read_to_end(&mut secret)?;
        Ok::<_, std::io::Error>(secret)
    };
    let secret = read().map_err(|error| {
        Fault::new(file.span(), format!("cannot read the key {}: {error}", path.display()))
            .help(format!("make one: openssl rand -hex 32 > {}", path.display()))
    })?;
    SigningKey::new(secret.trim_ascii()).ok_or_else(|| {
        let message = format!("the key {} is shorter than {MIN_KEY_BYTES} bytes", path.display());
        Fault::new(file.span(), message).help(format!("make one: openssl rand -hex 32 > {}", path.display()))
    })
}

/// More is no key but another file.
const MAX_KEY_BYTES: u64 = 4096;

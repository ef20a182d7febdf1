//! The keys that other servers prove: each has a name of its own and an algorithm that is spoken.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;

use super::{At, invalid};
use crate::config::file::{self, Side};
use crate::config::{ConfigError, KeyFile};
use crate::name::Name;
use crate::tsig::Algorithm;
use crate::view::Which;

/// The keys of `[keys.NAME]`, as they are written.
pub(super) fn keys(
    written: BTreeMap<String, Spanned<file::Key>>,
    base: &Path,
    at: At<'_>,
) -> Result<Vec<KeyFile>, ConfigError> {
    let mut written: Vec<_> = written.into_iter().collect();
    written.sort_by_key(|(_, key)| key.span().start);
    let mut keys: Vec<KeyFile> = Vec::new();
    for (text, key) in written {
        let place = || at(key.span());
        let name = Name::parse_absolute(&text).ok().filter(|name| !name.is_root()).ok_or_else(|| {
            let message = format!("`{text}` is not a key's name");
            invalid(
                place(),
                &message,
                "a key is named as a host is: [keys.mirror], [keys.\"ns2.example.com\"]",
            )
        })?;
        if keys.iter().any(|other| other.name == name) {
            let message = format!("the key {text} is there twice");
            return Err(invalid(place(), &message, "letters and a final dot make no other name; remove one"));
        }
        let key = key.into_inner();
        let algorithm = match key.algorithm {
            None => Algorithm::HmacSha256,
            Some(written) => match Algorithm::named(written.get_ref()) {
                Some(Algorithm::HmacSha1) if !key.allow_weak => return Err(weak(&written, at)),
                Some(algorithm) => algorithm,
                None => return Err(unknown(&written, at)),
            },
        };
        let secret_file = base.join(key.secret_file);
        keys.push(KeyFile { name, algorithm, secret_file, view: which(key.view) });
    }
    Ok(keys)
}

fn weak(written: &Spanned<String>, at: At<'_>) -> ConfigError {
    let message = format!("`{}` is weak", written.get_ref());
    let help =
        "make a new key for both servers; if the other one speaks nothing better, add allow_weak = true";
    invalid(at(written.span()), &message, help)
}

fn unknown(written: &Spanned<String>, at: At<'_>) -> ConfigError {
    let known = Algorithm::ALL.map(|it| format!("\"{}\"", it.as_str())).join(", ");
    let message = format!("`{}` is not an algorithm that keys have here", written.get_ref());
    let help = format!("known are {known}; MD5 is broken: make a new key for both servers");
    invalid(at(written.span()), &message, &help)
}

fn which(side: Side) -> Which {
    match side {
        Side::Outside => Which::Public,
        Side::Inside => Which::Internal,
    }
}

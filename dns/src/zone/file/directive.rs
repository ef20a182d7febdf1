//! `$ORIGIN`, `$TTL` and `$INCLUDE` (RFC 1035 §5.1, RFC 2308 §4).

use super::reader::{Reader, Scope};
use super::{Include, Loader, NotIncluded, record};
use crate::name::{self, Name};
use crate::zone::text::fields::{Fields, Word};
use crate::zone::text::lexer::{Entry, Token};
use crate::zone::text::{Fault, mnemonic};
use crate::zone::{Position, SourceFile};

/// Includes within includes. People nest two or three; more is a loop through different paths.
const MAX_INCLUDE_DEPTH: usize = 16;

/// A file to read in the place of its directive, and the origin of its names.
pub(super) struct Included {
    pub(super) file: SourceFile,
    pub(super) origin: Vec<u8>,
}

/// Does what the directive says, or reports why not. The caller reads a file that is included.
pub(super) fn obey(
    reader: &mut Reader,
    directive: &Token<'_>,
    entry: &Entry<'_>,
    scope: &mut Scope<'_>,
    load: Loader<'_>,
) -> Option<Included> {
    let is = |name: &[u8]| directive.text.eq_ignore_ascii_case(name);
    let origin = scope.origin.clone();
    let fields = &mut Fields::new(&entry.tokens, 1, Some(&origin));
    let outcome = if is(b"$ORIGIN") {
        set_origin(reader, fields, scope).map(|()| None)
    } else if is(b"$TTL") {
        set_ttl(reader, fields).map(|()| None)
    } else if is(b"$INCLUDE") {
        include(reader, fields, entry, scope, load)
    } else {
        Err(unknown(directive))
    };
    outcome.unwrap_or_else(|fault| {
        reader.fault(fault, entry, scope);
        None
    })
}

fn unknown(directive: &Token<'_>) -> Fault {
    let word = Word { text: directive.text, quoted: false, index: 0 };
    let fault = Fault::of(&word, "unknown-directive", format!("`{}` is not a directive", word.shown()));
    match mnemonic::closest(word.text, ["$ORIGIN", "$TTL", "$INCLUDE", "$GENERATE"].into_iter()) {
        Some(meant) => fault.help(format!("did you mean `{meant}`?")),
        None => fault.help("write `\\$` if a name begins with a dollar sign"),
    }
}

/// Before the first record an absolute `$ORIGIN` names the zone, whatever the file is called.
fn set_origin(reader: &mut Reader, fields: &mut Fields<'_, '_>, scope: &mut Scope<'_>) -> Result<(), Fault> {
    let mut wire = Vec::new();
    let word = fields.name(&mut wire)?;
    fields.end()?;
    let is_absolute = name::parse_to_wire(word.text, None).is_ok();
    if !reader.is_begun && is_absolute {
        reader.apex = Name::from_wire(&wire).expect("Fields::name writes valid names");
    }
    reader.is_begun = true;
    scope.origin = wire;
    Ok(())
}

fn set_ttl(reader: &mut Reader, fields: &mut Fields<'_, '_>) -> Result<(), Fault> {
    let word = fields.word("a TTL such as 3600 or 1h")?;
    let ttl = record::read_ttl(&word).map_err(|fault| match fault.code {
        "bad-ttl" => Fault::not_a(&word, "a TTL such as 3600 or 1h"),
        _ => fault,
    })?;
    fields.end()?;
    reader.default_ttl = Some(ttl);
    Ok(())
}

/// `Kexample.com.+013+12345.key`: the public key of a zone that is to be signed.
fn is_key(written: &str) -> bool {
    let name = written.rsplit('/').next().unwrap_or_default();
    name.starts_with('K') && name.ends_with(".key") && name.contains(".+")
}

/// Only what signs a zone needs its keys beside it, and that writes them into the signed zone.
fn key_left_out(reader: &mut Reader, word: &Word<'_>, why: &NotIncluded, at: Position) {
    let message = format!("the key in `{}` is left out: {}", word.shown(), why.0);
    let help =
        "serve the signed zone file, which holds its keys; or copy the key's file into the zones folder";
    reader.report.warning(Some(at), "key-not-included", message, Some(help.to_owned()));
}

/// Origin and owner are afterwards what they were before (RFC 1035 §5.1).
fn include(
    reader: &mut Reader,
    fields: &mut Fields<'_, '_>,
    entry: &Entry<'_>,
    scope: &mut Scope<'_>,
    load: Loader<'_>,
) -> Result<Option<Included>, Fault> {
    let word = fields.text("the name of a file")?;
    let mut origin = Vec::new();
    if fields.peek().is_some() {
        fields.name(&mut origin)?;
    } else {
        origin.extend_from_slice(&scope.origin);
    }
    fields.end()?;
    reader.is_begun = true;
    let refused = |why: String| Fault::of(&word, "not-included", why);
    if reader.open.len() >= MAX_INCLUDE_DEPTH {
        return Err(refused(format!("files are included at most {MAX_INCLUDE_DEPTH} deep")));
    }
    let written = std::str::from_utf8(entry.tokens[word.index].text)
        .map_err(|_| refused("the name of the file is not UTF-8".to_owned()))?;
    let from = reader.files[scope.file as usize].path.clone();
    let file = match load(Include { written, from: &from }) {
        Ok(file) => file,
        Err(why) if is_key(written) => {
            key_left_out(reader, &word, &why, scope.position(entry.tokens[word.index].spot));
            return Ok(None);
        }
        Err(why) => return Err(refused(format!("`{}` is not included: {}", word.shown(), why.0))),
    };
    reader.may_open(&file.path).map_err(refused)?;
    Ok(Some(Included { file, origin }))
}

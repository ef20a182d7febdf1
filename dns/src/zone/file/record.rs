//! One record: `[owner] [TTL] [class] type RDATA`, TTL and class in either order (RFC 1035 §5.1).

use super::advice;
use super::reader::{Reader, Scope, whole};
use crate::name::{self, Name};
use crate::rtype::Type;
use crate::zone::text::fields::{Fields, Word, bad_name};
use crate::zone::text::lexer::Entry;
use crate::zone::text::{self, Fault, mnemonic, number};
use crate::zone::{Marks, Record};

/// The largest TTL (RFC 2181 §8).
pub(super) const MAX_TTL_S: u32 = (1 << 31) - 1;

/// The TTL of records in a draft that is never served.
const FALLBACK_TTL_S: u32 = 3_600;

/// Reads a record and adds it; says what is wrong when it cannot.
pub(super) fn add(reader: &mut Reader, entry: &Entry<'_>, marks: Marks, scope: &mut Scope<'_>) {
    let first_rdata = match read_owner(reader, entry, scope) {
        Ok(next) => next,
        Err(fault) => return reader.fault(fault, entry, scope),
    };
    let first = after_age(reader, entry, first_rdata, scope);
    let header = match header(entry, first) {
        Ok(header) => header,
        Err(fault) => return reader.fault(fault, entry, scope),
    };
    // A directive `$ORIGIN` after the first record no longer names the zone.
    reader.is_begun = true;
    let mut rdata = std::mem::take(&mut reader.scratch);
    rdata.clear();
    let mut fields = Fields::new(&entry.tokens, header.rdata, Some(&scope.origin));
    let outcome = match text::read(header.rtype, &mut fields, &mut rdata) {
        Ok(()) => finish(reader, entry, &header, &rdata, marks, scope),
        Err(fault) => Err(fault),
    };
    reader.scratch = rdata;
    match outcome {
        Ok(()) => advice::judge(reader, header.rtype, header.rdata, entry, scope),
        Err(fault) => {
            let errors = reader.report.errors();
            reader.fault(fault, entry, scope);
            if header.rtype == Type::SOA {
                reader.soa_errors += reader.report.errors() - errors;
            }
        }
    }
}

/// Sets the scope's owner; the index of the token after it.
fn read_owner(reader: &mut Reader, entry: &Entry<'_>, scope: &mut Scope<'_>) -> Result<usize, Fault> {
    if entry.blank {
        return match scope.owner {
            Some(_) => Ok(0),
            None => {
                Err(Fault::new("no-owner", "the line begins with a blank, but there is no record before it")
                    .help("begin the line with the name of the record, or with `@`"))
            }
        };
    }
    let token = &entry.tokens[0];
    let word = Word { text: token.text, quoted: token.quoted, index: 0 };
    if token.quoted {
        return Err(Fault::of(&word, "bad-name", "a name does not stand in quotes"));
    }
    let wire = &mut reader.scratch;
    wire.clear();
    // After a wrong owner the lines that repeat it are not read as those of the record before.
    scope.owner = None;
    name::parse_onto(token.text, Some(&scope.origin), wire).map_err(|why| bad_name(&word, why))?;
    scope.owner = Some(Name::from_wire(wire).expect("parse_onto writes valid names"));
    if token.text == b"IN" {
        reader.report.warning(
            Some(scope.position(token.spot)),
            "class-as-owner",
            "this line begins in the first column, so `IN` is the name of the record".to_owned(),
            Some("begin the line with a blank to repeat the name of the record before".to_owned()),
        );
    }
    Ok(1)
}

/// The index after `[AGE:3634567]`, which Windows DNS writes behind the names that clients registered themselves.
fn after_age(reader: &mut Reader, entry: &Entry<'_>, next: usize, scope: &Scope<'_>) -> usize {
    let age = entry.tokens.get(next).filter(|token| {
        let begins = token.text.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"[AGE:"));
        begins && token.text.ends_with(b"]") && !token.quoted
    });
    let Some(age) = age else { return next };
    if !std::mem::replace(&mut reader.told_of_age, true) {
        let message = "`[AGE:…]` is a note of Windows DNS and no part of a record; it is left out".to_owned();
        let help = "records with it were registered by clients; keep those that are still true".to_owned();
        reader.report.warning(Some(scope.position(age.spot)), "windows-age", message, Some(help));
    }
    next + 1
}

/// The fields between owner and RDATA.
struct Header {
    ttl: Option<u32>,
    rtype: Type,
    /// Index of the first token of the RDATA.
    rdata: usize,
}

fn header(entry: &Entry<'_>, mut next: usize) -> Result<Header, Fault> {
    let (mut ttl, mut has_class) = (None, false);
    loop {
        let Some(token) = entry.tokens.get(next) else {
            return Err(Fault::new("missing-type", "the record has no type")
                .help("a record is `name [TTL] [IN] type data`"));
        };
        let word = Word { text: token.text, quoted: token.quoted, index: next };
        next += 1;
        if word.quoted {
            return Err(Fault::of(&word, "unknown-type", "a record type does not stand in quotes"));
        }
        if ttl.is_none() && looks_like_ttl(word.text) {
            ttl = Some(read_ttl(&word)?);
        } else if !has_class && is_class(&word)? {
            has_class = true;
        } else {
            return Ok(Header { ttl, rtype: read_type(&word, entry)?, rdata: next });
        }
    }
}

/// An address in the place of the type is none.
fn looks_like_ttl(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_digit) && text.iter().all(u8::is_ascii_alphanumeric)
}

/// Seconds, held to the 31 bits of RFC 2181 §8.
pub(super) fn read_ttl(word: &Word<'_>) -> Result<u32, Fault> {
    let Some(ttl) = number::time_span(word.text) else {
        if word.text.iter().all(u8::is_ascii_digit) {
            return Err(ttl_too_large(word));
        }
        return Err(Fault::of(
            word,
            "bad-ttl",
            format!("`{}` is neither a TTL nor a record type", word.shown()),
        )
        .help("a TTL is a number of seconds, or a time such as 1d or 1h30m"));
    };
    if ttl > MAX_TTL_S { Err(ttl_too_large(word)) } else { Ok(ttl) }
}

fn ttl_too_large(word: &Word<'_>) -> Fault {
    Fault::of(word, "ttl-too-large", format!("a TTL is at most {MAX_TTL_S} seconds (RFC 2181)"))
        .help("more than a week is seldom wise; write 1d or 1w")
}

fn is_class(word: &Word<'_>) -> Result<bool, Fault> {
    let is = |class: &[u8]| word.text.eq_ignore_ascii_case(class);
    if is(b"IN") || is(b"CLASS1") {
        return Ok(true);
    }
    let numbered = word.text.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"CLASS"))
        && number::decimal(&word.text[5..], u64::from(u16::MAX)).is_some();
    if numbered || is(b"CH") || is(b"HS") || is(b"CS") || is(b"CHAOS") || is(b"HESIOD") || is(b"NONE") {
        return Err(Fault::of(word, "class-not-in", format!("class {} is not served here", word.shown()))
            .help("verge-dns serves class IN; leave the class out or write IN"));
    }
    Ok(false)
}

fn read_type(word: &Word<'_>, entry: &Entry<'_>) -> Result<Type, Fault> {
    let Some(rtype) = mnemonic::rtype(word.text) else { return Err(unknown_type(word, entry)) };
    if rtype.is_meta() {
        return Err(Fault::of(
            word,
            "meta-type",
            format!("{rtype} is for messages; no zone holds such a record"),
        )
        .help("remove the record"));
    }
    Ok(rtype)
}

fn unknown_type(word: &Word<'_>, entry: &Entry<'_>) -> Fault {
    let fault = Fault::of(word, "unknown-type", format!("`{}` is not a record type", word.shown()));
    if word.text.starts_with(b"$") {
        return fault.help("a directive begins in the first column");
    }
    if let Some(meant) = mnemonic::closest_type(word.text) {
        return fault.help(format!("did you mean `{meant}`?"));
    }
    // `A 192.0.2.1` in the first column: the type was taken for the owner.
    let owner = entry.tokens.first().filter(|_| !entry.blank && word.index > 0);
    match owner.and_then(|owner| mnemonic::rtype(owner.text)) {
        Some(rtype) => fault.help(format!("begin the line with a blank or a name if {rtype} is the type")),
        None => fault,
    }
}

fn finish(
    reader: &mut Reader,
    entry: &Entry<'_>,
    header: &Header,
    rdata: &[u8],
    marks: Marks,
    scope: &mut Scope<'_>,
) -> Result<(), Fault> {
    let at = scope.position(whole(entry));
    let owner = scope.owner.clone().expect("read_owner has set it");
    if header.rtype == Type::SOA {
        settle_apex(reader, &owner)?;
    }
    let ttl = match header.ttl {
        Some(ttl) => {
            reader.last_ttl = Some(ttl);
            ttl
        }
        None => implied_ttl(reader, header, rdata, at)?,
    };
    if marks.steer && !matches!(header.rtype, Type::A | Type::AAAA) {
        let message = format!("`verge: steer` stands at a record of type {}", header.rtype);
        return Err(Fault::new("steer-no-address", message)
            .help("mark an A or AAAA record; the hints of HTTPS and SVCB records follow it"));
    }
    let Marks { seen_by: mark, steer } = marks;
    reader.push(Record { owner, rtype: header.rtype, ttl, rdata: rdata.into(), at, mark, steer });
    Ok(())
}

/// `$TTL` (RFC 2308 §4), else the last TTL that was written (RFC 1035 §5.1), else the MINIMUM of the SOA, as BIND does.
fn implied_ttl(
    reader: &mut Reader,
    header: &Header,
    rdata: &[u8],
    at: crate::zone::Position,
) -> Result<u32, Fault> {
    if let Some(ttl) = reader.default_ttl {
        return Ok(ttl);
    }
    let help = Some("begin the file with a line such as `$TTL 1h`".to_owned());
    let (ttl, message) = match (reader.last_ttl, header.rtype) {
        (Some(ttl), _) => (ttl, format!("no $TTL is set; the TTL of the record before ({ttl}) is used")),
        (None, Type::SOA) => {
            let minimum = rdata.last_chunk().map_or(0, |four| u32::from_be_bytes(*four)).min(MAX_TTL_S);
            reader.last_ttl = Some(minimum);
            (minimum, format!("no $TTL is set; the MINIMUM of the SOA ({minimum}) is used"))
        }
        (None, _) => {
            // Said once; the same is true of every record below.
            reader.last_ttl = Some(FALLBACK_TTL_S);
            reader.warned_of_ttl = true;
            return Err(Fault::new("no-ttl", "the record has no TTL, and no $TTL is set")
                .help("begin the file with a line such as `$TTL 1h`"));
        }
    };
    if !std::mem::replace(&mut reader.warned_of_ttl, true) {
        reader.report.warning(Some(at), "no-default-ttl", message, help);
    }
    Ok(ttl)
}

/// The SOA's owner is the apex. It may confirm the file's name against a leading `$ORIGIN`: BIND writes zones out so
/// (`$ORIGIN com.`, then `example SOA …`), and people set an origin for the names that records point to.
fn settle_apex(reader: &mut Reader, owner: &Name) -> Result<(), Fault> {
    let is_first = !std::mem::replace(&mut reader.has_soa, true);
    // A file cannot have a slash in its name (RFC 2317 §4), so there the SOA alone can name the zone.
    let is_unspellable = owner.as_wire().contains(&b'/');
    if is_first && (*owner == reader.named || is_unspellable) {
        reader.apex = owner.clone();
    }
    if *owner == reader.apex {
        return Ok(());
    }
    let apex = &reader.apex;
    let fault = Fault::new("soa-owner", format!("the SOA belongs to {owner}, but the zone is {apex}"));
    Err(if owner.is_at_or_under(apex) && owner.to_string().ends_with(&format!("{apex}{apex}")) {
        fault.help("a final dot is missing: names without one are below the origin")
    } else {
        fault.help(format!(
            "write it at {apex}, or name the file {}.zone, or begin it with `$ORIGIN {owner}`",
            owner.to_string().trim_end_matches('.')
        ))
    })
}

//! Parameters of SVCB and HTTPS (RFC 9460 §2.1 and appendix A; keys of RFC 9461, 9540 and of the IANA registry).

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::address::{self, array};
use super::fields::{Fault, Fields, Word};
use super::{encoding, mnemonic, number, string};

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
const DOHPATH: u16 = 7;
const OHTTP: u16 = 8;
const TLS_SUPPORTED_GROUPS: u16 = 9;

const KEYS: &[(u16, &str)] = &[
    (MANDATORY, "mandatory"),
    (ALPN, "alpn"),
    (NO_DEFAULT_ALPN, "no-default-alpn"),
    (PORT, "port"),
    (IPV4HINT, "ipv4hint"),
    (ECH, "ech"),
    (IPV6HINT, "ipv6hint"),
    (DOHPATH, "dohpath"),
    (OHTTP, "ohttp"),
    (TLS_SUPPORTED_GROUPS, "tls-supported-groups"),
];

/// Key 65535 is reserved as "invalid key" (RFC 9460 §14.3.2).
const MAX_KEY: u64 = 65_534;

struct Param {
    key: u16,
    value: Vec<u8>,
    index: usize,
}

/// Appends all parameters that are left, in the order of their keys (RFC 9460 §2.2).
pub(super) fn read(fields: &mut Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut params: Vec<Param> = Vec::new();
    while let Some(word) = fields.next() {
        params.push(param(word, fields)?);
    }
    params.sort_by_key(|param| param.key);
    consistent(&params)?;
    for Param { key, value, .. } in params {
        out.extend_from_slice(&key.to_be_bytes());
        let len = u16::try_from(value.len())
            .map_err(|_| Fault::new("rdata-too-long", "a parameter has at most 65535 bytes"))?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&value);
    }
    Ok(())
}

fn param(word: Word<'_>, fields: &mut Fields<'_, '_>) -> Result<Param, Fault> {
    if word.quoted {
        return Err(Fault::of(
            &word,
            "bad-field",
            "expected a parameter such as alpn=\"h2,h3\", found a text",
        )
        .help("put only the value in quotes, directly after `=`"));
    }
    let equals = word.text.iter().position(|byte| *byte == b'=');
    let key_text = &word.text[..equals.unwrap_or(word.text.len())];
    let key = key(key_text).ok_or_else(|| unknown_key(&word, key_text))?;
    let written = match equals {
        Some(equals) if equals + 1 == word.text.len() => {
            fields.glued_text().or(Some(Word { text: b"", ..word }))
        }
        Some(equals) => Some(Word { text: &word.text[equals + 1..], ..word }),
        None => None,
    };
    let value = match written {
        Some(written) => value(key, &written)?,
        None => without_value(key, &word)?,
    };
    Ok(Param { key, value, index: word.index })
}

fn key(text: &[u8]) -> Option<u16> {
    // Keys are lower case (RFC 9460 §2.1).
    let named = KEYS.iter().find(|(_, name)| name.as_bytes() == text).map(|(key, _)| *key);
    named.or_else(|| {
        let digits =
            text.strip_prefix(b"key").filter(|digits| *digits == b"0" || !digits.starts_with(b"0"))?;
        u16::try_from(number::decimal(digits, MAX_KEY)?).ok()
    })
}

fn unknown_key(word: &Word<'_>, text: &[u8]) -> Fault {
    let shown = Word { text, ..*word }.shown();
    let fault =
        Fault::of(word, "unknown-parameter", format!("`{shown}` is not a parameter of SVCB or HTTPS"));
    match mnemonic::closest(text, KEYS.iter().map(|(_, name)| *name)) {
        Some(meant) => fault.help(format!("did you mean `{meant}`?")),
        None => fault.help("a parameter without a name is written as key and its number, such as key65000"),
    }
}

fn without_value(key: u16, word: &Word<'_>) -> Result<Vec<u8>, Fault> {
    match key {
        MANDATORY | ALPN | PORT | IPV4HINT | ECH | IPV6HINT | DOHPATH | TLS_SUPPORTED_GROUPS => {
            Err(bad(word, "needs a value"))
        }
        _ => Ok(Vec::new()),
    }
}

fn bad(word: &Word<'_>, why: &str) -> Fault {
    Fault::of(word, "bad-parameter", format!("`{}` {why}", word.shown()))
}

/// The wire form of a value in presentation form.
fn value(key: u16, written: &Word<'_>) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    string::unescaped(written, &mut bytes)?;
    let (parsed, what) = match key {
        MANDATORY => (mandatory(&bytes), "is not a list of parameter names, each once"),
        ALPN => (alpn(&bytes), "is not a list of protocol names of 1 to 255 bytes"),
        NO_DEFAULT_ALPN | OHTTP => {
            (bytes.is_empty().then(Vec::new), "is too much: this parameter has no value")
        }
        PORT => (numbers16(&[&bytes]), "is not a port (0 to 65535)"),
        IPV4HINT => {
            (addresses(&bytes, |a| address::ipv4(a).map(|a| a.octets())), "is not a list of IPv4 addresses")
        }
        ECH => (ech(&bytes), "is not valid base64"),
        IPV6HINT => {
            (addresses(&bytes, |a| address::ipv6(a).map(|a| a.octets())), "is not a list of IPv6 addresses")
        }
        DOHPATH => (
            is_doh_path(&bytes).then_some(bytes),
            "is not a path with the variable `dns`, such as /dns-query{?dns}",
        ),
        TLS_SUPPORTED_GROUPS => (groups(&bytes), "is not a list of numbers from 0 to 65535, each once"),
        _ => (Some(bytes), ""),
    };
    parsed.ok_or_else(|| bad(written, what))
}

fn list(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split(|byte| *byte == b',').collect()
}

fn mandatory(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut keys = list(bytes).into_iter().map(key).collect::<Option<Vec<u16>>>()?;
    keys.sort_unstable();
    let distinct = keys.windows(2).all(|pair| pair[0] != pair[1]);
    // The list must not hold its own key (RFC 9460 §8).
    (distinct && keys[0] != MANDATORY).then(|| keys.iter().flat_map(|key| key.to_be_bytes()).collect())
}

/// Protocol names behind commas; `\,` and `\\` stand for themselves (RFC 9460 appendix A.1).
fn alpn(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut wire = vec![0];
    let mut start = 0;
    let mut rest = bytes.iter().copied();
    let mut close = |wire: &mut Vec<u8>| {
        wire[start] = u8::try_from(wire.len() - start - 1).ok().filter(|len| *len > 0)?;
        start = wire.len();
        Some(())
    };
    while let Some(byte) = rest.next() {
        match byte {
            b',' => {
                close(&mut wire)?;
                wire.push(0);
            }
            b'\\' => wire.push(rest.next()?),
            _ => wire.push(byte),
        }
    }
    close(&mut wire)?;
    Some(wire)
}

fn numbers16(texts: &[&[u8]]) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    for text in texts {
        let number = u16::try_from(number::decimal(text, u64::from(u16::MAX))?).ok()?;
        wire.extend_from_slice(&number.to_be_bytes());
    }
    Some(wire)
}

fn addresses<const N: usize>(bytes: &[u8], parse: impl Fn(&[u8]) -> Option<[u8; N]>) -> Option<Vec<u8>> {
    let addresses = list(bytes).into_iter().map(parse).collect::<Option<Vec<_>>>()?;
    Some(addresses.concat())
}

fn ech(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    encoding::from_base64(bytes.iter().copied(), &mut wire)?;
    (!wire.is_empty()).then_some(wire)
}

/// A relative URI template with the variable `dns` (RFC 9461 §5).
fn is_doh_path(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|path| {
        path.starts_with('/')
            && path.split('{').skip(1).filter_map(|part| part.split_once('}')).any(|(expression, _)| {
                expression.trim_start_matches(['?', '&']).split(',').any(|variable| variable == "dns")
            })
    })
}

fn groups(bytes: &[u8]) -> Option<Vec<u8>> {
    let wire = numbers16(&list(bytes))?;
    let pairs: Vec<&[u8]> = wire.chunks(2).collect();
    let distinct = (1..pairs.len()).all(|at| !pairs[..at].contains(&pairs[at]));
    distinct.then(|| wire.clone())
}

/// Each key once, `mandatory` lists only what is there, `no-default-alpn` comes with `alpn` (RFC 9460 §2.1, §7.1, §8).
fn consistent(params: &[Param]) -> Result<(), Fault> {
    let fault = |param: &Param, message: String| Fault {
        token: Some(param.index),
        ..Fault::new("bad-parameter", message)
    };
    if let Some([_, again]) = params.array_windows().find(|[a, b]| a.key == b.key) {
        return Err(fault(again, format!("`{}` is given twice", key_name(again.key))));
    }
    let has = |key: u16| params.iter().any(|param| param.key == key);
    for param in params {
        if param.key == NO_DEFAULT_ALPN && !has(ALPN) {
            return Err(fault(param, "`no-default-alpn` needs `alpn` beside it".to_owned()));
        }
        if param.key == MANDATORY
            && let Some(absent) = param
                .value
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .find(|key| !has(*key))
        {
            let name = key_name(absent);
            return Err(fault(param, format!("`{name}` is mandatory, but the record does not have it")));
        }
    }
    Ok(())
}

fn key_name(key: u16) -> String {
    match KEYS.iter().find(|(known, _)| *known == key) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("key{key}"),
    }
}

/// Writes all parameters.
pub(super) fn write(mut bytes: &[u8], out: &mut String) -> Option<()> {
    while let [key_high, key_low, high, low, rest @ ..] = bytes {
        let key = u16::from_be_bytes([*key_high, *key_low]);
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        out.push(' ');
        out.push_str(&key_name(key));
        if !value.is_empty() {
            out.push('=');
            write_value(key, value, out)?;
        }
        bytes = rest;
    }
    bytes.is_empty().then_some(())
}

fn write_value(key: u16, value: &[u8], out: &mut String) -> Option<()> {
    match key {
        MANDATORY => write_list(value, 2, out, |pair| Some(key_name(u16::from_be_bytes(array::<2>(pair)?)))),
        PORT | TLS_SUPPORTED_GROUPS => {
            write_list(value, 2, out, |pair| Some(u16::from_be_bytes(array::<2>(pair)?).to_string()))
        }
        IPV4HINT => write_list(value, 4, out, |four| Some(Ipv4Addr::from(array::<4>(four)?).to_string())),
        IPV6HINT => write_list(value, 16, out, |all| Some(Ipv6Addr::from(array::<16>(all)?).to_string())),
        ALPN => write_alpn(value, out),
        ECH => encoding::write_base64(value, out).ok(),
        _ => {
            string::write_quoted(value, out);
            Some(())
        }
    }
}

fn write_list(
    value: &[u8],
    size: usize,
    out: &mut String,
    show: impl Fn(&[u8]) -> Option<String>,
) -> Option<()> {
    for (index, item) in value.chunks(size).enumerate() {
        write!(out, "{}{}", if index == 0 { "" } else { "," }, show(item)?).ok()?;
    }
    Some(())
}

fn write_alpn(mut value: &[u8], out: &mut String) -> Option<()> {
    let mut written = Vec::new();
    while let Some((len, rest)) = value.split_first() {
        let (protocol, rest) = rest.split_at_checked(usize::from(*len))?;
        for byte in protocol {
            if matches!(byte, b',' | b'\\') {
                written.push(b'\\');
            }
            written.push(*byte);
        }
        if !rest.is_empty() {
            written.push(b',');
        }
        value = rest;
    }
    string::write_quoted(&written, out);
    Some(())
}

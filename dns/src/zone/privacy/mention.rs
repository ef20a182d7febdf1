//! Names and addresses in text: SPF, DMARC, URI, CAA, plain TXT and the like; and addresses that targets spell (D19).
//!
//! Text is never hidden for what it says, since to hide an SPF policy in silence would break mail; its author is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::spelled;
use crate::name::Name;
use crate::rdata::{self, Field};
use crate::rtype::Type;
use crate::zone::Record;
use crate::zone::address::{hint_bytes, svc_params};

/// Something in a text that an outsider may not be meant to learn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mention {
    /// An address, or a network.
    Net(IpNet),
    /// A name of two labels or more.
    Name(Name),
}

/// Most mentions of one record that are looked at; more is no text that a person wrote.
const MAX_MENTIONS: usize = 64;

/// The names and addresses that the text of a record mentions, in the order of the text, behind those that its targets spell.
pub(super) fn mentions(record: &Record) -> Vec<Mention> {
    let mut found = spelled_by_targets(record);
    if !has_text(record.rtype) {
        return found;
    }
    for span in rdata::spans(record.rtype, &record.rdata).map_while(Result::ok) {
        match span.field {
            Field::Text => in_text(span.bytes.get(1..).unwrap_or_default(), &mut found),
            Field::RestText => in_text(span.bytes, &mut found),
            Field::Texts => in_text(&joined(span.bytes), &mut found),
            Field::SvcParams => in_params(span.bytes, &mut found),
            _ => {}
        }
    }
    found.truncate(MAX_MENTIONS);
    found
}

/// Addresses that the names in the data spell: a CNAME to `10.0.0.5.nip.io` tells one as well as a text does.
fn spelled_by_targets(record: &Record) -> Vec<Mention> {
    let names = rdata::names(record.rtype, &record.rdata);
    let addresses = names.iter().filter_map(|(_, wire)| spelled::address(&wire.to_ascii_lowercase()));
    addresses.map(|address| Mention::Net(address.into())).collect()
}

fn has_text(rtype: Type) -> bool {
    let is_text =
        |field: &Field| matches!(field, Field::Text | Field::RestText | Field::Texts | Field::SvcParams);
    rdata::shape(rtype).is_some_and(|fields| fields.iter().any(is_text))
}

/// The strings of one record. Those of a policy are one text (RFC 7208 §3.3, RFC 6376 §3.6.2.2), others stand apart.
fn joined(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let is_policy = bytes.get(1..).is_some_and(|text| text.starts_with(b"v="));
    while let Some((len, rest)) = bytes.split_first() {
        let (string, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        out.extend_from_slice(string);
        out.extend_from_slice(if is_policy { b"" } else { b" " });
        bytes = rest;
    }
    out
}

/// SVCB keys beside the hints, which D3 judges: `dohpath` (RFC 9461 §5) and keys that nobody knows yet.
fn in_params(params: &[u8], found: &mut Vec<Mention>) {
    for (key, value) in
        svc_params(params).filter(|(key, _)| *key >= FIRST_FREE_KEY && hint_bytes(*key).is_none())
    {
        match (<[u8; 4]>::try_from(value), <[u8; 16]>::try_from(value)) {
            (Ok(bytes), _) if key > DOHPATH => found.push(Mention::Net(IpNet::from(IpAddr::from(bytes)))),
            (_, Ok(bytes)) if key > DOHPATH => found.push(Mention::Net(IpNet::from(IpAddr::from(bytes)))),
            _ => in_text(value, found),
        }
    }
}

/// `mandatory`, `alpn`, `no-default-alpn`, `port`, the hints and `ech` hold neither names nor addresses of hosts.
const FIRST_FREE_KEY: u16 = DOHPATH;
const DOHPATH: u16 = 7;

fn in_text(bytes: &[u8], found: &mut Vec<Mention>) {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = &*text;
    while let Some(start) = rest.find(is_part) {
        let from = &rest[start..];
        let end = from.find(|letter| !is_part(letter)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        if found.len() < MAX_MENTIONS && word.contains(['.', ':']) {
            in_word(word, prefix_length(after), found);
        }
        rest = after;
    }
}

/// Names and addresses are made of these.
fn is_part(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | ':')
}

/// The number behind a slash, as in `ip4:10.0.0.0/8`.
fn prefix_length(after: &str) -> Option<u8> {
    let digits = after.strip_prefix('/')?;
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

fn in_word(word: &str, length: Option<u8>, found: &mut Vec<Mention>) {
    // `ip6:fd00::1`, `[fd00::1]`, `sip:10.0.0.1:5060`: the address may stand behind a scheme.
    let behind_schemes = std::iter::successors(Some(word), |word| Some(word.split_once(':')?.1));
    let v6 = behind_schemes
        .filter_map(|tail| tail.trim_end_matches(['.', '-', '_']).parse::<Ipv6Addr>().ok())
        .next();
    if let Some(address) = v6 {
        let net = length
            .and_then(|length| Ipv6Net::new(address, length).ok())
            .map_or(IpAddr::from(address).into(), IpNet::from);
        return found.push(Mention::Net(net));
    }
    for part in word.split(':').filter(|part| part.contains('.')) {
        // `10.0.0.1-10.0.0.9`, `ip_10.0.0.25`.
        let v4 = part.split(['-', '_']).filter_map(|piece| piece.trim_matches('.').parse::<Ipv4Addr>().ok());
        let before = found.len();
        found.extend(v4.map(|address| {
            let net = length.and_then(|length| Ipv4Net::new(address, length).ok());
            Mention::Net(net.map_or(IpAddr::from(address).into(), IpNet::from))
        }));
        if found.len() == before
            && let Ok(name) = Name::parse_absolute(part.trim_matches(['.', '-']))
            && name.label_count() >= 2
        {
            let address = spelled::address(name.as_wire());
            found.push(address.map_or(Mention::Name(name), |address| Mention::Net(address.into())));
        }
    }
}

/// The names that a registry text of external-dns may be about: it stands at `TYPE-NAME`, or at the name itself, with
/// a prefix or suffix that its operator chose.
pub(super) fn registered(record: &Record) -> Vec<Name> {
    if record.rtype != Type::TXT
        || !record.rdata.get(1..).is_some_and(|text| text.starts_with(b"heritage=external-dns"))
    {
        return Vec::new();
    }
    let Some(parent) = record.owner.parent() else { return Vec::new() };
    let wire = record.owner.as_wire();
    let first = &wire[1..=usize::from(wire[0])];
    let dashes = first.iter().enumerate().filter(|(_, byte)| **byte == b'-').map(|(at, _)| at);
    let pieces = dashes.flat_map(|at| [&first[at + 1..], &first[..at]]).filter(|piece| !piece.is_empty());
    let siblings = pieces.filter_map(|piece| parent.child(piece));
    let mut names: Vec<Name> = std::iter::once(record.owner.clone()).chain(siblings).collect();
    names.extend(Some(parent).filter(|parent| !parent.is_root()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::{Position, text};

    fn check(line: &str, expected: &str) {
        let (rtype, rdata) = line.split_once(' ').unwrap();
        let rtype: Type = rtype.parse().unwrap();
        let rdata =
            text::read_rdata(rtype, rdata, &Name::root()).unwrap_or_else(|fault| panic!("{line}: {fault:?}"));
        let owner = Name::parse_absolute("x.test").unwrap();
        let record = Record {
            owner,
            rtype,
            ttl: 60,
            rdata: rdata.into(),
            at: Position::default(),
            mark: None,
            steer: false,
        };
        let shown: Vec<String> = mentions(&record)
            .into_iter()
            .map(|mention| match mention {
                Mention::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
                Mention::Net(net) => net.to_string(),
                Mention::Name(name) => name.to_string(),
            })
            .collect();
        assert_eq!(shown.join(" "), expected, "{line}");
    }

    #[test]
    fn names_and_addresses_are_found_in_prose_and_policies() {
        check(
            r#"TXT "v=spf1 a:relay.example.com mx:m.example.com include:i.example.com redirect=r.example.com -all""#,
            "relay.example.com. m.example.com. i.example.com. r.example.com.",
        );
        check(r#"TXT "v=spf1 exists:%{i}._spf.relay.example.com -all""#, "_spf.relay.example.com.");
        check(
            r#"TXT "v=spf1 ip4:10.0.0.0/8 ip4:0.0.0.0/0 ip6:fd00::/8 -all""#,
            "10.0.0.0/8 0.0.0.0/0 fd00::/8",
        );
        check(r#"TXT "v=spf1 +ip6:fd00::1" "/64 -all""#, "fd00::1/64");
        check(r#"TXT "Address is 10.0.0.25.""#, "10.0.0.25");
        check(r#"TXT "10.0.0.1-10.0.0.9" "ip_10.0.0.25""#, "10.0.0.1 10.0.0.9 10.0.0.25");
        check(r#"TXT "note=2nd floor" "adminurl=http://printer.example.com:8080/""#, "printer.example.com.");
        check(r#"TXT "v=DMARC1; rua=mailto:x@relay.example.com, mailto:y@a.b""#, "relay.example.com. a.b.");
        check(r#"URI 10 1 "https://[fd00::1]:443/""#, "fd00::1");
        check(r#"URI 10 1 "https://10.1.2.3:8080/x""#, "10.1.2.3");
        check(r#"CAA 0 iodef "mailto:sec@relay.example.com""#, "relay.example.com.");
        check(r#"NAPTR 100 10 "U" "E2U+sip" "!^.*$!sip:info@relay.example.com!" ."#, "relay.example.com.");
        check(r#"HINFO "10.0.0.9" "on hv.example.com.""#, "10.0.0.9 hv.example.com.");
        check(r"SVCB 1 a.test. key65333=\010\000\000\025", "10.0.0.25");
        check("SVCB 1 a.test. alpn=h2 port=53 dohpath=/q{?dns} ipv4hint=10.0.0.1", "");
        check(r#"SVCB 1 a.test. key65000="see relay.example.com""#, "relay.example.com.");
        check(r#"TXT "see 10.0.0.7.nip.io, or 10-0-0-8.sslip.io.""#, "10.0.0.7 10.0.0.8");
        check("CNAME 10.0.0.5.NIP.io.", "10.0.0.5");
        check("MX 5 mail-10-1-2-3.nip.io.", "10.1.2.3");
        check("HTTPS 1 fd00--1.sslip.io. alpn=h2", "fd00::1");
        check("CNAME www.nip.io.", "");
        check(r#"TXT "plain words, no. names:""#, "");
        check("A 10.0.0.1", "");
    }
}

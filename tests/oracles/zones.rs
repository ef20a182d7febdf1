//! Zone text and the records it means to us.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use verge_dns::name::Name;
use verge_dns::rtype::Type;
use verge_dns::zone::check::{self, Context};
use verge_dns::zone::file::{self, NotIncluded};
use verge_dns::zone::text::write_record;
use verge_dns::zone::tree::Tree;
use verge_dns::zone::{Record, Severity, SourceFile, Zone, address};

/// The zone of all tables; relative names in `forms.txt` are relative to it.
pub(crate) const APEX: &str = "example.";

/// Owner in lower case, TTL, type and RDATA in hexadecimal.
pub(crate) type Records = BTreeSet<(String, u32, Type, String)>;

/// The records that we would serve; or the first error.
pub(crate) fn read(text: &str) -> Result<Records, String> {
    let zone = parse(text)?;
    let context = Context {
        hidden_address: &|address| address::hidden(address, &[]).is_some(),
        internal_name: &|_| false,
    };
    let problems = [check::check(&zone, &Tree::of(&zone), context), check::view(&zone, |_| true)].concat();
    match problems.into_iter().find(|problem| problem.severity == Severity::Error) {
        Some(problem) => Err(problem.message),
        None => Ok(records(&zone)),
    }
}

/// The records that a text means, whether or not it makes a zone; or the first error.
pub(crate) fn understand(text: &str) -> Result<Records, String> {
    parse(text).map(|zone| records(&zone))
}

fn parse(text: &str) -> Result<Zone, String> {
    let apex = Name::parse_absolute(APEX).expect("a name");
    let file = SourceFile { path: PathBuf::from("example.zone"), text: Arc::from(text.as_bytes()) };
    let none = &mut |_: file::Include<'_>| Err(NotIncluded("there is no other file".to_owned()));
    let parsed = file::read(apex, file, none);
    parsed.zone.ok_or_else(|| match parsed.problems.first() {
        Some(problem) => format!("{} ({:?})", problem.message, problem.at),
        None => "for no reason".to_owned(),
    })
}

fn records(zone: &Zone) -> Records {
    let one = |record: &Record| {
        (record.owner.to_string().to_lowercase(), record.ttl, record.rtype, hex(&record.rdata))
    };
    zone.records.iter().map(one).collect()
}

/// The text that we would write.
pub(crate) fn written(records: &Records) -> String {
    let mut text = String::new();
    // The SOA comes first in every zone file (RFC 1035 §5.2).
    for is_soa in [true, false] {
        for (owner, ttl, rtype, rdata) in records.iter().filter(|record| (record.2 == Type::SOA) == is_soa) {
            let owner = Name::parse_absolute(owner).expect("a name that was written");
            write_record(&owner, *ttl, *rtype, &bytes(rdata), &mut text).expect("a string grows");
            let _ = writeln!(text);
        }
    }
    text
}

/// A zone with one record of its own.
pub(crate) fn around(mnemonic: &str, rdata: &str) -> String {
    let soa = if mnemonic == "SOA" { rdata } else { "ns h 1 2 3 4 5" };
    let own = if mnemonic == "SOA" { String::new() } else { format!("x {mnemonic} {rdata}\n") };
    format!("$TTL 300\n@ SOA {soa}\n@ NS ns.elsewhere.test.\n{own}")
}

/// The RDATA of the record that [`around`] put in.
pub(crate) fn rdata_of(records: &Records, rtype: Type) -> Vec<String> {
    let is_own = |owner: &str| rtype == Type::SOA || owner.starts_with("x.");
    let own = records.iter().filter(|(owner, _, other, _)| *other == rtype && is_own(owner));
    own.map(|(_, _, _, rdata)| rdata.clone()).collect()
}

/// The zone files of a table: each begins after a line `=== title`.
pub(crate) fn corpus(table: &str) -> Vec<(&str, &str)> {
    let parts = table.split("=== ").skip(1);
    parts.filter_map(|part| part.split_once('\n')).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that the hexadecimal digits mean.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("hexadecimal"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}

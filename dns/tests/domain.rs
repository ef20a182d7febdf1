//! NLnet Labs' `domain` reads zone text, too: where it knows a type, it must find the bytes that we find.

use bytes::Bytes;
use domain::base::Name;
use domain::base::rdata::ComposeRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};
use verge_dns::name;
use verge_dns::rtype::Type;
use verge_dns::zone::text::read_rdata;

/// The RDATA that `domain` finds; none if it does not know the form.
fn theirs(mnemonic: &str, text: &str) -> Option<Vec<u8>> {
    let line = format!("x.example. 300 IN {mnemonic} {text}\n");
    let mut file = Zonefile::load(&mut line.as_bytes()).expect("bytes in memory");
    file.set_origin(Name::<Bytes>::from_octets(Bytes::from_static(b"\x07example\0")).expect("a name"));
    match file.next_entry() {
        Ok(Some(Entry::Record(record))) => {
            let mut rdata = Vec::new();
            record.data().compose_rdata(&mut rdata).unwrap();
            Some(rdata)
        }
        _ => None,
    }
}

/// (form, why): what `domain` reads otherwise.
const OTHERWISE: &[(&str, &str)] = &[("NS @", "an `@` in RDATA is a label to it, not the origin")];

#[test]
fn every_form_that_domain_knows_means_the_same_bytes() {
    let origin = name::Name::parse_absolute("example.").unwrap();
    let (mut same, mut otherwise) = (0, Vec::new());
    for line in include_str!("../src/zone/text/forms.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('|').map(str::trim);
        let (Some(mnemonic), Some(text)) = (columns.next(), columns.next()) else { continue };
        let rtype: Type = mnemonic.parse().unwrap();
        let ours = read_rdata(rtype, text, &origin).unwrap();
        match theirs(mnemonic, text) {
            Some(theirs) if theirs == *ours => same += 1,
            Some(_) => otherwise.push(format!("{mnemonic} {text}")),
            None => {}
        }
    }
    assert_eq!(otherwise, OTHERWISE.iter().map(|(form, _)| *form).collect::<Vec<_>>());
    assert!(same >= 60, "{same} are too few to prove anything");
}

//! Records that lead into zones that never had a good version. Outsiders get SERVFAIL for them, unless what was understood
//! of the zone says that they are hidden.

use rand::Rng;
use rand::seq::IndexedRandom;
use verge_dns::rdata;
use verge_dns::rtype::Type;
use verge_dns::zone::Zone;

use super::{Label, Labelled, Maker};

/// Nothing is understood of the first; the second has a draft.
pub(super) const APEXES: [&str; 2] = ["unknown.test.", "draft.test."];

/// The treatment of undecided records in a zone that is made for comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undecided {
    Kept,
    /// They are there with other RDATA, so that an answer that depends on them is another.
    Changed,
    LeftOut,
}

impl Labelled {
    pub(crate) fn is_unknown(&self) -> bool {
        APEXES.contains(&self.zone.apex.to_string().as_str())
    }

    pub(crate) fn made(&self, undecided: Undecided) -> Option<Zone> {
        let mut zone = self.public().filter(|_| !self.is_unknown())?;
        let is_undecided = |owner, rtype| {
            let mut labels = self.zone.records.iter().zip(&self.labels);
            labels.any(|(record, label)| {
                *label == Label::Undecided && record.owner == owner && record.rtype == rtype
            })
        };
        match undecided {
            Undecided::Kept => {}
            Undecided::LeftOut => {
                zone.records.retain(|record| !is_undecided(record.owner.clone(), record.rtype));
            }
            Undecided::Changed => {
                for record in &mut zone.records {
                    if is_undecided(record.owner.clone(), record.rtype) {
                        record.rdata = changed(record.rtype, &record.rdata).into();
                    }
                }
            }
        }
        Some(Zone::new(zone.apex, zone.records, zone.files))
    }
}

/// With another first letter of the name in it, or another last byte.
fn changed(rtype: Type, old: &[u8]) -> Box<[u8]> {
    let mut new: Box<[u8]> = old.into();
    let name = rdata::names(rtype, old).into_iter().next().map(|(_, wire)| wire.as_ptr());
    let at = name.map_or(old.len() - 1, |name| name as usize - old.as_ptr() as usize + 1);
    new[at] = if new[at] == b'q' { b'k' } else { b'q' };
    new
}

impl Maker {
    /// A zone of which only a part was understood; its records are not served.
    pub(super) fn draft(&mut self) {
        let [_, apex] = APEXES;
        let zone = self.zone(apex, false);
        self.add(zone, apex, "SOA", "ns1.a.test. admin.a.test. 1 2 3 4 5", Label::Public);
        self.add(zone, apex, "NS", "ns1.a.test.", Label::Public);
        let address = self.public_v4();
        self.add(zone, &format!("www.{apex}"), "A", &address, Label::Public);
        let address = self.hidden_v4();
        self.add(zone, &format!("db.{apex}"), "A", &address, Label::Hidden);
    }

    fn unknown_target(&mut self) -> (String, Label) {
        match self.rng.random_range(0..6) {
            0 => ("www.draft.test.".into(), Label::Undecided),
            1 => ("typo.draft.test.".into(), Label::Undecided),
            // Nothing that is missing in the draft could make it public to the outside.
            2 => ("db.draft.test.".into(), Label::Hidden),
            _ => (format!("h{}.unknown.test.", self.rng.random_range(0..9)), Label::Undecided),
        }
    }

    pub(super) fn leads_to_unknown(&mut self, zone: usize) {
        let (target, label) = self.unknown_target();
        let owner = self.place(zone);
        match self.rng.random_range(0..9) {
            0 => self.beside_public(zone, &owner, &target, label),
            1 => self.chain(zone, &owner, target, label),
            2 => {
                self.add(zone, &format!("*.{owner}"), "CNAME", &target, label);
                let public = self.public_v4();
                self.add(zone, &format!("there.{owner}"), "A", &public, Label::Public);
            }
            3 => {
                self.add(zone, &owner, "DNAME", &target, label);
                self.add(zone, &owner, "TXT", "its owner", Label::Public);
                self.add(zone, &format!("below.{owner}"), "TXT", "occluded", label);
                let alias = self.place(zone);
                self.add(zone, &alias, "CNAME", &format!("x.{owner}"), label);
            }
            4 => {
                let address = self.hidden_v4();
                self.add(zone, &owner, "A", &address, Label::Hidden);
                self.add(zone, &owner, "HINFO", "a b", Label::Hidden);
                self.add(zone, &owner, "MX", &format!("10 {target}"), label);
                self.add(zone, &owner, "CAA", "0 issue \"ca.test\"", label);
                self.add(zone, &format!("_dmarc.{owner}"), "TXT", "v=DMARC1; p=reject", label);
            }
            5 => {
                let service = format!("a._ipp._tcp.{owner}");
                self.add(zone, &service, "SRV", &format!("0 0 631 {target}"), label);
                self.add(zone, &service, "TXT", "note=here", label);
                self.add(zone, &format!("_ipp._tcp.{owner}"), "PTR", &service, label);
            }
            // Whether a cut exists is never undecided.
            6 if label == Label::Undecided => self.add(zone, &owner, "NS", &target, Label::Public),
            7 => self.add_marked(zone, &owner, "CNAME", &target, Label::Public),
            _ => {
                let shape = *SHAPES.choose(&mut self.rng).unwrap();
                self.add(zone, &owner, shape.0, &shape.1.replace('%', &target), label);
            }
        }
    }

    /// One record of an RRset is undecided, so all of it is; the owner's other types are as they are.
    fn beside_public(&mut self, zone: usize, owner: &str, target: &str, label: Label) {
        let (public, text) = (self.public_v4(), self.public_target());
        self.add(zone, owner, "A", &public, Label::Public);
        self.add(zone, owner, "AFSDB", &format!("1 {target}"), label);
        let mate = if label == Label::Hidden { Label::Public } else { label };
        self.add(zone, owner, "AFSDB", &format!("2 {text}"), mate);
    }

    fn chain(&mut self, zone: usize, owner: &str, target: String, label: Label) {
        self.add(zone, owner, "CNAME", &target, label);
        let next = self.place(zone);
        self.add(zone, &next, "CNAME", owner, label);
        let mail = self.place(zone);
        self.add(zone, &mail, "A", "8.8.8.8", Label::Public);
        self.add(zone, &mail, "MX", &format!("10 {next}"), label);
    }
}

const SHAPES: &[(&str, &str)] = &[
    ("CNAME", "%"),
    ("MX", "10 %"),
    ("SRV", "0 0 1 %"),
    ("PTR", "%"),
    ("HTTPS", "0 %"),
    ("SVCB", "1 % alpn=h2"),
    ("NAPTR", "1 1 \"U\" \"E2U+sip\" \"\" %"),
    ("KX", "1 %"),
    ("RT", "1 %"),
    ("RP", "root.% ."),
];

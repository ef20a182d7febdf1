//! Zones from small alphabets, so that owners, targets and questions meet each other often.
//!
//! A zone holds only what all servers accept: a CNAME alone at its name, nothing below a DNAME, an address for every name server inside the apex's own NS set.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// One zone in the making: owner → (type mnemonic, RDATA) in text.
pub(crate) struct Zone {
    pub(crate) apex: String,
    beneath: Beneath,
    ttl: u32,
    soa: String,
    nodes: BTreeMap<String, Vec<(&'static str, String)>>,
}

/// One question to a zone.
pub(crate) struct Question {
    pub(crate) zone: usize,
    pub(crate) name: String,
    pub(crate) rtype: u16,
    edns: Edns,
}

/// Facts that a client states of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edns {
    None,
    Plain { bufsize: u16 },
    DnssecOk { bufsize: u16 },
}

/// Each question takes the next of these; seven are prime to the number of types, so that each type meets each.
const EDNS: [Edns; 7] = [
    Edns::DnssecOk { bufsize: 4096 },
    Edns::Plain { bufsize: 4096 },
    Edns::Plain { bufsize: 512 },
    Edns::DnssecOk { bufsize: 1232 },
    Edns::Plain { bufsize: 1232 },
    Edns::None,
    Edns::Plain { bufsize: 900 },
];

impl Question {
    /// Without the DO bit.
    pub(crate) fn plain(zone: usize, name: &str, rtype: u16) -> Self {
        Self { zone, name: name.to_owned(), rtype, edns: Edns::Plain { bufsize: 4096 } }
    }

    /// The query: RD clear.
    pub(crate) fn wire(&self, id: u16) -> Vec<u8> {
        let mut wire = id.to_be_bytes().to_vec();
        wire.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns != Edns::None)]);
        for label in self.name.trim_end_matches('.').split('.') {
            wire.push(u8::try_from(label.len()).expect("generated labels are short"));
            wire.extend(label.bytes());
        }
        wire.push(0);
        wire.extend(self.rtype.to_be_bytes());
        wire.extend([0, 1]);
        let (bufsize, flags) = match self.edns {
            Edns::None => return wire,
            Edns::Plain { bufsize } => (bufsize, 0),
            Edns::DnssecOk { bufsize } => (bufsize, 0x80),
        };
        wire.extend([0, 0, 41]);
        wire.extend(bufsize.to_be_bytes());
        wire.extend([0, 0, flags, 0, 0, 0]);
        wire
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} TYPE{}", self.name, self.rtype)?;
        match self.edns {
            Edns::None => f.write_str(" +noedns"),
            Edns::Plain { bufsize } => write!(f, " +bufsize={bufsize}"),
            Edns::DnssecOk { bufsize } => write!(f, " +do +bufsize={bufsize}"),
        }
    }
}

const LABELS: &[&str] = &["a", "b", "c", "*", "_t"];
const TYPES: &[u16] = &[1, 28, 2, 6, 15, 16, 5, 39, 43, 33, 64, 65, 12, 35, 48, 65280];

/// The zones of one seed: a parent and, now and then, one of its children.
pub(crate) fn zones(seed: u64) -> Vec<Zone> {
    let mut random = StdRng::seed_from_u64(seed);
    let apex = format!("z{seed}.test.");
    let neighbour = format!("z{}.test.", seed ^ 1);
    let parent = zone(&mut random, apex.clone(), &neighbour, Beneath::Nothing);
    let can_be_zone = |cut: &&String| !cut.starts_with('*') && !parent.has_dname_below(cut);
    let cuts: Vec<String> = parent.cuts().filter(can_be_zone).cloned().collect();
    let mut all = vec![parent];
    if let Some(cut) = cuts.choose(&mut random)
        && random.random_bool(0.3)
    {
        let beneath = if all[0].has_below(cut) { Beneath::OccludedData } else { Beneath::Nothing };
        all.push(zone(&mut random, cut.clone(), &apex, beneath));
    }
    all
}

/// Whether a parent has data below a zone's apex. NSD mixes such data up with the zone's own: it refuses a DNAME above
/// it, and takes names for existing that are not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beneath {
    Nothing,
    OccludedData,
}

fn zone(random: &mut StdRng, apex: String, neighbour: &str, beneath: Beneath) -> Zone {
    let ttl = *[60, 300, 3600].choose(random).expect("not empty");
    let minimum = *[30, 300, 86400].choose(random).expect("not empty");
    let soa = format!("ns.{apex} h.{apex} 1 3600 600 604800 {minimum}");
    let mut zone = Zone { apex, beneath, ttl, soa, nodes: BTreeMap::new() };
    zone.add_apex(random, neighbour);
    for _ in 0..random.random_range(2..16) {
        let owner = zone.random_name(random);
        zone.add_node(random, &owner, neighbour);
    }
    zone
}

impl Zone {
    fn add_apex(&mut self, random: &mut StdRng, neighbour: &str) {
        let apex = self.apex.clone();
        if random.random_bool(0.06) && self.beneath == Beneath::Nothing {
            self.put(&apex, "NS", "ns.elsewhere.example.".to_owned());
            self.put(&apex, "DNAME", format!("a.{neighbour}"));
            return;
        }
        self.put(&apex, "NS", format!("ns.{apex}"));
        self.put(&format!("ns.{apex}"), "A", "192.0.2.1".to_owned());
        if random.random_bool(0.4) {
            self.put(&apex, "NS", format!("ns.{neighbour}"));
        }
        for (rtype, rdata) in [("A", "192.0.2.2"), ("TXT", "apex"), ("MX", "10 a")] {
            if random.random_bool(0.3) {
                let rdata = rdata.replace(" a", &format!(" a.{apex}"));
                self.put(&apex, rtype, rdata);
            }
        }
    }

    fn random_name(&self, random: &mut StdRng) -> String {
        let mut name = self.apex.clone();
        for _ in 0..*[1, 1, 1, 1, 2, 2, 2, 3, 3, 5].choose(random).expect("not empty") {
            name = format!("{}.{name}", LABELS.choose(random).expect("not empty"));
        }
        name
    }

    fn random_target(&self, random: &mut StdRng, neighbour: &str) -> String {
        match random.random_range(0..12) {
            0 => "x.elsewhere.example.".to_owned(),
            1 => format!("a.{neighbour}"),
            2 => format!("a.b.{neighbour}"),
            3 => self.apex.clone(),
            4 => format!("ns.{}", self.apex),
            _ => self.random_name(random),
        }
    }

    fn add_node(&mut self, random: &mut StdRng, owner: &str, neighbour: &str) {
        if self.nodes.contains_key(owner) || self.is_under(owner, "DNAME") {
            return;
        }
        let target = self.random_target(random, neighbour);
        match random.random_range(0..20) {
            0..=3 => self.put(owner, "CNAME", target),
            4 if (!owner.starts_with('*') || random.random_bool(0.3)) && !self.has_below(owner) => {
                self.put(owner, "DNAME", target)
            }
            5..=8
                if !owner.starts_with('*')
                    || (self.beneath == Beneath::Nothing && random.random_bool(0.1)) =>
            {
                self.add_cut(random, owner, &target)
            }
            9 => self.add_large(random, owner),
            _ => self.add_data(random, owner, neighbour),
        }
    }

    fn add_cut(&mut self, random: &mut StdRng, owner: &str, target: &str) {
        for _ in 0..random.random_range(1..3) {
            let server = match random.random_range(0..5) {
                0 => target.to_owned(),
                1 => format!("ns.{}", self.apex),
                2 => owner.to_owned(),
                _ => format!("{}.{owner}", ["a", "ns"].choose(random).expect("not empty")),
            };
            if server.ends_with(&format!(".{owner}"))
                && !self.nodes.contains_key(&server)
                && random.random_bool(0.8)
            {
                self.put(&server, "A", format!("192.0.2.{}", random.random_range(10..20)));
            }
            self.put(owner, "NS", server);
        }
        if random.random_bool(0.4) {
            let digest = "ab".repeat(32);
            self.put(owner, "DS", format!("1 13 2 {digest}"));
        }
        if random.random_bool(0.3) {
            self.put(owner, "A", "192.0.2.30".to_owned());
        }
        if random.random_bool(0.3) {
            self.put(&format!("c.{owner}"), "TXT", "occluded".to_owned());
        }
    }

    /// Adds sets that do not fit into 512 bytes, or not into 1232.
    fn add_large(&mut self, random: &mut StdRng, owner: &str) {
        for number in 0..random.random_range(4..80) {
            self.put(owner, "A", format!("192.0.2.{number}"));
        }
        for number in 0..random.random_range(0..9) {
            self.put(owner, "TXT", format!("{number}{}", "large".repeat(40)));
        }
    }

    fn add_data(&mut self, random: &mut StdRng, owner: &str, neighbour: &str) {
        for _ in 0..random.random_range(1..4) {
            let target = self.random_target(random, neighbour);
            let (rtype, rdata) = match random.random_range(0..14) {
                0..=2 => ("A", format!("192.0.2.{}", random.random_range(40..250))),
                3 => ("AAAA", format!("2001:db8::{:x}", random.random_range(1..99))),
                4 => ("TXT", format!("t{}", random.random_range(0..9))),
                5 | 6 => ("MX", format!("10 {target}")),
                7 => ("SRV", format!("0 0 80 {target}")),
                8 => ("HTTPS", format!("1 {target}")),
                9 => ("SVCB", format!("0 {target}")),
                10 => ("PTR", target),
                11 => ("NAPTR", format!("1 1 \"s\" \"SIP+D2U\" \"\" {target}")),
                12 => ("DS", format!("2 13 2 {}", "cd".repeat(32))),
                _ => ("TYPE65280", "\\# 2 abcd ; verge: public".to_owned()),
            };
            self.put(owner, rtype, rdata);
        }
    }

    fn put(&mut self, owner: &str, rtype: &'static str, rdata: String) {
        let node = self.nodes.entry(owner.to_owned()).or_default();
        if !node.iter().any(|(t, d)| (*t, d) == (rtype, &rdata)) && !node.iter().any(|(t, _)| *t == "CNAME") {
            node.push((rtype, rdata));
        }
    }

    fn is_under(&self, owner: &str, rtype: &str) -> bool {
        self.nodes.iter().any(|(above, records)| {
            records.iter().any(|(t, _)| *t == rtype) && owner.ends_with(&format!(".{above}"))
        })
    }

    fn has_below(&self, owner: &str) -> bool {
        self.nodes.keys().any(|below| below.ends_with(&format!(".{owner}")))
    }

    fn has_dname_below(&self, owner: &str) -> bool {
        let dnames = self.nodes.iter().filter(|(_, records)| records.iter().any(|(t, _)| *t == "DNAME"));
        dnames.map(|(below, _)| below).any(|below| below.ends_with(&format!(".{owner}")))
    }

    fn cuts(&self) -> impl Iterator<Item = &String> {
        self.nodes
            .iter()
            .filter(|(owner, records)| **owner != self.apex && records.iter().any(|(t, _)| *t == "NS"))
            .map(|(owner, _)| owner)
    }

    /// Whether the parent of what is at `name` is not the authority for it.
    pub(crate) fn is_below_a_cut(&self, name: &str) -> bool {
        self.cuts().any(|cut| cut == name || name.ends_with(&format!(".{cut}")))
    }

    /// Whether `name` is at or below the apex.
    pub(crate) fn covers(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        name == self.apex || name.ends_with(&format!(".{}", self.apex))
    }

    /// Whether NSD takes the zone for what it is.
    pub(crate) fn is_on_its_own(&self) -> bool {
        self.beneath == Beneath::Nothing
    }

    /// Whether `name`, in lower case, owns records.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }

    /// The names above `name`, in lower case, that exist: the closest encloser first, the apex last.
    pub(crate) fn existing_ancestors<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let above =
            std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent)).skip(1);
        above
            .take_while(|name| self.covers(name))
            .filter(|name| *name == self.apex || self.has(name) || self.has_below(name))
    }

    /// Whether `name` owns nothing, and all below it are delegations without a DS and what is below those.
    pub(crate) fn is_for_insecure_cuts_alone(&self, name: &str) -> bool {
        let below = || self.nodes.iter().filter(|(owner, _)| owner.ends_with(&format!(".{name}")));
        let secure = |records: &[(&str, String)]| records.iter().any(|(rtype, _)| *rtype == "DS");
        name != self.apex
            && !self.has(name)
            && below().all(|(owner, records)| self.is_below_a_cut(owner) && !secure(records))
    }

    pub(crate) fn has_wildcard_cut(&self) -> bool {
        self.cuts().any(|cut| cut.starts_with("*."))
    }

    /// The master file.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("$TTL {}\n{} IN SOA {}\n", self.ttl, self.apex, self.soa);
        for (owner, records) in &self.nodes {
            for (rtype, rdata) in records {
                let owner = mixed_case(owner, text.len());
                let _ = writeln!(text, "{owner} IN {rtype} {rdata}");
            }
        }
        text
    }

    /// Owners, their ancestors, and names beside and below them.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for owner in self.nodes.keys() {
            let mut name = owner.as_str();
            while name.len() >= self.apex.len() {
                names.push(name.to_owned());
                name = name.split_once('.').map_or("", |(_, parent)| parent);
            }
        }
        for name in names.clone() {
            names.extend(["a", "x", "*"].map(|label| format!("{label}.{name}")));
            names.push(format!("x.a.{name}"));
        }
        names.sort();
        names.dedup();
        names
    }
}

/// Some letters of one name in four as capitals, where `choice` says which.
fn mixed_case(name: &str, choice: usize) -> String {
    if choice % 4 != 3 {
        return name.to_owned();
    }
    let change = |(at, letter): (usize, char)| {
        if (choice + at).is_multiple_of(3) { letter.to_ascii_uppercase() } else { letter }
    };
    name.chars().enumerate().map(change).collect()
}

/// Every name of every zone with every type, by all kinds of clients.
pub(crate) fn questions(zones: &[Zone]) -> Vec<Question> {
    let mut questions = Vec::new();
    for (index, zone) in zones.iter().enumerate() {
        for name in zone.names() {
            for &rtype in TYPES {
                let number = questions.len();
                let (name, edns) = (mixed_case(&name, number), EDNS[number % EDNS.len()]);
                questions.push(Question { zone: index, name, rtype, edns });
            }
        }
    }
    questions
}

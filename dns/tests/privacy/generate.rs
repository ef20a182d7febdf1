//! Zones whose records are labelled as they are made. The generator knows why it makes a record; it never asks the
//! code whether it is hidden.

#[path = "recipes.rs"]
mod recipes;
#[path = "unknown.rs"]
pub(crate) mod unknown;

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use verge_dns::name::Name;
use verge_dns::rtype::Type;
use verge_dns::zone::privacy::Rules;
use verge_dns::zone::{Mark, Position, Record, Zone, text};

use crate::ask::Question;

/// The fate of a record outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Public,
    Hidden,
    /// Nobody knows yet: SERVFAIL.
    Undecided,
    /// Public with other RDATA: hints were stripped, or a hidden server was replaced.
    Changed(Change),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The text of the RDATA outside, by its index in [`Labelled::outside`].
    Text(usize),
    /// The MNAME is the first public apex NS.
    Mname,
}

pub(crate) struct Labelled {
    pub(crate) zone: Zone,
    pub(crate) labels: Vec<Label>,
    /// Outside there is no such zone.
    pub(crate) is_internal: bool,
    outside: Vec<Box<[u8]>>,
}

pub(crate) struct Scene {
    pub(crate) zones: Vec<Labelled>,
    pub(crate) rules: Rules,
    seed: u64,
}

impl Labelled {
    /// The zone made without its hidden records; undecided ones are there.
    pub(crate) fn public(&self) -> Option<Zone> {
        let kept = self.zone.records.iter().zip(&self.labels).filter_map(|(record, label)| match label {
            Label::Public | Label::Undecided => Some(record.clone()),
            Label::Hidden => None,
            Label::Changed(change) => {
                Some(Record { rdata: self.outside_rdata(record, *change).into(), ..record.clone() })
            }
        });
        let records = kept.collect();
        (!self.is_internal).then(|| Zone::new(self.zone.apex.clone(), records, self.zone.files.clone()))
    }

    fn outside_rdata(&self, record: &Record, change: Change) -> Box<[u8]> {
        match change {
            Change::Text(at) => self.outside[at].clone(),
            Change::Mname => {
                let written = verge_dns::name::wire_len(&record.rdata).unwrap();
                [self.first_public_ns(), &record.rdata[written..]].concat().into()
            }
        }
    }

    fn first_public_ns(&self) -> &[u8] {
        let mut records = self.zone.records.iter().zip(&self.labels);
        let is_it = |(record, label): &(&Record, &Label)| {
            record.rtype == Type::NS && record.owner == self.zone.apex && **label == Label::Public
        };
        &records.find(is_it).expect("a public zone has a public NS").0.rdata
    }
}

impl Scene {
    /// As zone text with labels, for people who read a failure.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for labelled in &self.zones {
            out += &format!("$ORIGIN {} ; internal: {}\n", labelled.zone.apex, labelled.is_internal);
            for (record, label) in labelled.zone.records.iter().zip(&labelled.labels) {
                text::write_record(&record.owner, record.ttl, record.rtype, &record.rdata, &mut out).unwrap();
                out += &format!(" ; {:?} {label:?}\n", record.mark);
            }
        }
        out
    }

    /// Drops a record of one zone, turns addresses into others, marks records or takes their marks away, or leads records
    /// elsewhere.
    pub(crate) fn edit(&self, step: u64, zones: &mut [Arc<Zone>]) {
        let mut rng = StdRng::seed_from_u64(self.seed.wrapping_mul(31) + step);
        let owners: Vec<Name> =
            zones.iter().flat_map(|zone| &zone.records).map(|record| record.owner.clone()).collect();
        let zone = zones.choose_mut(&mut rng).unwrap();
        let mut edited = Zone::clone(zone);
        if rng.random_bool(0.5) {
            edited.records.remove(rng.random_range(0..edited.records.len()));
        }
        for record in &mut edited.records {
            if record.rtype == Type::A && rng.random_bool(0.3) {
                record.rdata = if rng.random_bool(0.5) { [10, 0, 0, 1].into() } else { [8, 8, 8, 8].into() };
            }
            if rng.random_bool(0.05) {
                record.mark = *[None, Some(Mark::Public), Some(Mark::Internal), Some(Mark::Outside)]
                    .choose(&mut rng)
                    .unwrap();
            }
            if matches!(record.rtype, Type::CNAME | Type::DNAME | Type::PTR | Type::NS)
                && rng.random_bool(0.1)
            {
                record.rdata = owners.choose(&mut rng).unwrap().as_wire().into();
            }
        }
        *zone = Arc::new(edited);
    }

    /// Names that are there, near what is there, and not there.
    pub(crate) fn questions(&self, count: usize) -> Vec<Question> {
        let mut rng = StdRng::seed_from_u64(!self.seed);
        let records: Vec<&Record> = self.zones.iter().flat_map(|labelled| &labelled.zone.records).collect();
        let mut one = || {
            let record = records.choose(&mut rng).unwrap();
            let targets = verge_dns::rdata::names(record.rtype, &record.rdata);
            let owner = record.owner.clone();
            let name = match rng.random_range(0..8) {
                0 => owner.parent().unwrap_or(owner),
                1 => owner.child(b"x").unwrap_or(owner),
                2 => owner.parent().and_then(|parent| parent.child(b"nothing")).unwrap_or(owner),
                3 => targets.first().map_or(owner, |(_, wire)| Name::from_wire(wire).unwrap()),
                4 => owner.child(b"_tcp").unwrap_or(owner),
                _ => owner,
            };
            let rtype = if rng.random_bool(0.4) { record.rtype } else { *ASKED.choose(&mut rng).unwrap() };
            Question { name, rtype }
        };
        (0..count).map(|_| one()).collect()
    }
}

const ASKED: &[Type] = &[
    Type::A,
    Type::AAAA,
    Type::NS,
    Type::SOA,
    Type::CNAME,
    Type::MX,
    Type::TXT,
    Type::HTTPS,
    Type::SRV,
    Type::PTR,
    Type::DS,
    Type::ANY,
];

pub(crate) fn scene(seed: u64) -> Scene {
    let mut maker = Maker::new(seed);
    maker.zones();
    for _ in 0..maker.rng.random_range(2..12) {
        maker.recipe();
    }
    maker.finish(seed)
}

/// Where records go and what may be named.
struct Maker {
    rng: StdRng,
    zones: Vec<Labelled>,
    /// Names that an outsider may be led to.
    public: Vec<String>,
    /// Mail hosts that have a public address here, or are somebody else's.
    mail_hosts: Vec<String>,
    /// Names that would betray themselves.
    hidden: Vec<String>,
    fresh: u32,
}

/// Indices of the zones that are always there.
const MAIN: usize = 0;
const OTHER: usize = 1;

impl Maker {
    fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self {
            rng,
            zones: Vec::new(),
            public: Vec::new(),
            mail_hosts: Vec::new(),
            hidden: Vec::new(),
            fresh: 0,
        }
    }

    fn finish(mut self, seed: u64) -> Scene {
        for labelled in &mut self.zones {
            let mut both: Vec<(Record, Label)> =
                labelled.zone.records.drain(..).zip(labelled.labels.drain(..)).collect();
            both.shuffle(&mut self.rng);
            (labelled.zone.records, labelled.labels) = both.into_iter().unzip();
        }
        let rules = Rules {
            private: vec!["203.0.113.64/27".parse().unwrap()],
            internal_names: vec![name("int.a.test.")],
            internal_zones: vec![name("closed.test.")],
            public_zones: vec![name("lab.home.arpa.")],
            unknown_zones: unknown::APEXES.map(name).to_vec(),
        };
        Scene { zones: self.zones, rules, seed }
    }

    fn zones(&mut self) {
        self.public_zone("a.test.");
        self.public_zone("b.test.");
        self.draft();
        let chance = self.rng.random_range(0..32);
        if chance & 1 != 0 {
            self.child_zone();
        }
        if chance & 2 != 0 {
            self.lab_zone();
        }
        if chance & 4 != 0 {
            self.closed_zone();
        }
        if chance & 8 != 0 {
            self.reverse_zones();
        }
        if chance & 16 != 0 {
            self.parent_zone();
        }
    }

    fn zone(&mut self, apex: &str, is_internal: bool) -> usize {
        let zone = Zone::new(name(apex), Vec::new(), Vec::new());
        self.zones.push(Labelled { zone, labels: Vec::new(), is_internal, outside: Vec::new() });
        self.zones.len() - 1
    }

    fn public_zone(&mut self, apex: &str) -> usize {
        let zone = self.zone(apex, false);
        let server = format!("ns1.{apex}");
        self.add(zone, apex, "NS", &server, Label::Public);
        let address = self.public_v4();
        self.add(zone, &server, "A", &address, Label::Public);
        self.mail_hosts.push(server.clone());
        self.public.push(server);
        if self.rng.random_bool(0.3) {
            let secret = self.hidden_host(zone, &format!("ns0.{apex}"));
            self.add(zone, apex, "NS", &secret, Label::Hidden);
        }
        let (mname, label) = match self.rng.random_range(0..4) {
            0 => (self.hidden_host(zone, &format!("master.{apex}")), Label::Changed(Change::Mname)),
            1 => ("db.corp.".into(), Label::Changed(Change::Mname)),
            _ => (format!("ns1.{apex}"), Label::Public),
        };
        self.add(zone, apex, "SOA", &format!("{mname} admin.{apex} 7 3600 600 86400 300"), label);
        zone
    }

    /// Served publicly here; the parent's cut stays whatever its NS are.
    fn child_zone(&mut self) {
        let child = self.public_zone("sub.a.test.");
        self.add(child, "sub.a.test.", "TXT", "child", Label::Public);
        if self.rng.random_bool(0.5) {
            self.add(MAIN, "sub.a.test.", "NS", "ns1.sub.a.test.", Label::Public);
        } else {
            let secret = self.hidden_host(MAIN, "oldns.a.test.");
            self.zones[MAIN].outside.push(rdata(Type::NS, "ns1.sub.a.test."));
            let label = Label::Changed(Change::Text(self.zones[MAIN].outside.len() - 1));
            self.add(MAIN, "sub.a.test.", "NS", &secret, label);
        }
        let address = self.public_v4();
        self.add(MAIN, "ns1.sub.a.test.", "A", &address, Label::Public);
    }

    /// Internal because nothing in it is public; the delegation to it goes too.
    fn lab_zone(&mut self) {
        let zone = self.zone("lab.a.test.", true);
        self.add(zone, "lab.a.test.", "SOA", "ns.lab.a.test. admin.a.test. 1 2 3 4 5", Label::Hidden);
        self.add(zone, "lab.a.test.", "NS", "ns.lab.a.test.", Label::Hidden);
        self.hidden_host(zone, "ns.lab.a.test.");
        self.hidden_host(zone, "box.lab.a.test.");
        self.add(MAIN, "lab.a.test.", "NS", "ns.lab.a.test.", Label::Hidden);
        let address = self.hidden_v4();
        self.add(MAIN, "ns.lab.a.test.", "A", &address, Label::Hidden);
    }

    fn closed_zone(&mut self) {
        let zone = self.zone("closed.test.", true);
        self.add(zone, "closed.test.", "SOA", "ns1.a.test. admin.a.test. 1 2 3 4 5", Label::Hidden);
        self.add(zone, "closed.test.", "NS", "ns1.a.test.", Label::Hidden);
        let address = self.public_v4();
        self.add(zone, "www.closed.test.", "A", &address, Label::Hidden);
        self.hidden.push("www.closed.test.".into());
    }

    fn reverse_zones(&mut self) {
        let zone = self.public_zone("113.0.203.in-addr.arpa.");
        let shown = self.public_target();
        self.add(zone, "1.113.0.203.in-addr.arpa.", "PTR", &shown, Label::Public);
        self.add(zone, "70.113.0.203.in-addr.arpa.", "PTR", &shown, Label::Hidden);
        let secret = self.hidden_target();
        self.add(zone, "2.113.0.203.in-addr.arpa.", "PTR", &secret, Label::Hidden);
        let zone = self.zone("10.in-addr.arpa.", true);
        self.add(zone, "10.in-addr.arpa.", "SOA", "ns1.a.test. admin.a.test. 1 2 3 4 5", Label::Hidden);
        self.add(zone, "10.in-addr.arpa.", "NS", "ns1.a.test.", Label::Hidden);
        self.add(zone, "1.0.0.10.in-addr.arpa.", "PTR", &secret, Label::Hidden);
        self.hidden.push("1.0.0.10.in-addr.arpa.".into());
    }

    /// Adds the zone that outsiders get where an internal zone lies.
    fn parent_zone(&mut self) {
        let zone = self.public_zone("test.");
        self.add(zone, "a.test.", "NS", "ns1.a.test.", Label::Public);
        self.add(zone, "b.test.", "NS", "ns1.b.test.", Label::Public);
        if self.rng.random_bool(0.5) {
            self.add(zone, "closed.test.", "NS", "ns1.a.test.", Label::Hidden);
        }
        if self.rng.random_bool(0.5) {
            self.add(zone, "*.test.", "TXT", "anything", Label::Public);
        }
    }

    fn recipe(&mut self) {
        let zone = *[MAIN, OTHER].choose(&mut self.rng).unwrap();
        match self.rng.random_range(0..33) {
            0 | 1 => self.public_host(zone),
            2 => {
                let owner = self.place(zone);
                self.hidden_host(zone, &owner);
            }
            3 | 4 => self.leads(zone),
            5 => self.aliases(zone),
            6 => self.wildcards(zone),
            7 => self.hidden_wildcard(zone),
            8 => self.hidden_depth(zone),
            9 => self.public_cut(zone),
            10 => self.hidden_cut(zone),
            11 => self.mixed_host(zone),
            12 => self.mail_host(zone),
            13 => self.hints(zone),
            14 => self.marks(zone),
            15 => self.challenge(zone),
            16 => self.other_addresses(zone),
            17 => self.suffixes(zone),
            18 => self.dnames(zone),
            19 => self.split_alias(zone),
            20 | 21 => self.emptied_host(zone),
            22 => self.mail_to_itself(zone),
            23 => self.marked_alias(zone),
            24 => self.moved_host(zone),
            25 => self.service(zone),
            26 => self.mailboxes(zone),
            27 => self.missing_below(zone),
            28 => self.sides(zone),
            29..32 => self.leads_to_unknown(zone),
            _ => self.apex_data(zone),
        }
    }

    /// A name that nothing else uses: at the apex, deeper, or below a public name.
    fn place(&mut self, zone: usize) -> String {
        let label = self.label();
        let apex = self.zones[zone].zone.apex.to_string();
        match self.rng.random_range(0..3) {
            0 => format!("{label}.{}.{apex}", self.label()),
            _ => format!("{label}.{apex}"),
        }
    }

    fn label(&mut self) -> String {
        self.fresh += 1;
        format!("n{}", self.fresh)
    }

    fn public_target(&mut self) -> String {
        match self.rng.random_range(0..6) {
            0 => "somebody.elsewhere.".into(),
            1 => "missing.a.test.".into(),
            _ => self.public.choose(&mut self.rng).unwrap().clone(),
        }
    }

    fn hidden_target(&mut self) -> String {
        if self.hidden.is_empty() {
            let owner = self.place(MAIN);
            return self.hidden_host(MAIN, &owner);
        }
        let target = self.hidden.choose(&mut self.rng).unwrap().clone();
        if self.rng.random_bool(0.2) { target.to_uppercase() } else { target }
    }

    /// Where an MX may lead: to a public address or somebody else, or to none.
    fn mail_target(&mut self) -> (String, Label) {
        match self.rng.random_range(0..5) {
            0 => ("mx.elsewhere.".into(), Label::Public),
            1 | 2 => (self.mail_hosts.choose(&mut self.rng).unwrap().clone(), Label::Public),
            // Outsiders have no use for a host whose mail goes nowhere.
            3 => ("missing.a.test.".into(), Label::Hidden),
            _ => (self.hidden_target(), Label::Hidden),
        }
    }

    fn either_target(&mut self) -> (String, Label) {
        match self.rng.random_bool(0.5) {
            true => (self.public_target(), Label::Public),
            false => (self.hidden_target(), Label::Hidden),
        }
    }

    fn public_v4(&mut self) -> String {
        let byte: u8 = self.rng.random_range(1..60);
        let net = ["192.0.2", "203.0.113", "8.8.8", "172.32.0", "100.128.0"].choose(&mut self.rng).unwrap();
        format!("{net}.{byte}")
    }

    fn hidden_v4(&mut self) -> String {
        let byte: u8 = self.rng.random_range(64..95);
        let nets =
            ["10.1.2", "172.20.0", "192.168.7", "127.0.0", "169.254.1", "100.100.0", "203.0.113", "240.0.0"];
        format!("{}.{byte}", nets.choose(&mut self.rng).unwrap())
    }

    fn public_address(&mut self) -> (&'static str, String) {
        let low: u16 = self.rng.random();
        match self.rng.random_range(0..3) {
            0 => ("AAAA", format!("2001:db8::{low:x}")),
            1 => ("AAAA", format!("64:ff9b::808:{low:x}")),
            _ => ("A", self.public_v4()),
        }
    }

    fn hidden_address(&mut self) -> (&'static str, String) {
        let low: u16 = self.rng.random();
        let nets =
            ["fd00::", "fe80::", "::ffff:808:", "2002:a00:1::", "64:ff9b::a00:", "2001:db8::200:5efe:a00:"];
        match self.rng.random_bool(0.4) {
            true => ("AAAA", format!("{}{low:x}", nets.choose(&mut self.rng).unwrap())),
            false => ("A", self.hidden_v4()),
        }
    }

    fn add(&mut self, zone: usize, owner: &str, rtype: &str, text: &str, label: Label) {
        self.push(zone, owner, rtype, text, label, None);
    }

    /// Marked as what its label says.
    fn add_marked(&mut self, zone: usize, owner: &str, rtype: &str, text: &str, label: Label) {
        let mark = if label == Label::Hidden { Mark::Internal } else { Mark::Public };
        self.push(zone, owner, rtype, text, label, Some(mark));
    }

    /// Only outsiders get it.
    fn add_outside(&mut self, zone: usize, owner: &str, rtype: &str, text: &str) {
        self.push(zone, owner, rtype, text, Label::Public, Some(Mark::Outside));
    }

    fn push(&mut self, zone: usize, owner: &str, rtype: &str, text: &str, label: Label, mark: Option<Mark>) {
        let rtype: Type = rtype.parse().unwrap();
        let (owner, rdata) = (name(owner), rdata(rtype, text));
        let labelled = &mut self.zones[zone];
        let is_there = |record: &Record| {
            record.owner == owner && record.rtype == rtype && record.rdata.eq_ignore_ascii_case(&rdata)
        };
        if !labelled.zone.records.iter().any(is_there) {
            labelled.zone.records.push(Record {
                owner,
                rtype,
                ttl: 300,
                rdata: rdata.into(),
                at: Position::default(),
                mark,
                steer: false,
            });
            labelled.labels.push(label);
        }
    }
}

fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

fn rdata(rtype: Type, rdata: &str) -> Box<[u8]> {
    text::read_rdata(rtype, rdata, &Name::root()).unwrap_or_else(|fault| panic!("{rtype} {rdata}: {fault:?}"))
}

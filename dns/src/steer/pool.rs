//! Pools: RRsets of one view's trees, with the plans that answers choose from.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use super::Asker;
use super::choose::{MOST_MEMBERS, Plan, mix};
use super::decide::{Decision, Fit, Known, Mode, decide, fit};
use super::health::State;
use super::place::{Place, Places};
use super::rtt::bands;
use super::rules::{Rules, Settings, Target};
use crate::name::Name;
use crate::rtype::Type;
use crate::zone::hash::HashMap;
use crate::zone::tree::{Node, RrSet, Tree};

/// An address RRset that is steered.
#[derive(Debug)]
pub struct Pool {
    /// The name; of a wildcard the wildcard.
    pub owner: Name,
    /// A or AAAA.
    pub rtype: Type,
    /// The RRset's own, in seconds.
    pub ttl: u32,
    /// How members are checked and chosen.
    pub rules: Arc<Rules>,
    /// The records, in their order.
    pub members: Box<[Member]>,
    salt: u64,
    places: Arc<Places>,
    /// For clients of no place, and then for those of each, if any member has a place.
    plans: ArcSwap<Vec<Plan>>,
}

/// A record of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its address.
    pub address: IpAddr,
    /// The thing that is checked for it; none if nothing is.
    pub target: Option<Target>,
    /// As the config says.
    pub weight: u32,
    /// As the config says.
    pub priority: u32,
    /// Where it is.
    pub place: Option<u16>,
    /// The config takes it out of service.
    pub drain: bool,
    rdata: [u8; 16],
}

impl Pool {
    fn of(owner: Name, set: &RrSet<'_>, settings: &Settings) -> Option<Self> {
        let rules = Arc::clone(settings.rules(&owner));
        let members: Box<[Member]> =
            set.rdatas().map(|rdata| member(rdata, &rules)).collect::<Option<_>>()?;
        if members.is_empty() || members.len() > MOST_MEMBERS {
            return None;
        }
        let salt = owner.as_wire().iter().fold(0, |salt, byte| mix(salt ^ u64::from(*byte)));
        let known = members.iter().map(Member::unknown).collect::<Vec<_>>();
        let (plans, places) = (ArcSwap::default(), Arc::clone(&settings.places));
        let pool = Self { owner, rtype: set.rtype, ttl: set.ttl, rules, members, salt, places, plans };
        pool.replan(&known);
        Some(pool)
    }

    /// Decides again by what is known of each member now; answers choose by it from now on.
    pub fn replan(&self, known: &[Known]) -> Decision {
        let decision = self.decide(known, None);
        let places = if self.has_places() { self.places.all() } else { &[] };
        let of_place = |place: &Place| decide(&self.rules, known, self.ttl, &place.near).plan;
        let plans: Vec<Plan> =
            std::iter::once(decision.plan.clone()).chain(places.iter().map(of_place)).collect();
        if **self.plans.load() != plans {
            self.plans.store(Arc::new(plans));
        }
        decision
    }

    /// Places matter where a member has one.
    fn has_places(&self) -> bool {
        self.members.iter().any(|member| member.place.is_some())
    }

    /// The decision by the facts known of each member, for a client; without one, that for clients of no place. Where no member
    /// has a place, no client has one either.
    pub fn decide(&self, known: &[Known], asker: Option<Asker>) -> Decision {
        let asker = asker.filter(|_| self.has_places());
        let place = asker.and_then(|asker| self.places.find(asker.address));
        match place.and_then(|place| self.places.all().get(usize::from(place))) {
            Some(place) => decide(&self.rules, known, self.ttl, &place.near),
            None if self.rules.by_rtt => self.decide_by_rtt(known),
            None => decide(&self.rules, known, self.ttl, &[]),
        }
    }

    /// The decision for clients that are taken to be near this name server: those members go first that are near it.
    fn decide_by_rtt(&self, known: &[Known]) -> Decision {
        let Fit { mode, fit, .. } = fit(&self.rules, known);
        // The first one that is measured is not the nearest because of that; and how near those are that are down, nobody knows.
        let is_awaited = known.iter().zip(&fit).any(|(member, fit)| *fit && member.awaited);
        if is_awaited || mode == Mode::Panic {
            return decide(&self.rules, known, self.ttl, &[]);
        }
        let bands = bands(&known.iter().map(|member| member.rtt).collect::<Vec<_>>(), &fit);
        // Those of which nothing is measured come last.
        let last = bands.iter().flatten().max().map_or(0, |band| band + 1);
        let near: Vec<u16> = (0..=last).collect();
        let placed = known
            .iter()
            .zip(bands)
            .map(|(known, band)| Known { place: Some(band.unwrap_or(last)), ..known.clone() });
        decide(&self.rules, &placed.collect::<Vec<_>>(), self.ttl, &near)
    }

    /// Whether this address is a member.
    pub fn has(&self, address: IpAddr) -> bool {
        self.members.iter().any(|member| member.address == address)
    }

    /// Whether any client is given this member now.
    pub fn gives(&self, member: usize) -> bool {
        self.plans.load().iter().any(|plan| plan.gives(member))
    }

    /// Seconds that answers may be kept.
    pub fn answer_ttl(&self) -> u32 {
        self.plans.load().first().map_or(self.ttl, Plan::ttl)
    }

    /// How many bits of the client's address an answer depends on (RFC 7871 §7.2.1).
    pub fn scope(&self, asker: Asker) -> u8 {
        let plans = self.plans.load();
        let place = if plans.len() > 1 { self.places.bits(asker.address) } else { 0 };
        let chooses = self.for_client(&plans, asker).is_some_and(Plan::leaves_out);
        if chooses { place.max(asker.seed_bits()) } else { place }
    }

    #[inline]
    fn for_client<'p>(&self, plans: &'p [Plan], asker: Asker) -> Option<&'p Plan> {
        let place = if plans.len() > 1 { self.places.find(asker.address) } else { None };
        plans.get(place.map_or(0, |place| usize::from(place) + 1)).or(plans.first())
    }

    /// Calls `begin` with the TTL and then `give` with the RDATA of each record for this client, in order.
    #[inline]
    pub fn answer<T>(
        &self,
        asker: Asker,
        begin: impl FnOnce(u32) -> T,
        mut give: impl FnMut(&mut T, &[u8]),
    ) -> T {
        let plans = self.plans.load();
        let plan = self.for_client(&plans, asker).expect("a pool has a plan for clients of no place");
        let mut out = begin(plan.ttl());
        plan.choose(asker, self.salt, |member| give(&mut out, self.rdata(member)));
        out
    }

    /// The records that this client is given.
    pub fn given(&self, asker: Asker) -> RrSet<'static> {
        let begin = |ttl| (ttl, Vec::new());
        let (ttl, given) = self.answer(asker, begin, |(_, given), rdata| given.push(rdata.to_vec()));
        RrSet::new(self.rtype, ttl, given.iter().map(Vec::as_slice))
    }

    /// The members that this client is given, in order.
    pub fn chosen(&self, asker: Asker) -> Vec<usize> {
        let mut all = Vec::new();
        let plans = self.plans.load();
        let plan = self.for_client(&plans, asker);
        plan.into_iter().for_each(|plan| plan.choose(asker, self.salt, |member| all.push(member)));
        all
    }

    #[inline]
    fn rdata(&self, member: usize) -> &[u8] {
        let bytes = if self.rtype == Type::A { 4 } else { 16 };
        &self.members[member].rdata[..bytes]
    }
}

impl Member {
    /// All that is known of it by the config alone.
    pub fn unknown(&self) -> Known {
        Known {
            address: self.address,
            weight: self.weight,
            priority: self.priority,
            place: self.place,
            state: State::Unknown,
            since: 0,
            load: None,
            drained: self.drain,
            rtt: None,
            awaited: false,
        }
    }

    /// Whether its checks measure round trips.
    pub fn is_measured(&self) -> bool {
        self.target.as_ref().is_some_and(|target| target.check.connects())
    }
}

fn member(rdata: &[u8], rules: &Rules) -> Option<Member> {
    let address: IpAddr = match rdata.len() {
        4 => IpAddr::from(*rdata.first_chunk::<4>()?),
        16 => IpAddr::from(*rdata.first_chunk::<16>()?),
        _ => return None,
    };
    let said = rules.member(address);
    let target = said.check.or_else(|| rules.check.clone()).map(|check| Target {
        check,
        address: said.check_address.unwrap_or(address),
        pace: rules.pace,
    });
    let mut bytes = [0; 16];
    bytes[..rdata.len()].copy_from_slice(rdata);
    Some(Member {
        address,
        target,
        weight: said.weight,
        priority: said.priority,
        place: said.place,
        drain: said.drain,
        rdata: bytes,
    })
}

/// The pools of one view.
#[derive(Debug, Default)]
pub struct Pools {
    by_owner: HashMap<Name, Addresses>,
    /// The pools to which the other names lead that records with hints name: through aliases, or into a wildcard.
    pub(super) led: HashMap<Name, Addresses>,
    all: Vec<Arc<Pool>>,
    nodes: Nodes,
    /// Resolvers that are believed for whom they ask.
    subnet_from: Arc<[IpNet]>,
    /// RRsets that should be pools, but are signed: a part of a signed RRset proves nothing (RFC 4035 §5.3), so the whole
    /// of it is answered.
    pub signed: Vec<(Name, Type)>,
}

/// The pools of one name.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    v4: Option<Arc<Pool>>,
    v6: Option<Arc<Pool>>,
}

impl Addresses {
    pub(super) fn of(&self, rtype: Type) -> Option<&Pool> {
        match rtype {
            Type::A => self.v4.as_deref(),
            Type::AAAA => self.v6.as_deref(),
            _ => None,
        }
    }
}

impl Pools {
    /// Makes pools of the address RRsets that this name owns in a tree.
    pub fn add(&mut self, tree: &Tree, owner: &Name, settings: &Settings) {
        let Some(node) = tree.node(owner.as_wire()).filter(|node| node.hider().is_none()) else { return };
        for rtype in [Type::A, Type::AAAA] {
            let Some(set) = node.set(rtype) else { continue };
            if is_signed(node, rtype) {
                self.signed.push((owner.clone(), rtype));
                continue;
            }
            let Some(pool) = Pool::of(owner.clone(), &set, settings) else { continue };
            let pool = Arc::new(pool);
            self.all.push(Arc::clone(&pool));
            self.nodes.note(node);
            let place = self.by_owner.entry(owner.clone()).or_default();
            *if rtype == Type::A { &mut place.v4 } else { &mut place.v6 } = Some(pool);
        }
    }

    /// Of these settings, none yet.
    pub fn of(settings: &Settings) -> Self {
        Self { subnet_from: Arc::clone(&settings.subnet_from), ..Self::default() }
    }

    /// Whether a resolver is believed for whom it asks (RFC 7871).
    #[inline]
    pub fn believes(&self, resolver: IpAddr) -> bool {
        !self.subnet_from.is_empty() && self.subnet_from.iter().any(|net| net.contains(&resolver))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.all.iter()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The pool of this node, which is one of the trees that pools were made of, and type.
    #[inline]
    pub fn get(&self, node: Node<'_>, rtype: Type) -> Option<&Pool> {
        if !matches!(rtype, Type::A | Type::AAAA) || !self.nodes.may_hold(node) {
            return None;
        }
        self.named(node.name(), rtype)
    }

    /// The pool of this owner (lower-case wire form) and type.
    pub fn named(&self, owner: &[u8], rtype: Type) -> Option<&Pool> {
        self.of_owner(owner)?.of(rtype)
    }

    /// The pools of this owner (lower-case wire form).
    pub(super) fn of_owner(&self, owner: &[u8]) -> Option<&Addresses> {
        self.by_owner.get(owner)
    }
}

/// Nodes that own a pool, and few others (a Bloom filter of one hash): an answer for any other node takes no look at
/// its name. That look costs about 110 instructions, a twentieth of a hit.
#[derive(Debug, Default)]
struct Nodes {
    numbers: Vec<u32>,
    /// A power of two of bits, sixteen for each number at least.
    bits: Vec<u64>,
}

impl Nodes {
    fn note(&mut self, node: Node<'_>) {
        self.numbers.push(node.number());
        if self.numbers.len() * 16 > self.bits.len() * 64 {
            self.bits = vec![0; self.numbers.len().next_power_of_two()];
            (0..self.numbers.len()).for_each(|at| self.set(self.numbers[at]));
        } else {
            self.set(node.number());
        }
    }

    fn set(&mut self, number: u32) {
        let (word, bit) = self.place(number);
        self.bits[word] |= bit;
    }

    /// `bits` is not empty.
    #[inline(always)]
    fn place(&self, number: u32) -> (usize, u64) {
        let at = number.wrapping_mul(0x9e37_79b1) >> 6;
        (at as usize & (self.bits.len() - 1), 1 << (number.wrapping_mul(0x9e37_79b1) & 63))
    }

    #[inline(always)]
    fn may_hold(&self, node: Node<'_>) -> bool {
        if self.bits.is_empty() {
            return false;
        }
        let (word, bit) = self.place(node.number());
        self.bits[word] & bit != 0
    }
}

/// Whether the node has signatures for a type.
pub(crate) fn is_signed(node: Node<'_>, rtype: Type) -> bool {
    let covered = rtype.0.to_be_bytes();
    node.set(Type::RRSIG).is_some_and(|set| set.rdatas().any(|rdata| rdata.starts_with(&covered)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steer::rules::MemberRules;
    use crate::zone::tree::testing::tree;

    /// The shares in thousandths of members with these round-trip times in milliseconds: `!` if it is down, `-` if it is drained,
    /// `.` if it is still to be checked, `@` if it is overloaded.
    fn shares(settings: &Settings, members: &str, from: &str) -> Vec<u32> {
        let words: Vec<&str> = members.split(' ').collect();
        let records: String = (1..=words.len()).map(|at| format!("www A 192.0.2.{at}\n")).collect();
        let (tree, mut pools) = (tree("ex.", &records), Pools::of(settings));
        let name = Name::parse_absolute("www.ex.").unwrap();
        pools.add(&tree, &name, settings);
        let pool = pools.named(name.as_wire(), Type::A).unwrap();
        let known = pool.members.iter().zip(&words).map(|(member, word)| Known {
            rtt: word.trim_matches(['!', '-', '@']).parse().ok().map(|millis: u32| millis * 1000),
            drained: word.contains('-'),
            awaited: word.contains('.'),
            load: word.contains('@').then_some(1000),
            state: if word.contains('!') { State::Down } else { State::Up },
            ..member.unknown()
        });
        let known: Vec<Known> = known.collect();
        let decision = pool.decide(&known, Some(Asker::at(from.parse().unwrap())));
        (0..words.len()).map(|at| decision.plan.share(at)).collect()
    }

    #[test]
    fn members_that_are_near_by_round_trip_times_go_first_for_clients_of_no_place() {
        let place = |name: &str, near: &[u16]| Place { name: name.to_owned(), near: near.to_vec() };
        let far = MemberRules { place: Some(0), ..MemberRules::of([192, 0, 2, 3].into()) };
        let of = |by_rtt| Settings {
            defaults: Arc::new(Rules { by_rtt, members: vec![far.clone()], ..Rules::default() }),
            places: Arc::new(Places::new(
                vec![place("eu", &[0])],
                &[("198.51.100.0/24".parse().unwrap(), 0)],
            )),
            ..Settings::default()
        };
        for (members, from, expected) in [
            ("10 12 80", "203.0.113.1", &[500, 500, 0][..]),
            ("10 12! 80", "203.0.113.1", &[1000, 0, 0]),
            ("10! 90! 80", "203.0.113.1", &[0, 0, 1000]),
            ("? ? 80", "203.0.113.1", &[0, 0, 1000]),
            ("? ? 80!", "203.0.113.1", &[500, 500, 0]),
            // Nobody is near one that serves nobody.
            ("10! 14 16", "203.0.113.1", &[0, 500, 500]),
            ("10- 14 16", "203.0.113.1", &[0, 500, 500]),
            ("10! 14! 80!", "203.0.113.1", &[333, 333, 333]),
            // Until all are measured nobody knows who is near.
            ("10 . .", "203.0.113.1", &[333, 333, 333]),
            ("10 .! 80", "203.0.113.1", &[1000, 0, 0]),
            // Those of which nothing is measured come last, and before nobody.
            ("10@ ? 80@", "203.0.113.1", &[0, 1000, 0]),
            // The config knows better where this client is.
            ("10 12 80", "198.51.100.1", &[0, 0, 1000]),
        ] {
            assert_eq!(shares(&of(true), members, from), expected, "{members} from {from}");
        }
        assert_eq!(shares(&of(false), "10 90 80", "203.0.113.1"), [333, 333, 333]);
        let half = Rules { by_rtt: true, panic: 50, ..Rules::default() };
        let half = Settings { defaults: Arc::new(half), ..Settings::default() };
        assert_eq!(shares(&half, "10 ! !", "203.0.113.1"), [333, 333, 333], "too few are up");
        assert_eq!(shares(&half, "10 80 !", "203.0.113.1"), [1000, 0, 0]);
        let mut nowhere = of(true);
        nowhere.defaults = Arc::new(Rules { by_rtt: true, ..Rules::default() });
        assert_eq!(
            shares(&nowhere, "10 12 80", "198.51.100.1"),
            [500, 500, 0],
            "a place in which no member is says nothing"
        );
    }

    #[test]
    fn each_pool_is_found_by_its_node_and_few_other_nodes_are_looked_at() {
        let text: String = (0..500).map(|i| format!("s{i} A 192.0.2.1\nh{i} A 192.0.2.2\n")).collect();
        let tree = tree("ex.", &text);
        let (mut pools, settings) = (Pools::default(), Settings::default());
        let name = |label: String| Name::parse_absolute(&format!("{label}.ex.")).unwrap();
        let mut looked_at = 0;
        for made in 0..500 {
            pools.add(&tree, &name(format!("s{made}")), &settings);
            if ![0, 1, 2, 30, 255, 499].contains(&made) {
                continue;
            }
            for i in 0..500 {
                let (pool, plain) = (name(format!("s{i}")), name(format!("h{i}")));
                let node = |name: &Name| tree.node(name.as_wire()).unwrap();
                assert_eq!(pools.get(node(&pool), Type::A).is_some(), i <= made, "s{i} of {made}");
                assert!(pools.get(node(&plain), Type::A).is_none(), "h{i}");
                looked_at += usize::from(pools.nodes.may_hold(node(&plain)));
            }
        }
        assert!(looked_at < 300, "a tenth of all, and not {looked_at}");
    }
}

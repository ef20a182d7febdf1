//! The walk from a question to its RRsets (RFC 1034 §4.3.2), which gives each to a [`Sink`] in the order of the message.
//!
//! There are two sinks. [`super::collect`] makes the [`Answer`](super::Answer) value: of whatever is asked. `wire::direct`
//! writes the message in the same pass, and gives up where an answer is unusual. Each rule is written once, here.
//!
//! Two pipelines, each with the rules in it, took 2,163 instructions for a hit. This one takes 2,156, the question whether
//! the name owns a pool among them (`benches/respond`, kind `hit`, callgrind). Hence `inline(always)`: a call for each
//! RRset, with all that it is given, would cost 80 more.
//!
//! Invariant: no code here hides a record. A tree holds only what its view may show.

use super::reach::Reach;
use super::{Class, Kind, MOST_FOLLOWED, Need, Query, is_signed, negative_ttl, preference, withheld};
use crate::name::Name;
use crate::rtype::Type;
use crate::steer::{Asker, Pool, pool};
use crate::view::View;
use crate::zone::set::Served;
use crate::zone::tree::{Found, Node, RrSet, Tree};

/// The place where a walk puts RRsets.
pub(crate) trait Sink<'a> {
    /// The owner of an RRset in the message, lower-case wire form.
    type Owner: Clone + AsRef<[u8]>;
    /// The error of a sink that leaves an answer to another one.
    type Left;

    /// A name that the view or the question holds.
    fn owner(&mut self, name: &'a [u8]) -> Self::Owner;

    /// A name as a record's RDATA spells it.
    fn target(&mut self, name: &'a [u8]) -> Result<Self::Owner, Self::Left>;

    /// A name that a substitution made.
    fn made(&mut self, name: Vec<u8>) -> Result<Self::Owner, Self::Left>;

    /// The walk comes into this zone, after `followed` aliases.
    fn enter(&mut self, tree: &'a Tree, followed: usize) -> Result<(), Self::Left>;

    /// The walk comes to what few questions lead to.
    fn unusual(&mut self) -> Result<(), Self::Left>;

    /// Takes an RRset.
    fn put(&mut self, section: Section, piece: Piece<'_, 'a, Self::Owner>) -> Result<Put, Self::Left>;

    /// Takes the records of a pool that a client is given.
    fn put_chosen(&mut self, section: Section, chosen: Chosen<'_, Self::Owner>) -> Result<Put, Self::Left>;
}

/// An RRset on its way into a message.
pub(crate) struct Piece<'p, 'a, O> {
    pub(crate) owner: &'p O,
    pub(crate) set: &'p RrSet<'a>,
    /// Seconds.
    pub(crate) ttl: u32,
    pub(crate) need: Need,
    /// The owner's RRSIG RRset if the client wants signatures; those that cover `set` go with it (RFC 4035 §3.1.1).
    pub(crate) signatures: Option<RrSet<'a>>,
}

/// A pool, and who asks.
pub(crate) struct Chosen<'p, O> {
    pub(crate) owner: &'p O,
    pub(crate) pool: &'p Pool,
    pub(crate) asker: Asker,
    pub(crate) need: Need,
}

/// A section of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

/// Whether an RRset was put in, or was there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    New,
    AlreadyThere,
}

/// The facts of an answer beside its RRsets; see the fields of [`Answer`](super::Answer).
pub(crate) struct End<'v> {
    pub(crate) kind: Kind,
    pub(crate) authoritative: bool,
    pub(crate) zone: Option<&'v Name>,
    pub(crate) synthesized: Option<&'v [u8]>,
    pub(crate) scope: u8,
}

/// Walks from a question to the end of its answer.
#[inline]
pub(crate) fn walk<'v: 'a, 'a, S: Sink<'a>>(
    view: &'v View,
    query: &Query<'a>,
    sink: &mut S,
) -> Result<End<'v>, S::Left> {
    let Query { qname, qtype, qclass, dnssec_ok, asker } = *query;
    let mut name = sink.owner(qname);
    let mut walk = Walk {
        view,
        asker,
        qtype,
        wants_proofs: dnssec_ok,
        proves: false,
        followed: 0,
        zone: None,
        refers_first: false,
        synthesized: None,
        scope: 0,
        proved: Proved::default(),
        sink,
    };
    let kind = loop {
        match walk.step(name)? {
            Step::Done(kind) => break kind,
            Step::Follow(_) if walk.followed == MOST_FOLLOWED => break Kind::Partial,
            Step::Follow(next) => name = next,
        }
        walk.followed += 1;
    };
    let ours = !matches!(kind, Kind::NoZone | Kind::BrokenZone | Kind::Undecided) && walk.zone.is_some();
    Ok(End {
        kind,
        authoritative: qclass == Class::In && ours && !walk.refers_first,
        zone: walk.zone,
        synthesized: if kind == Kind::Undecided { None } else { walk.synthesized },
        scope: walk.scope,
    })
}

pub(super) struct Walk<'v, 'a, 's, S> {
    view: &'v View,
    asker: Asker,
    pub(super) qtype: Type,
    wants_proofs: bool,
    /// The client wants signatures, and the zone at hand has some.
    pub(super) proves: bool,
    followed: usize,
    /// The apex of the zone that the last name fell into.
    zone: Option<&'v Name>,
    /// The first name is at or below a cut (RFC 1034 §4.3.1: AA speaks of the first name).
    refers_first: bool,
    synthesized: Option<&'v [u8]>,
    /// Bits of the client's address that pools looked at.
    scope: u8,
    pub(super) proved: Proved<'a>,
    pub(super) sink: &'s mut S,
}

/// Nodes whose proofs were put in: each is in a message once.
#[derive(Default)]
pub(super) struct Proved<'a> {
    nodes: [Option<Node<'a>>; MOST_PROVED],
}

/// One for the name and one for the wildcard; proofs by hash are looked for among all RRsets.
const MOST_PROVED: usize = 2;

impl<'a> Proved<'a> {
    /// Whether the proof of `node` is to be put in now.
    pub(super) fn is_new(&mut self, node: Node<'a>) -> bool {
        if self.nodes.contains(&Some(node)) {
            return false;
        }
        if let Some(place) = self.nodes.iter_mut().find(|place| place.is_none()) {
            *place = Some(node);
        }
        true
    }
}

/// The result of one look-up step.
pub(super) enum Step<O> {
    Done(Kind),
    /// The name to look up next.
    Follow(O),
}

impl<'v: 'a, 'a, S: Sink<'a>> Walk<'v, 'a, '_, S> {
    fn step(&mut self, name: S::Owner) -> Result<Step<S::Owner>, S::Left> {
        match self.view.zones.find(name.as_ref(), self.qtype) {
            Some((_, Served::Zone(tree))) => self.in_zone(tree, name),
            Some((apex, Served::Broken)) => self.without_zone(Some(apex), Kind::BrokenZone),
            None => self.without_zone(None, Kind::NoZone),
        }
    }

    /// Only the first name can make the whole answer fail; a chain that leaves our zones is an answer.
    fn without_zone(&mut self, apex: Option<&'v Name>, first: Kind) -> Result<Step<S::Owner>, S::Left> {
        self.sink.unusual()?;
        if self.followed > 0 {
            return Ok(Step::Done(Kind::Partial));
        }
        self.zone = apex;
        Ok(Step::Done(first))
    }

    fn in_zone(&mut self, tree: &'v Tree, name: S::Owner) -> Result<Step<S::Owner>, S::Left> {
        self.sink.enter(tree, self.followed)?;
        self.zone = Some(tree.apex());
        self.proves = self.wants_proofs && tree.has_dnssec();
        let found = tree.find(name.as_ref());
        if tree.withholds() {
            self.sink.unusual()?;
            if withheld::asks(tree, found, name.as_ref(), self.qtype) {
                return Ok(Step::Done(Kind::Undecided));
            }
        }
        match found {
            Found::Records(node) => self.records(tree, node, name),
            // The zone below is served here, so its apex exists although this zone has no such name.
            Found::Missing { wildcard, .. } if self.is_ds_of_served_child(name.as_ref()) => {
                wildcard.into_iter().for_each(|source| self.synthesizes(source));
                self.no_name(tree, name.as_ref(), Kind::NoData)
            }
            Found::Missing { wildcard: Some(source), .. } => {
                self.synthesizes(source);
                self.records(tree, source, name)
            }
            Found::EmptyNonTerminal(_) => self.no_name(tree, name.as_ref(), Kind::NoData),
            Found::Missing { wildcard: None, closest_encloser } => {
                self.prove_no_name(tree, name.as_ref())?;
                self.prove_no_wildcard(tree, closest_encloser, name.as_ref())?;
                self.negative(tree, Kind::NxDomain)
            }
            // The parent's side of a cut owns the DS RRset (RFC 4035 §3.1.4.1).
            Found::Delegation(cut) if self.qtype == Type::DS && cut.name() == name.as_ref() => {
                self.records(tree, cut, name)
            }
            Found::Delegation(cut) => {
                self.refers_first |= self.followed == 0;
                self.refer(tree, cut)
            }
            Found::Dname(owner) => {
                self.sink.unusual()?;
                self.synthesizes(owner);
                self.substitute(owner, name)
            }
        }
    }

    fn synthesizes(&mut self, source: Node<'v>) {
        if self.followed == 0 {
            self.synthesized = Some(source.name());
        }
    }

    /// `Zones::find` sends DS to the zone above only at the apex of a zone that is served here.
    fn is_ds_of_served_child(&self, name: &[u8]) -> bool {
        self.qtype == Type::DS && self.view.zones.has_apex(name)
    }

    /// The name owns records, or a wildcard's records are its own.
    #[inline(always)]
    fn records(
        &mut self,
        tree: &'a Tree,
        node: Node<'a>,
        owner: S::Owner,
    ) -> Result<Step<S::Owner>, S::Left> {
        if self.qtype == Type::ANY {
            return self.one_of_any(tree, node, &owner);
        }
        if let Some(set) = node.set(self.qtype) {
            self.put(Section::Answer, &owner, node, &set, Need::Required)?;
            if self.proves {
                self.prove_expansion(tree, node, owner.as_ref())?;
            }
            if let Some(reach) = Reach::of(set.rtype) {
                self.add_additional(tree, &owner, &set, reach)?;
            }
            return Ok(Step::Done(Kind::Positive));
        }
        match node.set(Type::CNAME) {
            Some(set) => {
                self.prove_expansion(tree, node, owner.as_ref())?;
                self.alias(&owner, node, &set)
            }
            None => {
                self.prove_no_data(tree, node, owner.as_ref())?;
                self.negative(tree, Kind::NoData)
            }
        }
    }

    /// RFC 1034 §4.3.2 step 3a. An alias that is in the answer already closes a loop: what there is, is sent.
    fn alias(
        &mut self,
        owner: &S::Owner,
        node: Node<'a>,
        set: &RrSet<'a>,
    ) -> Result<Step<S::Owner>, S::Left> {
        let target = set.lent().and_then(|mut rdatas| rdatas.next());
        match (self.put(Section::Answer, owner, node, set, Need::Required)?, target) {
            (Put::New, Some(target)) => Ok(Step::Follow(self.sink.target(target)?)),
            _ => Ok(Step::Done(Kind::Partial)),
        }
    }

    /// One RRset is answer enough to ANY (RFC 8482 §4.1): a small one that clients can use.
    fn one_of_any(
        &mut self,
        tree: &'a Tree,
        node: Node<'a>,
        owner: &S::Owner,
    ) -> Result<Step<S::Owner>, S::Left> {
        self.sink.unusual()?;
        match node.sets().min_by_key(|set| preference(set.rtype)) {
            Some(set) => {
                self.prove_expansion(tree, node, owner.as_ref())?;
                self.put(Section::Answer, owner, node, &set, Need::Required)?;
                Ok(Step::Done(Kind::Positive))
            }
            None => {
                self.prove_no_data(tree, node, owner.as_ref())?;
                self.negative(tree, Kind::NoData)
            }
        }
    }

    fn no_name(&mut self, tree: &'a Tree, name: &[u8], kind: Kind) -> Result<Step<S::Owner>, S::Left> {
        self.prove_no_name(tree, name)?;
        self.negative(tree, kind)
    }

    /// RFC 2308 §3: the SOA's TTL is how long the negative answer may be kept.
    fn negative(&mut self, tree: &'a Tree, kind: Kind) -> Result<Step<S::Owner>, S::Left> {
        if let Some(soa) = tree.soa() {
            let apex = tree.apex_node();
            let owner = self.sink.owner(apex.name());
            let ttl = negative_ttl(&soa);
            let piece = self.piece(&owner, apex, &soa, Need::Required);
            self.sink.put(Section::Authority, Piece { ttl, ..piece })?;
        }
        Ok(Step::Done(kind))
    }

    /// RFC 1034 §4.3.2 step 3b.
    fn refer(&mut self, tree: &'a Tree, cut: Node<'a>) -> Result<Step<S::Owner>, S::Left> {
        let owner = self.sink.owner(cut.name());
        let ns = cut.set(Type::NS);
        if let Some(ns) = &ns {
            self.put(Section::Authority, &owner, cut, ns, Need::Required)?;
        }
        // A DS means something only to a client that can check the zone that holds it.
        if self.proves && is_signed(tree) {
            self.prove_delegation(tree, cut, &owner)?;
        }
        if let Some(ns) = &ns {
            self.add_glue(tree, cut, ns)?;
        }
        Ok(Step::Done(Kind::Referral))
    }
}

impl<'a, S: Sink<'a>> Walk<'_, 'a, '_, S> {
    /// Puts in a set of `node`, under the name that it is asked for: of a pool, the records that the client is given.
    #[inline(always)]
    pub(super) fn put(
        &mut self,
        section: Section,
        owner: &S::Owner,
        node: Node<'a>,
        set: &RrSet<'a>,
        need: Need,
    ) -> Result<Put, S::Left> {
        let pools = &self.view.pools;
        if !pools.is_empty() {
            if let Some(pool) = pools.get(node, set.rtype) {
                if self.asker.is_subnet {
                    self.scope = self.scope.max(pool.scope(self.asker));
                }
                return self.sink.put_chosen(section, Chosen { owner, pool, asker: self.asker, need });
            }
            // Other hints than those that were signed prove nothing (RFC 4035 §5.3).
            if matches!(set.rtype, Type::HTTPS | Type::SVCB)
                && pools.lead_from(node.name(), set)
                && !pool::is_signed(node, set.rtype)
            {
                self.sink.unusual()?;
                self.scope = self.scope.max(pools.scope_of_hints(node.name(), set, self.asker));
                let set = pools.with_hints(node.name(), set, self.asker);
                return self.put_whole(section, owner, node, &set, need);
            }
        }
        self.put_whole(section, owner, node, set, need)
    }

    /// As [`Self::put`], with all records that there are.
    #[inline(always)]
    pub(super) fn put_whole(
        &mut self,
        section: Section,
        owner: &S::Owner,
        node: Node<'a>,
        set: &RrSet<'a>,
        need: Need,
    ) -> Result<Put, S::Left> {
        let piece = self.piece(owner, node, set, need);
        self.sink.put(section, piece)
    }

    #[inline(always)]
    fn piece<'p>(
        &self,
        owner: &'p S::Owner,
        node: Node<'a>,
        set: &'p RrSet<'a>,
        need: Need,
    ) -> Piece<'p, 'a, S::Owner> {
        let signatures = if self.proves { node.set(Type::RRSIG) } else { None };
        Piece { owner, set, ttl: set.ttl, need, signatures }
    }
}

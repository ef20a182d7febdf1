//! The NSEC3 chain of a zone that was signed elsewhere (RFC 5155): which record matches a name's hash, and which covers it.
//!
//! The owner of an NSEC3 record is a hash in base32hex below the apex. Base32hex keeps the order of what it encodes
//! (RFC 4648 §7), so the canonical order of the owners is the order of the hashes.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::arena::Place;
use super::{Node, Tree};
use crate::name;
use crate::rtype::Type;

/// Hashes per name that a question may cost. RFC 9276 §3.2 lets resolvers treat more than a few as unsigned anyway.
const MOST_ITERATIONS: u16 = 500;
/// The only hash algorithm there is (RFC 5155 §11).
const SHA1: u8 = 1;
/// Characters of a SHA-1 hash in base32hex.
const LABEL_BYTES: usize = 32;

/// How names are hashed, and where the records are.
#[derive(Clone)]
pub(super) struct Chain {
    iterations: u16,
    salt: Box<[u8]>,
    /// In canonical order of their owners.
    places: Box<[Place]>,
}

/// NSEC3 records of one tree, asked by name.
#[derive(Clone, Copy)]
pub struct Proofs<'t> {
    tree: &'t Tree,
    chain: &'t Chain,
}

impl Chain {
    /// The chain that an NSEC3PARAM record announces, if there is one that begins at the apex (RFC 5155 §4, §7.1).
    pub(super) fn of(tree: &Tree) -> Option<Self> {
        let parameters = tree.apex_node().set(Type::NSEC3PARAM)?;
        parameters.rdatas().find_map(|rdata| Self::announced(rdata, tree))
    }

    fn announced(parameters: &[u8], tree: &Tree) -> Option<Self> {
        let [SHA1, 0, high, low, salt_len, salt @ ..] = parameters else { return None };
        let iterations = u16::from_be_bytes([*high, *low]);
        if usize::from(*salt_len) != salt.len() || iterations > MOST_ITERATIONS {
            return None;
        }
        let belongs = |rdata: &[u8]| {
            rdata.first() == parameters.first()
                && rdata.get(2..).is_some_and(|rest| rest.starts_with(&parameters[2..]))
        };
        let nodes =
            tree.nodes().filter(|node| node.set(Type::NSEC3).is_some_and(|set| set.rdatas().any(belongs)));
        let places: Box<[Place]> = nodes.map(|node| node.place).collect();
        let chain = Self { iterations, salt: salt.into(), places };
        let has_apex = Proofs { tree, chain: &chain }.matching(tree.apex().as_wire()).is_some();
        has_apex.then_some(chain)
    }
}

impl<'t> Proofs<'t> {
    pub(super) fn of(tree: &'t Tree) -> Option<Self> {
        Some(Self { tree, chain: tree.nsec3.as_ref()? })
    }

    /// The record of this name: it proves which types the name has.
    pub fn matching(self, name: &[u8]) -> Option<Node<'t>> {
        let label = self.label(name);
        let owner = |place: &Place| owner_label(self.tree.arena.name(*place)).cmp(&label[..]);
        let at = self.chain.places.binary_search_by(owner).ok()?;
        Some(self.tree.at(self.chain.places[at]))
    }

    /// The record whose hash is the last before that of a name which has none itself; the first hash comes after the last.
    pub fn covering(self, name: &[u8]) -> Option<Node<'t>> {
        let label = self.label(name);
        let before =
            self.chain.places.partition_point(|place| owner_label(self.tree.arena.name(*place)) < &label[..]);
        let place = before.checked_sub(1).map_or(self.chain.places.last(), |at| self.chain.places.get(at))?;
        Some(self.tree.at(*place))
    }

    /// The longest ancestor of `name` whose record there is, and the name one label below it (RFC 5155 §7.2.1). A name
    /// that only leads to unsigned delegations may have no record (§6), so it may be above the closest encloser.
    pub fn closest_provable_encloser<'n>(self, name: &'n [u8]) -> Option<(Node<'t>, &'n [u8])> {
        let (mut next_closer, mut above) = (name, name::parent(name)?);
        loop {
            if let Some(node) = self.matching(above) {
                return Some((node, next_closer));
            }
            if above.len() <= self.tree.apex().as_wire().len() {
                return None;
            }
            (next_closer, above) = (above, name::parent(above)?);
        }
    }

    /// RFC 5155 §5.
    fn label(self, name: &[u8]) -> [u8; LABEL_BYTES] {
        let mut input = name.to_ascii_lowercase();
        let mut hash = [0; 20];
        for _ in 0..=self.chain.iterations {
            input.extend_from_slice(&self.chain.salt);
            hash.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, &input).as_ref());
            input.clear();
            input.extend_from_slice(&hash);
        }
        base32hex(&hash)
    }
}

impl Node<'_> {
    /// Whether it owns nothing but an NSEC3 record, so that for queries it does not exist (RFC 5155 §7.2.8).
    pub(super) fn is_proof_only(self) -> bool {
        let mut sets = self.sets().peekable();
        sets.peek().is_some() && sets.all(|set| matches!(set.rtype, Type::NSEC3 | Type::RRSIG))
    }
}

/// The first label of a lower-case name.
fn owner_label(name: &[u8]) -> &[u8] {
    name.get(1..=usize::from(name[0])).unwrap_or_default()
}

/// RFC 4648 §7, in the lower case of names in a tree.
fn base32hex(hash: &[u8; 20]) -> [u8; LABEL_BYTES] {
    let mut label = [0; LABEL_BYTES];
    for (five, eight) in hash.as_chunks::<5>().0.iter().zip(label.as_chunks_mut::<8>().0) {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for (at, letter) in eight.iter_mut().enumerate() {
            *letter = b"0123456789abcdefghijklmnopqrstuv"[(bits >> (35 - 5 * at) & 31) as usize];
        }
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::tree::testing;

    /// The example of RFC 5155 appendix A: its hashes, with salt aabbccdd and 12 iterations.
    const HASHES: &[(&str, &str)] = &[
        ("example", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
        ("a.example", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
        ("ai.example", "gjeqe526plbf1g8mklp59enfd789njgi"),
        ("ns1.example", "2t7b4g4vsa5smi47k61mv5bv1a22bojr"),
        ("ns2.example", "q04jkcevqvmu85r014c7dkba38o0ji5r"),
        ("w.example", "k8udemvp1j2f7eg6jebps17vp3n8i58h"),
        ("*.w.example", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
        ("x.w.example", "b4um86eghhds6nea196smvmlo4ors995"),
        ("y.w.example", "ji6neoaepv8b5o6k4ev33abha8ht9fgc"),
        ("x.y.w.example", "2vptu5timamqttgl4luu9kg21e0aor3s"),
        ("xx.example", "t644ebqk9bibcna874givr6joj62mlhv"),
    ];

    fn wire(name: &str) -> Vec<u8> {
        name::parse_to_wire(format!("{name}.").as_bytes(), None).unwrap()
    }

    fn tree() -> Tree {
        let mut text = "@ NSEC3PARAM 1 0 12 AABBCCDD\n".to_owned();
        for (at, (_, hash)) in HASHES.iter().enumerate() {
            let (_, next) = HASHES[(at + 1) % HASHES.len()];
            text += &format!("{hash} NSEC3 1 0 12 AABBCCDD {next} A\n");
        }
        testing::tree("example", &text)
    }

    #[test]
    fn the_hashes_are_those_of_rfc_5155() {
        let tree = tree();
        let proofs = Proofs::of(&tree).unwrap();
        for (name, hash) in HASHES {
            let label = proofs.label(&wire(name));
            assert_eq!(std::str::from_utf8(&label), Ok(*hash), "{name}");
            assert!(proofs.matching(&wire(name)).is_some(), "{name}");
        }
    }

    #[test]
    fn what_covers_a_name_has_the_last_hash_before_it_or_the_last_of_all() {
        let tree = tree();
        let proofs = Proofs::of(&tree).unwrap();
        // RFC 5155 appendix B.1.
        assert_eq!(proofs.label(&wire("c.x.w.example")), *b"0va5bpr2ou0vk0lbqeeljri88laipsfh");
        for name in ["c.x.w.example", "*.x.w.example", "n0.example", "n1.example", "n2.example"] {
            let covering = proofs.covering(&wire(name)).unwrap();
            assert!(proofs.matching(&wire(name)).is_none(), "{name}");
            let mut sorted: Vec<&str> = HASHES.iter().map(|(_, hash)| *hash).collect();
            sorted.sort_unstable();
            let label = proofs.label(&wire(name));
            let expected = sorted
                .iter()
                .rfind(|hash| hash.as_bytes() < label.as_slice())
                .unwrap_or(&sorted[sorted.len() - 1]);
            assert_eq!(owner_label(covering.name()), expected.as_bytes(), "{name}");
        }
    }

    #[test]
    fn a_name_without_a_record_is_proved_by_one_above_it() {
        let tree = tree();
        let proofs = Proofs::of(&tree).unwrap();
        let name = wire("b.c.x.w.example");
        let (node, next_closer) = proofs.closest_provable_encloser(&name).unwrap();
        assert_eq!(node, proofs.matching(&wire("x.w.example")).unwrap());
        assert_eq!(next_closer, wire("c.x.w.example"));
        assert!(proofs.closest_provable_encloser(&wire("example")).is_none());
    }

    #[test]
    fn a_chain_that_is_not_announced_or_too_dear_proves_nothing() {
        for text in [
            "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 0 12 AABBCCDD 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom A\n",
            "@ NSEC3PARAM 1 0 12 AABBCCDD\n",
            "@ NSEC3PARAM 1 0 501 -\n",
            "@ NSEC3PARAM 2 0 0 -\n",
        ] {
            assert!(Proofs::of(&testing::tree("example", text)).is_none(), "{text}");
        }
    }
}

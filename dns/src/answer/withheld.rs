//! Questions for RRsets of which nobody can say yet whether outsiders may get them ([`Tree::withholds`]): SERVFAIL, since a
//! "no" would stay in caches (RFC 2308 §5), and without an MX record mail goes elsewhere (RFC 5321 §5.1).
//!
//! That holds for the owner and the type of the RRset alone: for an alias all types that would follow it, for a DNAME all
//! names below it.

use crate::name;
use crate::rtype::Type;
use crate::zone::tree::{Found, Node, Tree};

/// Whether the answer to a question for `name`, for which the tree has `found`, depends on a withheld RRset.
pub(super) fn asks(tree: &Tree, found: Found<'_>, name: &[u8], qtype: Type) -> bool {
    let (source, end) = match found {
        Found::Records(node) | Found::EmptyNonTerminal(node) => (Some(node), name),
        Found::Missing { wildcard, .. } => (wildcard, name),
        Found::Delegation(node) | Found::Dname(node) => (None, node.name()),
    };
    source.is_some_and(|node| owns(node, qtype)) || is_below_dname(tree, end)
}

fn owns(node: Node<'_>, qtype: Type) -> bool {
    let mut withheld = node.withheld();
    match qtype {
        // Any one RRset is answer enough (RFC 8482 §4.1).
        Type::ANY => node.is_empty() && withheld.next().is_some(),
        _ if node.set(qtype).is_some() => false,
        _ => withheld.any(|rtype| rtype == qtype || rtype == Type::CNAME),
    }
}

fn is_below_dname(tree: &Tree, name: &[u8]) -> bool {
    let mut above = std::iter::successors(name::parent(name), |name| name::parent(name));
    above.any(|name| tree.node(name).is_some_and(|node| node.withheld().any(|rtype| rtype == Type::DNAME)))
}

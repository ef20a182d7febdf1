//! Compares two trees of one zone: its old and its new version, or its public and its internal view.

use std::cmp::Ordering;

use super::{Node, Tree, canonical_cmp};

/// A name that is not the same in both trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference<'l, 'r> {
    /// The node of the first tree there.
    pub(crate) left: Option<Node<'l>>,
    /// The node of the second tree there.
    pub(crate) right: Option<Node<'r>>,
}

/// Names in either tree, in canonical order, whose records are not the same.
pub(crate) fn differences<'l, 'r>(
    left: &'l Tree,
    right: &'r Tree,
) -> impl Iterator<Item = Difference<'l, 'r>> {
    let (mut left, mut right) = (left.nodes().peekable(), right.nodes().peekable());
    let pairs = std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(l), Some(r)) => canonical_cmp(*l, *r),
        };
        Some(Difference {
            left: if order.is_le() { left.next() } else { None },
            right: if order.is_ge() { right.next() } else { None },
        })
    });
    pairs.filter(|pair| match (pair.left, pair.right) {
        (Some(l), Some(r)) => !l.sets().eq(r.sets()) || !l.withheld().eq(r.withheld()),
        _ => true,
    })
}

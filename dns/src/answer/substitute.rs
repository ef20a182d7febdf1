//! DNAME (RFC 6672): the part of the name at the owner is replaced; a CNAME tells clients that know no DNAME.

use std::borrow::Cow;

use super::{Draft, Kind, Need, Placed, Put, Section, Step};
use crate::name::{self, MAX_NAME_BYTES};
use crate::rtype::Type;
use crate::zone::tree::{Node, RrSet, Tree};

impl<'v: 'a, 'a> Draft<'v, 'a> {
    /// RFC 6672 §3.1 step 3c: `name` is below `owner`, which has a DNAME RRset.
    pub(super) fn substitute(&mut self, _tree: &'v Tree, owner: Node<'v>, name: Cow<'a, [u8]>) -> Step {
        let Some(dname) = owner.set(Type::DNAME) else { return self.end(Kind::Partial) };
        let (target, ttl) = (dname.first().unwrap_or_default().to_vec(), dname.ttl);
        let put = self.put(Section::Answer, Cow::Borrowed(owner.name()), owner, dname, Need::Required);
        // A DNAME may lead to itself again, to a shorter name; but not with a target below its owner: that only grows.
        if put == Put::AlreadyThere && name::is_at_or_under(&target.to_ascii_lowercase(), owner.name()) {
            return self.end(Kind::Partial);
        }
        let Some(renamed) = replace_suffix(&name, owner.name(), &target) else {
            return self.end(Kind::TooLong);
        };
        let cname = RrSet::new(Type::CNAME, ttl, [renamed.as_slice()]);
        // A validator makes the CNAME itself from the signed DNAME (RFC 6672 §5.3.1).
        let placed =
            Placed { owner: name, ttl: cname.ttl, set: cname, need: Need::Required, signatures: None };
        if self.put_placed(Section::Answer, placed) == Put::AlreadyThere {
            return self.end(Kind::Partial);
        }
        if self.query.qtype == Type::CNAME {
            // The synthesized record is the answer.
            return self.end(Kind::Positive);
        }
        Step::Follow(renamed.to_ascii_lowercase())
    }
}

/// `name` with `target` in the place of its suffix `owner`; none if that is too long (RFC 6672 §2.2).
fn replace_suffix(name: &[u8], owner: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let prefix = &name[..name.len() - owner.len()];
    (prefix.len() + target.len() <= MAX_NAME_BYTES).then(|| [prefix, target].concat())
}

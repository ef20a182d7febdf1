//! DNAME (RFC 6672): the part of the name at the owner is replaced; a CNAME tells clients that know no DNAME.

use super::walk::{Piece, Put, Section, Sink, Step, Walk};
use super::{Kind, Need};
use crate::name::{self, MAX_NAME_BYTES};
use crate::rtype::Type;
use crate::zone::tree::{Node, RrSet};

impl<'a, S: Sink<'a>> Walk<'_, 'a, '_, S> {
    /// RFC 6672 §3.1 step 3c: `name` is below `source`, which has a DNAME RRset.
    pub(super) fn substitute(&mut self, source: Node<'a>, name: S::Owner) -> Result<Step<S::Owner>, S::Left> {
        let Some(dname) = source.set(Type::DNAME) else { return Ok(Step::Done(Kind::Partial)) };
        let (target, ttl) = (dname.first().unwrap_or_default(), dname.ttl);
        let owner = self.sink.owner(source.name());
        let put = self.put(Section::Answer, &owner, source, &dname, Need::Required)?;
        // A DNAME may lead to itself again, to a shorter name; but not with a target below its owner: that only grows.
        if put == Put::AlreadyThere && name::is_at_or_under(&target.to_ascii_lowercase(), source.name()) {
            return Ok(Step::Done(Kind::Partial));
        }
        let Some(renamed) = replace_suffix(name.as_ref(), source.name(), target) else {
            return Ok(Step::Done(Kind::TooLong));
        };
        let cname = RrSet::new(Type::CNAME, ttl, [renamed.as_slice()]);
        // A validator makes the CNAME itself from the signed DNAME (RFC 6672 §5.3.1).
        let piece = Piece { owner: &name, set: &cname, ttl, need: Need::Required, signatures: None };
        if self.sink.put(Section::Answer, piece)? == Put::AlreadyThere {
            return Ok(Step::Done(Kind::Partial));
        }
        if self.qtype == Type::CNAME {
            // The synthesized record is the answer.
            return Ok(Step::Done(Kind::Positive));
        }
        Ok(Step::Follow(self.sink.made(renamed)?))
    }
}

/// `name` with `target` in the place of its suffix `owner`; none if that is too long (RFC 6672 §2.2).
fn replace_suffix(name: &[u8], owner: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let prefix = &name[..name.len() - owner.len()];
    (prefix.len() + target.len() <= MAX_NAME_BYTES).then(|| [prefix, target].concat())
}

//! The sink that makes an [`Answer`] of whatever is asked.

use std::borrow::Cow;
use std::convert::Infallible;

use super::walk::{Chosen, Piece, Put, Section, Sink, walk};
use super::{Answer, Kind, Placed, Query};
use crate::view::View;
use crate::zone::tree::Tree;

/// Answers a question from one view.
pub fn answer<'v: 'a, 'a>(view: &'v View, query: Query<'a>) -> Answer<'v, 'a> {
    let mut sections = Sections::default();
    let Ok(end) = walk(view, &query, &mut sections);
    // Unknown is not "no", and half of a chain would read as one.
    if end.kind == Kind::Undecided {
        sections = Sections::default();
    }
    let Sections { answer, authority, additional } = sections;
    Answer {
        rcode: end.kind.rcode(),
        authoritative: end.authoritative,
        answer,
        authority,
        additional,
        zone: end.zone,
        kind: end.kind,
        synthesized: end.synthesized,
        scope: end.scope,
    }
}

#[derive(Default)]
struct Sections<'a> {
    answer: Vec<Placed<'a>>,
    authority: Vec<Placed<'a>>,
    additional: Vec<Placed<'a>>,
}

impl<'a> Sink<'a> for Sections<'a> {
    type Owner = Cow<'a, [u8]>;
    type Left = Infallible;

    fn owner(&mut self, name: &'a [u8]) -> Self::Owner {
        Cow::Borrowed(name)
    }

    fn target(&mut self, name: &'a [u8]) -> Result<Self::Owner, Infallible> {
        Ok(if name.iter().any(u8::is_ascii_uppercase) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        })
    }

    fn made(&mut self, mut name: Vec<u8>) -> Result<Self::Owner, Infallible> {
        name.make_ascii_lowercase();
        Ok(Cow::Owned(name))
    }

    fn enter(&mut self, _tree: &'a Tree, _followed: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn unusual(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    /// An RRset is in a message once; one that was only additional is not moved, since nothing stronger follows it.
    fn put(&mut self, section: Section, piece: Piece<'_, 'a, Self::Owner>) -> Result<Put, Infallible> {
        let Piece { owner, set, ttl, need, signatures } = piece;
        let mut all = self.answer.iter().chain(&self.authority).chain(&self.additional);
        if all.any(|other| other.set.rtype == set.rtype && other.owner == *owner) {
            return Ok(Put::AlreadyThere);
        }
        let section = match section {
            Section::Answer => &mut self.answer,
            Section::Authority => &mut self.authority,
            Section::Additional => &mut self.additional,
        };
        section.push(Placed { owner: owner.clone(), set: set.clone(), ttl, need, signatures });
        Ok(Put::New)
    }

    fn put_chosen(&mut self, section: Section, chosen: Chosen<'_, Self::Owner>) -> Result<Put, Infallible> {
        let Chosen { owner, pool, asker, need } = chosen;
        let set = pool.given(asker);
        self.put(section, Piece { owner, set: &set, ttl: set.ttl, need, signatures: None })
    }
}

//! The records that would be hidden as well if every name in a zone that never had a good version were hidden.

use super::super::names::ancestry;
use super::Closure;
use super::refer::Referrer;
use crate::rtype::Type;

/// Records that lead into zones that never had a good version, and those that follow from them.
#[derive(Default)]
pub(super) struct Doubts {
    /// Not looked at yet.
    leads: Vec<Referrer>,
    /// Records by zone, once all that is hidden for sure is known.
    undecided: Option<Vec<Vec<u32>>>,
}

impl Doubts {
    pub(super) fn has_begun(&self) -> bool {
        self.undecided.is_some()
    }

    /// A record has become hidden.
    pub(super) fn note(&mut self, zone: usize, record: u32) {
        if let Some(undecided) = &mut self.undecided {
            undecided[zone].push(record);
        }
    }
}

impl Closure<'_> {
    /// Whether the name lies in a zone that never had a good version.
    pub(super) fn is_unknown(&self, wire: &[u8]) -> bool {
        // A zone below it may be known.
        let mut apexes = ancestry(wire);
        let is_apex = |name: &&[u8]| self.names.is_unknown_zone(name) || self.by_apex.contains_key(name);
        apexes.find(is_apex).is_some_and(|apex| self.names.is_unknown_zone(apex))
    }

    pub(super) fn doubt_lead(&mut self, from: Referrer) {
        self.doubts.leads.push(from);
    }

    /// The undecided records of each zone, by rising index. Nothing else can be asked of the closure afterwards.
    ///
    /// NS records are not among them, so neither zones nor cuts go.
    pub(in super::super) fn doubt(&mut self) -> Vec<Vec<u32>> {
        self.doubts.undecided = Some(vec![Vec::new(); self.zones.len()]);
        while !self.doubts.leads.is_empty() {
            for from in std::mem::take(&mut self.doubts.leads) {
                if self.zones[from.zone].records[from.record as usize].rtype != Type::NS {
                    self.betrays(from);
                }
            }
            self.run();
        }
        let mut undecided = self.doubts.undecided.take().unwrap_or_default();
        undecided.iter_mut().for_each(|records| records.sort_unstable());
        undecided
    }
}

//! The serials under which zones are transferred, and their last changes. A serial moves when the content of its view does
//! (D16), also if the author forgot to raise it: what was shown under a number is never shown under it with other content.
//!
//! The numbers outlast a restart in the file `serials` of the state folder. Zones that nobody may take, and zones signed
//! elsewhere, keep their author's serial.

mod file;
mod history;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use self::file::{Digest, Stored};
use self::history::History;
use crate::catalog::HeldCopy;
use crate::config::copies_folder;
use crate::name::Name;
use crate::rtype::Type;
use crate::transfer::{self, Delta, SOA_NUMBERS_BYTES, Versions, is_newer, next_serial};
use crate::update;
use crate::view::Which;
use crate::world::{Standing, World};
use crate::zone::set::Served;
use crate::zone::tree::Tree;

/// Changes of one zone in one view that are kept: versions, and bytes in all.
const MOST_DELTAS: usize = 100;
const MOST_DELTA_BYTES: usize = 16 << 20;

/// A zone that has not been here for longer is forgotten: a secondary of it has expired long ago.
const MOST_DAYS: u64 = 400;

/// The versions of all zones that are transferred.
#[derive(Default)]
pub(super) struct Numbers {
    /// Where they are kept.
    folder: Option<PathBuf>,
    stored: Stored,
    history: History,
    lines: HashMap<Place, Line>,
    /// Zones that are taken from others.
    copies: HashSet<Name>,
    /// Zones that this server became the primary of, and the serial under which it did.
    promoted: HashMap<Name, u32>,
    /// The file could not be written, and that was told.
    is_unwritten: bool,
}

/// A zone in one view.
type Place = (Which, Name);
/// A zone's tree for the outside and for the inside.
type Trees = [(Which, Option<Arc<Tree>>); 2];

/// A version that was not in service before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) view: Which,
    pub(super) apex: Name,
}

/// The versions of a zone in one view.
struct Line {
    serial: u32,
    digest: Digest,
    /// As it was compiled, under its author's serial.
    source: Arc<Tree>,
    served: Arc<Tree>,
    /// The oldest first.
    deltas: Vec<Arc<Delta>>,
}

/// A zone as a new world has it, and its number.
struct Numbered {
    place: Place,
    tree: Arc<Tree>,
    serial: u32,
    digest: Digest,
}

impl Numbers {
    /// Takes over the numbers that `folder` holds; without a folder nothing is transferred. `today` is counted from 1970.
    pub(super) fn keep_in(&mut self, folder: Option<&Path>, today: u64) {
        if folder != self.folder.as_deref() {
            self.stored.extend(folder.map(|folder| file::read(folder, today)).unwrap_or_default());
            self.folder = folder.map(Path::to_path_buf);
            self.history = folder.map(History::open).unwrap_or_default();
        }
    }

    /// Reads again what is stored, since another process may have given numbers.
    pub(super) fn read_again(&mut self, today: u64) {
        let folder = self.folder.take();
        self.keep_in(folder.as_deref(), today);
    }

    /// The serial under which a zone of this view was last transferred.
    pub(super) fn last(&self, view: Which, apex: &Name) -> Option<u32> {
        self.before(&(view, apex.clone())).map(|(serial, _)| serial)
    }

    /// Numbers the zones of a new world; tells which are new versions.
    pub(super) fn number(&mut self, world: &mut World, today: u64) -> Vec<Moved> {
        if world.protocol.transfers.is_empty() && world.protocol.updates.is_empty() {
            // The stored numbers stay: they hold again when transfers are allowed again.
            self.lines.clear();
            return Vec::new();
        }
        let leads = |apex: &Name| world.standing.get(apex) == Some(&Standing::Leads);
        let copies = world.protocol.secondaries.apexes().cloned();
        let (led, copies): (Vec<Name>, Vec<Name>) = copies.partition(leads);
        self.copies = copies.into_iter().collect();
        self.promoted = self.floors(led);
        let mut moved = Vec::new();
        let (mut lines, mut versions) = (HashMap::new(), Versions::default());
        for Transferred { apex, trees, is_catalog } in transferred(world) {
            let inside = trees[1].1.clone();
            for numbered in self.numbered(&apex, trees, is_catalog) {
                let is_new =
                    self.lines.get(&numbered.place).is_none_or(|before| before.serial != numbered.serial);
                let other = lines.get(&(other_side(numbered.place.0), apex.clone()));
                let before = self.lines.remove(&numbered.place);
                let last = before.as_ref().map(|line| line.serial);
                let mut line = Line::after(before, &numbered, (other, inside.as_deref()));
                self.remember(&mut line, last, (&numbered.place, inside.as_deref()));
                let (view, place) = (numbered.place.0, numbered.place);
                let zones = match view {
                    _ if is_catalog => &mut world.catalogs[usize::from(view == Which::Internal)],
                    Which::Public => &mut world.public,
                    Which::Internal => &mut world.internal,
                };
                zones.zones.insert(apex.clone(), Served::Zone(Arc::clone(&line.served)));
                versions.insert(view, apex.clone(), line.deltas.as_slice().into());
                self.stored.insert(place.clone(), (line.serial, line.digest, today));
                lines.insert(place, line);
                moved.extend(is_new.then(|| Moved { view, apex: apex.clone() }));
            }
        }
        (self.lines, world.versions) = (lines, versions);
        let history = &mut self.history;
        self.stored.retain(|place, (.., day)| {
            let is_kept = today.saturating_sub(*day) <= MOST_DAYS;
            if !is_kept {
                history.forget(place);
            }
            is_kept
        });
        self.store();
        moved
    }

    /// Brings the changes on the disk and those in memory together. `last` is the serial of before; without one the server has just
    /// started, or the zone has just come.
    fn remember(&mut self, line: &mut Line, last: Option<u32>, (place, inside): (&Place, Option<&Tree>)) {
        match last {
            Some(last) if last == line.serial => {}
            Some(_) => self.history.add(place, &line.deltas, &line.digest),
            None => {
                let deltas = self.history.take(place, (line.serial, &line.digest));
                line.deltas = line.worth_keeping(deltas, inside.filter(|_| place.0 == Which::Public));
                if line.deltas.is_empty() {
                    self.history.forget(place);
                }
            }
        }
    }

    /// The serials of all zones that are transferred, for the metrics.
    pub(super) fn serials(&self) -> Vec<(Which, String, u32)> {
        let serials = self.lines.iter().map(|((view, apex), line)| (*view, apex.to_string(), line.serial));
        let mut serials: Vec<_> = serials.collect();
        serials.sort_unstable_by(|a, b| (&a.1, a.0.as_str()).cmp(&(&b.1, b.0.as_str())));
        serials
    }

    /// The serials under which this server became the primary of zones that it leads.
    fn floors(&self, led: Vec<Name>) -> HashMap<Name, u32> {
        let Some(state) = &self.folder else { return HashMap::new() };
        let floor = |apex: Name| {
            let copy = HeldCopy::new(apex.clone(), Which::Public, &copies_folder(state), false);
            Some((apex, copy.promoted()?))
        };
        led.into_iter().filter_map(floor).collect()
    }

    /// The numbers of one zone's trees, of the outside and of the inside.
    fn numbered(&self, apex: &Name, trees: Trees, is_catalog: bool) -> Vec<Numbered> {
        let is_shared = match &trees {
            [(_, Some(outside)), (_, Some(inside))] => Arc::ptr_eq(outside, inside) && self.was_shared(apex),
            _ => false,
        };
        let number = |(view, tree): (Which, Option<Arc<Tree>>)| {
            let (place, tree) = ((view, apex.clone()), tree?);
            let (serial, digest) =
                self.next(&place, &tree, !is_catalog && (view == Which::Internal || is_shared))?;
            Some(Numbered { place, tree, serial, digest })
        };
        let mut numbered: Vec<Numbered> = trees.into_iter().filter_map(number).collect();
        // A tree that both sides have has one number: the later one of the two.
        if let [outside, inside] = numbered.as_mut_slice()
            && is_shared
        {
            let later = if is_newer(outside.serial, inside.serial) { outside.serial } else { inside.serial };
            (outside.serial, inside.serial) = (later, later);
        }
        numbered
    }

    /// Whether both sides had the same content under the same number, or the outside has had none. The end of all that
    /// was hidden is no change outside, and the inside's number would tell how often something changed there (D16).
    fn was_shared(&self, apex: &Name) -> bool {
        let before = |view| self.before(&(view, apex.clone()));
        before(Which::Public).is_none_or(|outside| before(Which::Internal) == Some(outside))
    }

    fn before(&self, place: &Place) -> Option<(u32, Digest)> {
        let line = self.lines.get(place).map(|line| (line.serial, line.digest));
        let stored = self.stored.get(place).map(|(serial, digest, _)| (*serial, *digest));
        // A process that was to take over may have given a later number than this one.
        let is_later = |(stored, _): &(u32, Digest)| line.is_none_or(|(own, _)| is_newer(*stored, own));
        stored.filter(is_later).or(line)
    }

    /// The serial of a tree that was just compiled, and the digest of its content.
    fn next(&self, place: &Place, tree: &Arc<Tree>, follows: bool) -> Option<(u32, Digest)> {
        let file = transfer::serial(tree)?;
        let line = self.lines.get(place);
        let digest = match line.filter(|line| Arc::ptr_eq(&line.source, tree)) {
            Some(line) => line.digest,
            None => digest(tree),
        };
        // A signature covers the SOA with its serial, as does the digest of a ZONEMD (RFC 8976 §3.3.1.1), and a copy has its
        // primary's.
        if tree.is_signed() || self.copies.contains(&place.1) {
            return Some((file, digest));
        }
        let before = self.before(place).map(|(serial, before)| (serial, before != digest));
        let floor = self.promoted.get(&place.1).copied();
        Some((next_serial(before, file, follows, floor), digest))
    }

    /// Before anybody sees a new number, so that a restart does not give it to other content.
    fn store(&mut self) {
        let Some(folder) = &self.folder else { return };
        match file::write(folder, &self.stored) {
            Ok(()) => self.is_unwritten = false,
            Err(error) if self.is_unwritten => tracing::debug!(%error, "the serials are not stored"),
            Err(error) => {
                self.is_unwritten = true;
                tracing::error!(
                    folder = %folder.display(), %error,
                    "the serials cannot be stored, so that after a restart secondaries may miss changes; set `state` to a \
                     folder that this user may write"
                );
            }
        }
    }
}

impl Line {
    /// The line of a version; `other` is that of the other side, which may have the same tree, and `inside` what insiders get.
    fn after(before: Option<Self>, new: &Numbered, (other, inside): (Option<&Self>, Option<&Tree>)) -> Self {
        let Numbered { tree, serial, digest, place } = new;
        let is_same = |line: &&Self| line.serial == *serial && line.digest == *digest;
        let shared = other.filter(|other| Arc::ptr_eq(&other.source, tree) && other.serial == *serial);
        let served = match shared.or_else(|| before.as_ref().filter(is_same)) {
            // The same content, and perhaps a tree that need not be made again.
            Some(line) if !line.served.withholds() && !tree.withholds() => Arc::clone(&line.served),
            _ => under(tree, *serial),
        };
        let inside = inside.filter(|_| place.0 == Which::Public);
        let deltas = before.map_or_else(Vec::new, |before| before.deltas_until(&served, inside));
        Self { serial: *serial, digest: *digest, source: Arc::clone(tree), served, deltas }
    }

    /// The changes up to `new`, as far back as they are worth keeping; none if something was hidden from who has no
    /// `inside`.
    fn deltas_until(mut self, new: &Arc<Tree>, inside: Option<&Tree>) -> Vec<Arc<Delta>> {
        if Arc::ptr_eq(&self.served, new) || transfer::serial(new) == Some(self.serial) {
            return self.deltas;
        }
        // A secondary that has so much to change takes the whole zone.
        let most = MOST_DELTA_BYTES.min(new.bytes());
        let is_known = !self.served.withholds() && !new.withholds();
        let delta = is_known.then(|| Delta::between(&self.served, new, most)).flatten();
        let delta = delta.filter(|delta| inside.is_none_or(|inside| !delta.hides(new, inside)));
        let Some(delta) = delta else { return Vec::new() };
        self.deltas.push(Arc::new(delta));
        last_of(self.deltas, most)
    }

    /// The changes on the disk that may be given still; none if something is hidden now that they take away.
    fn worth_keeping(&self, deltas: Vec<Arc<Delta>>, inside: Option<&Tree>) -> Vec<Arc<Delta>> {
        let is_hidden = |delta: &Arc<Delta>| inside.is_some_and(|inside| delta.hides(&self.served, inside));
        if self.served.withholds() || deltas.iter().any(is_hidden) {
            return Vec::new();
        }
        last_of(deltas, MOST_DELTA_BYTES.min(self.served.bytes()))
    }
}

/// The last changes, as far as there is room for them.
fn last_of(mut deltas: Vec<Arc<Delta>>, most_bytes: usize) -> Vec<Arc<Delta>> {
    let mut bytes = 0;
    let fits = |delta: &&Arc<Delta>| {
        bytes += delta.bytes;
        bytes <= most_bytes
    };
    let kept = deltas.iter().rev().take(MOST_DELTAS).take_while(fits).count();
    deltas.split_off(deltas.len() - kept)
}

fn other_side(view: Which) -> Which {
    match view {
        Which::Public => Which::Internal,
        Which::Internal => Which::Public,
    }
}

/// The tree with this serial.
fn under(tree: &Arc<Tree>, serial: u32) -> Arc<Tree> {
    if transfer::serial(tree) == Some(serial) {
        return Arc::clone(tree);
    }
    let mut own = Tree::clone(tree);
    own.set_serial(serial);
    Arc::new(own)
}

/// A zone that somebody may take, with its trees.
struct Transferred {
    apex: Name,
    trees: Trees,
    /// It is a catalog, whose serial nobody writes.
    is_catalog: bool,
}

/// Each zone that somebody may take.
fn transferred(world: &World) -> Vec<Transferred> {
    let tree = |served: Option<&Served>| match served {
        Some(Served::Zone(tree)) => Some(Arc::clone(tree)),
        Some(Served::Broken) | None => None,
    };
    let rules = &world.protocol.transfers;
    let is_meant =
        |apex: &Name| rules.about(apex).next().is_some() || update::is_open(&world.protocol.updates, apex);
    // The inside has every zone that the outside has.
    let all = world.internal.zones.iter().filter(|(apex, _)| is_meant(apex));
    let pair = |(apex, served): (&Name, &Served)| {
        let outside = tree(world.public.zones.get(apex));
        let trees = [(Which::Public, outside), (Which::Internal, tree(Some(served)))];
        Transferred { apex: apex.clone(), trees, is_catalog: false }
    };
    all.map(pair).chain(catalogs(world)).collect()
}

fn catalogs(world: &World) -> impl Iterator<Item = Transferred> {
    let [outside, inside] = &world.catalogs;
    let names: HashSet<&Name> =
        outside.zones.iter().chain(inside.zones.iter()).map(|(apex, _)| apex).collect();
    // A zone of the same name is the one that is given.
    let names = names.into_iter().filter(|apex| world.internal.zones.get(apex).is_none());
    names.map(|apex| {
        let tree = |which| match world.catalogs(which).zones.get(apex) {
            Some(Served::Zone(tree)) => Some(Arc::clone(tree)),
            Some(Served::Broken) | None => None,
        };
        let trees = [Which::Public, Which::Internal].map(|which| (which, tree(which)));
        Transferred { apex: apex.clone(), trees, is_catalog: true }
    })
}

/// Of all records, but for the serial.
fn digest(tree: &Tree) -> Digest {
    let mut context = Context::new(&SHA256);
    for node in tree.nodes() {
        for set in node.sets() {
            for rdata in set.rdatas() {
                let counted = match set.rtype {
                    Type::SOA => without_serial(rdata),
                    _ => [rdata, &[]],
                };
                context.update(node.name());
                context.update(&set.rtype.0.to_be_bytes());
                context.update(&set.ttl.to_be_bytes());
                let bytes = counted[0].len() + counted[1].len();
                context.update(&u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes());
                counted.iter().for_each(|bytes| context.update(bytes));
            }
        }
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn without_serial(soa: &[u8]) -> [&[u8]; 2] {
    let (names, numbers) = soa.split_at(soa.len().saturating_sub(SOA_NUMBERS_BYTES));
    [names, numbers.get(4..).unwrap_or_default()]
}

#[cfg(test)]
mod tests;

//! The promise of PRIVACY.md, held to zones whose generator says of each record, as it makes it, whether outsiders may
//! know it, so that the oracle shares no rule with the code.
//!
//! Every answer of the public view must equal, byte for byte, that of zones made without the hidden records.

#![expect(clippy::unwrap_used, reason = "a generator that cannot go on says so by panicking")]

#[path = "privacy/ask.rs"]
mod ask;
#[path = "privacy/generate.rs"]
mod generate;

use std::collections::HashSet;
use std::sync::Arc;

use ask::Question;
use generate::unknown::Undecided;
use generate::{Label, Scene};
use verge_dns::answer::{Class, Query, answer};
use verge_dns::name::Name;
use verge_dns::rtype::Type;
use verge_dns::world::World;
use verge_dns::zone::privacy::{Divided, Division, divide};
use verge_dns::zone::{Record, Severity, Zone};

/// Scenes hold five zones on average: more than 10,000 zones.
const SCENES: u64 = 2_200;
/// Questions asked of each scene, in both worlds.
const QUESTIONS: usize = 40;

fn scenes(count: u64, check: impl Fn(&Scene)) {
    for seed in 0..count {
        let scene = generate::scene(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&scene)));
        if let Err(why) = outcome {
            eprintln!("seed {seed}\n{}", scene.text());
            std::panic::resume_unwind(why);
        }
    }
}

fn divided(scene: &Scene) -> Vec<Divided> {
    let zones: Vec<&Zone> = scene.zones.iter().map(|labelled| &labelled.zone).collect();
    let divided = divide(&zones, &scene.rules);
    for one in &divided {
        assert!(one.problems.iter().all(|it| it.severity != Severity::Error), "{:?}", one.problems);
    }
    divided
}

type Key = (Name, Type, Vec<u8>);

fn key(record: &Record, rdata: &[u8]) -> Key {
    (record.owner.clone(), record.rtype, rdata.to_vec())
}

#[test]
fn the_public_records_are_those_that_were_labelled_public() {
    scenes(SCENES, |scene| {
        for (labelled, divided) in scene.zones.iter().zip(divided(scene)) {
            if labelled.is_unknown() {
                continue;
            }
            let found = divided.public.as_ref().map(|public| {
                public
                    .records(&labelled.zone)
                    .map(|seen| key(seen.record, seen.rdata))
                    .collect::<HashSet<Key>>()
            });
            let expected = labelled.made(Undecided::LeftOut).map(|zone| {
                zone.records.iter().map(|record| key(record, &record.rdata)).collect::<HashSet<Key>>()
            });
            let leaked: Vec<_> =
                found.iter().flatten().filter(|it| !expected.iter().flatten().any(|of| of == *it)).collect();
            let lost: Vec<_> =
                expected.iter().flatten().filter(|it| !found.iter().flatten().any(|of| of == *it)).collect();
            assert!(leaked.is_empty() && lost.is_empty(), "leaked {leaked:?}\nlost {lost:?}");
            assert_eq!(found.is_some(), expected.is_some(), "{} outside", labelled.zone.apex);
            let undecided = (0..).zip(&labelled.labels).filter(|(_, label)| **label == Label::Undecided);
            assert_eq!(divided.undecided, undecided.map(|(at, _)| at).collect::<Vec<u32>>());
        }
    });
}

#[test]
fn the_inside_sees_every_hidden_record() {
    scenes(SCENES, |scene| {
        for (labelled, divided) in scene.zones.iter().zip(divided(scene)) {
            let inside: HashSet<Key> =
                divided.internal.records(&labelled.zone).map(|seen| key(seen.record, seen.rdata)).collect();
            for (record, label) in labelled.zone.records.iter().zip(&labelled.labels) {
                let is_there = inside.contains(&key(record, &record.rdata));
                assert!(is_there || !matches!(label, Label::Hidden), "{} {}", record.owner, record.rtype);
            }
        }
    });
}

/// The answers of zones that are made with the undecided records of `scene` kept, changed or left out.
struct Made {
    world: World,
}

impl Made {
    fn new(scene: &Scene, ours: &World, undecided: Undecided) -> Self {
        let zones: Vec<Zone> = scene.zones.iter().filter_map(|zone| zone.made(undecided)).collect();
        Self { world: ask::plain_world(&zones, &ours.guard, &scene.rules) }
    }

    fn answer(&self, question: &Question) -> Vec<u8> {
        ask::ask(&self.world, question)
    }

    /// The records of the answer section.
    fn answers(&self, question: &Question) -> Vec<Key> {
        let query = Query {
            qname: question.name.as_wire(),
            qtype: question.rtype,
            qclass: Class::In,
            dnssec_ok: true,
            asker: verge_dns::steer::Asker::default(),
        };
        let answer = answer(&self.world.public, query);
        let sets = answer.answer.iter();
        sets.flat_map(|placed| {
            let owner = Name::from_wire(&placed.owner).unwrap();
            placed.set.rdatas().map(move |rdata| (owner.clone(), placed.set.rtype, rdata.to_vec()))
        })
        .collect()
    }
}

const SERVFAIL: u8 = 2;

#[test]
fn every_public_answer_is_that_of_zones_made_without_the_hidden_records() {
    scenes(SCENES, |scene| {
        let zones: Vec<&Zone> = scene.zones.iter().map(|labelled| &labelled.zone).collect();
        let ours = ask::divided_world(&zones, &divided(scene), &scene.rules);
        let [kept, changed, left_out] = [Undecided::Kept, Undecided::Changed, Undecided::LeftOut]
            .map(|undecided| Made::new(scene, &ours, undecided));
        for question in scene.questions(QUESTIONS) {
            let found = ask::ask(&ours, &question);
            assert!(found.len() > ask::HEADER_BYTES, "{question:?}");
            let is_failure = found[3] & 15 == SERVFAIL && found[6..8] == [0, 0];
            if kept.answers(&question) != changed.answers(&question) {
                // Any other RRset of the name is answer enough to ANY.
                let is_other = question.rtype == Type::ANY && found == left_out.answer(&question);
                assert!(is_failure || is_other, "{question:?} is undecided, but {found:x?}");
            } else if kept.answer(&question) == changed.answer(&question) {
                assert_eq!(found, kept.answer(&question), "{question:?}");
            } else {
                // Undecided records are not additional ones either.
                assert_eq!(found, left_out.answer(&question), "{question:?}");
            }
        }
    });
}

/// Edits of each scene, one after the other.
const EDITS: u64 = 3;
/// Dividing from scratch after each edit is what takes the time.
const EDITED_SCENES: u64 = 400;

#[test]
fn dividing_again_after_an_edit_is_dividing_from_scratch() {
    scenes(EDITED_SCENES, |scene| {
        let mut zones: Vec<Arc<Zone>> =
            scene.zones.iter().map(|labelled| Arc::new(labelled.zone.clone())).collect();
        let mut division = Division::default().again(&zones, &scene.rules);
        for step in 0..EDITS {
            scene.edit(step, &mut zones);
            division = division.again(&zones, &scene.rules);
            let plain: Vec<&Zone> = zones.iter().map(|zone| &**zone).collect();
            for (part, expected) in division.parts().iter().zip(divide(&plain, &scene.rules)) {
                assert_eq!(*part.divided, expected, "{} after edit {step}", part.zone.apex);
            }
        }
    });
}

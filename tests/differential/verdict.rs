//! The verdict: which answer is right, and how often each server stands alone.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use crate::decode::{Answer, Record};
use crate::generate::{Question, Zone};
use crate::justified::justified;

/// The parts of an answer that are compared one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Question,
    Truncated,
    Rcode,
    Authoritative,
    Answer,
    Authority,
    Additional,
}

const PARTS: [Part; 7] = [
    Part::Question,
    Part::Truncated,
    Part::Rcode,
    Part::Authoritative,
    Part::Answer,
    Part::Authority,
    Part::Additional,
];

/// One server's answer in one part, in a form that compares.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Code(u8),
    Flag(bool),
    Set(Vec<Record>),
}

/// Counts over a whole run.
pub(crate) struct Tally {
    show: usize,
    questions: usize,
    failed: usize,
    split: BTreeMap<Part, usize>,
    alone: BTreeMap<(&'static str, Part), usize>,
    unexplained: BTreeMap<Part, usize>,
    justified: BTreeMap<&'static str, usize>,
    shown: BTreeMap<Part, usize>,
    report: String,
}

impl Tally {
    pub(crate) fn new(show: usize) -> Self {
        Self {
            show,
            questions: 0,
            failed: 0,
            split: BTreeMap::new(),
            alone: BTreeMap::new(),
            unexplained: BTreeMap::new(),
            justified: BTreeMap::new(),
            shown: BTreeMap::new(),
            report: String::new(),
        }
    }

    /// Whether every difference was explained.
    pub(crate) fn is_clean(&self) -> bool {
        self.unexplained.is_empty()
    }

    /// Compares what all said to one question; so many of the peers as `voters` understand the zone.
    pub(crate) fn judge(
        &mut self,
        zones: &[Zone],
        question: &Question,
        said: &[(&'static str, &Answer)],
        voters: usize,
    ) {
        let zone = &zones[question.zone];
        self.questions += 1;
        let unexplained: usize = self.unexplained.values().sum();
        for part in PARTS {
            let views: Vec<(&'static str, Said)> =
                said.iter().map(|(name, answer)| (*name, view(part, answer))).collect();
            let peers: Vec<&(&'static str, Said)> =
                views.iter().filter(|(name, _)| *name != "verge").collect();
            self.count_peers(part, &peers);
            let Some((_, ours)) = views.iter().find(|(name, _)| *name == "verge") else {
                if peers.iter().any(|(_, view)| *view != peers[0].1) {
                    self.show(part, zone, question, said);
                }
                continue;
            };
            if accepted(part, ours, &peers, voters) {
                continue;
            }
            match justified(part, zones, question, said) {
                Some(reason) => *self.justified.entry(reason).or_default() += 1,
                None => self.unexplained(part, zone, question, said),
            }
        }
        self.failed += usize::from(self.unexplained.values().sum::<usize>() > unexplained);
    }

    fn count_peers(&mut self, part: Part, peers: &[&(&'static str, Said)]) {
        if peers.iter().all(|(_, view)| *view == peers[0].1) {
            return;
        }
        *self.split.entry(part).or_default() += 1;
        for (name, view) in peers {
            if peers.iter().filter(|(_, other)| other == view).count() == 1 {
                *self.alone.entry((name, part)).or_default() += 1;
            }
        }
    }

    fn unexplained(
        &mut self,
        part: Part,
        zone: &Zone,
        question: &Question,
        said: &[(&'static str, &Answer)],
    ) {
        *self.unexplained.entry(part).or_default() += 1;
        self.show(part, zone, question, said);
    }

    fn show(&mut self, part: Part, zone: &Zone, question: &Question, said: &[(&'static str, &Answer)]) {
        let shown = self.shown.entry(part).or_default();
        if *shown >= self.show {
            return;
        }
        *shown += 1;
        let _ = writeln!(self.report, "--- {part:?}: {question}\n{}", zone.text());
        for (name, answer) in said {
            let _ = write!(self.report, "  {name}: {answer}");
        }
    }
}

/// Ours is right if it is the answer of two peers of three, of one of two, or NSD's.
///
/// Which addresses stand beside an answer is taste ("useful", RFC 1034 §4.3.2 step 6): NSD and BIND leave out what Knot
/// adds and BIND forgets glue of siblings, so in that section it is enough to say what one of them says.
fn accepted(part: Part, ours: &Said, peers: &[&(&'static str, Said)], voters: usize) -> bool {
    let same = peers.iter().filter(|(_, view)| view == ours).count();
    let nsd = peers.iter().any(|(name, view)| *name == "nsd" && view == ours);
    same * 2 >= voters || nsd || (part == Part::Additional && same == 1)
}

fn view(part: Part, answer: &Answer) -> Said {
    match part {
        Part::Question => Said::Flag(answer.echoes),
        Part::Truncated => Said::Flag(answer.truncated),
        Part::Rcode => Said::Code(answer.rcode),
        Part::Authoritative => Said::Flag(answer.authoritative),
        Part::Answer => Said::Set(answer.answer.iter().cloned().collect()),
        Part::Authority => Said::Set(answer.authority.iter().cloned().collect()),
        Part::Additional => Said::Set(answer.additional.iter().cloned().collect()),
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)?;
        writeln!(f, "{} questions", self.questions)?;
        for (part, count) in &self.split {
            writeln!(f, "peers differ in {part:?}: {count}")?;
        }
        for ((name, part), count) in &self.alone {
            writeln!(f, "  {name} alone in {part:?}: {count}")?;
        }
        for (reason, count) in &self.justified {
            writeln!(f, "justified: {count} ({reason})")?;
        }
        for (part, count) in &self.unexplained {
            writeln!(f, "unexplained in {part:?}: {count}")?;
        }
        writeln!(f, "unexplained differences: {}", self.unexplained.values().sum::<usize>())?;
        writeln!(f, "differential: {} passed, {} failed", self.questions - self.failed, self.failed)
    }
}

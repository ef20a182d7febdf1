//! Zones as their author wrote them, with the place of every record.
//!
//! ```text
//! text ─▶ file ─▶ Zone (records with positions) ─▶ check ─▶ problems
//!                        │
//!                        └─▶ privacy ─▶ records per view ─▶ tree ─▶ set (the zones of one view)
//! ```

pub mod address;
pub mod check;
pub mod diagnostic;
pub mod file;
pub(crate) mod hash;
pub mod merge;
pub mod order;
pub mod privacy;
pub mod set;
pub mod text;
pub mod tree;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use self::order::Order;
use crate::name::Name;
use crate::rtype::Type;
use crate::small_bytes::SmallBytes;

/// How many aliases and DNAMEs one question is followed through; NSD's cap. An answer is cut there, and the resolver goes
/// on; what a DNAME leads to beyond it is hidden (D6).
pub const MOST_FOLLOWED: usize = 18;

/// One record of class IN with the place it was written at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The owner name.
    pub owner: Name,
    /// Its type.
    pub rtype: Type,
    /// Seconds that a resolver may keep it; at most 2^31 - 1 (RFC 2181 §8).
    pub ttl: u32,
    /// Uncompressed wire form; see [`crate::rdata`].
    pub rdata: SmallBytes,
    /// Where it was written.
    pub at: Position,
    /// The author's mark of its visibility.
    pub mark: Option<Mark>,
    /// Whether the author's mark makes pools of the address RRsets of its owner: see [`crate::steer`].
    pub steer: bool,
}

/// All that the marks of one record say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The views that may see the record.
    pub seen_by: Option<Mark>,
    /// `; verge: steer`: the address RRsets of the owner are pools.
    pub steer: bool,
}

impl Marks {
    /// Both together; none if they contradict each other.
    pub fn and(self, other: Self) -> Option<Self> {
        match (self.seen_by, other.seen_by) {
            (Some(one), Some(another)) if one != another => None,
            (one, another) => Some(Self { seen_by: one.or(another), steer: self.steer || other.steer }),
        }
    }
}

/// As comments behind a record: `` ; verge: internal ; verge: steer``; nothing without marks.
impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.seen_by.iter().try_for_each(|mark| write!(f, " ; verge: {}", mark.as_str()))?;
        if self.steer { f.write_str(" ; verge: steer") } else { Ok(()) }
    }
}

impl Record {
    /// All that its marks say.
    pub fn marks(&self) -> Marks {
        Marks { seen_by: self.mark, steer: self.steer }
    }
}

/// A comment `; verge: …`. It marks the record whose last line it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// `; verge: public`: outsiders may see it on purpose.
    Public,
    /// `; verge: internal`: only the inside may see it.
    Internal,
    /// `; verge: outside`: the inside does not see it. Whether outsiders do, the rules say as for any other record.
    Outside,
    /// `; verge: both`: both sides see it; no rule hides it, and no internal record stands in for it.
    Both,
}

impl Mark {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Public, Self::Internal, Self::Outside, Self::Both];

    /// As it is written behind `; verge: `.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Outside => "outside",
            Self::Both => "both",
        }
    }

    /// Whether it publishes a record that rules would hide.
    pub fn publishes(self) -> bool {
        matches!(self, Self::Public | Self::Both)
    }
}

/// A place in a zone's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Index into [`Zone::files`].
    pub file: u32,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// How many characters the caret underlines; at least 1.
    pub width: u32,
}

/// A text that a zone was read from.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// As it is shown to the author: relative to where the command was given, or as configured.
    pub path: PathBuf,
    /// The whole text; shared with whoever prints diagnostics. Not kept once a zone is in service.
    pub text: Arc<[u8]>,
}

/// A zone as its author wrote it: every record, public and internal alike.
#[derive(Debug)]
pub struct Zone {
    /// The zone's apex.
    pub apex: Name,
    /// Records in the order they were written; exact duplicates are gone (RFC 2181 §5.2).
    pub records: Vec<Record>,
    /// The files it was read from; the zone file itself comes first.
    pub files: Vec<SourceFile>,
    order: OnceLock<Order>,
}

/// The caller may mean to change the copy, so the copy's order is found anew.
impl Clone for Zone {
    fn clone(&self) -> Self {
        Self::new(self.apex.clone(), self.records.clone(), self.files.clone())
    }
}

impl Zone {
    /// Of records without exact duplicates.
    pub fn new(apex: Name, records: Vec<Record>, files: Vec<SourceFile>) -> Self {
        Self { apex, records, files, order: OnceLock::new() }
    }

    /// Its records RRset by RRset; from when it is first asked for on, the records must stay as they are.
    pub fn order(&self) -> &Order {
        let order = || Order::of(&self.apex, &self.records, |record| (&record.owner, record.rtype));
        let order = self.order.get_or_init(order);
        debug_assert_eq!(order.len(), self.records.len(), "records were added or taken out");
        order
    }

    /// Takes out records that stand by rising index, of which none begins an RRset.
    pub(crate) fn take_out(&mut self, gone: &[u32]) {
        self.order();
        let mut index = 0;
        let mut gone_first = gone.iter().copied().peekable();
        self.records.retain(|_| {
            index += 1;
            gone_first.next_if_eq(&(index - 1)).is_none()
        });
        if let Some(order) = self.order.get_mut() {
            order.without(gone);
        }
    }

    /// The record of an index that [`Zone::order`] tells.
    pub(crate) fn record(&self, index: u32) -> &Record {
        &self.records[index as usize]
    }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// For information; nothing to mend.
    Note,
    /// Served as it is, but it will hurt.
    Warning,
    /// The zone is not served; the last good version stays.
    Error,
}

impl Severity {
    /// The word that stands before the message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The code of a private member of a public pool (D20).
pub const PRIVATE_MEMBER: &str = "private-member";

impl Problem {
    /// Whether the version that has it must not be served. A fault that concerns outsiders alone takes nothing from
    /// insiders (D13, D15, D20): they are served.
    pub fn is_fatal(&self) -> bool {
        self.severity == Severity::Error && !matches!(self.code, "D13" | "D15" | PRIVATE_MEMBER)
    }

    /// Whether it takes the version that has it from outsiders, to whom the zone is as if it was not there (D13, D15). Of a
    /// pool with a private member they get the other members (D20).
    pub fn withholds(&self) -> bool {
        self.severity == Severity::Error && self.code != PRIVATE_MEMBER
    }
}

/// Something wrong, or worth knowing, about what the author wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// A short stable name in kebab case for pipelines: `unknown-type`, `missing-glue`, `D19` …
    pub code: &'static str,
    /// The place; none for a problem of a zone or folder as a whole.
    pub at: Option<Position>,
    /// The problem, in one line, lower case, no final dot.
    pub message: String,
    /// The remedy ("did you mean …"), in one line.
    pub help: Option<String>,
}

//! The phases of a body: it is kept, it slides past its readers, and it ends in one of four ways.
//!
//! A body that is not kept ends with the reason, which `Cache-Status` tells.

use super::ending::Unkept;
use crate::store::Reading;

/// The treatment of a log's pieces, and the way in which the body ended.
#[derive(Debug)]
pub(super) enum Phase {
    /// Every piece stays, for readers that are still to come.
    Keeping(Guests),
    /// Pieces go once they are read; no new reader.
    Sliding {
        /// Why the body is not kept.
        why: Unkept,
    },
    /// All of it is there and stored: readers go on from what is stored. None once everybody has read it all.
    Stored(Option<Reading>),
    /// All of it is there, and it is not stored: readers read what the log still holds.
    Ended {
        /// Why not, if that was decided before the end.
        unkept: Option<Unkept>,
    },
    /// It broke off at the origin: readers read what had come.
    Broken {
        /// Why it would not have been kept, if that was decided.
        unkept: Option<Unkept>,
    },
    /// The memory took back what the log held: readers have lost their places.
    LetGo {
        /// Why it was not kept, if that was decided.
        unkept: Option<Unkept>,
    },
}

/// Whether a body that is kept needs somebody to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guests {
    /// It ends when nobody reads it any more.
    Needed,
    /// It goes on without readers.
    Welcome,
    /// The last reader left; no new one.
    Gone,
}

impl Phase {
    /// Whether a new reader can still read it from the beginning, and what is stored is not decided yet.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Keeping(Guests::Needed | Guests::Welcome))
    }

    /// Whether every piece stays.
    pub(super) fn is_keeping(&self) -> bool {
        matches!(self, Self::Keeping(_))
    }

    /// Why it is not kept, if that is decided.
    pub(super) fn unkept(&self) -> Option<Unkept> {
        match self {
            Self::Keeping(_) | Self::Stored(_) => None,
            Self::Sliding { why } => Some(*why),
            Self::Ended { unkept } | Self::Broken { unkept } | Self::LetGo { unkept } => *unkept,
        }
    }

    /// Goes on without readers from now on.
    pub(super) fn stay(&mut self) {
        if let Self::Keeping(guests) = self {
            *guests = Guests::Welcome;
        }
    }

    /// The last reader has left: takes no new one, unless it goes on without readers. Whether it is deserted.
    pub(super) fn desert(&mut self) -> bool {
        match self {
            Self::Keeping(Guests::Welcome) => return false,
            Self::Keeping(guests) => *guests = Guests::Gone,
            Self::Sliding { .. }
            | Self::Stored(_)
            | Self::Ended { .. }
            | Self::Broken { .. }
            | Self::LetGo { .. } => {}
        }
        true
    }

    /// It is not kept, for this reason; no change once it has ended.
    pub(super) fn slide(&mut self, why: Unkept) {
        if self.is_under_way() {
            *self = Self::Sliding { why };
        }
    }

    /// All of it is there.
    pub(super) fn ended(&mut self) {
        if self.is_under_way() {
            *self = Self::Ended { unkept: self.unkept() };
        }
    }

    /// Nothing more comes; no change once it has ended.
    pub(super) fn broken(&mut self) {
        if self.is_under_way() {
            *self = Self::Broken { unkept: self.unkept() };
        }
    }

    fn is_under_way(&self) -> bool {
        matches!(self, Self::Keeping(_) | Self::Sliding { .. })
    }
}

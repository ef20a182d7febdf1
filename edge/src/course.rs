//! The course of a fetch: the unusual events between a request and its answer, in words for the access log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// The events of one fetch; clones share them. In the extensions of the requests to the origins.
#[derive(Debug, Clone, Default)]
pub struct Course(Arc<State>);

#[derive(Debug, Default)]
struct State {
    events: AtomicU8,
    /// The number of the server that answered last; 0: none did.
    answered: AtomicU64,
}

/// The events up to a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events(u8);

/// Something that happened to a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// All origins had as many requests as they may have: it waited for a place.
    Queued,
    /// No parent took it, so that an origin was asked.
    PastParents,
    /// The canary answered.
    Canary,
    /// An origin gave no response, and another one was asked; or it refused the request, and was asked again.
    Retried,
    /// An origin took long, and another one was asked as well.
    Hedged,
    /// Its body broke off, and went on with another request.
    Resumed,
    /// The client did not get all of its answer.
    Cut,
}

impl Event {
    const ALL: [Self; 7] = [
        Self::Queued,
        Self::PastParents,
        Self::Canary,
        Self::Retried,
        Self::Hedged,
        Self::Resumed,
        Self::Cut,
    ];

    /// A word for the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::PastParents => "past-parents",
            Self::Canary => "canary",
            Self::Retried => "retried",
            Self::Hedged => "hedged",
            Self::Resumed => "resumed",
            Self::Cut => "cut",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Course {
    /// It has happened.
    pub fn note(&self, event: Event) {
        self.0.events.fetch_or(event.bit(), Ordering::Relaxed);
    }

    /// All that has happened so far.
    #[must_use]
    pub fn events(&self) -> Events {
        Events(self.0.events.load(Ordering::Relaxed))
    }

    /// The server of this number gave a response.
    pub(crate) fn answered(&self, id: u64) {
        self.0.answered.store(id, Ordering::Relaxed);
    }

    /// The number of the server that gave its last response, be it an origin, a parent or a canary, if one did.
    #[must_use]
    pub fn answered_by(&self) -> Option<u64> {
        Some(self.0.answered.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }
}

impl Events {
    /// Nothing happened.
    pub const NONE: Self = Self(0);

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These, and one more.
    #[must_use]
    pub fn with(self, event: Event) -> Self {
        Self(self.0 | event.bit())
    }
}

/// Their words, in the order in which they come about: `retried+resumed`.
impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = Event::ALL.into_iter().filter(|event| self.0 & event.bit() != 0);
        for (place, event) in told.enumerate() {
            if place > 0 {
                f.write_str("+")?;
            }
            f.write_str(event.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_tells_each_event_once_and_in_order() {
        let course = Course::default();
        assert!(course.events().is_empty());
        let copy = course.clone();
        for event in [Event::Resumed, Event::Queued, Event::Resumed] {
            copy.note(event);
        }
        assert_eq!(course.events().to_string(), "queued+resumed");
        assert_eq!(course.events().with(Event::Cut).to_string(), "queued+resumed+cut");
        let all = Event::ALL.into_iter().fold(Events::NONE, Events::with);
        assert_eq!(all.to_string(), Event::ALL.map(Event::as_str).join("+"));
    }
}

//! One primary is asked which version it has, and for the zone if that is newer than ours (RFC 1034 §4.3.5).

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::line::{Line, NoAnswer};
use super::question::{self, NoVersion, Question, Version};
use crate::config::{Identity, Primary};
use crate::name::Name;
use crate::transfer::{Asked, Content, Fault, Incoming, is_newer};
use crate::tsig::Key;
use crate::wire::arrived::{Unreadable, page};

/// A zone may take this long to come.
const TRANSFER_LIMIT: Duration = Duration::from_secs(3600);
/// Bytes that the records of one zone may take up: some ten million.
const MOST_BYTES: usize = 2 << 30;

/// A primary, and how it is asked.
pub(super) struct Fetch<'f> {
    pub(super) apex: &'f Name,
    pub(super) primary: &'f Primary,
    pub(super) ca: Option<&'f Path>,
    pub(super) identity: Option<&'f Identity>,
    pub(super) key: Option<Arc<Key>>,
    pub(super) sources: &'f [IpAddr],
    pub(super) slots: &'f Semaphore,
}

/// A primary's version, and what came of it.
pub(super) struct Fetched {
    pub(super) version: Version,
    /// None if ours is as new, or came by another way meanwhile.
    pub(super) content: Option<Content>,
}

/// Why nothing came.
#[derive(Debug)]
pub(super) enum NotFetched {
    NoAnswer(NoAnswer),
    Rcode(u16),
    NotAuthoritative,
    /// An answer that is none.
    Garbage,
    Fault(Fault),
    /// Its version was turned down before.
    TurnedDown(u32),
}

impl fmt::Display for NotFetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(error) => error.fmt(f),
            Self::Rcode(9) => f.write_str("it answers NOTAUTH: it does not know the zone, or the key"),
            Self::Rcode(5) => f.write_str("it answers REFUSED: it does not let this server take the zone"),
            Self::Rcode(rcode) => write!(f, "it answers with rcode {rcode}"),
            Self::NotAuthoritative => f.write_str("it does not speak for the zone"),
            Self::Garbage => f.write_str("its answer is none to the question"),
            Self::Fault(fault) => write!(f, "the transfer is not taken: {fault}"),
            Self::TurnedDown(serial) => write!(f, "it still has version {serial}, which was turned down"),
        }
    }
}

impl From<NoAnswer> for NotFetched {
    fn from(error: NoAnswer) -> Self {
        Self::NoAnswer(error)
    }
}

impl Fetch<'_> {
    /// Takes what is newer than `ours`, if that is not `turned_down`.
    pub(super) async fn newer_than(
        &self,
        ours: Option<u32>,
        turned_down: Option<u32>,
    ) -> Result<Fetched, NotFetched> {
        let mut line = self.connect().await?;
        let version = self.version(&mut line).await?;
        if ours.is_some_and(|ours| !is_newer(version.serial, ours)) {
            return Ok(Fetched { version, content: None });
        }
        if turned_down == Some(version.serial) {
            return Err(NotFetched::TurnedDown(version.serial));
        }
        let _slot = self.slots.acquire().await;
        let content = match ours {
            None => self.transfer(line, Asked::Whole).await?,
            Some(ours) => match self.transfer(line, Asked::ChangesSince(ours)).await {
                Ok(content) => content,
                // RFC 1995 §4: a primary that does not do it is asked for all of it.
                Err(NotFetched::NoAnswer(NoAnswer::Unproved(why))) => {
                    return Err(NoAnswer::Unproved(why).into());
                }
                Err(why) => {
                    tracing::debug!(zone = %self.apex, primary = %self.primary.address(), "no changes, so all of it: {why}");
                    self.whole().await?
                }
            },
        };
        Ok(Fetched { version, content: Some(content) })
    }

    /// The version that the primary has.
    pub(super) async fn its_version(&self) -> Result<Version, NotFetched> {
        let mut line = self.connect().await?;
        self.version(&mut line).await
    }

    /// All of the zone.
    pub(super) async fn whole(&self) -> Result<Content, NotFetched> {
        let line = self.connect().await?;
        self.transfer(line, Asked::Whole).await
    }

    async fn connect(&self) -> Result<Line, NotFetched> {
        Ok(Line::connect(self.primary, (self.ca, self.identity), self.key.clone(), self.sources).await?)
    }

    async fn version(&self, line: &mut Line) -> Result<Version, NotFetched> {
        let id = rand::random();
        line.ask(self.message(Question::Soa, id)?).await?;
        let mut answer = Vec::new();
        line.next(&mut answer).await?;
        line.may_end()?;
        question::version(&answer, self.apex, id).map_err(|none| match none {
            NoVersion::Other => NotFetched::Garbage,
            NoVersion::Rcode(rcode) => NotFetched::Rcode(rcode),
            NoVersion::NotAuthoritative => NotFetched::NotAuthoritative,
        })
    }

    fn message(&self, question: Question, id: u16) -> Result<Vec<u8>, NotFetched> {
        question::message(self.apex, question, id).ok_or(NotFetched::Garbage)
    }

    async fn transfer(&self, line: Line, asked: Asked) -> Result<Content, NotFetched> {
        let all = self.all(line, asked);
        timeout(TRANSFER_LIMIT, all).await.unwrap_or(Err(NotFetched::NoAnswer(NoAnswer::Slow)))
    }

    async fn all(&self, mut line: Line, asked: Asked) -> Result<Content, NotFetched> {
        let id: u16 = rand::random();
        line.ask(self.message(Question::Zone(asked), id)?).await?;
        let mut incoming = Incoming::new(self.apex.clone(), asked, MOST_BYTES);
        let mut message = Vec::new();
        while !incoming.is_done() {
            line.next(&mut message).await?;
            let page = page(&message).map_err(|unreadable| match unreadable {
                Unreadable::Message => NotFetched::Garbage,
                Unreadable::Record(fault) => NotFetched::Fault(fault),
            })?;
            if page.id != id.to_be_bytes() {
                return Err(NotFetched::Garbage);
            }
            if page.rcode != 0 {
                return Err(NotFetched::Rcode(page.rcode.into()));
            }
            if page.records.is_empty() {
                return Err(NotFetched::Fault(Fault::Unfinished));
            }
            incoming.take(page.records).map_err(NotFetched::Fault)?;
        }
        line.may_end()?;
        incoming.finish().map_err(NotFetched::Fault)
    }
}

#[cfg(test)]
mod tests;

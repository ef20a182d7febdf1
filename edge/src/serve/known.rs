//! Requests that were read before: clients send the same fields again and again, and often for the same target.
//!
//! The site, the key and the request as the site's rules make it depend on the bytes of a head, on its sender as far as rules
//! tell senders apart, and on the config in service. So they are kept beside these, and made anew when one of them is another:
//!
//! - beside all bytes of a head that came more than once, which then need not be read;
//! - beside its text without the target and without the fields that nothing looks at. For another target alone only the URI
//!   and the key are made anew.
//!
//! Invariant: each of a worker's tables has at most [`PLACES`] requests of at most [`MAX_BYTES`] and [`MAX_TARGET_BYTES`]
//! each, with at most one answer's fields as a map and as bytes, none of them with a password, and nothing that is no longer in service once [`Known::forget`] has returned.

use std::cell::OnceCell;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::SystemTime;
use std::{fmt, thread};

use bytes::Bytes;
use foldhash::fast::RandomState;
use http::{HeaderMap, HeaderValue};

use super::exchange::Exchange;
use crate::http::head::HeadLimits;
use crate::policy::{Freshness, Selection};
use crate::site::sender::Scheme;
use crate::store::Object;

/// The requests that each worker has read before.
pub(crate) struct Known(Box<[Worker]>);

/// A table in cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Worker(Mutex<Tables>);

/// The requests that one worker has read before.
#[derive(Default)]
pub(super) struct Tables {
    /// By all bytes of their heads.
    pub(super) whole: Table,
    /// By what is looked at, without their targets.
    pub(super) heeded: Table,
}

/// Requests by their texts.
pub(super) struct Table<E = Opened> {
    places: Vec<Option<Box<Request<E>>>>,
    hasher: RandomState,
    /// The text of the request that is being read.
    text: Vec<u8>,
    /// Its hash.
    hash: u64,
    /// The hash of the last request that was not known, for each place.
    seen: Vec<u64>,
}

struct Request<E> {
    circumstances: Circumstances,
    text: Box<[u8]>,
    exchange: E,
    /// Whether it came again since another one wanted its place.
    was_asked: bool,
}

/// A request that was read: its site, its key, and its head as the site's rules make it.
pub(super) struct Opened {
    pub(super) exchange: Exchange<'static>,
    decided: Option<Decided>,
}

/// A fresh object that answered the request.
///
/// Invariant: what a request gets of one object depends on the time by the object's freshness alone (`decide::step`).
struct Decided {
    /// It is told from others, and not kept for this.
    object: Weak<Object>,
    freshness: Freshness,
    selection: Selection,
    fields: OnceCell<Fields>,
}

/// The fields of the answer that was decided on, for transports that do not send them as text.
pub(super) struct Fields {
    /// Its `Alt-Svc`, which depends on the connection too.
    pub(super) alternative: Option<HeaderValue>,
    pub(super) headers: HeaderMap,
    /// The same as the bytes that HTTP/3 sends, once they were asked for.
    pub(super) frame: OnceCell<Bytes>,
}

impl Fields {
    /// As no transport has written them yet.
    pub(super) fn new(alternative: Option<HeaderValue>, headers: HeaderMap) -> Self {
        Self { alternative, headers, frame: OnceCell::new() }
    }
}

impl Opened {
    /// Nothing was decided on it yet.
    pub(super) fn new(exchange: Exchange<'static>) -> Self {
        Self { exchange, decided: None }
    }

    /// The part of the object that answers the request at `now`, and how fresh it is, if it did so before.
    pub(super) fn again(&self, object: &Arc<Object>, now: SystemTime) -> Option<(Freshness, Selection)> {
        let decided = self.decided.as_ref()?;
        let is_same = Weak::as_ptr(&decided.object) == Arc::as_ptr(object)
            && decided.freshness == object.entry.freshness(now);
        is_same.then(|| (decided.freshness, decided.selection.clone()))
    }

    /// The one object that is stored answers the request, with this part.
    pub(super) fn answered(&mut self, object: &Arc<Object>, freshness: Freshness, selection: &Selection) {
        let (object, selection) = (Arc::downgrade(object), selection.clone());
        self.decided = Some(Decided { object, freshness, selection, fields: OnceCell::new() });
    }

    /// The place of the fields of the answer that was decided on last.
    pub(super) fn fields(&self) -> Option<&OnceCell<Fields>> {
        self.decided.as_ref().map(|decided| &decided.fields)
    }

    /// It is another request from now on.
    pub(super) fn change(&mut self) -> &mut Exchange<'static> {
        self.decided = None;
        &mut self.exchange
    }
}

/// Everything beside the bytes of a head that decides what is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Circumstances {
    /// The number of what is in service.
    pub(super) edition: NonZeroU64,
    pub(super) scheme: Scheme,
    pub(super) is_childs: bool,
    /// The sender, where that is a proxy whose word is believed.
    pub(super) proxy: Option<IpAddr>,
    /// On heads.
    pub(super) limits: HeadLimits,
}

/// The fields that matter differ by few things: the host, the codings that a client reads, and what sites ask for.
const PLACES: usize = 128;
/// Of a head, or of what is looked at of it without its target.
pub(super) const MAX_BYTES: usize = 1024;
/// Of a target.
pub(super) const MAX_TARGET_BYTES: usize = 512;

impl Default for Known {
    fn default() -> Self {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        Self((0..workers).map(|_| Worker::default()).collect())
    }
}

impl Known {
    /// This worker's tables; none in the rare moment in which another thread has them.
    pub(super) fn tables(&self) -> Option<MutexGuard<'_, Tables>> {
        let Worker(worker) = &self.0[number() % self.0.len()];
        match worker.try_lock() {
            Ok(tables) => Some(tables),
            // One that panicked may have left a request half made.
            Err(TryLockError::Poisoned(tables)) => {
                worker.clear_poison();
                let mut tables = tables.into_inner();
                *tables = Tables::default();
                Some(tables)
            }
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// All requests are read anew.
    pub(super) fn forget(&self) {
        for Worker(tables) in &self.0 {
            *tables.lock().unwrap_or_else(PoisonError::into_inner) = Tables::default();
        }
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Known").field(&self.0.len()).finish()
    }
}

impl<E> Default for Table<E> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            hasher: RandomState::default(),
            text: Vec::new(),
            hash: 0,
            seen: Vec::new(),
        }
    }
}

impl<E> Table<E> {
    /// The place that the request has or would have; none if it is too long for one. `write` appends its text.
    pub(super) fn place(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<usize> {
        self.text.clear();
        self.text.shrink_to(2 * MAX_BYTES);
        write(&mut self.text)?;
        self.hash = self.hasher.hash_one(&self.text[..]);
        (self.text.len() <= MAX_BYTES).then(|| usize::from(self.hash.to_le_bytes()[0]) % PLACES)
    }

    /// Whether the request whose text was written last came before, and no other that wanted its place came since.
    pub(super) fn has_seen(&mut self, place: usize) -> bool {
        self.seen.resize(PLACES, 0);
        let seen = self.seen.get_mut(place);
        seen.is_some_and(|seen| std::mem::replace(seen, self.hash) == self.hash)
    }

    /// Whether the request in this place is the one whose text was written last.
    pub(super) fn has(&mut self, place: usize, circumstances: &Circumstances) -> bool {
        let Self { places, text, .. } = self;
        let Some(Some(request)) = places.get_mut(place) else { return false };
        let is_it = *request.text == **text && request.circumstances == *circumstances;
        request.was_asked |= is_it;
        is_it
    }

    /// The reading of the request in this place.
    pub(super) fn at(&mut self, place: usize) -> Option<&mut E> {
        Some(&mut self.places.get_mut(place)?.as_deref_mut()?.exchange)
    }

    /// Keeps the reading of the request whose text was written last, in the place of one that was not asked for since
    /// another wanted its place. Gives it back if that one stays.
    pub(super) fn keep(&mut self, place: usize, circumstances: Circumstances, exchange: E) -> Option<E> {
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let Some(kept) = self.places.get_mut(place) else { return Some(exchange) };
        if let Some(other) = kept
            && other.circumstances.edition == circumstances.edition
            && std::mem::take(&mut other.was_asked)
        {
            return Some(exchange);
        }
        let text = self.text.as_slice().into();
        *kept = Some(Box::new(Request { circumstances, text, exchange, was_asked: false }));
        None
    }

    /// Lets go of the request in this place.
    pub(super) fn forget(&mut self, place: usize) {
        self.places.get_mut(place).map(Option::take);
    }
}

/// Threads are numbered in the order in which they come here first.
fn number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    // A thread that ends has none any more.
    NUMBER.try_with(|number| *number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circumstances(edition: u64) -> Circumstances {
        let edition = NonZeroU64::new(edition).unwrap();
        let limits = HeadLimits::from(1024);
        Circumstances { edition, scheme: Scheme::Http, is_childs: false, proxy: None, limits }
    }

    fn written(text: &str) -> impl FnOnce(&mut Vec<u8>) -> Option<()> {
        let text = text.to_owned();
        move |out| {
            out.extend_from_slice(text.as_bytes());
            Some(())
        }
    }

    /// Whether the request is known; if not it is kept from now on, as far as others let it.
    fn comes(table: &mut Table<String>, text: &str, edition: u64) -> bool {
        let place = table.place(written(text)).unwrap();
        let is_known = table.has(place, &circumstances(edition));
        if is_known {
            assert_eq!(table.at(place).unwrap(), text, "one is never taken for another");
        } else {
            table.keep(place, circumstances(edition), text.to_owned());
        }
        is_known
    }

    #[test]
    fn a_request_is_known_by_all_of_its_text_and_circumstances() {
        let mut table = Table::default();
        assert!(!comes(&mut table, "a", 1) && comes(&mut table, "a", 1) && !comes(&mut table, "a", 2));
        assert!(comes(&mut table, "a", 2));
        let place = table.place(written("a")).unwrap();
        let others = [
            Circumstances { scheme: Scheme::Https, ..circumstances(2) },
            Circumstances { is_childs: true, ..circumstances(2) },
            Circumstances { proxy: Some([192, 0, 2, 1].into()), ..circumstances(2) },
            Circumstances { limits: HeadLimits::from(1025), ..circumstances(2) },
        ];
        assert!(table.has(place, &circumstances(2)) && !others.iter().any(|other| table.has(place, other)));
        table.forget(place);
        assert!(!comes(&mut table, "a", 2));
    }

    #[test]
    fn what_comes_often_is_not_driven_out_by_what_comes_once() {
        let mut table = Table::default();
        assert!(!comes(&mut table, "often", 1));
        for number in 0..100 * PLACES {
            assert!(comes(&mut table, "often", 1), "{number}");
            assert!(!comes(&mut table, &format!("once {number}"), 1));
        }
        assert_eq!(table.places.len(), PLACES);
        // Another edition makes all of them useless.
        let place = table.place(written("often")).unwrap();
        assert!(!table.has(place, &circumstances(2)));
        assert_eq!(table.keep(place, circumstances(2), String::new()), None);
    }

    #[test]
    fn long_requests_are_not_known() {
        let mut table = Table::<String>::default();
        assert!(table.place(written(&"x".repeat(MAX_BYTES))).is_some());
        assert!(table.place(written(&"x".repeat(MAX_BYTES + 1))).is_none());
        assert!(table.place(|_| None).is_none());
    }

    #[test]
    fn one_that_comes_twice_in_a_row_is_seen() {
        let mut table = Table::<String>::default();
        let mut sees = |text: &str| {
            let place = table.place(written(text)).unwrap();
            table.has_seen(place)
        };
        assert!(!sees("a") && sees("a") && sees("a"));
        let others = (0..100 * PLACES).map(|number| sees(&number.to_string())).filter(|seen| *seen);
        assert_eq!(others.count(), 0);
        assert!(!sees("a"), "others have come since");
    }

    #[test]
    fn what_is_forgotten_is_let_go_of() {
        let known = Known::default();
        known.tables().unwrap().whole.places.resize_with(PLACES, || None);
        known.forget();
        assert!(known.tables().unwrap().whole.places.is_empty());
    }
}

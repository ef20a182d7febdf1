//! How the configured bytes are shared out, and the part that fills under way may take.
//!
//! Bytes that only slow clients still need are held in shares that are offered: when the budget is spent and
//! they hold more than half of it, those offered first are taken back, and their readers break off. So slow
//! clients never keep everybody's responses out of the store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The parts of the configured memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    /// For what is stored.
    pub(super) objects_bytes: u64,
    /// For what is being fetched to be stored.
    pub(super) fills_bytes: u64,
}

impl Shares {
    /// A body of more bytes is not worth its place in memory, where a disk can have it.
    pub(super) fn large_bytes(&self) -> u64 {
        (self.objects_bytes / LARGE_PART).clamp(LEAST_LARGE_BYTES, MOST_LARGE_BYTES)
    }
}

/// One part in so many of what is stored …
const LARGE_PART: u64 = 48;
/// … at least as much as is read from a disk at once …
pub(super) const LEAST_LARGE_BYTES: u64 = 128 << 10;
/// … and at most so much: sending it takes longer than reading it from a disk.
const MOST_LARGE_BYTES: u64 = 8 << 20;

/// A quarter for fills: moka's capacity is fixed, so the bound over both can only be the sum of two.
pub(super) fn shares(memory_bytes: u64) -> Shares {
    let fills_bytes = memory_bytes / 4;
    Shares { objects_bytes: memory_bytes - fills_bytes, fills_bytes }
}

/// Bytes that several fills share.
#[derive(Debug)]
pub struct Budget {
    limit_bytes: u64,
    taken_bytes: AtomicU64,
    offered: Mutex<Offered>,
}

/// One fill's part of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: u64,
    /// Its number, while it is offered.
    offer: Option<u64>,
}

/// Something whose share can be taken back before its readers are done.
pub trait LetGo: fmt::Debug + Send + Sync {
    /// Gives back the share; how many readers do not get the rest for that.
    fn let_go(&self) -> usize;
}

/// Shares that can be taken back, in the order in which they were offered.
#[derive(Debug, Default)]
struct Offered {
    next: u64,
    offers: BTreeMap<u64, Offer>,
    bytes: u64,
}

#[derive(Debug)]
struct Offer {
    bytes: u64,
    holder: Weak<dyn LetGo>,
}

/// Slow clients alone may hold one part in so many of a budget that is spent.
const OFFERED_PART: u64 = 2;

impl Budget {
    pub(crate) fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self { limit_bytes, taken_bytes: AtomicU64::new(0), offered: Mutex::default() })
    }

    /// An empty share.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0, offer: None }
    }

    /// A share of so many bytes that are held already, whether or not they are left.
    pub(super) fn owe(self: &Arc<Self>, bytes: u64) -> Share {
        self.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
        Share { budget: Arc::clone(self), bytes, offer: None }
    }

    /// The limit on all shares together.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// The bytes of all shares together; more than the limit only by what was owed.
    #[must_use]
    pub fn taken_bytes(&self) -> u64 {
        self.taken_bytes.load(Ordering::Relaxed)
    }

    /// Takes back what was offered first until so many bytes are left, where that helps; how many readers it cost the
    /// rest. Not to be called by who has a lock that a holder needs to let go.
    pub fn make_room(&self, bytes: u64) -> usize {
        let mut left = 0;
        while let Some(holder) = self.first_to_go(bytes) {
            left += holder.upgrade().map_or(0, |holder| holder.let_go());
        }
        left
    }

    fn first_to_go(&self, bytes: u64) -> Option<Weak<dyn LetGo>> {
        let mut offered = self.offered();
        let wanted = self.taken_bytes().saturating_add(bytes).saturating_sub(self.limit_bytes);
        let may_go = offered.bytes.saturating_sub(self.limit_bytes / OFFERED_PART);
        if wanted == 0 || may_go == 0 {
            return None;
        }
        let (_, first) = offered.offers.pop_first()?;
        offered.bytes -= first.bytes;
        Some(first.holder)
    }

    /// No holder panics between two changes, so a poisoned state is a good one.
    fn offered(&self) -> MutexGuard<'_, Offered> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Takes more from the budget; false if that much is not left, and then nothing is taken.
    #[must_use]
    pub fn grow(&mut self, bytes: u64) -> bool {
        let within = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.budget.limit_bytes);
        let grown =
            self.budget.taken_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok();
        if grown {
            self.bytes += bytes;
            self.tell_offer();
        }
        grown
    }

    /// The budget that it is taken from.
    #[must_use]
    pub fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.budget)
    }

    /// The bytes that it holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back what it holds beyond this.
    pub fn shrink_to(&mut self, bytes: u64) {
        let back = self.bytes.saturating_sub(bytes);
        self.bytes -= back;
        self.budget.taken_bytes.fetch_sub(back, Ordering::Relaxed);
        if back > 0 {
            self.tell_offer();
        }
    }

    /// From now on `holder` can be told to let it go. Nothing changes if that is so already.
    pub fn offer(&mut self, holder: Weak<dyn LetGo>) {
        if self.offer.is_none() {
            let mut offered = self.budget.offered();
            let number = offered.next;
            offered.next += 1;
            offered.bytes += self.bytes;
            offered.offers.insert(number, Offer { bytes: self.bytes, holder });
            self.offer = Some(number);
        }
    }

    /// Is no longer to be let go.
    pub fn withdraw(&mut self) {
        let Some(number) = self.offer.take() else { return };
        let mut offered = self.budget.offered();
        // It may have been taken back a moment ago.
        if let Some(offer) = offered.offers.remove(&number) {
            offered.bytes -= offer.bytes;
        }
    }

    fn tell_offer(&self) {
        let Some(number) = self.offer else { return };
        let offered = &mut *self.budget.offered();
        if let Some(offer) = offered.offers.get_mut(&number) {
            offered.bytes = offered.bytes - offer.bytes + self.bytes;
            offer.bytes = self.bytes;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.withdraw();
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_their_budget_and_return_what_they_took() {
        let budget = Budget::new(10);
        let (mut a, mut b) = (budget.share(), budget.share());
        assert!(a.grow(6));
        assert!(!b.grow(5));
        assert!(b.grow(4));
        assert!(!b.grow(u64::MAX));
        assert_eq!(budget.taken_bytes(), 10);
        a.shrink_to(7);
        assert_eq!(a.bytes(), 6);
        a.shrink_to(5);
        assert_eq!(budget.taken_bytes(), 9);
        drop(a);
        assert_eq!(budget.taken_bytes(), 4);
        assert!(b.grow(6));
    }

    #[derive(Debug)]
    struct Holder(Mutex<Option<Share>>);

    impl LetGo for Holder {
        fn let_go(&self) -> usize {
            usize::from(self.0.lock().unwrap().take().is_some())
        }
    }

    /// Of a budget of 10, shares of these sizes are offered in turn and `kept` is not; after room was made for `wanted`,
    /// which are left.
    #[track_caller]
    fn check(offered: &[u64], kept: u64, wanted: u64, expected: &[u64]) {
        let budget = Budget::new(10);
        let _kept = budget.owe(kept);
        let hold = |bytes: &u64| Arc::new(Holder(Mutex::new(Some(budget.owe(*bytes)))));
        let holders: Vec<Arc<Holder>> = offered.iter().map(hold).collect();
        for holder in &holders {
            let weak: Weak<Holder> = Arc::downgrade(holder);
            holder.0.lock().unwrap().as_mut().unwrap().offer(weak);
        }
        let gone = budget.make_room(wanted);
        let left: Vec<u64> =
            holders.iter().filter_map(|holder| holder.0.lock().unwrap().as_ref().map(Share::bytes)).collect();
        assert_eq!(left, expected, "{offered:?} beside {kept} for {wanted}");
        assert_eq!(gone, offered.len() - expected.len());
        assert_eq!(budget.offered().bytes, expected.iter().sum::<u64>());
        drop(holders);
        assert_eq!((budget.offered().bytes, budget.taken_bytes()), (0, kept));
    }

    #[test]
    fn the_oldest_offers_go_when_the_budget_is_spent_and_they_are_more_than_half_of_it() {
        check(&[3, 3, 3], 0, 1, &[3, 3, 3]);
        check(&[3, 3, 3], 0, 2, &[3, 3]);
        check(&[3, 3, 3], 0, 9, &[3]);
        // Half of it is theirs, whoever has the rest.
        check(&[2, 3], 5, 4, &[2, 3]);
        check(&[2, 2, 3], 5, 4, &[2, 3]);
        check(&[20, 9, 5], 0, 1, &[5]);
        check(&[12], 0, 1, &[]);
    }

    #[test]
    fn an_offer_follows_its_share_and_can_be_withdrawn() {
        let budget = Budget::new(10);
        let holder = Arc::new(Holder(Mutex::default()));
        let weak: Weak<Holder> = Arc::downgrade(&holder);
        let mut share = budget.share();
        share.offer(weak.clone());
        assert!(share.grow(8));
        assert_eq!(budget.offered().bytes, 8);
        share.shrink_to(6);
        assert_eq!(budget.offered().bytes, 6);
        share.withdraw();
        assert_eq!((budget.offered().bytes, budget.taken_bytes()), (0, 6));
        *holder.0.lock().unwrap() = Some(share);
        assert_eq!(budget.make_room(10), 0);
        holder.0.lock().unwrap().as_mut().unwrap().offer(weak);
        assert_eq!(budget.make_room(10), 1);
        assert_eq!(budget.taken_bytes(), 0);
    }

    #[test]
    fn what_is_owed_counts_beyond_the_limit_and_leaves_nothing_for_others() {
        let budget = Budget::new(10);
        let owed = budget.owe(12);
        assert_eq!(budget.taken_bytes(), 12);
        assert!(!budget.share().grow(1));
        drop(owed);
        assert!(budget.share().grow(10));
    }
}

//! The budget of a site's further requests: retries, hedges, and the rest of a response that breaks off again.

use std::sync::atomic::{AtomicI64, Ordering};

use http::Request;

/// So many may be saved up.
const MOST_SAVED: i64 = 10;
/// Requests earn a further one each 5: a struggling site gets 20 % more load at most.
const COST: i64 = 5;

/// The budget of a site, with all its routes and all the groups that they ask. It stays over a reload.
///
/// Drawn from it: a request that an origin or a parent has seen and that goes to another one, or from a canary to the
/// others; one that its origin has refused (RFC 9113 §8.7) on a connection that refused
/// the one before, too, or for the second time; a hedge; the rest of a response that broke off more than once.
/// Not drawn: a request that nobody has seen, that its origin has refused for the first time on another connection, or that a connection with HTTP/2 left
/// unprocessed as it ended (RFC 9113 §6.8);
/// the one that is sent again when a connection that served others ends before any byte of an answer (RFC 9112 §9.3.1); the
/// one for which an origin requires HTTP/1.1; and the first rest of a response, which asks for what is owed; where the origin
/// answers something else, it is drawn afterwards.
#[derive(Debug)]
pub struct Retries(AtomicI64);

impl Default for Retries {
    fn default() -> Self {
        Self(AtomicI64::new(COST * MOST_SAVED))
    }
}

impl Retries {
    /// A client's request is sent.
    pub(crate) fn earn(&self) {
        self.add(1);
    }

    /// A request that was paid for did not take place.
    pub(super) fn give_back(&self) {
        self.add(COST);
    }

    /// Takes one, if there is one.
    pub(super) fn spend(&self) -> bool {
        let spend = |left: i64| (left >= COST).then_some(left - COST);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }

    fn add(&self, more: i64) {
        let add = |left: i64| (left < COST * MOST_SAVED).then(|| (left + more).min(COST * MOST_SAVED));
        // Full is as good as earned.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

/// The budget was drawn from for this request, and no server has it yet. In the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paid;

impl Paid {
    /// Marks a request that is paid for.
    #[must_use]
    pub fn mark<B>(mut request: Request<B>) -> Request<B> {
        request.extensions_mut().insert(Self);
        request
    }

    /// A server had it and answered: one more like it is another request.
    #[must_use]
    pub fn unmark<B>(mut request: Request<B>) -> Request<B> {
        request.extensions_mut().remove::<Self>();
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_requests_earn_one_and_ten_are_saved_up() {
        let budget = Retries::default();
        let spent = || std::iter::from_fn(|| budget.spend().then_some(())).count();
        (0..1_000).for_each(|_| budget.earn());
        assert_eq!(spent(), 10);
        (0..4).for_each(|_| budget.earn());
        assert_eq!(spent(), 0);
        budget.earn();
        assert_eq!(spent(), 1);
        budget.give_back();
        assert_eq!(spent(), 1);
    }
}

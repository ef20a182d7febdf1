//! What questions that arrive and answers that wait may take up: a little of each connection's own, the rest of a pool.
//!
//! A client that sends whole questions and reads its answers needs nothing but its own. What the others need comes from
//! the pool that all connections of one transport share, so that it is bounded however many they are; and no connection
//! has all of it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection's own: some forty questions or answers.
const OWN_OCTETS: usize = 8 * 1024;
/// What one connection may have of the pool: the longest question and the longest answer.
const SHARE_OCTETS: usize = 128 * 1024;

/// Shared by all connections of one transport on one side.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<Semaphore>);

/// Of one connection.
#[derive(Debug)]
pub(super) struct Allowance {
    own: Arc<Semaphore>,
    share: Arc<Semaphore>,
    pool: Pool,
}

/// Some octets that a connection takes up, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    _own: OwnedSemaphorePermit,
    _pooled: Option<OwnedSemaphorePermit>,
}

impl Pool {
    pub(super) fn new(octets: usize) -> Self {
        Self(Arc::new(Semaphore::new(octets)))
    }
}

impl Allowance {
    pub(super) fn new(pool: &Pool) -> Self {
        let [own, share] = [OWN_OCTETS, SHARE_OCTETS].map(|octets| Arc::new(Semaphore::new(octets)));
        Self { own, share, pool: pool.clone() }
    }

    /// Room for so many octets; none if the connection has too many already, or all of them together.
    pub(super) fn claim(&self, octets: usize) -> Option<Claim> {
        if let Some(own) = take(&self.own, octets) {
            return Some(Claim { _own: own, _pooled: None });
        }
        let share = take(&self.share, octets)?;
        let pooled = take(&self.pool.0, octets)?;
        Some(Claim { _own: share, _pooled: Some(pooled) })
    }
}

fn take(of: &Arc<Semaphore>, octets: usize) -> Option<OwnedSemaphorePermit> {
    Arc::clone(of).try_acquire_many_owned(u32::try_from(octets).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 65_535;

    #[test]
    fn small_messages_fit_when_the_pool_is_empty_and_nobody_has_all_of_it() {
        const POOL_OCTETS: usize = 4 * 1024 * 1024;
        let pool = Pool::new(POOL_OCTETS);
        let greedy = Allowance::new(&pool);
        let taken: Vec<_> = std::iter::from_fn(|| greedy.claim(LONGEST)).collect();
        assert_eq!(taken.len(), 2);
        let others: Vec<_> = (0..200).map(|_| Allowance::new(&pool)).collect();
        let all: Vec<_> = others
            .iter()
            .flat_map(|it| std::iter::from_fn(|| it.claim(LONGEST)).collect::<Vec<_>>())
            .collect();
        assert_eq!(taken.len() + all.len(), POOL_OCTETS / LONGEST);
        for own in [&greedy, &others[0], &others[199]] {
            let small: Vec<_> = std::iter::from_fn(|| own.claim(512)).take(OWN_OCTETS / 512).collect();
            assert_eq!(small.len(), OWN_OCTETS / 512);
            assert!(own.claim(LONGEST).is_none());
        }
        drop((taken, all));
        assert!(greedy.claim(LONGEST).is_some(), "what was claimed is given back");
    }
}

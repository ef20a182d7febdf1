//! How much memory connections may use for questions that are arriving and for answers that are waiting to be read.
//!
//! Each connection has a small allowance of its own. A client that sends whole questions and reads its answers needs no
//! more. Anything above it comes from a pool that all connections of one transport share, so the total is bounded however
//! many connections there are.
//!
//! Invariant: no client can empty the pool. A connection can take a bounded part of it, all connections of one client
//! together another, and questions never take the part that is kept for answers.
//!
//! Invariant: memory is claimed only for bytes that have arrived or were written. An announced length claims nothing.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection's own: some forty questions or answers.
const OWN_BYTES: usize = 8 * 1024;
/// The share of one connection in the pool: the longest question and the longest answer.
const SHARE_BYTES: usize = 128 * 1024;
/// Of the pool, one in so many bytes is for questions: nearly all of them fit in what a connection has of its own.
const QUESTIONS_PART: usize = 4;
/// A client may have one in so many bytes of the pool, however many connections it has.
const CLIENT_PART: usize = 8;
/// The least that a client may have of the pool: the longest message, however small the pool is.
const LONGEST_BYTES: usize = 64 * 1024;
/// A message that arrives in pieces has room for no more than this ahead of what is there.
pub(super) const STEP_BYTES: usize = 4 * 1024;

/// The kind of message to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Question,
    Answer,
}

/// The connection, its client or the whole pool has reached its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Shared by all connections of one transport on one side.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    all: Halves,
    client_bytes: [usize; 2],
}

/// The share of one client in the pool. All of its connections use it.
#[derive(Clone, Debug)]
pub(super) struct Share(Halves);

/// Room for questions and room for answers.
#[derive(Clone, Debug)]
struct Halves([Arc<Semaphore>; 2]);

/// Of one connection.
#[derive(Debug)]
pub(super) struct Allowance {
    own: Arc<Semaphore>,
    connection: Arc<Semaphore>,
    client: Share,
    pool: Pool,
}

/// Some bytes that a connection takes up, until it is dropped; none at first.
#[derive(Debug, Default)]
pub(super) struct Claim {
    own: Option<OwnedSemaphorePermit>,
    /// Of the connection's share, of the client's, of the pool.
    pooled: Option<[OwnedSemaphorePermit; 3]>,
}

/// A question that arrives in pieces, and its claim.
#[derive(Debug, Default)]
pub(super) struct Question {
    bytes: Vec<u8>,
    room: Claim,
}

impl Pool {
    pub(super) fn new(bytes: usize) -> Self {
        let questions = bytes / QUESTIONS_PART;
        let both = [questions, bytes - questions];
        Self {
            all: Halves::new(both),
            client_bytes: both.map(|half| (half / CLIENT_PART).max(LONGEST_BYTES)),
        }
    }

    /// For a client who is new.
    pub(super) fn share(&self) -> Share {
        Share(Halves::new(self.client_bytes))
    }

    /// How many bytes nobody has claimed.
    #[cfg(test)]
    pub(super) fn free(&self, what: What) -> usize {
        self.all.of(what).available_permits()
    }
}

impl Halves {
    fn new(bytes: [usize; 2]) -> Self {
        Self(bytes.map(|bytes| Arc::new(Semaphore::new(bytes))))
    }

    fn of(&self, what: What) -> &Arc<Semaphore> {
        let [questions, answers] = &self.0;
        match what {
            What::Question => questions,
            What::Answer => answers,
        }
    }
}

impl Allowance {
    pub(super) fn new(pool: &Pool, client: Share) -> Self {
        let [own, connection] = [OWN_BYTES, SHARE_BYTES].map(|bytes| Arc::new(Semaphore::new(bytes)));
        Self { own, connection, client, pool: pool.clone() }
    }

    /// Room for so many bytes.
    pub(super) fn claim(&self, what: What, bytes: usize) -> Result<Claim, Full> {
        let mut claim = Claim::default();
        self.cover(&mut claim, what, bytes)?;
        Ok(claim)
    }

    /// Enlarges a claim of this connection until it is good for so many bytes.
    pub(super) fn cover(&self, claim: &mut Claim, what: What, bytes: usize) -> Result<(), Full> {
        let more = bytes.saturating_sub(claim.bytes());
        if more == 0 {
            return Ok(());
        }
        if let Ok(own) = take(&self.own, more) {
            claim.add_own(own);
            return Ok(());
        }
        let pooled = [&self.connection, self.client.0.of(what), self.pool.all.of(what)];
        let [connection, client, pool] = pooled.map(|of| take(of, more));
        claim.add_pooled([connection?, client?, pool?]);
        Ok(())
    }
}

impl Claim {
    pub(super) fn bytes(&self) -> usize {
        let pooled = self.pooled.iter().map(|[connection, ..]| connection);
        self.own.iter().chain(pooled).map(OwnedSemaphorePermit::num_permits).sum()
    }

    fn add_own(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.own {
            Some(own) => own.merge(more),
            None => self.own = Some(more),
        }
    }

    fn add_pooled(&mut self, more: [OwnedSemaphorePermit; 3]) {
        match &mut self.pooled {
            Some(pooled) => pooled.iter_mut().zip(more).for_each(|(it, more)| it.merge(more)),
            None => self.pooled = Some(more),
        }
    }
}

impl Question {
    /// Adds a piece, whose room is claimed before it is kept.
    pub(super) fn extend(&mut self, piece: &[u8], of: &Allowance) -> Result<(), Full> {
        let bytes = self.bytes.len() + piece.len();
        if bytes > self.bytes.capacity() {
            let ahead = self.bytes.len().min(STEP_BYTES);
            let capacity = bytes.max(self.bytes.len() + ahead);
            of.cover(&mut self.room, What::Question, capacity)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

impl Deref for Question {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

fn take(of: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Full> {
    let bytes = u32::try_from(bytes).map_err(|_| Full)?;
    Arc::clone(of).try_acquire_many_owned(bytes).map_err(|_| Full)
}

#[cfg(test)]
mod tests {
    use super::What::{Answer, Question as Asked};
    use super::*;

    const LONGEST: usize = 65_535;
    const POOL_BYTES: usize = 4 * 1024 * 1024;

    /// All claims of the longest message that fit.
    fn all(of: &Allowance, what: What) -> Vec<Claim> {
        std::iter::from_fn(|| of.claim(what, LONGEST).ok()).collect()
    }

    fn new_client(pool: &Pool) -> Allowance {
        Allowance::new(pool, pool.share())
    }

    #[test]
    fn small_messages_fit_when_the_pool_is_empty_and_nobody_has_all_of_it() {
        let pool = Pool::new(POOL_BYTES);
        let greedy = new_client(&pool);
        let taken = all(&greedy, Answer);
        assert_eq!(taken.len(), 2);
        let others: Vec<_> = (0..200).map(|_| new_client(&pool)).collect();
        let rest: Vec<_> = others.iter().flat_map(|it| all(it, Answer)).collect();
        assert_eq!(taken.len() + rest.len(), POOL_BYTES / 4 * 3 / LONGEST);
        for own in [&greedy, &others[0], &others[199]] {
            let small: Vec<_> =
                std::iter::from_fn(|| own.claim(Answer, 512).ok()).take(OWN_BYTES / 512).collect();
            assert_eq!(small.len(), OWN_BYTES / 512);
            assert_eq!(own.claim(Answer, LONGEST).err(), Some(Full));
        }
        drop((taken, rest));
        assert!(greedy.claim(Answer, LONGEST).is_ok(), "what was claimed is given back");
    }

    #[test]
    fn a_client_has_its_part_of_the_pool_however_many_connections_it_has() {
        let pool = Pool::new(POOL_BYTES);
        let client = pool.share();
        let connections: Vec<_> = (0..64).map(|_| Allowance::new(&pool, client.clone())).collect();
        for (what, part) in [(Asked, POOL_BYTES / 4 / 8), (Answer, POOL_BYTES / 4 * 3 / 8)] {
            let taken: Vec<_> = connections.iter().flat_map(|it| all(it, what)).collect();
            assert_eq!(taken.len(), part / LONGEST, "{what:?}");
            assert!(new_client(&pool).claim(what, LONGEST).is_ok(), "{what:?}: there is enough for others");
        }
    }

    #[test]
    fn questions_do_not_take_what_answers_need() {
        for pool_bytes in [256 * 1024, POOL_BYTES] {
            let pool = Pool::new(pool_bytes);
            let many: Vec<_> = (0..200).map(|_| new_client(&pool)).collect();
            let questions: Vec<_> = many.iter().flat_map(|it| all(it, Asked)).collect();
            assert_eq!(questions.len(), pool_bytes / 4 / LONGEST);
            assert_eq!(pool.free(Answer), pool_bytes / 4 * 3);
            assert!(new_client(&pool).claim(Answer, LONGEST).is_ok());
        }
    }

    #[test]
    fn a_question_in_pieces_has_one_claim_that_is_as_large_as_what_is_kept() {
        for piece in [1, 2, 100, 5_000, LONGEST] {
            let pool = Pool::new(POOL_BYTES);
            let allowance = new_client(&pool);
            let mut question = Question::default();
            let mut left = LONGEST;
            while left > 0 {
                let bytes = piece.min(left);
                question.extend(&vec![7; bytes], &allowance).unwrap();
                left -= bytes;
                let (kept, claimed) = (question.bytes.capacity(), question.room.bytes());
                assert_eq!(kept, claimed, "{} bytes in pieces of {piece}", question.len());
                assert!(kept <= question.len() + STEP_BYTES, "{} bytes in pieces of {piece}", question.len());
            }
            assert!(question.iter().all(|byte| *byte == 7) && question.len() == LONGEST);
            let own = OWN_BYTES - allowance.own.available_permits();
            let pooled = POOL_BYTES / 4 - pool.free(Asked);
            assert_eq!(own + pooled, question.room.bytes(), "in pieces of {piece}");
            drop(question);
            assert_eq!(pool.free(Asked), POOL_BYTES / 4, "in pieces of {piece}");
        }
    }
}

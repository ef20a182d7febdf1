//! Answers that quinn has as a whole, until the client has them: a connection that closes takes what has not arrived with it.

use std::collections::VecDeque;

use quinn::SendStream;

use super::endpoint::MAX_STREAMS;

/// The streams of such answers, the oldest first.
///
/// Invariant: there are at most [`MAX_STREAMS`].
#[derive(Default)]
pub(super) struct GivenAnswers(VecDeque<SendStream>);

impl GivenAnswers {
    /// Keeps the stream of one more. Gives one back that has not arrived though many that were given after it may have.
    pub(super) fn keep(&mut self, stream: SendStream) -> Option<SendStream> {
        while self.0.pop_front_if(|oldest| has_arrived(oldest)).is_some() {}
        let late = if self.0.len() < MAX_STREAMS as usize { None } else { self.0.pop_front() };
        self.0.push_back(stream);
        late
    }

    /// All that have not arrived.
    pub(super) fn take(&mut self) -> impl Iterator<Item = SendStream> + use<> {
        std::mem::take(&mut self.0).into_iter().filter(|stream| !has_arrived(stream))
    }
}

/// Whether the client has all of an answer that was sent to its end. quinn forgets its stream then.
fn has_arrived(stream: &SendStream) -> bool {
    stream.priority().is_err()
}

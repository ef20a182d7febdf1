//! How long a client is waited for that has sent all it will: it may read on, or have left, and nothing tells which.
//!
//! A client that has left answers what is written with a reset. So while its answer is being sent the next write tells,
//! and the limits on origins and on slow clients hold as always. While nothing of it is there to be sent nothing tells, nor
//! while all is sent that is there of one without a length, which may be a stream of events whose type nobody knows: then it
//! is taken for gone after [`MAX_SILENCE`]. HAProxy takes it so only with `abortonclose`, nginx at once; most
//! of those that end their side have left, and their fetches are not to go on for a minute for nobody.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

/// One that does wait, as `nc -N` or an old script, gets what most origins answer in this time.
const MAX_SILENCE: Duration = Duration::from_secs(5);
/// A reset is found this late.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A client that has sent all it will, looked after from time to time.
#[derive(Debug, Default)]
pub(super) struct Wait {
    next: Option<Pin<Box<Sleep>>>,
    /// How long nothing was written, and nothing was there to be.
    silence: Duration,
}

/// The finding of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It may be there.
    Nothing,
    /// It was sent nothing for so long that it is taken for gone.
    Silence,
}

impl Wait {
    /// Ready when it is time for a look.
    pub(super) fn poll_look(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let next = self.next.get_or_insert_with(|| Box::pin(tokio::time::sleep(LOOK_EVERY)));
        ready!(next.as_mut().poll(cx));
        self.next = None;
        Poll::Ready(())
    }

    /// `is_awaited`: whether there is nothing of the answer to be sent.
    pub(super) fn look(&mut self, is_awaited: bool) -> Found {
        self.silence = if is_awaited { self.silence + LOOK_EVERY } else { Duration::ZERO };
        if self.silence < MAX_SILENCE { Found::Nothing } else { Found::Silence }
    }

    pub(super) fn note_write(&mut self) {
        self.silence = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks_until_silence(wait: &mut Wait) -> usize {
        (1..100).find(|_| wait.look(true) == Found::Silence).expect("it is not waited for for ever")
    }

    #[test]
    fn a_client_is_taken_for_gone_when_nothing_could_be_sent_for_so_long() {
        assert_eq!(looks_until_silence(&mut Wait::default()), 5);
    }

    #[test]
    fn silence_begins_anew_behind_an_answer_and_behind_each_byte() {
        let mut wait = Wait::default();
        assert!((0..4).all(|_| wait.look(true) == Found::Nothing));
        wait.look(false);
        assert!((0..4).all(|_| wait.look(true) == Found::Nothing));
        wait.note_write();
        assert_eq!(looks_until_silence(&mut wait), 5);
    }

    #[test]
    fn an_answer_that_is_being_sent_is_waited_for() {
        let mut wait = Wait::default();
        assert!((0..100).all(|_| wait.look(false) == Found::Nothing));
    }
}

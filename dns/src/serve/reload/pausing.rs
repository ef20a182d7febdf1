//! The loader while another process takes over: it changes nothing, and if that process has taken over, never again.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::Receiver;

use super::Follow;
use crate::log::recent::OPEN;
use crate::serve::handover::{Passing, Returned};
use crate::serve::signal::{Over, Pause, Signal};

impl Follow {
    /// Waits until it is clear who goes on. Updates and reloads wait as long.
    pub(super) fn pause(&mut self, pause: Pause, inbox: &Receiver<Signal>) -> ControlFlow<()> {
        if pause.held.send(self.catalog.waits).is_err() {
            // Nobody waits for it any more.
            return ControlFlow::Continue(());
        }
        match pause.end.recv() {
            Ok(Over::Passing(passing)) => {
                self.pass_on(passing, inbox);
                ControlFlow::Break(())
            }
            Ok(Over::Ended) => ControlFlow::Break(()),
            Err(_) => {
                self.service.go_on();
                ControlFlow::Continue(())
            }
        }
    }

    /// Has the other process make the updates that wait here, and those that come on connections which are about to end; and
    /// answer questions there. It knows nothing of a reload that came here since it read its config.
    fn pass_on(&mut self, mut passing: Passing, inbox: &Receiver<Signal>) {
        loop {
            if let Err(error) = self.pass_waiting(&mut passing) {
                return tracing::warn!(name: OPEN, %error, "updates and questions are not passed on");
            }
            match inbox.recv() {
                Ok(Signal::Stop) | Err(_) => return,
                Ok(Signal::Reload) => {
                    tracing::info!("the process that has taken over reads all anew");
                    if let Err(error) = passing.reload() {
                        return tracing::warn!(name: OPEN, %error, "a reload is not passed on");
                    }
                }
                Ok(_) => {}
            }
        }
    }

    /// Updates first: questions that have to wait may as well be asked again.
    fn pass_waiting(&mut self, passing: &mut Passing) -> io::Result<()> {
        loop {
            if let Some(submission) = self.submissions.next() {
                // If this fails, it is not known whether the update was made: its sender asks again.
                if let Returned::Answer(answer) = passing.pass(submission.passed())? {
                    (submission.reply)(answer);
                }
            } else if let Some(asked) = self.submissions.next_question() {
                match passing.pass(asked.passed())? {
                    Returned::Answer(answer) => (asked.reply)(answer),
                    Returned::Silence => (asked.reply)(Vec::new()),
                    // Its client asks again.
                    Returned::Unanswered => {}
                }
            } else {
                return Ok(());
            }
        }
    }
}

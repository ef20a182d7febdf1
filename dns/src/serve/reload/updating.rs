//! Updates, made by the thread that loads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Follow;
use crate::log::recent::OPEN;
use crate::rcode::Rcode;
use crate::serve::update::{self, Made};

impl Follow {
    /// Makes the updates that wait, each with all that it says or not at all. Those that come meanwhile have a turn of their own:
    /// without an end of them, a reload or a process that takes over would wait for ever.
    pub(super) fn update(&mut self) {
        for _ in 0..self.submissions.waiting() {
            let Some(submission) = self.submissions.next() else { return };
            // Edits of files are served, and told, for themselves: what the next load changes is the update's.
            self.load();
            let world = self.service.world.load_full();
            let make = AssertUnwindSafe(|| update::make(&submission.submitted, &world, &mut self.catalog));
            let made = catch_unwind(make);
            // Held on to, it could not be released.
            drop(world);
            let (rcode, mut made) = made.unwrap_or_else(|_| {
                self.service.metrics.reloading_fell();
                tracing::error!(name: OPEN, "an update panicked; please report this");
                self.catalog.pend(None);
                (Rcode::ServFail, Made::default())
            });
            if let Some(loaded) = made.loaded.take() {
                self.serve(loaded);
            }
            self.service.metrics.replication.updated(rcode);
            submission.log(rcode, &made);
            submission.answer(rcode);
        }
    }
}

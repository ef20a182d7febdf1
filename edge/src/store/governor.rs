//! How much the store may hold, by the memory that the whole process takes.
//!
//! The weights are those of stored objects. The allocator's pages that are partly used, connections and TLS are not in them; where these
//! make the process grow past its target the store gives way, and takes its room back when they have gone.

/// The capacity in force.
#[derive(Debug)]
pub(super) struct Governor {
    configured_bytes: u64,
    capacity_bytes: u64,
    /// Looks to let pass: the allocator gives pages back a while after they are free.
    pause: u32,
}

/// The capacity is a thirty-second of the configured one less or more at a time, or less by all that is too much.
const STEP_PART: u64 = 32;
/// So much of it stays whatever the process takes: a store of nothing would only move the load to the origins.
const LEAST_PART: u64 = 8;
const PAUSE: u32 = 2;

impl Governor {
    pub(super) fn new(configured_bytes: u64) -> Self {
        Self { configured_bytes, capacity_bytes: configured_bytes, pause: 0 }
    }

    pub(super) fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    pub(super) fn is_whole(&self) -> bool {
        self.capacity_bytes == self.configured_bytes
    }

    /// Looks at the process; another capacity if it should have one. `held_bytes` are stored.
    pub(super) fn look(&mut self, resident_bytes: u64, target_bytes: u64, held_bytes: u64) -> Option<u64> {
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        let step = self.configured_bytes / STEP_PART;
        let wanted = if resident_bytes > target_bytes {
            let over = (resident_bytes - target_bytes).max(step);
            let least = self.configured_bytes / LEAST_PART;
            // Room that is not used yet is no memory that could be given back.
            held_bytes.min(self.capacity_bytes).saturating_sub(over).max(least).min(self.capacity_bytes)
        } else if resident_bytes.saturating_add(2 * step) <= target_bytes {
            self.capacity_bytes.saturating_add(step).min(self.configured_bytes)
        } else {
            self.capacity_bytes
        };
        if wanted == self.capacity_bytes {
            return None;
        }
        self.pause = if wanted < self.capacity_bytes { PAUSE } else { 0 };
        self.capacity_bytes = wanted;
        Some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks of (resident, held) in turn, of a store of 320 in a process that should have 500; the capacities.
    #[track_caller]
    fn check(looks: &[(u64, u64)], expected: &[u64]) {
        let mut governor = Governor::new(320);
        let seen: Vec<u64> = looks
            .iter()
            .map(|(resident, held)| {
                governor.look(*resident, 500, *held);
                governor.capacity_bytes()
            })
            .collect();
        assert_eq!(seen, expected, "{looks:?}");
    }

    #[test]
    fn a_process_within_its_target_has_the_whole_store() {
        check(&[(0, 0), (400, 320), (500, 320)], &[320, 320, 320]);
    }

    #[test]
    fn a_process_that_grows_past_it_loses_what_is_too_much_and_at_least_a_step() {
        check(&[(560, 320)], &[260]);
        check(&[(501, 320)], &[310]);
        // A hundred are held: the other 220 of its room are nothing that it takes.
        check(&[(520, 100)], &[80]);
    }

    #[test]
    fn freed_pages_have_time_to_go_back_before_more_is_freed() {
        check(&[(560, 320), (560, 260), (560, 260), (540, 260)], &[260, 260, 260, 220]);
    }

    #[test]
    fn an_eighth_stays_whatever_the_process_takes() {
        check(&[(9_000, 320), (9_000, 40), (9_000, 40), (9_000, 40)], &[40, 40, 40, 40]);
    }

    #[test]
    fn the_store_grows_back_by_steps_when_there_is_room_again() {
        let calm = (470, 260);
        let grown = [(560, 320), calm, calm, calm, calm, (485, 280), (485, 280), (100, 280), (100, 280)];
        check(&grown, &[260, 260, 260, 270, 280, 280, 280, 290, 300]);
    }
}

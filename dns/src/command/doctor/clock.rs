//! Whether something keeps the machine's clock right.
//!
//! Invariant: the pointer handed to the kernel is to one `timex` on the stack, and its `modes` say that nothing is to be set.

use super::Advice;

/// The state of the clock, as the kernel says (adjtimex(2)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Clock {
    /// A program disciplines it.
    Kept,
    /// None does.
    Free,
    /// The kernel does not say.
    #[default]
    Unknown,
}

/// Asks the kernel.
pub(super) fn look() -> Clock {
    // SAFETY: `timex` is a struct of numbers, for which zeros are good values, and lives until the call has returned.
    #[expect(unsafe_code, reason = "neither std nor a crate that is here asks for it")]
    let status = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex) >= 0).then_some(timex.status)
    };
    judged(status)
}

fn judged(status: Option<i32>) -> Clock {
    match status {
        None => Clock::Unknown,
        Some(status) if status & libc::STA_UNSYNC != 0 => Clock::Free,
        Some(_) => Clock::Kept,
    }
}

/// The change to make.
pub(super) fn advice(clock: Clock) -> Option<Advice> {
    (clock == Clock::Free).then(|| Advice {
        is_fault: false,
        what: "nothing keeps the clock of this machine right; signatures, TSIG and certificates go by it"
            .to_owned(),
        cure: "timedatectl set-ntp true, or apt install chrony; in a container, on its host".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_no_program_disciplines_is_told() {
        assert_eq!(judged(Some(libc::STA_PLL)), Clock::Kept);
        assert_eq!(judged(Some(libc::STA_UNSYNC | libc::STA_PLL)), Clock::Free);
        assert_eq!(judged(None), Clock::Unknown);
        let said = |clock| advice(clock).map(|advice| advice.cure);
        assert!(said(Clock::Free).unwrap().contains("timedatectl set-ntp true"));
        assert_eq!((said(Clock::Kept), said(Clock::Unknown)), (None, None));
        // Whatever it says here, it says something.
        let _ = look();
    }
}

//! Whether the edge of a config runs on this machine.

use std::io::{self, ErrorKind};

/// Whether it does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Running {
    /// Its addresses are its own.
    Yes,
    /// Nobody answers, or it is another program.
    #[default]
    No,
    /// And why.
    Unknown(String),
}

impl Running {
    /// By the failure of a question to its admin listener.
    pub(super) fn of_failure(error: &io::Error) -> Self {
        match error.kind() {
            // This user may not ask; or it is there, and busy or stopped.
            ErrorKind::PermissionDenied | ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                Self::Unknown(error.to_string())
            }
            _ => Self::No,
        }
    }

    /// The reason why its addresses were not tried.
    pub(super) fn note(&self) -> Option<String> {
        match self {
            Self::Yes => Some("it runs here, so its addresses were not tried".to_owned()),
            Self::No => None,
            Self::Unknown(why) => Some(format!(
                "cannot tell whether it runs here, so its addresses were not tried: {why} (ask as root, or as its user)"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_may_not_ask_is_told_so() {
        let check = |kind: ErrorKind, is_unknown: bool| {
            let running = Running::of_failure(&kind.into());
            assert_eq!(matches!(running, Running::Unknown(_)), is_unknown, "{running:?}");
            assert_eq!(running.note().is_some_and(|note| note.starts_with("cannot tell")), is_unknown);
        };
        check(ErrorKind::PermissionDenied, true);
        check(ErrorKind::WouldBlock, true);
        check(ErrorKind::TimedOut, true);
        check(ErrorKind::ConnectionRefused, false);
        check(ErrorKind::NotFound, false);
        check(ErrorKind::Other, false);
    }
}

//! Of two servers that have a zone's file, the one with the later serial is its primary (RFC 1982 §3.2).

use std::net::SocketAddr;

use super::is_newer;

/// An answer that tells no serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It does not have the zone, or does not give it.
    Nothing,
    /// It has no version yet, or does not know yet who leads.
    Unready,
    /// No answer at all.
    Silence,
}

/// The result of asking all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// This one has a later serial, the latest of all: it is the primary.
    Newer(SocketAddr, u32),
    /// One at least answers, and none has a later serial.
    Heard,
    /// None says anything.
    Unheard,
}

/// Whether one of the others has replaced a server whose version is `ours`.
pub fn others(ours: Option<u32>, answers: impl Iterator<Item = (SocketAddr, Result<u32, Heard>)>) -> Others {
    let mut found = Others::Unheard;
    for (address, heard) in answers {
        let latest = match found {
            Others::Newer(_, serial) => Some(serial),
            Others::Heard | Others::Unheard => ours,
        };
        match heard {
            Ok(serial) if latest.is_none_or(|latest| is_newer(serial, latest)) => {
                found = Others::Newer(address, serial);
            }
            Ok(_) | Err(Heard::Nothing) if found == Others::Unheard => found = Others::Heard,
            Ok(_) | Err(_) => {}
        }
    }
    found
}

/// The serial of a server that becomes the primary: later than all that the one before may have given to others meanwhile.
pub fn promoted(latest: u32) -> u32 {
    latest.wrapping_add(PROMOTION_STEP)
}

/// Versions that a primary may have made which nobody has taken, when another takes its place.
const PROMOTION_STEP: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_with_the_later_serial_is_the_primary() {
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let newer = |port, serial| Others::Newer(at(port), serial);
        for (ours, answers, expected) in [
            (Some(7), vec![], Others::Unheard),
            (Some(7), vec![Err(Heard::Silence), Err(Heard::Unready)], Others::Unheard),
            (Some(7), vec![Err(Heard::Silence), Err(Heard::Nothing)], Others::Heard),
            (Some(7), vec![Ok(7)], Others::Heard),
            (Some(7), vec![Ok(3)], Others::Heard),
            (Some(7), vec![Ok(8)], newer(0, 8)),
            (Some(7), vec![Err(Heard::Silence), Ok(8), Ok(9), Ok(8)], newer(2, 9)),
            (Some(u32::MAX), vec![Ok(3)], newer(0, 3)),
            (Some(3), vec![Ok(u32::MAX)], Others::Heard),
            (Some(7), vec![Ok(promoted(7))], newer(0, 65_543)),
            (Some(7 + 65_535), vec![Ok(promoted(7))], newer(0, 65_543)),
            (Some(promoted(u32::MAX)), vec![Ok(u32::MAX)], Others::Heard),
            // A server that knows no serial of its own believes any.
            (None, vec![Ok(1)], newer(0, 1)),
        ] {
            let all =
                answers.iter().enumerate().map(|(port, heard)| (at(u16::try_from(port).unwrap()), *heard));
            assert_eq!(others(ours, all), expected, "{ours:?} {answers:?}");
        }
    }
}
